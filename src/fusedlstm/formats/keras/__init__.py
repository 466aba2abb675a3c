"""Keras 2 and 3: archives, HDF5 files, live layers."""
