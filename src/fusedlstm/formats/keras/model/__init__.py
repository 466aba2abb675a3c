"""Whole Keras models as graphs: one entry for each class of layers, by family."""
