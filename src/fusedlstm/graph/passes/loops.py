"""Scan and Loop whose body is one step of an LSTM, a GRU or a plain RNN become one over the whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...weights import LSTMWeights
from ..dims import Size
from ..draft import Draft, DraftNode
from ..graph import Graph, captures
from .bodies import Body, body_of, through


def rewrite(draft: Draft) -> None:
    """Each loop."""
    for one in draft.of("Scan", "Loop"):
        (_scan if one.op == "Scan" else _loop)(draft, one)


def states_of(draft: Draft, names: list[str], body: Body) -> list[str] | None:
    """The initial states (batch, hidden) as the LSTM takes them."""
    found = []
    for name in (names[place] for place in body.places):
        shape = draft.shape(name)
        if shape is None or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 1):
            return None
        axes = draft.add_constant(np.array([0], np.int64), name) if len(shape) == 2 else ""
        found.append(draft.between("Unsqueeze", [name, axes], name) if axes else name)
    return found


def finish(
    draft: Draft,
    one: DraftNode,
    body: Body,
    x: str,
    axis: int,
    reverse: bool,
    states: list[str],
    turned: list[int],
    axes: list[int],
    lengths: str = "",
) -> None:
    """Put the layer in the place of the loop."""
    count = len(body.places)
    base = next(filter(None, one.outputs))
    y = draft.fresh(f"{base}.y") if any(one.outputs[count:]) else ""
    last = [draft.fresh(f"{base}.{name}") for name in "hc"[:count]]
    if body.weights is None:
        y = _layer(draft, body, [x, lengths, *states], [y, *last], axis, reverse, one.name or base)
    else:
        weights = LSTMWeights(body.weights.layers, reverse=reverse)
        given = [x, *states, *filter(None, [lengths])]
        draft.add("fusedlstm.LSTM", given, [y, *last], one.name or base, weights=weights, x_batch_first=axis)
    for place, source in zip(body.places, last):
        name = one.outputs[place]
        if name:
            _shaped(draft, source, name, len(draft.types[_initial(one, name)].shape) == 2)
    for k, name in enumerate(one.outputs[count:]):
        if not name:
            continue
        source = y
        if reverse != bool(turned[k]):  # collected in the order of computation
            limits = [draft.add_constant(np.array([v], np.int64), name) for v in (-1, -(1 << 62), 0, -1)]
            source = draft.between("Slice", [source, *limits], name)
        if axes[k] == 1:
            draft.add("Transpose", [source], [name], perm=(1, 0, 2))
        else:
            draft.add("Identity", [source], [name])
    draft.remove(one)


def _layer(draft: Draft, body: Body, given: list[str], made: list[str], axis: int, reverse: bool, name: str) -> str:
    """Write the layer that is no LSTM; its outputs (time, batch, units)."""
    x, lengths, state = given
    y, last = made
    if axis:
        x = draft.between("Transpose", [x], x, perm=(1, 0, 2))
    weights = ["" if one is None else draft.add_constant(one, last) for one in body.arrays]
    whole = draft.fresh(f"{last}.whole") if y else ""
    attributes = {**body.attributes, "direction": "reverse" if reverse else "forward"}
    draft.add(body.op, [x, *weights, lengths, state], [whole, last], name, **attributes)
    if y:
        draft.add("Squeeze", [whole, draft.add_constant(np.array([1], np.int64), y)], [y])
    return y


def _initial(one: DraftNode, name: str) -> str:
    """The initial value of the state whose last value is `name`."""
    start = 2 if one.op == "Loop" else 0
    return one.inputs[start + one.outputs.index(name)]


def _shaped(draft: Draft, source: str, name: str, flat: bool) -> None:
    if flat:
        draft.add("Squeeze", [source, draft.add_constant(np.array([0], np.int64), name)], [name])
    else:
        draft.add("Identity", [source], [name])


def known(draft: Draft, graph: Graph) -> dict[str, Any]:
    """The constants that a body takes from around it."""
    return {name: draft.constants[name] for name in captures(graph) if name in draft.constants}


def _scan(draft: Draft, one: DraftNode) -> None:
    graph, a = one.attributes["body"], one.attributes
    scanned = a["num_scan_inputs"]
    carried = len(one.inputs) - scanned
    found = body_of(graph, 0, carried, known(draft, graph))
    if found is None or scanned != 1:
        return
    _, body = found
    if body.x != graph.inputs[carried].name or any(kind != 1 for kind in body.outputs):
        return
    axis = (a["scan_input_axes"] or (0,))[0]
    shape = draft.shape(one.inputs[carried])
    states = states_of(draft, one.inputs[:carried], body)
    count = len(body.outputs)
    axes = [k % 3 for k in a["scan_output_axes"] or (0,) * count]
    if shape is None or len(shape) != 3 or axis % 3 > 1 or states is None or any(k > 1 for k in axes):
        return
    if draft.types[one.inputs[0]].shape[-1:] == () or not _rows(draft, graph, body):
        return
    reverse = bool((a["scan_input_directions"] or (0,))[0])
    turned = list(a["scan_output_directions"] or (0,) * count)
    finish(draft, one, body, one.inputs[carried], axis % 3, reverse, states, turned, axes)


def _rows(draft: Draft, graph: Graph, body: Body) -> bool:
    """Whether what is handed out at each step is (batch, hidden)."""
    kinds = [graph.types.get(value.name) for value in graph.outputs[-len(body.outputs) :]] if body.outputs else []
    return all(kind is not None and len(kind.shape) == 2 for kind in kinds)


def _loop(draft: Draft, one: DraftNode) -> None:
    found = recognised(draft, one.inputs, one.attributes["body"])
    states = None if found is None else states_of(draft, one.inputs[2:], found[0])
    if found is not None and states is not None:
        body, x, axis = found
        count = len(body.outputs)
        finish(draft, one, body, x, axis, False, states, [0] * count, [0] * count)


def recognised(draft: Draft, inputs: Sequence[str], graph: Graph) -> tuple[Body, str, int] | None:
    """The body of a Loop that runs as many times as a sequence has steps, and takes one of them each time; that
    sequence, and its axis of time.
    """
    carried = len(inputs) - 2
    if carried < 1:
        return None
    go = draft.constant(inputs[1]) if inputs[1] else np.array(True)
    found = body_of(graph, 2, carried, known(draft, graph))
    if found is None or not inputs[0] or go is None or not go.all():
        return None
    inside, body = found
    turn, condition = graph.inputs[0].name, graph.inputs[1].name
    goes_on = through(inside, graph.outputs[0].name)
    value = inside.constant(goes_on)
    if goes_on != condition and (value is None or not value.all()):
        return None
    pick = inside.made_by(body.x, "Gather", "Slice")
    if pick is None or any(kind != 1 for kind in body.outputs) or not _rows(draft, graph, body):
        return None
    if through(inside, pick.inputs[1]) != turn:
        return None
    x = pick.inputs[0]
    shape = draft.shape(x)
    if shape is None or len(shape) != 3 or x in inside.maker:
        return None
    if pick.op == "Gather":
        axis = pick.attributes["axis"] % 3
    else:
        ends, axes = inside.made_by(through(inside, pick.inputs[2]), "Add"), inside.ints(pick, 3)
        parts = inside.parts(ends)
        if (
            parts is None
            or through(inside, parts[0]) != turn
            or parts[1].tolist() not in (1, [1])
            or len(pick.inputs) > 4
        ):
            return None
        axis = (axes or (0,))[0] % 3
    return (body, x, axis) if axis <= 1 and size_of(draft, inputs[0]) == shape[axis] else None


def size_of(draft: Draft, name: str) -> Size | None:
    """The size that a tensor of one element holds, if it is one of a shape."""
    value = draft.scalar(name)
    if value is not None:
        return int(value)
    name = through(draft, name)
    one = draft.made_by(name, "Gather", "Slice", "Shape")
    if one is None:
        return None
    source = one if one.op == "Shape" else draft.made_by(through(draft, one.inputs[0]), "Shape")
    shape = draft.shape(source.inputs[0]) if source is not None else None
    if source is None or shape is None:
        return None
    sizes = shape[source.attributes["start"] : source.attributes["end"]]
    if one.op == "Shape":
        return sizes[0] if len(sizes) == 1 else None
    index = draft.ints(one, 1)
    return sizes[index[0]] if index is not None and len(index) == 1 and -len(sizes) <= index[0] < len(sizes) else None
