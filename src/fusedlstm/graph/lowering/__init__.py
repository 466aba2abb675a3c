"""How operators become steps, by family; each function enters itself with `lowers`."""

from . import convolution, elementwise, indexing, matrix, movement, recurrent

__all__ = ["convolution", "elementwise", "indexing", "matrix", "movement", "recurrent"]
