"""The graph of one chunk of steps: what is kept comes in and goes out as states."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import Graph, Node, Value
from ..operators import Array, TensorType
from ..writing import Writing
from .flow import Flow

if TYPE_CHECKING:
    from .walk import Walk

_MOST = 1 << 26
"""Numbers that one window keeps."""


@dataclass(frozen=True, eq=False)
class State:
    """What is kept from chunk to chunk: a name, and what it is at first."""

    name: str
    initial: Array


class Chunk(Writing):
    """The nodes for `count` steps that follow `before` others.

    Parameters
    ----------
    walk : Walk
        What the model does along time.
    before, count : int
        Steps of the input.
    """

    def __init__(self, walk: Walk, before: int, count: int) -> None:
        super().__init__(walk.graph.constants, {*walk.graph.types, *walk.graph.constants})
        self.walk, self.before, self.count = walk, before, count
        self.kept: dict[State, tuple[str, str]] = {}  # the input and the output of each state
        self._names: dict[str, str] = {}
        for entry in walk.entries:
            flows = [walk.flows[name] for name in entry.node.inputs if name in walk.flows]
            if all(flow.last for flow in flows):  # some come later than others
                there = all(map(self.new, flows))
            else:  # steps in front may come before the first one
                made = [walk.flows[name] for name in entry.node.outputs if name in walk.flows]
                there = any(map(self.new, (*flows, *made)))
            if there:
                if entry.write is None:
                    self.copy(entry.node)
                else:
                    entry.write(self)

    def new(self, flow: Flow) -> int:
        """Steps that come in this chunk."""
        return flow.settled(self.before + self.count) - flow.settled(self.before)

    def name(self, name: str) -> str:
        """What a tensor of the model is called here."""
        return self._names.get(name, name)

    def put(self, name: str, here: str) -> None:
        """A tensor of the model is this one."""
        self._names[name] = here

    def copy(self, one: Node, inputs: Sequence[str] | None = None, **attributes: Any) -> None:
        """A node of the model, with other inputs or attributes where they are given."""
        taken = tuple(self.name(name) if name else "" for name in one.inputs) if inputs is None else tuple(inputs)
        self.nodes.append(Node(one.op, taken, one.outputs, {**one.attributes, **attributes}, one.name))

    def keep(self, state: State, name: str) -> None:
        """What a state is after this chunk; `state` must have been asked for."""
        self.kept[state] = (self.kept[state][0], name)

    def state(self, state: State) -> str:
        """What a state is before this chunk."""
        if state not in self.kept:
            name = self.fresh(state.name)
            self.kept[state] = (name, name)
        return self.kept[state][0]

    def sliced(self, name: str, axis: int, start: int, stop: int) -> str:
        """Some steps of a tensor."""
        ends = [self.constant(np.array([one], np.int64), f"{name}/slice") for one in (start, stop, axis)]
        return self.add("Slice", [name, *ends], name)

    def graph(self) -> Graph:
        """All of it: the inputs of the model and the states in, the outputs and the states out."""
        walk = self.walk
        given = [Value(name, kind.dtype, self.sized(kind, walk.flows[name])) for name, kind in walk.inputs.items()]
        states = [Value(one, state.initial.dtype, state.initial.shape) for state, (one, _) in self.kept.items()]
        made = [Value(self.name(name)) for name in walk.outputs if self.new(walk.flows[name])]
        kept = [Value(name) for _, name in self.kept.values()]
        used = {name for one in self.nodes for name in one.inputs}
        used.update(one.name for one in made)
        constants = {name: value for name, value in self.constants.items() if name in used}
        return Graph([*given, *states], [*made, *kept], self.nodes, constants, walk.graph.name)

    def sized(self, kind: TensorType, flow: Flow) -> tuple[int, ...]:
        """The shape of a tensor here."""
        return tuple(
            flow.outer * self.new(flow) * flow.inner if axis == flow.axis else size
            for axis, size in enumerate(kind.shape)
        )


class Window:
    """The last steps of a tensor, which are kept for what comes.

    Parameters
    ----------
    walk : Walk
        Where its state is entered.
    name : str
        The tensor.
    past : int
        How many steps are kept.
    node : Node
        What looks at them.
    order : sequence of int, optional
        The axes as they are kept; time is the second.
    fill : number
        What comes before the first step.
    """

    def __init__(
        self, walk: Walk, name: str, past: int, node: Node, order: Sequence[int] | None = None, fill: float = 0
    ) -> None:
        self.name, self.past, self.order = name, past, order
        self.flow = walk.flows[name].alone
        kind = walk.graph.types[name]
        self.axis = self.flow.axis if order is None else list(order).index(self.flow.axis)
        shape = [past if axis == self.flow.axis else size for axis, size in enumerate(kind.shape)]
        shape = shape if order is None else [shape[axis] for axis in order]
        if math.prod(shape) > _MOST:
            raise ValueError(f"expected at most {_MOST} numbers of the past, found {math.prod(shape)}")
        self.state = walk.state(node, "past", np.full(shape, fill, kind.dtype)) if past else None

    def take(self, chunk: Chunk, start: int, stop: int) -> str:
        """The steps from `start` to `stop`, counted from the tensor's first one; "" where there are none."""
        x, seen = chunk.name(self.name), self.flow.settled(chunk.before)
        count = chunk.new(self.flow)
        if not count:
            return ""
        if self.order is not None:
            x = chunk.add("Transpose", [x], x, perm=tuple(self.order))
        if self.state is not None:
            x = chunk.add("Concat", [chunk.state(self.state), x], x, axis=self.axis)
            chunk.keep(self.state, chunk.sliced(x, self.axis, count, count + self.past))
            seen, count = seen - self.past, count + self.past
        if stop <= start:
            return ""
        if (start, stop) != (seen, seen + count):
            x = chunk.sliced(x, self.axis, start - seen, stop - seen)
        if self.order is not None:
            inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
            x = chunk.add("Transpose", [x], x, perm=tuple(inverse))
        return x

    def slid(self, walk: Walk, made: Flow, step: int, first: int, reach: int) -> Callable[[Chunk], str]:
        """What windows over the tensor see of it in a chunk.

        Parameters
        ----------
        walk : Walk
            Where chunks of one kind are told apart.
        made : Flow
            What the windows make.
        step, first, reach : int
            From one window to the next, where the first one begins, and how many steps each sees.
        """
        flow = self.flow
        walk.offsets.append(
            lambda n, t: made.settled(n) * step - flow.settled(n) if made.settled(n + t) > made.settled(n) else 0
        )

        def take(chunk: Chunk) -> str:
            start, count = made.settled(chunk.before) * step + first, chunk.new(made)
            return self.take(chunk, start, start + (count - 1) * step + reach if count else start)

        return take
