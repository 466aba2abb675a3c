"""TensorFlow Lite (LiteRT) models."""
