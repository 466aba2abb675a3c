"""A graph while it is rewritten: nodes that can be changed, who makes a tensor and who takes it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import FormatError
from .dims import known
from .graph import Graph, Node, Value, captures, graphs_of, node
from .operators import OPERATORS, Array, Call, Shape, TensorType, UnknownError

_REFUSED = "refused "


class DraftNode:
    """A node of a draft."""

    __slots__ = ("alive", "attributes", "captured", "inputs", "name", "op", "original", "outputs", "refused")

    def __init__(self, original: Node, captured: list[str]) -> None:
        self.original: Node | None = original
        self.op = original.op if not original.refused else f"{_REFUSED}{original.op}"  # which no pass looks for
        self.inputs = list(original.inputs)
        self.outputs = list(original.outputs)
        self.attributes: Mapping[str, Any] = original.attributes
        self.name = original.name
        self.refused = original.refused
        self.captured = captured  # what graphs inside it take from here
        self.alive = True

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]

    def freeze(self) -> Node:
        """As a `Node`."""
        original, inputs, outputs = self.original, tuple(self.inputs), tuple(self.outputs)
        if original is not None and original.inputs == inputs and original.outputs == outputs:
            return original
        return Node(self.op.removeprefix(_REFUSED), inputs, outputs, self.attributes, self.name, self.refused)


class Draft:
    """A graph while passes rewrite it.

    Parameters
    ----------
    graph : Graph
        As `fold` leaves it: with types.

    Attributes
    ----------
    changed : bool
        Whether anything was rewritten.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = dict(graph.constants)
        self.types = dict(graph.types)
        self.outputs = [one.name for one in graph.outputs]
        self.nodes = [
            DraftNode(one, [name for inner in graphs_of(one) for name in captures(inner)]) for one in graph.nodes
        ]
        self.maker: dict[str, DraftNode] = {}
        self.users: dict[str, dict[DraftNode, int]] = {}  # and how often each takes it
        self.changed = False
        for one in self.nodes:
            self._enter(one)

    def _enter(self, one: DraftNode) -> None:
        for name in one.outputs:
            if name:
                self.maker[name] = one
        for name in (*one.inputs, *one.captured):
            if name:
                self._use(one, name)

    def _use(self, one: DraftNode, name: str, times: int = 1) -> None:
        users = self.users.setdefault(name, {})
        users[one] = users.get(one, 0) + times
        if not users[one]:
            del users[one]

    def __iter__(self) -> Iterator[DraftNode]:
        """The nodes at this moment; those that are removed meanwhile are left out."""
        return (one for one in list(self.nodes) if one.alive)

    def of(self, *ops: str) -> Iterator[DraftNode]:
        """The nodes of some operators."""
        return (one for one in list(self.nodes) if one.op in ops and one.alive)

    def made_by(self, name: str, *ops: str) -> DraftNode | None:
        """The node that makes a tensor, if it is of one of these operators."""
        one = self.maker.get(name)
        return one if one is not None and (not ops or one.op in ops) else None

    def taken_by(self, name: str, *ops: str) -> DraftNode | None:
        """The one node that takes a tensor, if it is of one of these operators and nothing else needs the tensor."""
        users = self.users.get(name, {})
        if len(users) != 1 or name in self.outputs:
            return None
        ((one, times),) = users.items()
        return one if times == 1 and (not ops or one.op in ops) and name not in one.captured else None

    def uses(self, name: str) -> int:
        """How often a tensor is taken, as an output of the graph too."""
        return sum(self.users.get(name, {}).values()) + (name in self.outputs)

    def shape(self, name: str) -> Shape | None:
        """The shape of a tensor, with a `Dim` for what is open; None: not known."""
        kind = self.types.get(name)
        return None if kind is None else kind.shape

    def value(self, name: str) -> Value:
        """A tensor as an input of another graph."""
        kind = self.types.get(name)
        return Value(name) if kind is None else Value(name, kind.dtype, kind.shape)

    def concrete(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor if every size is known."""
        shape = self.shape(name)
        return shape if shape is not None and known(shape) else None

    def constant(self, name: str) -> Array | None:
        """The value of a constant."""
        return self.constants.get(name)

    def scalar(self, name: str) -> float | None:
        """The value of a constant of one element."""
        value = self.constants.get(name)
        return None if value is None or value.size != 1 else value.reshape(()).item()

    def parts(self, one: DraftNode | None) -> tuple[str, Array] | None:
        """Of a node with two inputs the one that is computed and the one that is constant."""
        if one is None or len(one.inputs) != 2:
            return None
        for first, second in (one.inputs, one.inputs[::-1]):
            value = self.constants.get(second)
            if value is not None and first not in self.constants:
                return first, value
        return None

    def ints(self, one: DraftNode, index: int) -> tuple[int, ...] | None:
        """The whole numbers of an input that is constant."""
        value = self.constants.get(one.inputs[index]) if index < len(one.inputs) and one.inputs[index] else None
        return None if value is None else tuple(value.reshape(-1).tolist())

    def fresh(self, base: str) -> str:
        """A name that is not taken."""
        k = 1
        while True:
            name = f"{base}'{k}" if k > 1 else f"{base}'"
            if name not in self.maker and name not in self.constants and name not in self.types:
                return name
            k += 1

    def add_constant(self, value: Any, base: str) -> str:
        """A new constant."""
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        array.flags.writeable = False
        name = self.fresh(base)
        self.constants[name] = array
        self.types[name] = TensorType(array.shape, array.dtype)
        return name

    def add(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str] | str, name: str = "", **attributes: Any
    ) -> DraftNode:
        """A new node; outputs that another node makes are taken over from it."""
        made = node(op, inputs, outputs, name, **attributes)
        one = DraftNode(made, [name for inner in graphs_of(made) for name in captures(inner)])
        for output in one.outputs:
            before = self.maker.get(output)
            if before is not None:
                before.outputs = ["" if other == output else other for other in before.outputs]
                before.original = None
        self.nodes.append(one)
        self._enter(one)
        self._type(one)
        self.changed = True
        return one

    def between(self, op: str, inputs: Sequence[str], base: str, name: str = "", **attributes: Any) -> str:
        """The output of a new node, under a new name."""
        return self.add(op, inputs, self.fresh(base), name, **attributes).output

    def _type(self, one: DraftNode) -> None:
        kinds = [self.types.get(name) if name else None for name in one.inputs]
        if any(name and kind is None for name, kind in zip(one.inputs, kinds)):
            return
        values = [self.constants.get(name) for name in one.inputs]
        shapes = [None if kind is None else kind.shape for kind in kinds]
        dtypes = [None if kind is None else kind.dtype for kind in kinds]
        try:
            found = OPERATORS[one.op].shape(Call(one.attributes, shapes, dtypes, values, len(one.outputs)))
        except UnknownError:
            return
        except (ValueError, IndexError, TypeError) as error:
            raise FormatError(f"{one.op} node {one.name or one.output!r}: {error}") from error
        self.types.update((name, kind) for name, kind in zip(one.outputs, found) if name)

    def remove(self, *nodes: DraftNode) -> None:
        """Take nodes out, if nothing needs what they make, with all that they alone needed."""
        waiting = list(nodes)
        while waiting:
            one = waiting.pop()
            if not one.alive or any(name and self.uses(name) for name in one.outputs):
                continue
            one.alive = False
            self.changed = True
            for name in one.outputs:
                self.maker.pop(name, None)
            for name in filter(None, [*one.inputs, *one.captured]):
                self._use(one, name, -1)
                if not self.users[name] and (maker := self.maker.get(name)) is not None:
                    waiting.append(maker)

    def rewire(self, one: DraftNode, index: int, name: str) -> None:
        """Give a node another input."""
        old = one.inputs[index]
        if old:
            self._use(one, old, -1)
        one.inputs[index] = name
        while one.inputs and not one.inputs[-1]:
            one.inputs.pop()
        if name:
            self._use(one, name)
        one.original = None
        self.changed = True
        maker = self.maker.get(old)
        if maker is not None:
            self.remove(maker)

    def forward(self, old: str, new: str) -> bool:
        """Let everything that takes `old` take `new` instead; False if nothing could."""
        done = False
        for one in list(self.users.get(old, ())):
            if old in one.captured:
                continue
            for index, name in enumerate(one.inputs):
                if name == old:
                    one.inputs[index] = new
                    one.original = None
                    self._use(one, old, -1)
                    self._use(one, new)
                    done = True
        maker = self.maker.get(new)
        if old in self.outputs and maker is not None and new not in self.outputs and not self._captured(new):
            self._rename(new, old, maker)
            done = True
        elif self.uses(old) == 0 and old in self.maker:
            self.remove(self.maker[old])
            done = True
        self.changed |= done
        return done

    def _captured(self, name: str) -> bool:
        return any(name in one.captured for one in self.users.get(name, ()))

    def _rename(self, new: str, old: str, maker: DraftNode) -> None:
        """Give the tensor `new` the name `old`, an output of the graph whose maker goes."""
        before = self.maker[old]
        before.outputs = ["" if name == old else name for name in before.outputs]
        before.original = None
        maker.outputs = [old if name == new else name for name in maker.outputs]
        maker.original = None
        del self.maker[new]
        self.maker[old] = maker
        for one, times in self.users.pop(new, {}).items():
            one.inputs = [old if name == new else name for name in one.inputs]
            one.original = None
            self._use(one, old, times)
        if new in self.types:
            self.types[old] = self.types.pop(new)
        self.remove(before)

    def finish(self) -> Graph:
        """The graph as it is now, in order of computation."""
        if not self.changed:
            return self.graph
        nodes = self.ordered(self.outputs)
        used = set(self.outputs)
        for one in nodes:
            used.update(one.inputs)
            used.update(one.captured)
        names = used | set(self.maker)
        return self.graph.replace(
            nodes=tuple(one.freeze() for one in nodes),
            constants={name: value for name, value in self.constants.items() if name in used},
            types={name: kind for name, kind in self.types.items() if name in names},
        )

    def ordered(self, names: Sequence[str], stops: Container[str] = ()) -> list[DraftNode]:
        """The nodes that lead to some tensors, in order of computation, from those on that are given as `stops`."""
        order: list[DraftNode] = []
        state: dict[DraftNode, int] = {}
        for name in names:
            stack = [self.maker.get(name)]
            while stack:
                one = stack[-1]
                if one is None or state.get(one) == 2:
                    stack.pop()
                elif state.get(one) == 1:
                    state[one] = 2
                    order.append(one)
                    stack.pop()
                else:
                    state[one] = 1
                    stack.extend(
                        maker
                        for name in reversed([*one.inputs, *one.captured])
                        if name not in stops and (maker := self.maker.get(name)) is not None and maker not in state
                    )
        return order
