"""Bodies of loops that are one step of an LSTM, a GRU or a plain RNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...weights import LSTMWeights
from ..draft import Draft, DraftNode
from ..graph import Graph
from ..operators import Array
from .dense import activation_of
from .gru_cells import named
from .linear import Linear

_VIEWS = ("Squeeze", "Unsqueeze", "Reshape", "Identity", "Cast")


@dataclass
class Body:
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


def through(draft: Draft, name: str) -> str:
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


def body_of(graph: Graph, first: int, carried: int, known: dict[str, Any]) -> tuple[Draft, Body] | None:
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
    places = [given.get(through(inside, name), -1) for name in states]
    if weights is not None and not 0 <= places[0] < carried and weights.input_size == weights.hidden_size:
        x, states, weights = states[0], [x, *states[1:]], _swapped(weights)  # inside, h and x are alike
        places = [given.get(through(inside, name), -1) for name in states]
    if sorted(places) != list(range(carried)):
        return None
    ends = [through(inside, value.name) for value in graph.outputs[first - (len(graph.inputs) > 0 and first == 2) :]]
    outputs = [*step.outputs, "", "", ""][:3]
    which = {name: max(k, 1) for k, name in enumerate(outputs) if name}  # y of one step is h
    kinds = [which.get(name, 0) for name in ends]
    if 0 in kinds or [kinds[place] for place in places] != list(range(1, carried + 1)):
        return None
    held = (*step.inputs, "", "")[1:4] if weights is None else ()
    body = Body(
        weights,
        step.op,
        step.attributes,
        [inside.constants[name] if name else None for name in held],
        through(inside, x),
        places,
        kinds[carried:],
    )
    return inside, body


def _plain(inside: Draft, graph: Graph, first: int) -> tuple[Draft, Body] | None:
    """Recognise h' = f(x W + h R + b), whose state is the input `first`."""
    ends = [through(inside, value.name) for value in graph.outputs[first - (first == 2) :]]
    if not ends or len(graph.inputs) <= first:
        return None
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
    return inside, Body(None, "RNN", attributes, held, through(inside, sources[0]), [0], [1] * (len(ends) - 1))


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
