"""Our own operators, which passes make: whole layers with constant weights and what is done to their output."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...weights import LSTMWeights
from .convolution import CONV, conv_shape, convolve
from .elementwise import wide
from .matrix import matmul_shape
from .operator import (
    REQUIRED,
    Array,
    Attribute,
    Attributes,
    Call,
    TensorType,
    differ,
    expect_rank,
    flag,
    operator,
    same_types,
    text,
)
from .steps import activate, run_lstm

_ACTIVATION = Attribute("an object", None)


def _lstm_rule(call: Call) -> list[TensorType]:
    a, weights = call.attributes, call.attributes["weights"]
    x = expect_rank(call, 0, 3)
    batch, time = (x[0], x[1]) if a["x_batch_first"] else (x[1], x[0])
    if differ(x[2], weights.input_size):
        raise ValueError(f"expected {weights.input_size} features, found {x}")
    rows = weights.num_layers * (2 if weights.bidirectional else 1)
    h, c = (rows, batch, weights.layers[0][0].output_size), (rows, batch, weights.layers[0][0].hidden_size)
    for index, wanted in ((1, h), (2, c), (3, (batch,))):
        if call.has(index) and (len(call.shapes[index]) != len(wanted) or any(map(differ, call.shapes[index], wanted))):
            raise ValueError(f"expected input {index} of shape {wanted}, found {call.shapes[index]}")
    dtype, features = call.dtypes[0], weights.output_size
    y = (batch, time, features) if a["y_batch_first"] else (time, batch, features)
    return [TensorType(y, dtype), TensorType(h, dtype), TensorType(c, dtype)]


@operator(
    "fusedlstm.LSTM",
    _lstm_rule,
    (1, 4),
    (0, 3),
    weights=Attribute("an object", REQUIRED),
    x_batch_first=flag(),
    y_batch_first=flag(),
)
def _lstm(
    a: Attributes, x: Array, h: Array | None = None, c: Array | None = None, lengths: Array | None = None
) -> list[Array]:
    weights: LSTMWeights = a["weights"]
    if h is None and c is not None:
        h = np.zeros((*c.shape[:2], weights.layers[0][0].output_size))
    elif c is None and h is not None:
        c = np.zeros((*h.shape[:2], weights.hidden_size))
    y, h_n, c_n = run_lstm(weights, x.swapaxes(0, 1) if a["x_batch_first"] else x, h, c, lengths)
    return [one.astype(x.dtype) for one in (y.swapaxes(0, 1) if a["y_batch_first"] else y, h_n, c_n)]


def _dense_rule(call: Call) -> list[TensorType]:
    expect_rank(call, 1, 2)
    shape = matmul_shape(call.shapes[0], call.shapes[1])
    if call.has(2) and call.shapes[2] != shape[-1:]:
        raise ValueError(f"expected a bias of shape {shape[-1:]}, found {call.shapes[2]}")
    return [TensorType(shape, same_types(call))]


def _finish(a: Attributes, y: Array, dtype: Any) -> Array:
    return (y if a["activation"] is None else activate(a["activation"], y)).astype(dtype)


@operator("fusedlstm.Dense", _dense_rule, (2, 3), activation=_ACTIVATION)
def _dense(a: Attributes, x: Array, w: Array, bias: Array | None = None) -> Array:
    y = np.matmul(wide(x), wide(w))
    return _finish(a, y if bias is None else y + bias, x.dtype)


def _conv_rule(call: Call) -> list[TensorType]:
    return [TensorType(conv_shape(call), same_types(call))]


@operator(
    "fusedlstm.Conv", _conv_rule, (2, 3), activation=_ACTIVATION, pad_mode=text("constant", "reflect", "edge"), **CONV
)
def _conv(a: Attributes, x: Array, w: Array, bias: Array | None = None) -> Array:
    n, x = x.ndim - 2, wide(x)
    if a["pad_mode"] != "constant":
        x = np.pad(x, [(0, 0), (0, 0), *zip(a["pads"][:n], a["pads"][n:])], a["pad_mode"])
        a = {**a, "pads": None}
    y = convolve(a, x, wide(w))
    return _finish(
        a, y if bias is None else y + wide(bias).reshape(-1, *(1,) * n), np.result_type(bias if bias is not None else w)
    )
