"""How operators become steps, by family; each function enters itself with `lowers`."""

from . import (
    activations,
    convolution,
    elementwise,
    logic,
    matrix,
    movement,
    normalisation,
    pooling,
    recurrent,
    reductions,
    resize,
    shapes,
)

__all__ = [
    "activations",
    "convolution",
    "elementwise",
    "logic",
    "matrix",
    "movement",
    "normalisation",
    "pooling",
    "recurrent",
    "reductions",
    "resize",
    "shapes",
]
