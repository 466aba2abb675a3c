"""How operators go along time, by family; each function enters itself with `goes`."""

from . import matrix, movement, pointwise, recurrent, reductions, windows

__all__ = ["matrix", "movement", "pointwise", "recurrent", "reductions", "windows"]
