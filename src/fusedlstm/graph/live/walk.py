"""What a model does along time: each node in turn is asked how it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import FormatError
from ..dims import Dim, known
from ..graph import Graph, Node, captures, graphs_of
from ..operators import OPERATORS, Array, TensorType
from ..passes import apply, settle
from ..passes.constants import Folder
from ..passes.convolution import edges_apart
from .chunk import Chunk, State
from .counting import counted
from .flow import AHEAD, Flow, Moved, Moving
from .repeated import repeated

_ROOM = 1 << 24  # bytes of constants that fixed inputs and the batch may make
TIME = Dim.symbol("time")


@dataclass(frozen=True, eq=False)
class Entry:
    """A node, and what writes it for a chunk."""

    node: Node
    write: Callable[[Chunk], None] | None


class Walk:
    """What a model does along time.

    Parameters
    ----------
    graph : Graph
        As `simplify` leaves it.
    shapes : dict
        Of each input that goes along time its shape, with `TIME` for the axis of steps.
    fixed : dict
        The other inputs.
    every_step : bool
        Whether what is the last step's alone is wanted at every step.
    rows : bool
        Whether the axis is that of rows instead: then none may see another.

    Raises
    ------
    ValueError
        A node that does not go along time step by step; the message names it and says why.
    """

    def __init__(
        self,
        graph: Graph,
        shapes: Mapping[str, tuple[Any, ...]],
        fixed: Mapping[str, Array],
        every_step: bool = False,
        rows: bool = False,
    ) -> None:
        from . import rules  # noqa: F401  (enters how operators go)

        self.every_step, self.rows = every_step, rows
        self.inputs = {
            one.name: TensorType(shapes[one.name], one.dtype)  # type: ignore[arg-type]
            for one in graph.inputs
            if one.name in shapes
        }
        try:
            folder = Folder(graph, self.inputs, fixed, _ROOM)
            self.graph = apply(edges_apart, settle(folder.run()))
        except FormatError as error:
            raise ValueError(f"stream: {error}") from error
        self.symbolic = folder.symbolic
        self.outputs = [one.name for one in self.graph.outputs]
        self.flows = {name: Flow(shape.index(TIME)) for name, shape in shapes.items()}
        self.states: list[State] = []
        self.entries: list[Entry] = []
        self.offsets: list[Callable[[int, int], int]] = []
        self._used = {name for one in self.graph.nodes for name in one.inputs} | set(self.outputs)
        self._merged: set[str] = set()
        self._sizes: set[str] = set()  # what follows from how long the input is
        for one in self.graph.nodes:
            try:
                self._visit(one)
            except ValueError as error:
                raise ValueError(f"stream: {one.title}: {error}") from error
        for name in self.outputs:
            self._hand_out(name)
        distinct = set(self.flows.values())
        self.warm = max(max(one.start, one.first) for one in distinct)
        self.period = int(np.lcm.reduce([one.stride for one in distinct]))
        self._distinct = sorted(distinct, key=repr)

    @property
    def alive(self) -> bool:
        """Whether anything is kept from step to step."""
        return bool(self.states)

    def merged(self, name: str) -> bool:
        """Whether steps and rows of a tensor, or of one that it is made of, were put together on one axis."""
        return name in self._merged

    def state(self, node: Node, what: str, initial: Array) -> State:
        """A new state of a node, by a name for any number of rows: the order of nodes may differ with it."""
        if self.rows:
            raise ValueError("rows see each other")
        named = node.name and sum((one.name, one.op) == (node.name, node.op) for one in self.graph.nodes) == 1
        name = f"{node.name if named else next(filter(None, node.outputs))}.{what}"
        taken, k = {one.name for one in self.states}, 1
        base = name
        while name in taken:
            k += 1
            name = f"{base}~{k}"
        found = State(name, initial)
        self.states.append(found)
        return found

    def as_long(self, size: object) -> Flow | None:
        """How a tensor goes that has `size` steps, whatever the length of the input; the one that is there first."""
        types = {**self.graph.types, **self.inputs}
        found = [
            flow.alone
            for name, flow in self.flows.items()
            if (flow.outer, flow.tail, flow.last) == (1, 0, False)
            and name in types
            and types[name].shape[flow.axis] == size
        ]
        return min(found, key=lambda flow: flow.start, default=None)

    def key(self, before: int, count: int) -> tuple[int, ...]:
        """Chunks of one key have one graph."""
        made = [one.settled(before + count) - one.settled(before) for one in self._distinct]
        return (*made, *(offset(before, count) for offset in self.offsets))

    def _visit(self, one: Node) -> None:
        inside = [name for graph in graphs_of(one) for name in captures(graph)]
        if any(name in self.flows or name in self._sizes for name in inside):
            raise ValueError("the graphs inside it look at the steps")
        flows = [self.flows.get(name) if name else None for name in one.inputs]
        moving = [flow for flow in flows if flow is not None]
        if one.op in ("Shape", "Size") or (not moving and any(name in self._sizes for name in one.inputs)):
            same = None
            if one.op == "Range":
                same = counted(self, one)
            elif one.inputs[0] not in self._sizes or len(one.inputs) == 1:
                same = repeated(self, one)
            if same is None:
                self._sizes.update(one.outputs)
            else:
                self.flows[one.outputs[0]], write = same
                self.entries.append(Entry(one, write))
            return
        if not moving:
            self.entries.append(Entry(one, None))
            return
        types = self.graph.types
        moved = self._moved(one, flows)
        for name, flow in zip(one.outputs, moved.outputs):
            if not name:
                continue
            if flow is None:
                self._sizes.add(name)
                continue
            kind = types.get(name)
            if kind is None and name not in self._used:
                continue
            if kind is None:
                raise ValueError("its shape depends on values that are known only when it runs")
            rest = [size for axis, size in enumerate(kind.shape) if axis != flow.axis]
            if not known(tuple(rest)):
                raise ValueError(f"expected its shape to depend on the steps along one axis, found {kind.shape}")
            if self.rows and (flow.pace, flow.tail) != (Flow(0).pace, 0):
                raise ValueError("rows see each other")
            self.flows[name] = flow
            if any(self._joins(one, flow, other) for other in one.inputs if other in self.flows):
                self._merged.add(name)
        self.entries.append(Entry(one, moved.write))

    def _joins(self, one: Node, flow: Flow, name: str) -> bool:
        """Whether the steps of an input become rows beside others, or were."""
        before = self.flows[name]
        moved = flow.axis < before.axis or (before.outer, before.inner) != (flow.outer, flow.inner)
        return self.merged(name) or (moved and one.op in ("Reshape", "Flatten"))

    def _moved(self, one: Node, flows: list[Flow | None]) -> Moved:
        types, constants = self.graph.types, self.graph.constants
        rule = OPERATORS[one.op].live
        if one.refused:
            raise ValueError(one.refused)
        if all(flow is None or flow.last for flow in flows):
            if any(name in self._sizes for name in one.inputs):
                raise ValueError("it depends on how long the sequence is")
            return Moved([_latest([flow for flow in flows if flow is not None])] * len(one.outputs))
        if any(flow is not None and flow.last for flow in flows):
            raise ValueError("steps that were before would need the last step, which is not there yet")
        if rule is None:
            raise ValueError(f"{one.op} needs the whole sequence, or is not known to go along time step by step")
        moving = Moving(
            self,
            one,
            flows,
            [types[name].shape if name in types else () for name in one.inputs],
            [types[name].shape if name in types else () for name in one.outputs],
            [constants.get(name) for name in one.inputs],
        )
        used = [
            name for k, name in enumerate(one.inputs) if name in self._sizes and k not in OPERATORS[one.op].shape_inputs
        ]
        if used:
            raise ValueError("it depends on how long the sequence is")
        found: Moved = rule(moving)
        return found

    def _hand_out(self, name: str) -> None:
        flow = self.flows.get(name)
        if flow is None:
            raise ValueError(f"stream: output {name!r}: expected it to depend on the input, found that it does not")
        if flow.tail and flow.blame is not None:
            raise ValueError(f"stream: {flow.blame.title}: {AHEAD}")
        if not flow.last and flow.outer != 1:
            raise ValueError(f"stream: output {name!r}: expected an axis of steps, found one that rows share with them")


def _latest(flows: list[Flow]) -> Flow:
    first = flows[0]
    if any((one.stride, one.rate) != (first.stride, first.rate) for one in flows):
        raise ValueError("expected inputs that come equally often, found others")
    if len({step % first.stride for one in flows for step in (one.start, one.need)}) > 1:
        raise ValueError("expected inputs that come at the same steps, found others")
    return max(flows, key=lambda one: (one.start, one.need))
