"""Activations, softmax among them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ....errors import FormatError
from .call import FLOAT32, Call
from .registry import operator

_PLAIN = {"relu": "Relu", "silu": "Swish", "mish": "Mish", "hardswish": "HardSwish", "selu": "Selu"}


def _plain(op: str, call: Call) -> str:
    return call.op(op, call.tensor("self"))


for _name, _op in _PLAIN.items():
    operator(f"{_name}.default")(partial(_plain, _op))


def _clipped(call: Call, x: str, low: float, high: float) -> str:
    return call.op("Clip", x, call.like(x, low), call.like(x, high))


@operator("relu6.default")
def _relu6(call: Call) -> str:
    return _clipped(call, call.tensor("self"), 0.0, 6.0)


@operator("hardtanh.default")
def _hardtanh(call: Call) -> str:
    return _clipped(call, call.tensor("self"), call.number("min_val", -1.0), call.number("max_val", 1.0))


@operator("hardsigmoid.default")
def _hard_sigmoid(call: Call) -> str:
    return call.op("HardSigmoid", call.tensor("self"), alpha=1 / 6, beta=0.5)


@operator("leaky_relu.default", "rrelu.default", "rrelu_with_noise_functional.default")
def _leaky_relu(call: Call) -> list[str | None]:
    if call.kind.startswith("rrelu"):
        call.only("training", False)
        slope = (call.number("lower", 0.125) + call.number("upper", 1 / 3)) / 2
    else:
        slope = call.number("negative_slope", 0.01)
    return [call.op("LeakyRelu", call.tensor("self"), alpha=slope), None]


@operator("elu.default")
def _elu(call: Call) -> str:
    """Of PyTorch: scale times x, or scale alpha (e^(input_scale x) - 1)."""
    alpha, scale, inner = (call.number(name, 1.0) for name in ("alpha", "scale", "input_scale"))
    x = call.tensor("self")
    if inner != 1.0:
        raise FormatError(f"input_scale: expected 1, found {inner}, which is not supported")
    made = call.op("Elu", x, alpha=alpha)
    return made if scale == 1.0 else call.op("Mul", made, call.like(x, scale))


@operator("celu.default")
def _celu(call: Call) -> str:
    return call.op("Celu", call.tensor("self"), alpha=call.number("alpha", 1.0))


@operator("gelu.default")
def _gelu(call: Call) -> str:
    return call.op("Gelu", call.tensor("self"), approximate=call.text("approximate", "none", "tanh"))


@operator("softplus.default")
def _softplus(call: Call) -> str:
    beta, threshold, x = call.number("beta", 1.0), call.number("threshold", 20.0), call.tensor("self")
    inner = x if beta == 1.0 else call.op("Mul", x, call.like(x, beta))
    made = call.op("Softplus", inner)
    made = made if beta == 1.0 else call.op("Div", made, call.like(x, beta))
    if beta > 0 and threshold >= 20.0:  # from there on it is x in float32 anyway
        return made
    return call.op("Where", call.op("Greater", inner, call.like(x, threshold)), x, made)


@operator("softsign.default")
def _softsign(call: Call) -> str:
    return call.op("Softsign", call.tensor("self"))


@operator("tanhshrink.default")
def _tanhshrink(call: Call) -> str:
    x = call.tensor("self")
    return call.op("Sub", x, call.op("Tanh", x))


@operator("hardshrink.default", "softshrink.default")
def _shrink(call: Call) -> str:
    border = call.number("lambd", 0.5)
    bias = border if call.kind.startswith("soft") else 0.0
    return call.op("Shrink", call.tensor("self"), lambd=border, bias=bias)


@operator("log_sigmoid.default", "log_sigmoid_forward.default")
def _log_sigmoid(call: Call) -> list[str | None]:
    made = call.op("Neg", call.op("Softplus", call.op("Neg", call.tensor("self"))))
    return [made, None]


@operator("threshold.default")
def _threshold(call: Call) -> str:
    x = call.tensor("self")
    above = call.op("Greater", x, call.like(x, call.number("threshold")))
    return call.op("Where", above, x, call.like(x, call.number("value")))


@operator("prelu.default", "_prelu_kernel.default")
def _prelu(call: Call) -> str:
    """A slope for all, or one for each channel, which is axis 1."""
    x, slope = call.tensor("self"), call.tensor("weight")
    rank, known = call.rank(x), call.shape(slope)
    if call.kind.startswith("prelu") and len(known) == 1 and known[0] != 1 and rank > 2:
        slope = call.unsqueeze(slope, *range(1, rank - 1))
    return call.op("PRelu", x, slope)


@operator("glu.default")
def _glu(call: Call) -> str:
    x = call.tensor("self")
    axis = call.axis(call.whole("dim", -1), call.rank(x))
    size = call.shape(x)[axis]
    if type(size) is not int or size % 2:
        raise FormatError(f"expected an even number of features, found {size}")
    value, gate = call.ops("Split", [x], 2, axis=axis, num_outputs=2)
    return call.op("Mul", value, call.op("Sigmoid", gate))


def _softmax(op: str, call: Call) -> str:
    x = call.tensor("self")
    dtype: Any = call.dtype()
    if dtype is None:
        dtype = call.kind_of(x) if call.kind_of(x).kind == "f" else FLOAT32
    x, rank = call.cast(x, dtype), call.rank(x)
    if not rank:
        return call.constant(np.array(1.0 if op == "Softmax" else 0.0, dtype))
    made = call.op(op, x, axis=call.axis(call.whole("dim"), rank))
    if not call.kind.startswith("_safe"):
        return made
    lowest = call.op("ReduceMax", x, call.int_list(call.axis(call.whole("dim"), rank)))
    return call.op("Where", call.op("IsInf", lowest, detect_positive=0), call.like(x, 0.0), made)


operator("softmax.int", "_softmax.default", "_safe_softmax.default")(partial(_softmax, "Softmax"))
operator("log_softmax.int", "_log_softmax.default")(partial(_softmax, "LogSoftmax"))
