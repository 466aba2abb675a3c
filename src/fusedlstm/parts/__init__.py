"""A model put together from parts: PyTorch's layers by the names, shapes and defaults that they have there."""

from .layers import BatchNorm1d, Conv1d, Embedding, LayerNorm, Linear
from .part import Part
from .sequential import Sequential
from .steps import Last, Residual, Transpose

__all__ = [
    "BatchNorm1d",
    "Conv1d",
    "Embedding",
    "Last",
    "LayerNorm",
    "Linear",
    "Part",
    "Residual",
    "Sequential",
    "Transpose",
]
