"""Whole TensorFlow Lite models as graphs: one entry for each operator, by family."""
