"""WHILE as ONNX's Loop: what counts becomes the number of the turn, what is collected an output of each turn.

TensorFlow's loops carry everything: counters, weights, the sequence, the tensor that the outputs are put into. What
stays the same is taken from around the loop, and what is left are the states. Passes find the LSTM in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.graph import Graph as Whole
from ....graph.graph import Value, prune
from ....graph.operators import TensorType
from ..graph import Graph
from .call import BOOL, INT64, Call
from .collected import Collected, collected
from .lists import TensorList
from .registry import operator
from .schema import name_of
from .scope import Scope

_VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


@dataclass
class _Counter:
    first: int
    step: int
    kind: np.dtype[Any]


@dataclass
class _Loop:
    """One loop while it is read, its carried tensors by their place."""

    call: Call
    body: Graph
    counters: dict[int, _Counter] = field(default_factory=dict)
    same: set[int] = field(default_factory=set)
    states: list[int] = field(default_factory=list)
    gathered: dict[int, Collected] = field(default_factory=dict)
    lists: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many tensors are carried."""
        return len(self.call.operator.inputs)

    def classify(self) -> None:
        """What each carried tensor is."""
        body, outside = self.body, self.call.scope
        for k in range(self.count):
            start, end = body.ordered_inputs[k], body.ordered_outputs[k]
            if start == end:
                self.same.add(k)
            elif self.call.operator.inputs[k] in outside.things:
                self.lists.append(k)
            elif (counter := self._counter(k)) is not None:
                self.counters[k] = counter
            else:
                found = collected(body, k)
                if found is not None:
                    self.gathered[k] = found
                else:
                    self.states.append(k)

    def _counter(self, k: int) -> _Counter | None:
        """A whole number that grows by the same in each turn."""
        body, first = self.body, self.call.value(k)
        start, one = body.ordered_inputs[k], body.producers.get(body.ordered_outputs[k])
        if first is None or first.size != 1 or first.dtype.kind != "i" or one is None or name_of(one.code) != "ADD":
            return None
        others = [index for index in one.inputs if index != start]
        if len(one.inputs) != 2 or len(others) != 1 or others[0] < 0 or not body.has_data(others[0]):
            return None
        step = body.stored(others[0])
        if step.dtype.kind != "i" or step.size != 1 or step.item() < 1:
            return None
        return _Counter(int(first.reshape(-1)[0]), int(step.item()), first.dtype)

    def last_of(self, index: int) -> tuple[int, int] | None:
        """Of what a turn makes the state whose new value it is, views aside."""
        ends = {self.body.ordered_outputs[k]: k for k in self.states if not self.is_unread(k)}
        shown = index
        for _ in range(8):
            if index in ends:
                return ends[index], shown
            one = self.body.producers.get(index)
            if one is None or name_of(one.code) not in _VIEWS or not one.inputs:
                return None
            index = one.inputs[0]
        return None

    def is_unread(self, k: int) -> bool:
        """Whether a turn does not look at a state: its last value is all that matters."""
        start = self.body.ordered_inputs[k]
        return start not in self.body.consumers and start not in self.body.outputs


def _subgraph(call: Call, number: int) -> Graph:
    graphs = call.scope.reader.model.graphs
    if not 0 <= number < len(graphs):
        raise FormatError(f"expected one of {len(graphs)} subgraphs, found {number}")
    found = graphs[number]
    ends = [*found.ordered_inputs, *found.ordered_outputs]
    if any(not 0 <= index < len(found.tensors) for index in ends):
        raise FormatError(f"expected inputs and outputs among {len(found.tensors)} tensors, found {ends[:8]}")
    return found


@operator("WHILE", options=93, inputs=(1, 256))
def _while(call: Call) -> list[str | None]:
    condition, body = (_subgraph(call, int(call.option(field, "i", 0))) for field in (0, 1))
    loop = _Loop(call, body)
    counts = {len(one) for one in (condition.ordered_inputs, body.ordered_inputs, body.ordered_outputs)}
    if counts != {loop.count} or len(condition.ordered_outputs) != 1 or len(call.operator.outputs) != loop.count:
        raise FormatError(f"expected subgraphs for {loop.count} tensors, found {sorted(counts)}")
    loop.classify()
    turns = _turns(loop, condition)
    return _write(loop, turns)


# How often it runs.


