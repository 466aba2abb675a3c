"""Arrays by their names: NumPy archives, and what TensorFlow 1's cells keep."""
