"""The graph while a program is read: what sizes settle is known of each tensor as soon as it is there."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.builder import Builder, TooManyError
from ....graph.graph import Graph, Node, Value, prune
from ....graph.operators import Array
from ....graph.passes.constants import Folder

_ROOM = 1 << 20  # bytes of constants that are computed as they come; more where it is asked for

_MOST_WALKS = 1 << 21  # nodes that are looked at to find what settles others


class Writer(Builder):
    """A `Builder` that computes with open sizes, as PyTorch's programs do throughout.

    Parameters
    ----------
    room : int
        Bytes of constants that the file justifies.
    most : int
        Nodes that it justifies.
    """

    def __init__(self, room: int, most: int) -> None:
        super().__init__()
        self._most = most
        self._folder = Folder(Graph((), (), ()), {}, {}, _ROOM)
        self._folder.work = _ROOM
        self.types = self._folder.types
        self._room = room
        self._walks = 0
        self._settled: dict[str, Array | None] = {}

    def constant(self, value: Any, base: str = "constant") -> str:
        """A constant.

        Raises
        ------
        FormatError
            More numbers than the file justifies.
        """
        self.expect_room(np.asarray(value).nbytes)
        self._room -= np.asarray(value).nbytes
        name = super().constant(value, base)
        self._folder.known[name] = self.constants[name]
        return name

    def expect_room(self, size: int) -> None:
        """Refuse to make a constant of more bytes than the file justifies.

        Raises
        ------
        FormatError
            There is no room for it.
        """
        if size > self._room:
            raise FormatError(f"expected constants that a file of this size justifies, found {size} bytes more")

    def _learn(self, made: Node) -> None:
        """Fold it: what it makes may be settled."""
        if len(self.nodes) > self._most:
            raise TooManyError(f"expected at most {self._most} nodes of a program of this size, found more")
        self._folder.step(made)
        self._folder.nodes.clear()  # they are here
        for one in made.outputs:
            first = self._folder.find(one)
            if first != one and first in self.types:
                self.types[one] = self.types[first]

    def value(self, name: str) -> Array | None:
        """The value of a tensor that is a constant, or small and settled by constants; or None."""
        return self._folder.known.get(self._folder.find(name))

    def settled(self, name: str) -> Array | None:
        """The same, of whatever size."""
        name = self._folder.find(name)
        found = self._folder.known.get(name)
        if found is None and name not in self._settled:
            self._walks += len(self.nodes)
            if self._walks > _MOST_WALKS:
                return None
            nodes = prune(self.nodes, used := {name})
            constants = {one: value for one, value in self.constants.items() if one in used}
            walk = Folder(Graph(self.inputs, [Value(name)], nodes, constants), {}, {}, self._room)
            walk.run()
            self._room, self._settled[name] = walk.room, walk.known.get(walk.find(name))
        return self._settled[name] if found is None else found
