"""In which precision a model's weights are held. They are rounded when they are packed, after all that is folded in."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from ..weights import LSTMWeights
from ..weights.precision import rounded, rounded_matrix

if TYPE_CHECKING:
    from .graph import Node
    from .operators import Array

WEIGHTED = frozenset(
    {"fusedlstm.Dense", "fusedlstm.Conv", "fusedlstm.LSTM", "MatMul", "Gemm", "Conv", "ConvTranspose", "GRU", "RNN"}
)
"""Operators whose weights are held so: products, convolutions of more than a few channels each, recurrent layers."""


@dataclass(frozen=True)
class Precision:
    """What `Model.astype` was given."""

    dtype: str = "float32"
    products: str = "float32"
    """What the inputs of products are rounded to; the first of `PRODUCTS[dtype]` adds no error."""
    keep: tuple[str, ...] = ()
    """Nodes that stay in float32."""

    def of(self, node: Node) -> tuple[str, str]:
        """A node's precision: of its weights, and of what they are multiplied by."""
        kept = any(fits(one, node) for one in self.keep)
        return ("float32", "float32") if kept else (self.dtype, self.products)

    def lstm(self, node: Node, weights: LSTMWeights) -> LSTMWeights:
        """An LSTM's; one that is held in less already stays as it is."""
        dtype, products = self.of(node)
        return weights if dtype == "float32" or weights.dtype != "float32" else rounded(weights, dtype, products)

    def rows(self, node: Node, matrix: Array) -> Array:
        """Rows of weights (outputs, inputs) of any other node, rounded."""
        return rounded_matrix("weights", np.ascontiguousarray(matrix, np.float32), self.of(node)[0])


FLOAT32 = Precision()


def fits(pattern: str, node: Node) -> bool:
    """Whether a node is meant: by its name (else its output's), parts of it between slashes or dots, or a glob."""
    name = node.name or next(filter(None, node.outputs), "")
    parts = name.replace(".", "/").split("/")
    wanted = pattern.replace(".", "/").strip("/").split("/")
    inside = any(parts[k : k + len(wanted)] == wanted for k in range(len(parts)))
    return inside or fnmatchcase(name, pattern)