def _turns(loop: _Loop, condition: Graph) -> int | str:
    """The number of turns, or the tensor that says it."""
    known: list[int] = []
    open_: list[str] = []
    waiting = [condition.ordered_outputs[0]]
    for _ in range(32):
        if not waiting:
            break
        one = condition.producers.get(waiting.pop())
        kind = "" if one is None else name_of(one.code)
        if one is None or len(one.inputs) != 2 or kind not in ("LOGICAL_AND", "LESS", "GREATER"):
            raise FormatError(f"expected a loop that counts up to a number, found {kind or 'no comparison'}")
        if kind == "LOGICAL_AND":
            waiting += one.inputs
            continue
        counts, limit = one.inputs if kind == "LESS" else one.inputs[::-1]
        found = _limit(loop, condition, counts, limit)
        if isinstance(found, int):
            known.append(found)
        elif found not in open_:
            open_.append(found)
    if waiting or not (known or open_):
        raise FormatError("expected a loop that counts up to a number, found a longer condition")
    if not open_:
        return max(min(known), 0)
    call = loop.call
    names = [call.op("Cast", name, to=INT64) for name in open_]
    # A bound that is no number of steps (-1 or the largest integer) is none.
    names += [call.constant(np.array(one, np.int64)) for one in known if 0 <= one < (1 << 31) - 1]
    names = [call.reshape(name) if call.shape(name) != () else name for name in names]
    return names[0] if len(names) == 1 else call.op("Min", *names)


def _limit(loop: _Loop, condition: Graph, counts: int, limit: int) -> int | str:
    """The turns until a counter reaches a limit."""
    places = {index: k for k, index in enumerate(condition.ordered_inputs)}
    counter = loop.counters.get(places.get(counts, -1))
    if counter is None:
        raise FormatError("expected a loop that counts from a constant by one, found another")
    k, value = places.get(limit), None
    if k is not None:
        if k not in loop.same:
            raise FormatError("expected a loop that counts up to a number, found one that changes")
        value = loop.call.value(k)
    elif limit >= 0 and condition.has_data(limit):
        value = condition.stored(limit)
    else:
        raise FormatError("expected a loop that counts up to a number, found one that is computed each time")
    if value is not None:
        if value.size != 1 or value.dtype.kind not in "iu":
            raise FormatError(f"expected a loop that counts up to a number, found {value.dtype} {value.shape}")
        return math.ceil((int(value.reshape(-1)[0]) - counter.first) / counter.step)
    if (counter.first, counter.step) != (0, 1):
        raise FormatError("expected a loop that counts from 0 by 1, found another")
    return loop.call.input(k if k is not None else 0)


# The loop itself.


def _write(loop: _Loop, turns: int | str) -> list[str | None]:
    call, body, builder = loop.call, loop.body, loop.call.builder
    carried = [k for k in loop.states if not loop.is_unread(k)]
    outside, builder.nodes = builder.nodes, []
    try:
        inside = _inside(loop)
        scope, turn = inside
        starts = [scope.names[body.ordered_inputs[k]] for k in carried]
        call.scope.reader.run(scope)
        ends = [scope.tensor(body.ordered_outputs[k]) for k in carried]
        each = _each(loop, scope)
        inner = builder.nodes
    finally:
        builder.nodes = outside
    items = list(each.values())
    _expect_known(loop, inner, [*ends, *items])
    going = builder.fresh(f"{call.base}/going")
    builder.types[going] = TensorType((), BOOL)
    used = {*ends, *items}
    made = _graph([turn, going, *starts], prune(inner, used), [going, *ends, *items])
    count = call.constant(np.array(turns, np.int64)) if isinstance(turns, int) else turns
    first = [call.input(k) for k in carried]
    found = call.ops("Loop", [count, "", *first], len(carried) + len(items), body=made) if carried or items else []
    finals = dict(zip(carried, found))
    for name, start, end in zip(found, starts, ends):
        if builder.types.get(start) is not None and builder.types.get(start) == builder.types.get(end):
            builder.types[name] = builder.types[start]
    stacks = dict(zip(each, found[len(carried) :]))
    for key, name in stacks.items():
        kind = builder.types.get(each[key])
        if kind is not None and isinstance(turns, int):
            builder.types[name] = TensorType((turns, *kind.shape), kind.dtype)
    return [_result(loop, k, turns, finals, stacks) for k in range(loop.count)]


def _inside(loop: _Loop) -> tuple[Scope, str]:
    """The body's subgraph with what its inputs are, and the number of the turn."""
    call, body, builder = loop.call, loop.body, loop.call.builder
    scope = Scope(call.scope.reader, body, {}, call.scope.depth + 1)
    turn = builder.fresh(f"{call.base}/turn")
    builder.types[turn] = TensorType((), INT64)
    for k, start in enumerate(body.ordered_inputs):
        outer = call.operator.inputs[k]
        if k in loop.same and outer in call.scope.things:
            scope.things[start] = call.scope.things[outer]
        elif k in loop.same:
            scope.names[start] = call.input(k)
        elif k in loop.lists:
            scope.things[start] = TensorList(origin=k)
        elif k in loop.counters:
            counter = loop.counters[k]
            name = turn if counter.step == 1 else call.op("Mul", turn, call.constant(np.array(counter.step, np.int64)))
            if counter.first:
                name = call.op("Add", name, call.constant(np.array(counter.first, np.int64)))
            scope.names[start] = name if counter.kind == INT64 else call.op("Cast", name, to=counter.kind)
        else:
            name = scope.names[start] = builder.fresh(f"{call.base}/state")
            kind = builder.types.get(call.input(k))
            if kind is not None:
                builder.types[name] = kind
    return scope, turn


