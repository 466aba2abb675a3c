"""Scan and Loop whose body is one step of an LSTM, a GRU or a plain RNN become one over the whole sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...weights import LSTMWeights
from ..dims import Size
from ..draft import Draft, DraftNode
from ..graph import Graph, captures
from ..operators import Array
from .dense import activation_of
from .gru_cells import named
from .linear import Linear

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
    weights : LSTMWeights, optional
        Of an LSTM.
    op, attributes, arrays
        Of another layer: ONNX's operator, what it says of it, W, R and B.
    x : DraftNode or str
        What its input is, views aside: a name, or the node that picks it out of a sequence.
    places : list of int
        Of its states, h and c, among those that the loop carries.
    outputs : list of int
        Of what is handed out at each step, which state it is: 1 for h, 2 for c.
    """

    weights: LSTMWeights | None
    op: str
    attributes: Mapping[str, Any]
    arrays: Sequence[Array | None]
    x: str
    places: list[int]
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
    steps = list(inside.of("fusedlstm.LSTM", "GRU"))
    if not steps and carried == 1:
        return _plain(inside, graph, first)
    states = _states_of(inside, steps[0]) if len(steps) == 1 else None
    if states is None or len(states) != carried:
        return None
    step, x = steps[0], steps[0].inputs[0]
    weights = step.attributes.get("weights")
    given = {value.name: k for k, value in enumerate(graph.inputs[first:])}
    places = [given.get(_through(inside, name), -1) for name in states]
    if weights is not None and not 0 <= places[0] < carried and weights.input_size == weights.hidden_size:
        x, states, weights = states[0], [x, *states[1:]], _swapped(weights)  # inside, h and x are alike
        places = [given.get(_through(inside, name), -1) for name in states]
    if sorted(places) != list(range(carried)):
        return None
    ends = [_through(inside, value.name) for value in graph.outputs[first - (len(graph.inputs) > 0 and first == 2) :]]
    outputs = [*step.outputs, "", "", ""][:3]
    which = {name: max(k, 1) for k, name in enumerate(outputs) if name}  # y of one step is h
    kinds = [which.get(name, 0) for name in ends]
    if 0 in kinds or [kinds[place] for place in places] != list(range(1, carried + 1)):
        return None
    held = (*step.inputs, "", "")[1:4] if weights is None else ()
    body = _Body(
        weights,
        step.op,
        step.attributes,
        [inside.constants[name] if name else None for name in held],
        _through(inside, x),
        places,
        kinds[carried:],
    )
    return inside, body


def _plain(inside: Draft, graph: Graph, first: int) -> tuple[Draft, _Body] | None:
    """Recognise h' = f(x W + h R + b), whose state is the input `first`."""
    ends = [_through(inside, value.name) for value in graph.outputs[first - (first == 2) :]]
    h, last, linear = graph.inputs[first].name, inside.made_by(ends[0]), Linear(inside)
    if last is None or any(name != ends[0] for name in ends):
        return None
    if last.op == "fusedlstm.Dense":
        function, form = last.attributes["activation"], linear.dense(last)
    else:
        function = activation_of(last)
        form = linear.form(last.inputs[0]) if function is not None else None
    said = None if function is None else named([function])
    if form is None or said is None:
        return None
    matrices = {name: form.matrices.get(name, 0) + np.diag(row) for name, row in form.diagonals.items()}
    matrices = {**form.matrices, **matrices}
    sources = [name for name in matrices if name != h]
    if h not in matrices or len(sources) != 1 or matrices[h].shape[0] != matrices[h].shape[1]:
        return None
    hidden = len(form.bias)
    arrays = [matrices[sources[0]].T, matrices[h].T, np.concatenate([form.bias, np.zeros(hidden)])]
    attributes = {"hidden_size": hidden, **said}
    held = [one[None].astype(np.float32) for one in arrays]
    return inside, _Body(None, "RNN", attributes, held, _through(inside, sources[0]), [0], [1] * (len(ends) - 1))


def _swapped(weights: LSTMWeights) -> LSTMWeights:
    """Of one step: x in the place of h."""
    ((one,),) = weights.layers
    return replace(weights, layers=[[replace(one, weight_ih=one.weight_hh, weight_hh=one.weight_ih)]])


def _states_of(inside: Draft, step: DraftNode) -> list[str] | None:
    """The states that a step takes, if it is a plain one."""
    inputs = [*step.inputs, *[""] * 6]
    if step.op == "GRU":
        plain = step.attributes["direction"] == "forward" and not step.attributes["layout"] and not inputs[4]
        whole = all(not name or name in inside.constants for name in inputs[1:4])
        return [inputs[5]] if plain and whole and inputs[5] else None
    weights: LSTMWeights = step.attributes["weights"]
    if weights.num_layers != 1 or weights.bidirectional or weights.reverse or inputs[3]:
        return None
    return inputs[1:3] if inputs[1] and inputs[2] else None


def _states(draft: Draft, names: list[str], body: _Body) -> list[str] | None:
    """The initial states (batch, hidden) as the LSTM takes them."""
    found = []
    for name in (names[place] for place in body.places):
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
    count = len(body.places)
    base = next(filter(None, one.outputs))
    y = draft.fresh(f"{base}.y") if any(one.outputs[count:]) else ""
    last = [draft.fresh(f"{base}.{name}") for name in "hc"[:count]]
    if body.weights is None:
        y = _layer(draft, body, [x, *states], [y, *last], axis, reverse, one.name or base)
    else:
        weights = LSTMWeights(body.weights.layers, reverse=reverse)
        draft.add("fusedlstm.LSTM", [x, *states], [y, *last], one.name or base, weights=weights, x_batch_first=axis)
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


def _layer(draft: Draft, body: _Body, given: list[str], made: list[str], axis: int, reverse: bool, name: str) -> str:
    """Write the layer that is no LSTM; its outputs (time, batch, units)."""
    x, state = given
    y, last = made
    if axis:
        x = draft.between("Transpose", [x], x, perm=(1, 0, 2))
    weights = ["" if one is None else draft.add_constant(one, last) for one in body.arrays]
    whole = draft.fresh(f"{last}.whole") if y else ""
    attributes = {**body.attributes, "direction": "reverse" if reverse else "forward"}
    draft.add(body.op, [x, *weights, "", state], [whole, last], name, **attributes)
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
    states = _states(draft, one.inputs[:carried], body)
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
    if carried < 1:
        return
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
