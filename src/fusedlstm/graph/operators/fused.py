"""Our own operators, which passes make: whole layers with constant weights and what is done to their output."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...weights import SIGMOID, TANH, LSTMWeights
from .convolution import CONV, conv_shape, convolve, geometry
from .elementwise import wide
from .matrix import matmul_shape
from .operator import (
    FLOAT32,
    INT64,
    REQUIRED,
    Array,
    Attribute,
    Attributes,
    Call,
    Shape,
    TensorType,
    axes_of,
    axis_of,
    differ,
    expect_rank,
    flag,
    integer,
    integers,
    operator,
    same_types,
    text,
)
from .reductions import reduced_shape
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


def _windows(a: Attributes) -> dict[str, Any]:
    """How a ConvLSTM's windows go over x, as a convolution has it."""
    pad = "SAME_UPPER" if a["padding"] == "same" else "VALID"
    return {"strides": a["strides"], "dilations": a["dilations"], "pads": None, "auto_pad": pad, "group": 1}


def conv_lstm_shapes(a: Attributes, x: Shape, w: Shape, r: Shape) -> tuple[Shape, Shape]:
    """The shapes of y and of a state."""
    space = geometry(_windows(a), x[2:-1], w[1:-1])[-1]
    return (*x[:2], *space, r[-1]), (x[0], *space, r[-1])


def _conv_lstm_rule(call: Call) -> list[TensorType]:
    x, w, r = call.shapes[:3]
    rank = len(x) - 3
    if rank not in (1, 2) or len(w) != rank + 2 or len(r) != rank + 2 or r[0] != 4 * r[-1] or w[0] != r[0]:
        raise ValueError(f"expected x (batch, time, *space, channels), kernels (4 filters, ...), found {x}, {w}, {r}")
    if differ(x[-1], w[-1]):
        raise ValueError(f"expected {w[-1]} channels, found {x}")
    y, state = conv_lstm_shapes(call.attributes, x, w, r)
    for index, wanted in ((3, (r[0],)), (4, state), (5, state)):
        if call.has(index) and (len(call.shapes[index]) != len(wanted) or any(map(differ, call.shapes[index], wanted))):
            raise ValueError(f"expected input {index} of shape {wanted}, found {call.shapes[index]}")
    dtype = call.dtypes[0]
    return [TensorType(one, dtype) for one in (y, state, state)]


@operator(
    "fusedlstm.ConvLSTM",
    _conv_lstm_rule,
    (3, 6),
    (0, 3),
    strides=integers(least=1),
    dilations=integers(least=1),
    padding=text("same", "valid"),
    gate=Attribute("an object", SIGMOID),
    candidate=Attribute("an object", TANH),
    output=Attribute("an object", TANH),
)
def _conv_lstm(
    a: Attributes, x: Array, w: Array, r: Array, b: Array | None = None, h: Array | None = None, c: Array | None = None
) -> list[Array]:
    same = _windows({"strides": None, "dilations": None, "padding": "same"})
    w, r, frames = (np.moveaxis(wide(one), -1, at) for one, at in ((w, 1), (r, 1), (x, 2)))
    bias = 0 if b is None else wide(b).reshape(-1, *(1,) * (x.ndim - 3))
    _, state = conv_lstm_shapes(a, x.shape, np.moveaxis(w, 1, -1).shape, np.moveaxis(r, 1, -1).shape)
    h, c = (np.moveaxis(np.zeros(state) if one is None else wide(one), -1, 1) for one in (h, c))
    y = np.empty((x.shape[1], *h.shape))
    for k, frame in enumerate(frames.swapaxes(0, 1)):
        i, f, g, o = np.split(convolve(_windows(a), frame, w) + convolve(same, h, r) + bias, 4, 1)
        c = activate(a["gate"], f) * c + activate(a["gate"], i) * activate(a["candidate"], g)
        y[k] = h = activate(a["gate"], o) * activate(a["output"], c)
    return [np.moveaxis(one, at, -1).astype(x.dtype) for one, at in ((y.swapaxes(0, 1), 2), (h, 1), (c, 1))]


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


_CHUNK, _PARTIAL = 1024, 16  # terms whose sum is a float32; partial sums of it
_JOINED: dict[str, Any] = {"Prod": np.multiply, "Max": np.maximum, "Min": np.minimum}
_TERMS: dict[str, Any] = {"L1": np.abs, "L2": np.square, "SumSquare": np.square}
_RESULTS: dict[str, Any] = {
    "Mean": np.divide,
    "L2": lambda total, count: np.sqrt(total),
    "LogSum": lambda total, count: np.log(total),
}
_NEUTRAL = {"Prod": 1, "Max": -np.inf, "Min": np.inf}
RUNNING = ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum")
"""Reductions that may run along."""


