"""How operators become steps, by family; each function enters itself with `lowers`."""

from . import (
    activations,
    attention,
    convolution,
    elementwise,
    indexing,
    logic,
    matrix,
    movement,
    normalisation,
    pooling,
    quantised,
    recurrent,
    reductions,
    resize,
    shapes,
)

__all__ = [
    "activations",
    "attention",
    "convolution",
    "elementwise",
    "indexing",
    "logic",
    "matrix",
    "movement",
    "normalisation",
    "pooling",
    "quantised",
    "recurrent",
    "reductions",
    "resize",
    "shapes",
]
