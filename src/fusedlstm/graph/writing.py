"""Nodes and constants beside those of a graph, under names that nothing has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .graph import Node, node
from .operators import Array


class Writing:
    """What is written so far.

    Parameters
    ----------
    constants : dict
        Those that are there.
    taken : iterable of str
        Names that are used, those of constants as well.
    """

    def __init__(self, constants: Mapping[str, Array], taken: Iterable[str]) -> None:
        self.nodes: list[Node] = []
        self.constants = dict(constants)
        self._taken = set(taken)

    def fresh(self, base: str) -> str:
        """A name that nothing has."""
        name, k = base, 1
        while name in self._taken:
            k += 1
            name = f"{base}~{k}"
        self._taken.add(name)
        return name

    def constant(self, value: Any, base: str) -> str:
        """A constant."""
        array = np.asarray(value)
        array.flags.writeable = False
        name = self.fresh(base)
        self.constants[name] = array
        return name

    def add(self, op: str, inputs: Sequence[str], base: str, **attributes: Any) -> str:
        """A node with one output."""
        name = self.fresh(base)
        self.nodes.append(node(op, inputs, name, base, **attributes))
        return name