def nothing_yet(reduction: str, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """What a running reduction keeps of results of a shape before the first term: partial sums, total and count."""
    first, slots = _NEUTRAL.get(reduction, 0), 1 if reduction in ("Max", "Min") else _PARTIAL
    total = np.full(shape, first, np.float64)
    return np.full((slots, *shape), first, np.float32), total.view(np.int64), np.zeros(shape, np.int64)


def _running_rule(call: Call) -> list[TensorType]:
    x, a = call.shapes[0], call.attributes
    shape = reduced_shape(x, axes_of(a["axes"], len(x)), a["keepdims"])
    slots = 1 if a["reduction"] in ("Max", "Min") else _PARTIAL
    kept = [TensorType((slots, *shape), FLOAT32), TensorType(shape, INT64), TensorType(shape, INT64)]
    if call.dtypes[0].kind != "f":
        raise ValueError(f"expected floats, found {call.dtypes[0]}")
    for index, wanted in enumerate(kept, 1):
        if call.dtypes[index] != wanted.dtype or len(call.shapes[index]) != len(wanted.shape):
            raise ValueError(f"expected input {index} of {wanted}, found {call.shapes[index]} of {call.dtypes[index]}")
        if any(map(differ, call.shapes[index], wanted.shape)):
            raise ValueError(f"expected input {index} of shape {wanted.shape}, found {call.shapes[index]}")
    return [TensorType(shape, call.dtypes[0]), *kept]


@operator(
    "fusedlstm.Running",
    _running_rule,
    4,
    (1, 4),
    reduction=text(*RUNNING, required=True),
    axes=integers(REQUIRED),
    keepdims=flag(1),
)
def _running(a: Attributes, x: Array, partial: Array, total: Array, count: Array) -> list[Array]:
    """A reduction of all terms until now: x, and what was before it as `nothing_yet` has it."""
    axes, join = axes_of(a["axes"], x.ndim), _JOINED.get(a["reduction"], np.add)
    terms = np.moveaxis(x, sorted(axes), range(len(axes))).astype(np.float32)
    total = total.view(np.float64)

    def whole() -> Array:
        sums = partial
        while len(sums) > 1:
            sums = join(*np.split(sums, 2))
        return join(total, sums[0].astype(np.float64))

    for one in _TERMS.get(a["reduction"], np.asarray)(terms).reshape(-1, *total.shape):
        here = np.arange(len(partial)).reshape(-1, *(1,) * total.ndim) == count % len(partial)
        partial, count = np.where(here, join(partial, one), partial), count + 1
        full = count % _CHUNK == 0
        total = np.where(full, whole(), total)
        partial = np.where(full, np.float32(_NEUTRAL.get(a["reduction"], 0)), partial)
    y = _RESULTS.get(a["reduction"], lambda total, count: total)(whole(), count)
    return [np.asarray(y).astype(x.dtype), partial, np.asarray(total).view(np.int64), np.asarray(count)]


def _scan_rule(call: Call) -> list[TensorType]:
    x, axis = call.shapes[0], axis_of(call.attributes["axis"], len(call.shapes[0]))
    kept = (*x[:axis], 1, *x[axis + 1 :])
    if call.dtypes[0].kind not in "fiu":
        raise ValueError(f"expected numbers, found {call.dtypes[0]}")
    if call.dtypes[1] != INT64 or len(call.shapes[1]) != len(kept) or any(map(differ, call.shapes[1], kept)):
        raise ValueError(f"expected totals {kept} of int64, found {call.shapes[1]} of {call.dtypes[1]}")
    return [TensorType(x, call.dtypes[0]), TensorType(kept, INT64)]


@operator("fusedlstm.Scan", _scan_rule, 2, (1, 2), axis=integer(0), exclusive=flag(), product=flag())
def _scan(a: Attributes, x: Array, total: Array) -> list[Array]:
    """CumSum or CumProd that goes on from a total: a whole number, or the bits of a double."""
    axis, wide = a["axis"], np.dtype(np.float64 if x.dtype.kind == "f" else np.int64)
    terms = np.concatenate([total.view(wide), x.astype(wide)], axis)
    found = (np.cumprod if a["product"] else np.cumsum)(terms, axis=axis, dtype=wide)
    y, last = (np.delete(found, -1 if a["exclusive"] else 0, axis), found.take([-1], axis))
    return [y.astype(x.dtype), np.ascontiguousarray(last).view(np.int64)]
