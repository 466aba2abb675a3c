"""A graph while a reader writes it: nodes one after another, each tensor with its type as soon as it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import FormatError
from .graph import MAX_NODES, Graph, Node, Value, node, prune
from .operators import OPERATORS, Array, Call, Shape, TensorType, UnknownError


class Builder:
    """Nodes, constants and what is known of each tensor.

    Attributes
    ----------
    types : dict
        The type of each tensor; those that depend on what is refused, or on values, are missing.
    """

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.types: dict[str, TensorType] = {}
        self._taken: dict[str, int] = {}

    def fresh(self, base: str) -> str:
        """A name that nothing has."""
        while True:
            count = self._taken.get(base, 0)
            self._taken[base] = count + 1
            name = f"{base}~{count}" if count else base
            if not count or name not in self._taken:
                self._taken.setdefault(name, 1)
                return name

    def input(self, value: Value) -> str:
        """Another input of the graph."""
        name = self.fresh(value.name)
        made = Value(name, value.dtype, value.shape)
        self.inputs.append(made)
        self.types.update(Graph((made,), (), ()).input_types())
        return name

    def constant(self, value: Any, base: str = "constant") -> str:
        """A constant."""
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        array.flags.writeable = False
        name = self.fresh(base)
        self.constants[name] = array
        self.types[name] = TensorType(array.shape, array.dtype)
        return name

    def add(
        self, op: str, inputs: Sequence[str], base: str, outputs: int = 1, name: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """A node; the names of its outputs.

        Raises
        ------
        FormatError
            Inputs that do not fit together, or more nodes than a graph may have.
        """
        names = tuple(self.fresh(base) for _ in range(outputs))
        made = node(op, inputs, names, name or base, **attributes)
        self._enter(made)
        self._learn(made)
        return names

    def refuse(self, op: str, inputs: Sequence[str], base: str, name: str, reason: str) -> str:
        """A node that cannot be run, and why; what does not depend on it may be wanted all the same."""
        output = self.fresh(base)
        self._enter(Node(op, tuple(inputs), (output,), {}, name, reason))
        return output

    def shape(self, name: str) -> Shape | None:
        """The shape of a tensor, with a `Dim` for what is open; None: not known."""
        kind = self.types.get(name)
        return None if kind is None else kind.shape

    def finish(self, outputs: Sequence[Value], name: str = "") -> Graph:
        """The graph of what some outputs need."""
        used = {one.name for one in outputs}
        nodes = prune(self.nodes, used)
        constants = {one: value for one, value in self.constants.items() if one in used}
        return Graph(self.inputs, outputs, nodes, constants, name)

    def _enter(self, made: Node) -> None:
        if len(self.nodes) >= MAX_NODES:
            raise TooManyError(f"expected at most {MAX_NODES} nodes, found more")
        self.nodes.append(made)

    def _learn(self, made: Node) -> None:
        """Find the types of what a node makes."""
        kinds = [self.types.get(one) if one else None for one in made.inputs]
        if all(kind is not None for one, kind in zip(made.inputs, kinds) if one):
            self.types.update(zip(made.outputs, self._typed(made, kinds)))

    def _typed(self, made: Node, kinds: Sequence[TensorType | None]) -> list[TensorType]:
        values = [self.constants.get(one) for one in made.inputs]
        shapes = [None if kind is None else kind.shape for kind in kinds]
        dtypes = [None if kind is None else kind.dtype for kind in kinds]
        try:
            return OPERATORS[made.op].shape(Call(made.attributes, shapes, dtypes, values, len(made.outputs)))
        except UnknownError:
            return []
        except (ValueError, IndexError, TypeError) as error:
            raise FormatError(f"{made.op} of {', '.join(str(shape) for shape in shapes)}: {error}") from error


class TooManyError(FormatError):
    """More nodes than a graph may have: no single one of them is at fault."""
