"""One subgraph while it is read: what its tensors are called in the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ....errors import FormatError
from ....graph.operators import Array
from ..graph import DEQUANTIZE, Graph

if TYPE_CHECKING:
    from .reader import Reader

MOST_DEPTH = 8


class Scope:
    """One subgraph.

    Parameters
    ----------
    reader : Reader
        Who reads the model.
    graph : Graph
        The subgraph in the file.
    names : dict
        What its inputs are called in the graph; what its operators make is added.
    depth : int
        How many operators it is inside of.

    Attributes
    ----------
    things : dict
        What a tensor stands for that is no array: a variable or a list of tensors.
    unneeded : set
        Tensors whose operators are not read.
    """

    def __init__(self, reader: Reader, graph: Graph, names: dict[int, str], depth: int = 0) -> None:
        if depth > MOST_DEPTH:
            raise FormatError(f"expected subgraphs at most {MOST_DEPTH} deep inside operators, found deeper ones")
        self.reader = reader
        self.graph = graph
        self.names = names
        self.depth = depth
        self.things: dict[int, object] = {}
        self.unneeded: set[int] = set()

    def title(self, index: int) -> str:
        """The name of a tensor in the file."""
        return self.graph.tensors[index].string(3) or f"tensor {index}"

    def tensor(self, index: int) -> str:
        """What a tensor is called in the graph; constants are entered when they are first asked for."""
        found = self.names.get(index)
        if found is None:
            if index < 0:
                raise FormatError("expected a tensor, found none")
            if index in self.things:
                raise FormatError(f"{self.graph.name(index)}: expected an array, found a variable or a list")
            found = self.names[index] = self.reader.builder.constant(self._constant(index), self.title(index))
        return found

    def thing(self, index: int) -> object:
        """A variable or list."""
        if index not in self.things:
            raise FormatError(f"{self.graph.name(index)}: expected a variable or a list, found an array or nothing")
        return self.things[index]

    def _constant(self, index: int) -> Array:
        graph = self.graph
        if index in graph.producers:
            raise FormatError(
                f"{graph.name(index)}: expected operators in the order of computation, found it used before"
            )
        stored = graph.stored(index)
        if stored.dtype.kind == "f":
            return stored.astype(np.float32) if stored.dtype.itemsize == 2 else stored
        if stored.dtype.itemsize == 1 and graph.is_quantised(index):
            by_operator = all(one.code == DEQUANTIZE for one in graph.consumers.get(index, ()))
            return graph.dequantised(index, by_operator)
        return stored