def _each(loop: _Loop, scope: Scope) -> dict[int, str]:
    """What each turn hands out, by the carried tensor that it is collected in."""
    body, found = loop.body, {}
    for k, one in loop.gathered.items():
        _expect_place(loop, one.place)
        item = scope.tensor(one.item)
        found[k] = item if not one.leading else loop.call.squeeze(item, 0)
    for k in loop.lists:
        end = scope.things.get(body.ordered_outputs[k])
        if not isinstance(end, TensorList) or end.origin != k or end.place < 0:
            raise FormatError("expected a list that gets one element in each turn, found another")
        loop.gathered[k] = Collected(end.place, end.item, False)
        if not _stays(loop, end.place):
            _expect_place(loop, end.place)
            found[k] = scope.tensor(end.item)
        elif loop.last_of(end.item) is None:
            found[k] = scope.tensor(end.item)
    for k in loop.states:
        if loop.is_unread(k) and _last_shape(loop, body.ordered_outputs[k]) is None:
            found[k] = scope.tensor(body.ordered_outputs[k])
    return found


def _stays(loop: _Loop, place: int) -> bool:
    """Whether each turn puts its element into the first place."""
    body = loop.body
    return place >= 0 and place not in body.inputs and body.has_data(place) and not body.stored(place).any()


def _expect_place(loop: _Loop, place: int) -> None:
    body = loop.body
    counter = next((one for k, one in loop.counters.items() if body.ordered_inputs[k] == place), None)
    if counter is None or (counter.first, counter.step) != (0, 1):
        raise FormatError("expected elements at the places of the turns, found other places")


def _last_shape(loop: _Loop, index: int) -> tuple[int, tuple[int, ...] | None] | None:
    """The state that a value is in another shape, and that shape if it is another one."""
    found = loop.last_of(index)
    if found is None:
        return None
    state, shown = found
    if shown == loop.body.ordered_outputs[state]:
        return state, None
    shape = loop.body.open_shape(shown)
    return None if None in shape else (state, loop.body.shape(shown))


def _result(loop: _Loop, k: int, turns: int | str, finals: dict[int, str], stacks: dict[int, str]) -> str | None:
    """What a carried tensor is behind the loop."""
    call, body = loop.call, loop.body
    if k in loop.same:
        outer = call.operator.inputs[k]
        if outer in call.scope.things:
            call.scope.things[call.operator.outputs[k]] = call.scope.things[outer]
            return None
        return call.input(k)
    if k in loop.counters:
        counter = loop.counters[k]
        if isinstance(turns, int):
            return call.constant(np.array(counter.first + turns * counter.step, counter.kind))
        return call.op("Cast", turns, to=counter.kind)
    if k in finals:
        return finals[k]
    if k in loop.lists:
        call.scope.things[call.operator.outputs[k]] = TensorList(_stack(loop, k, turns, finals, stacks))
        return None
    if k in loop.gathered:
        _expect_length(loop, k, turns)
        return stacks[k]
    if isinstance(turns, int) and turns < 1:
        return call.input(k)
    last = _last_shape(loop, body.ordered_outputs[k])
    if last is None:
        return call.op("Gather", stacks[k], call.constant(np.array(-1, np.int64)), axis=0)
    return finals[last[0]] if last[1] is None else call.reshape(finals[last[0]], *last[1])


def _stack(loop: _Loop, k: int, turns: int | str, finals: dict[int, str], stacks: dict[int, str]) -> str:
    """The elements of a list: one of each turn, or that of the last."""
    call, one = loop.call, loop.gathered[k]
    if not _stays(loop, one.place):
        return stacks[k]
    last = loop.last_of(one.item)
    if last is None:
        return call.op("Gather", stacks[k], call.int_list(-1), axis=0)
    return call.unsqueeze(finals[last[0]], 0)


def _expect_length(loop: _Loop, k: int, turns: int | str) -> None:
    """A tensor that is filled by the loop has a place for each turn and no more."""
    shape = loop.call.shape(loop.call.input(k))
    size = shape[0] if shape else None
    if isinstance(turns, int) and type(size) is int and size != turns:
        raise FormatError(f"expected a place for each of {turns} turns, found {size}")


def _expect_known(loop: _Loop, nodes: Any, names: list[str]) -> None:
    refused = loop.call.scope.reader.refused
    if any(name in refused for name in names):
        why = next((f"{one.title}: {one.refused}" for one in nodes if one.refused), "it")
        raise FormatError(f"in its body: {why}")


def _graph(inputs: list[str], nodes: Any, outputs: list[str]) -> Whole:
    made = Whole.__new__(Whole)  # checked as part of the whole
    made.__dict__.update(
        inputs=tuple(Value(name) for name in inputs),
        outputs=tuple(Value(name) for name in outputs),
        nodes=tuple(nodes),
        constants={},
        name="",
        types={},
    )
    return made
