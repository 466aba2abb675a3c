"""In which precision a model's weights are held. They are rounded when they are packed, after all that is folded in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from ..weights import PRODUCTS, LSTMWeights
from ..weights.precision import rounded, rounded_matrix

if TYPE_CHECKING:
    from .graph import Node
    from .operators import Array


@dataclass(frozen=True)
class Precision:
    """What `Model.astype` was given."""

    dtype: str = "float32"
    products: str = "float32"
    """What the inputs of products are rounded to; the first of `PRODUCTS[dtype]` adds no error."""
    keep: tuple[str, ...] = ()
    """Nodes that stay in float32."""
    exact: frozenset[str] = frozenset()
    """Those of `keep` that are the whole name of a node with weights: they mean no other."""

    def __str__(self) -> str:
        """Such as ``int8 by int8``: of the weights and, where that is not the default, of what they multiply."""
        return self.dtype if self.products == PRODUCTS[self.dtype][0] else f"{self.dtype} by {self.products}"

    def of(self, node: Node) -> tuple[str, str]:
        """A node's precision: of its weights, and of what they are multiplied by."""
        kept = any(name_of(node) == one if one in self.exact else fits(one, node) for one in self.keep)
        return ("float32", "float32") if kept else (self.dtype, self.products)

    def lstm(self, node: Node, weights: LSTMWeights) -> LSTMWeights:
        """An LSTM's; one that is held in less already stays as it is."""
        dtype, products = self.of(node)
        return weights if dtype == "float32" or weights.dtype != "float32" else rounded(weights, dtype, products)

    def rows(self, node: Node, matrix: Array) -> Array:
        """Rows of weights (outputs, inputs) of any other node, rounded."""
        return rounded_matrix("weights", np.ascontiguousarray(matrix, np.float32), self.of(node)[0])


FLOAT32 = Precision()


def checked_keep(keep: Any) -> tuple[str, ...]:
    """What `Model.astype` was given as `keep`, as names.

    Raises
    ------
    TypeError, ValueError
        Anything but a sequence of names, or one that names nothing.
    """
    if keep is None:
        return ()
    if isinstance(keep, (str, bytes)) or not isinstance(keep, Iterable):
        such = f" such as [{keep!r}]" if isinstance(keep, str) else ""
        found = "a string" if isinstance(keep, str) else type(keep).__name__
        raise TypeError(f"keep: expected a sequence of names{such}, found {found}")
    names = tuple(keep)
    for one in names:
        if not isinstance(one, str):
            raise TypeError(f"keep: expected names, found {one!r}")
        if not _parts(one):
            raise ValueError(f"keep: expected names, found {one!r}, which names nothing; '*' is all nodes")
    return names


def name_of(node: Node) -> str:
    """What a node is called: its name, else its output's."""
    return node.name or next(filter(None, node.outputs), "")


def fits(pattern: str, node: Node) -> bool:
    """Whether a node is meant: by parts of its name between slashes or dots, or a glob.

    A pattern that begins with a slash means the first parts, as it would if it were a path.
    """
    parts, wanted = _parts(name_of(node)), _parts(pattern)
    starts = range(1 if pattern.startswith("/") else len(parts))
    inside = bool(wanted) and any(parts[k : k + len(wanted)] == wanted for k in starts)
    return inside or fnmatchcase(name_of(node), pattern)


def _parts(name: str) -> list[str]:
    inner = name.replace(".", "/").strip("/")
    return inner.split("/") if inner else []
