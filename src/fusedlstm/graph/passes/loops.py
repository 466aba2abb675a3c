"""Scan and Loop whose body is one step of an LSTM become an LSTM over the whole sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...weights import LSTMWeights
from ..dims import Size
from ..draft import Draft, DraftNode
from ..graph import Graph, captures

_VIEWS = ("Squeeze", "Unsqueeze", "Reshape", "Identity", "Cast")


def rewrite(draft: Draft) -> None:
    """Each loop."""
    for one in draft.of("Scan", "Loop"):
        (_scan if one.op == "Scan" else _loop)(draft, one)


@dataclass
class _Body:
    """A body that is one step.

    Parameters
    ----------
    step : DraftNode
        The LSTM.
    x : DraftNode or str
        What its input is, views aside: a name, or the node that picks it out of a sequence.
    h, c : int
        Places of its states among those that the loop carries.
    outputs : list of int
        Of what is handed out at each step, which output of the LSTM it is: 1 for h, 2 for c.
    """

    step: DraftNode
    x: str
    h: int
    c: int
    outputs: list[int]


def _through(draft: Draft, name: str) -> str:
    """What a tensor is, views aside."""
    one = draft.made_by(name)
    while one is not None and (one.op in _VIEWS or (one.op == "Transpose" and _flat(draft, one))):
        name = one.inputs[0]
        one = draft.made_by(name)
    return name


def _flat(draft: Draft, one: DraftNode) -> bool:
    """Whether a Transpose moves sizes of one alone."""
    shape, order = draft.shape(one.inputs[0]), one.attributes["perm"]
    if shape is None or order is None:
        return False
    return [axis for axis in order if shape[axis] != 1] == [axis for axis in range(len(shape)) if shape[axis] != 1]


def _body(graph: Graph, first: int, carried: int, known: dict[str, Any]) -> tuple[Draft, _Body] | None:
    """Recognise a body whose carried tensors are inputs and outputs from `first` on."""
    inside = Draft(graph.replace(constants=known))
    steps = list(inside.of("fusedlstm.LSTM"))
    if len(steps) != 1 or carried != 2:
        return None
    step = steps[0]
    weights: LSTMWeights = step.attributes["weights"]
    inputs = [*step.inputs, "", "", ""][:4]
    if (
        weights.num_layers != 1
        or weights.bidirectional
        or weights.reverse
        or inputs[3]
        or not (inputs[1] and inputs[2])
    ):
        return None
    outputs = [*step.outputs, "", "", ""][:3]
    places = {value.name: k for k, value in enumerate(graph.inputs[first:])}
    h, c = (places.get(_through(inside, name)) for name in inputs[1:3])
    if h is None or c is None or {h, c} != {0, 1}:
        return None
    ends = [_through(inside, value.name) for value in graph.outputs[first - (len(graph.inputs) > 0 and first == 2) :]]
    which = {name: max(k, 1) for k, name in enumerate(outputs) if name}  # y of one step is h
    kinds = [which.get(name, 0) for name in ends]
    if 0 in kinds or (kinds[h], kinds[c]) != (1, 2):
        return None
    return inside, _Body(step, _through(inside, inputs[0]), h, c, kinds[2:])


def _states(draft: Draft, names: list[str], body: _Body) -> list[str] | None:
    """The initial states (batch, hidden) as the LSTM takes them."""
    found = []
    for name in (names[body.h], names[body.c]):
        shape = draft.shape(name)
        if shape is None or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 1):
            return None
        axes = draft.add_constant(np.array([0], np.int64), name) if len(shape) == 2 else ""
        found.append(draft.between("Unsqueeze", [name, axes], name) if axes else name)
    return found


def _finish(
    draft: Draft,
    one: DraftNode,
    body: _Body,
    x: str,
    axis: int,
    reverse: bool,
    states: list[str],
    turned: list[int],
    axes: list[int],
) -> None:
    """Put the LSTM in the place of the loop."""
    weights: LSTMWeights = body.step.attributes["weights"]
    weights = LSTMWeights(weights.layers, reverse=reverse)
    base = next(filter(None, one.outputs))
    y = draft.fresh(f"{base}.y") if any(one.outputs[2:]) else ""
    h, c = draft.fresh(f"{base}.h"), draft.fresh(f"{base}.c")
    draft.add("fusedlstm.LSTM", [x, *states], [y, h, c], one.name, weights=weights, x_batch_first=axis)
    for name, source in ((one.outputs[body.h], h), (one.outputs[body.c], c)):
        if name:
            _shaped(draft, source, name, len(draft.types[_initial(one, name)].shape) == 2)
    for k, name in enumerate(one.outputs[2:]):
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


def _initial(one: DraftNode, name: str) -> str:
    """The initial value of the state whose last value is `name`."""
    start = 2 if one.op == "Loop" else 0
    return one.inputs[start + one.outputs.index(name)]


def _shaped(draft: Draft, source: str, name: str, flat: bool) -> None:
    if flat:
        draft.add("Squeeze", [source, draft.add_constant(np.array([0], np.int64), name)], [name])
    else:
        draft.add("Identity", [source], [name])


def _known(draft: Draft, graph: Graph) -> dict[str, Any]:
    return {name: draft.constants[name] for name in captures(graph) if name in draft.constants}


def _scan(draft: Draft, one: DraftNode) -> None:
    graph, a = one.attributes["body"], one.attributes
    scanned = a["num_scan_inputs"]
    carried = len(one.inputs) - scanned
    found = _body(graph, 0, carried, _known(draft, graph))
    if found is None or scanned != 1:
        return
    _, body = found
    if body.x != graph.inputs[carried].name or any(kind != 1 for kind in body.outputs):
        return
    axis = (a["scan_input_axes"] or (0,))[0]
    shape = draft.shape(one.inputs[carried])
    states = _states(draft, one.inputs[:2], body)
    count = len(body.outputs)
    axes = [k % 3 for k in a["scan_output_axes"] or (0,) * count]
    if shape is None or len(shape) != 3 or axis % 3 > 1 or states is None or any(k > 1 for k in axes):
        return
    if draft.types[one.inputs[0]].shape[-1:] == () or not _rows(draft, graph, body):
        return
    reverse = bool((a["scan_input_directions"] or (0,))[0])
    turned = list(a["scan_output_directions"] or (0,) * count)
    _finish(draft, one, body, one.inputs[carried], axis % 3, reverse, states, turned, axes)


def _rows(draft: Draft, graph: Graph, body: _Body) -> bool:
    """Whether what is handed out at each step is (batch, hidden)."""
    kinds = [graph.types.get(value.name) for value in graph.outputs[-len(body.outputs) :]] if body.outputs else []
    return all(kind is not None and len(kind.shape) == 2 for kind in kinds)


def _loop(draft: Draft, one: DraftNode) -> None:
    """A loop that runs as many times as the sequence has steps, and takes one of them each time."""
    graph = one.attributes["body"]
    carried = len(one.inputs) - 2
    go = draft.constant(one.inputs[1]) if one.inputs[1] else np.array(True)
    found = _body(graph, 2, carried, _known(draft, graph))
    if found is None or not one.inputs[0] or go is None or not go.all():
        return
    inside, body = found
    turn, condition = graph.inputs[0].name, graph.inputs[1].name
    goes_on = _through(inside, graph.outputs[0].name)
    value = inside.constant(goes_on)
    if goes_on != condition and (value is None or not value.all()):
        return
    pick = inside.made_by(body.x, "Gather", "Slice")
    if pick is None or any(kind != 1 for kind in body.outputs) or not _rows(draft, graph, body):
        return
    if _through(inside, pick.inputs[1]) != turn:
        return
    x = pick.inputs[0]
    shape = draft.shape(x)
    if shape is None or len(shape) != 3 or x in inside.maker:
        return
    if pick.op == "Gather":
        axis = pick.attributes["axis"] % 3
    else:
        ends, axes = inside.made_by(_through(inside, pick.inputs[2]), "Add"), inside.ints(pick, 3)
        parts = inside.parts(ends)
        if (
            parts is None
            or _through(inside, parts[0]) != turn
            or parts[1].tolist() not in (1, [1])
            or len(pick.inputs) > 4
        ):
            return
        axis = (axes or (0,))[0] % 3
    if axis > 1 or size_of(draft, one.inputs[0]) != shape[axis]:
        return
    states = _states(draft, one.inputs[2:], body)
    if states is not None:
        count = len(body.outputs)
        _finish(draft, one, body, x, axis, False, states, [0] * count, [0] * count)


def size_of(draft: Draft, name: str) -> Size | None:
    """The size that a tensor of one element holds, if it is one of a shape."""
    value = draft.scalar(name)
    if value is not None:
        return int(value)
    name = _through(draft, name)
    one = draft.made_by(name, "Gather", "Slice", "Shape")
    if one is None:
        return None
    source = one if one.op == "Shape" else draft.made_by(_through(draft, one.inputs[0]), "Shape")
    shape = draft.shape(source.inputs[0]) if source is not None else None
    if source is None or shape is None:
        return None
    sizes = shape[source.attributes["start"] : source.attributes["end"]]
    if one.op == "Shape":
        return sizes[0] if len(sizes) == 1 else None
    index = draft.ints(one, 1)
    return sizes[index[0]] if index is not None and len(index) == 1 and -len(sizes) <= index[0] < len(sizes) else None
