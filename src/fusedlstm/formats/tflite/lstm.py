"""The fused LSTM operators of a TensorFlow Lite (LiteRT) model, by the names of their output tensors.

UNIDIRECTIONAL_SEQUENCE_LSTM has 24 inputs, or 20 in old files: x; W of i, f, c, o (cells, input); R of the same
(cells, output); peepholes i, f, o; biases i, f, c, o; projection (output, cells) and its bias; two states; layer
normalisation of i, f, c, o. BIDIRECTIONAL_SEQUENCE_LSTM has 17 such for each direction, then the states, and never any
normalisation. Semantics: tensorflow/lite/kernels/lstm_eval.cc.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from ...errors import FormatError
from ...weights import TANH, Activation, Cell, DirectionWeights, FloatArray, LSTMWeights
from .graph import BIDIRECTIONAL, LSTM, REVERSE, UNIDIRECTIONAL, Graph, Model, Operator

_OPERATORS = {
    LSTM: "LSTM",
    UNIDIRECTIONAL: "UNIDIRECTIONAL_SEQUENCE_LSTM",
    BIDIRECTIONAL: "BIDIRECTIONAL_SEQUENCE_LSTM",
}
_OPTIONS_TYPE = {UNIDIRECTIONAL: 71, BIDIRECTIONAL: 69}
_ACTIVATIONS = {1: Activation("relu"), 4: TANH}  # with NONE the runtime's kernel forgets c in h = o c
_ACTIVATION_NAMES = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
_EPSILON = 1e-8  # of lstm_eval.cc's MeanStddevNormalization
_GATES = ("input", "forget", "cell", "output")


def lstms(model: Model) -> dict[str, Callable[[], LSTMWeights]]:
    """Every fused LSTM, by the names of its output tensors."""
    found = [(graph, one) for graph in model.graphs for one in graph.operators if one.code in _OPERATORS]
    owners = Counter(name for graph, one in found for name in _names(graph, one))
    listed: dict[str, Callable[[], LSTMWeights]] = {}
    others: dict[str, Callable[[], LSTMWeights]] = {}
    for number, (graph, one) in enumerate(found):
        names = [name for name in _names(graph, one) if owners[name] == 1] or [f"LSTM {number}"]
        reader = partial(_build, names[0], graph, one)
        listed[names[0]] = reader
        others |= dict.fromkeys(names, reader)
    return listed | others


def _names(graph: Graph, one: Operator) -> list[str]:
    return list(dict.fromkeys(filter(None, (graph.tensors[index].string(3) for index in one.outputs if index >= 0))))


def _build(name: str, graph: Graph, one: Operator) -> LSTMWeights:
    where = f"{_OPERATORS[one.code]} operator {name!r}"
    graph.model.buffer.renew()
    try:
        if one.code == LSTM:
            raise FormatError("expected an operator on sequences, found one on single steps, which is not supported")
        return _unidirectional(graph, one) if one.code == UNIDIRECTIONAL else bidirectional(graph, one)
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from error


def _unidirectional(graph: Graph, one: Operator) -> LSTMWeights:
    weights = unidirectional(graph, one)
    # Behind a reversal in time the forward operator runs backward over what comes in before it.
    axis = 1 if weights.batch_first else 0
    turned = _is_reversal(graph, graph.producers.get(one.inputs[0]), axis)
    return replace(weights, reverse=turned, flip_output=turned and not _turned_back(graph, one, axis))


def unidirectional(graph: Graph, one: Operator) -> LSTMWeights:
    """The operator itself, whatever stands around it."""
    if len(one.inputs) not in (20, 24):
        raise FormatError(f"expected 20 or 24 inputs, found {len(one.inputs)}")
    options = _Options(one, time_major=(3, False), merge=None, diagonal=5)
    _check_float(graph, one.inputs[0])
    _check_states(graph, one.inputs[18:20])
    inputs = _Inputs(graph, one.inputs[:18] + (one.inputs[20:] or [-1] * 4))
    return LSTMWeights([[_direction(inputs, options)]], batch_first=not options.time_major)


def bidirectional(graph: Graph, one: Operator) -> LSTMWeights:
    """The operator of both directions."""
    if len(one.inputs) != 48:
        raise FormatError(f"expected 48 inputs, found {len(one.inputs)}")
    options = _Options(one, time_major=(4, True), merge=3, diagonal=None)
    if any(index >= 0 for index in one.inputs[39:]):
        raise FormatError("expected one input for both directions, found an auxiliary one, which is not supported")
    _check_float(graph, one.inputs[0])
    _check_states(graph, one.inputs[35:39])
    x = one.inputs[:1]
    layer = [_direction(_Inputs(graph, x + one.inputs[at : at + 17] + [-1] * 4), options) for at in (1, 18)]
    return LSTMWeights([layer], batch_first=not options.time_major, merge="concat" if options.merge else "none")


class _Options:
    """What the operator's options ask of the cell; fields go by the numbers that they have for this operator.

    `time_major` comes with its default, which the two operators do not share.
    """

    def __init__(self, one: Operator, *, time_major: tuple[int, bool], merge: int | None, diagonal: int | None) -> None:
        table = one.options
        if table is None or one.options_type != _OPTIONS_TYPE[one.code]:
            raise FormatError(f"expected its options (type {_OPTIONS_TYPE[one.code]}), found type {one.options_type}")
        activation = int(table.number(0, "b", 0))
        if activation not in _ACTIVATIONS:
            found = _ACTIVATION_NAMES[activation] if 0 <= activation < len(_ACTIVATION_NAMES) else activation
            raise FormatError(f"fused activation: expected TANH or RELU, found {found}, which is not supported")
        self.activation = _ACTIVATIONS[activation]
        self.cell_clip, self.projection_clip = (self._clip(float(table.number(field, "f", 0.0))) for field in (1, 2))
        self.time_major = bool(table.number(time_major[0], "?", time_major[1]))
        self.merge = merge is not None and bool(table.number(merge, "?", False))
        if diagonal is not None and table.number(diagonal, "?", False):
            raise FormatError("expected whole recurrent weights, found diagonal ones, which are not supported")

    @staticmethod
    def _clip(value: float) -> float:
        """0 stands for none."""
        if not 0 <= value < math.inf:
            raise FormatError(f"clip: expected a number from 0, found {value}")
        return value or math.inf


class _Inputs:
    """The tensors of one direction: x, 17 as in the head of this module, four of the layer normalisation."""

    def __init__(self, graph: Graph, indices: list[int]) -> None:
        self._graph = graph
        self._indices = indices

    def has(self, *numbers: int) -> bool:
        """Whether some inputs are there, all of them or none."""
        present = [number for number in numbers if self._indices[number] >= 0]
        if present and len(present) < len(numbers):
            raise FormatError(f"expected inputs {', '.join(map(str, numbers))} or none of them, found {present}")
        return bool(present)

    def get(self, what: str, number: int, rank: int) -> FloatArray:
        """A constant input."""
        if self._indices[number] < 0:
            raise FormatError(f"{what} (input {number}): expected a tensor, found none")
        try:
            array = self._graph.constant(self._indices[number])
        except FormatError as error:
            raise FormatError(f"{what} (input {number}): {error}") from error
        if array.ndim != rank:
            raise FormatError(f"{what} (input {number}): expected {rank} dimension(s), found shape {array.shape}")
        return array


def _direction(inputs: _Inputs, options: _Options) -> DirectionWeights:
    coupled = not inputs.has(1, 5, 12)
    gates = (1, 2, 3) if coupled else (0, 1, 2, 3)

    def stacked(what: str, first: int, rank: int) -> FloatArray:
        """The four gates' arrays as one; zeros for the input gate where it is the forget gate's complement."""
        parts = [inputs.get(f"{what} of the {_GATES[gate]} gate", first + gate, rank) for gate in gates]
        if len({part.shape for part in parts}) != 1:
            raise FormatError(f"{what}: expected one shape, found {', '.join(str(part.shape) for part in parts)}")
        return np.concatenate([np.zeros_like(parts[0]), *parts] if coupled else parts)

    weight_ih, weight_hh, bias = stacked("weights", 1, 2), stacked("recurrent weights", 5, 2), stacked("bias", 12, 1)
    arrays: dict[str, FloatArray] = {}
    if coupled and inputs.has(9):
        raise FormatError("expected no peephole of an input gate that is not there, found one")
    if inputs.has(10, 11) if coupled else inputs.has(9, 10, 11):
        for number, gate in enumerate("fo" if coupled else "ifo", 10 if coupled else 9):
            arrays[f"peephole_{gate}"] = inputs.get(f"peephole {gate}", number, 1)
    projected = inputs.has(16)
    if projected:
        arrays["weight_hr"] = inputs.get("projection", 16, 2)
        if inputs.has(17):
            arrays["bias_hr"] = inputs.get("projection bias", 17, 1)
    elif inputs.has(17):
        raise FormatError("expected a projection beside its bias, found none")
    if coupled and inputs.has(18):
        raise FormatError("expected no normalisation of an input gate that is not there, found one")
    normalised = inputs.has(19, 20, 21) if coupled else inputs.has(18, 19, 20, 21)
    if normalised:
        arrays["norm_ih"] = stacked("layer normalisation", 18, 1)
    cell = Cell(
        candidate=options.activation,
        output=options.activation,
        coupled="input" if coupled else "",
        cell_clip=options.cell_clip,
        projection_clip=options.projection_clip if projected else math.inf,
        gate_norm="gates" if normalised else "",
        norm_epsilon=_EPSILON if normalised else 0.0,
    )
    return DirectionWeights(weight_ih, weight_hh, bias, **arrays, cell=cell)


def _check_float(graph: Graph, x: int) -> None:
    if x < 0 or graph.kind(x) != "FLOAT32":
        found = "none" if x < 0 else graph.kind(x)
        raise FormatError(f"input x: expected FLOAT32, found {found}; LSTMs that compute in integers are not supported")


def _check_states(graph: Graph, states: list[int]) -> None:
    """They are variables, which start at zero."""
    for index in states:
        if index < 0 or not graph.is_state(index):
            raise FormatError(
                f"expected variable tensors without data as states, found {'none' if index < 0 else graph.name(index)}"
            )


def _turned_back(graph: Graph, one: Operator, axis: int) -> bool:
    """Whether nothing sees the output but a reversal in time."""
    users = [user for output in one.outputs for user in graph.consumers.get(output, ())]
    seen = any(output in graph.outputs for output in one.outputs)
    return bool(users) and not seen and all(_is_reversal(graph, user, axis) for user in users)


def _is_reversal(graph: Graph, one: Operator | None, axis: int) -> bool:
    """Whether an operator turns round a sequence (…, …, features) in time."""
    if one is None or one.code != REVERSE or len(one.inputs) != 2 or one.inputs[0] < 0 or one.inputs[1] < 0:
        return False
    try:
        axes = graph.stored(one.inputs[1])
    except FormatError as error:
        raise FormatError(f"axis of a REVERSE_V2 beside it: {error}") from error
    return axes.dtype == np.int32 and [int(one) % 3 for one in axes.reshape(-1)] == [axis]
