"""How operators go along time, by family; each function enters itself with `goes`."""

from . import counting, matrix, movement, pointwise, recurrent, reductions, windows

__all__ = ["counting", "matrix", "movement", "pointwise", "recurrent", "reductions", "windows"]
