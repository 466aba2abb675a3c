"""WHILE as ONNX's Loop: what counts becomes the number of the turn, what is collected an output of each turn.

TensorFlow's loops carry everything: counters, weights, the sequence, the tensor that the outputs are put into. What
stays the same is taken from around the loop, and what is left are the states. Passes find the LSTM in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.graph import Graph as Whole
from ....graph.graph import Value, prune
from ....graph.operators import TensorType
from ..graph import Graph
from .call import BOOL, INT64, Call
from .carried import Loop
from .collected import Collected
from .lists import TensorList
from .registry import operator
from .scope import Scope
from .turns import turns_of


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
    loop = Loop(call, body)
    counts = {len(one) for one in (condition.ordered_inputs, body.ordered_inputs, body.ordered_outputs)}
    if counts != {loop.count} or len(condition.ordered_outputs) != 1 or len(call.operator.outputs) != loop.count:
        raise FormatError(f"expected subgraphs for {loop.count} tensors, found {sorted(counts)}")
    loop.classify()
    turns = turns_of(loop, condition)
    if isinstance(turns, int) and turns < 1:
        raise FormatError(f"expected a loop that runs, found {turns} turns")
    return _write(loop, turns)


def _write(loop: Loop, turns: int | str) -> list[str | None]:
    call, body, builder = loop.call, loop.body, loop.call.builder
    carried = [k for k in loop.states if not loop.is_unread(k)]
    outside, builder.nodes = builder.nodes, []
    try:
        inside = _inside(loop)
        scope, turn = inside
        starts = [scope.names[body.ordered_inputs[k]] for k in carried]
        call.scope.reader.run(scope)
        _expect_known(loop, scope)
        ends = [scope.tensor(body.ordered_outputs[k]) for k in carried]
        each = _each(loop, scope)
        inner = builder.nodes
    finally:
        builder.nodes = outside
    items = list(each.values())
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


def _inside(loop: Loop) -> tuple[Scope, str]:
    """The body's subgraph with what its inputs are, and the number of the turn."""
    call, body, builder = loop.call, loop.body, loop.call.builder
    scope = Scope(call.scope.reader, body, {}, call.scope.depth + 1)
    scope.unneeded.update(body.ordered_outputs[k] for k in loop.gathered)
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


def _each(loop: Loop, scope: Scope) -> dict[int, str]:
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


def _stays(loop: Loop, place: int) -> bool:
    """Whether each turn puts its element into the first place."""
    body = loop.body
    return place >= 0 and place not in body.inputs and body.has_data(place) and not body.stored(place).any()


def _expect_place(loop: Loop, place: int) -> None:
    body = loop.body
    counter = next((one for k, one in loop.counters.items() if body.ordered_inputs[k] == place), None)
    if counter is None or (counter.first, counter.step) != (0, 1):
        raise FormatError("expected elements at the places of the turns, found other places")


def _last_shape(loop: Loop, index: int) -> tuple[int, tuple[int, ...] | None] | None:
    """The state that a value is in another shape, and that shape if it is another one."""
    found = loop.last_of(index)
    if found is None:
        return None
    state, shown = found
    if shown == loop.body.ordered_outputs[state]:
        return state, None
    shape = loop.body.open_shape(shown)
    return None if None in shape else (state, loop.body.shape(shown))


def _result(loop: Loop, k: int, turns: int | str, finals: dict[int, str], stacks: dict[int, str]) -> str | None:
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
    last = _last_shape(loop, body.ordered_outputs[k])
    if last is None:
        return call.op("Gather", stacks[k], call.constant(np.array(-1, np.int64)), axis=0)
    return finals[last[0]] if last[1] is None else call.reshape(finals[last[0]], *last[1])


def _stack(loop: Loop, k: int, turns: int | str, finals: dict[int, str], stacks: dict[int, str]) -> str:
    """The elements of a list: one of each turn, or that of the last."""
    call, one = loop.call, loop.gathered[k]
    if not _stays(loop, one.place):
        return stacks[k]
    last = loop.last_of(one.item)
    if last is None:
        return call.op("Gather", stacks[k], call.int_list(-1), axis=0)
    return call.unsqueeze(finals[last[0]], 0)


def _expect_length(loop: Loop, k: int, turns: int | str) -> None:
    """A tensor that is filled by the loop has a place for each turn and no more."""
    shape = loop.call.shape(loop.call.input(k))
    size = shape[0] if shape else None
    if isinstance(turns, int) and type(size) is int and size != turns:
        raise FormatError(f"expected a place for each of {turns} turns, found {size}")


def _expect_known(loop: Loop, scope: Scope) -> None:
    """Refuse a loop whose body cannot be run, for the body's reason."""
    refused = scope.reader.refused
    if any(scope.names.get(index) in refused for index in loop.body.ordered_outputs):
        why = next((f"{one.title}: {one.refused}" for one in scope.reader.builder.nodes if one.refused), "it")
        raise FormatError(f"in its body: {why}")


def _graph(inputs: list[str], nodes: Any, outputs: list[str]) -> Whole:
    return Whole.unchecked([Value(name) for name in inputs], [Value(name) for name in outputs], nodes)
