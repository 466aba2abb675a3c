"""The fused recurrent operators. Their variables start at zero in each call, as in a model that was just loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import FormatError
from ....weights import LSTMWeights
from ..lstm import bidirectional, unidirectional
from .call import Call
from .registry import operator
from .schema import ACTIVATIONS


def _lstm(call: Call, weights: LSTMWeights) -> str:
    first = int(weights.batch_first)
    plain = LSTMWeights(weights.layers)
    return call.ops("fusedlstm.LSTM", [call.input(0)], 3, weights=plain, x_batch_first=first, y_batch_first=first)[0]


@operator("UNIDIRECTIONAL_SEQUENCE_LSTM", options=71, inputs=(20, 24))
def _forward(call: Call) -> str:
    try:
        return _lstm(call, unidirectional(call.graph, call.operator))
    except ValueError as error:
        raise FormatError(str(error)) from error


@operator("BIDIRECTIONAL_SEQUENCE_LSTM", options=69, inputs=48)
def _both(call: Call) -> list[str]:
    try:
        weights = bidirectional(call.graph, call.operator)
    except ValueError as error:
        raise FormatError(str(error)) from error
    y = _lstm(call, weights)
    return [y] if weights.merge == "concat" else call.ops("Split", [y], 2, axis=2, num_outputs=2)


@operator("LSTM", "RNN", "SVDF", inputs=(4, 24))
def _single(call: Call) -> str:
    raise FormatError("expected an operator on sequences, found one on single steps, which is not supported")


_FUNCTIONS: dict[str, tuple[str, Any, Any]] = {
    "NONE": ("Affine", 1.0, 0.0),
    "RELU": ("Relu", None, None),
    "TANH": ("Tanh", None, None),
}


def _rnn(call: Call, starts: Sequence[int], direction: str) -> str:
    """ONNX's RNN, of one direction or two; each has W, R and a bias from one of `starts` on."""
    time_major, number = bool(call.option(0, "?", False)), int(call.option(1, "b", 0))
    name = ACTIVATIONS[number] if 0 <= number < len(ACTIVATIONS) else str(number)
    if name not in _FUNCTIONS:
        raise FormatError(f"fused activation: expected one of {', '.join(_FUNCTIONS)}, found {name}")
    function, alpha, beta = _FUNCTIONS[name]
    for start in starts:
        if not call.graph.is_state(call.index(start + 3)):
            raise FormatError("expected variable tensors without data as states, found other ones")
    parts = [[call.array(start + k, "weights") for start in starts] for k in range(3)]
    shapes = {tuple(one.shape for one in direction_) for direction_ in zip(*parts)}
    if len(shapes) != 1:
        raise FormatError(f"expected directions of one size, found {shapes}")
    w, r, b = (np.stack(one) for one in parts)
    if w.ndim != 3 or r.ndim != 3 or b.shape != w.shape[:2] or r.shape[1:] != (w.shape[1], w.shape[1]):
        raise FormatError(f"expected weights, recurrent weights and bias, found {w.shape}, {r.shape} and {b.shape}")
    count = len(starts)
    y = call.ops(
        "RNN",
        [call.input(0), *(call.constant(one) for one in (w, r, np.concatenate([b, np.zeros_like(b)], 1)))],
        2,
        hidden_size=w.shape[1],
        layout=0 if time_major else 1,
        direction=direction,
        activations=[function] * count,
        activation_alpha=None if alpha is None else [alpha] * count,
        activation_beta=None if beta is None else [beta] * count,
    )[0]
    if time_major:  # (time, directions, batch, units)
        y = call.transpose(y, 0, 2, 1, 3)
    return call.reshape(y, 0, 0, count * w.shape[1])


@operator("UNIDIRECTIONAL_SEQUENCE_RNN", options=31, inputs=5)
def _rnn_forward(call: Call) -> str:
    return _rnn(call, [1], "forward")


@operator("BIDIRECTIONAL_SEQUENCE_RNN", options=70, inputs=12)
def _rnn_both(call: Call) -> list[str]:
    if any(call.has(k) for k in (9, 10, 11)):
        raise FormatError("expected one input for both directions, found an auxiliary one, which is not supported")
    y = _rnn(call, [1, 5], "bidirectional")
    return [y] if call.option(2, "?", False) else call.ops("Split", [y], 2, axis=2, num_outputs=2)
