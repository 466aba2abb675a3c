"""Activations: by name, as layers, and inside of layers that have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....errors import FormatError
from ..layers import class_name, is_class
from .call import BOOL, FLOAT32, Call, Tensor, number
from .registry import LAYERS, Made, layer

Function = Callable[[Call, str], str]


def _op(op: str, **attributes: Any) -> Function:
    return lambda call, x: call.op(op, x, **attributes)


def _hard_sigmoid(call: Call, x: str) -> str:
    if call.version is None:
        raise FormatError("activation: expected keras_version beside 'hard_sigmoid', which it defines, found none")
    return call.op("HardSigmoid", x, alpha=1 / 6 if call.keras3 else 0.2, beta=0.5)


def clipped(call: Call, x: str, low: float | None, high: float | None) -> str:
    """Between two bounds."""
    return call.op("Clip", x, *("" if one is None else call.scalar(one, x) for one in (low, high)))


def _shrink(call: Call, x: str, bias: float) -> str:
    return call.op("Shrink", x, bias=bias, lambd=0.5)


def _square_plus(call: Call, x: str) -> str:
    root = call.op("Sqrt", call.op("Add", call.op("Mul", x, x), call.scalar(4.0, x)))
    return call.op("Mul", call.op("Add", x, root), call.scalar(0.5, x))


def _glu(call: Call, x: str) -> str:
    first, second = call.ops("Split", [x], 2, axis=-1, num_outputs=2)
    return call.op("Mul", first, call.op("Sigmoid", second))


FUNCTIONS: dict[str, Function] = {
    "celu": _op("Celu"),
    "elu": _op("Elu"),
    "exponential": _op("Exp"),
    "gelu": _op("Gelu"),
    "glu": _glu,
    "hard_shrink": lambda call, x: _shrink(call, x, 0.0),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": _op("HardSwish"),
    "hard_swish": _op("HardSwish"),
    "hard_tanh": lambda call, x: clipped(call, x, -1.0, 1.0),
    "leaky_relu": _op("LeakyRelu", alpha=0.2),
    "linear": lambda call, x: x,
    "log_sigmoid": lambda call, x: call.op("Neg", call.op("Softplus", call.op("Neg", x))),
    "log_softmax": _op("LogSoftmax", axis=-1),
    "mish": _op("Mish"),
    "relu": _op("Relu"),
    "relu6": lambda call, x: clipped(call, x, 0.0, 6.0),
    "selu": _op("Selu"),
    "sigmoid": _op("Sigmoid"),
    "silu": _op("Swish"),
    "soft_shrink": lambda call, x: _shrink(call, x, 0.5),
    "softmax": _op("Softmax", axis=-1),
    "softplus": _op("Softplus"),
    "softsign": _op("Softsign"),
    "squareplus": _square_plus,
    "swish": _op("Swish"),
    "tanh": _op("Tanh"),
    "tanh_shrink": lambda call, x: call.op("Sub", x, call.op("Tanh", x)),
}
"""By the name that a configuration has for it."""
OVER_AXES = ("glu", "log_softmax", "softmax")
"""Those that are not of each element alone."""


def activated(call: Call, x: str, given: Any) -> str:
    """What an ``activation`` of a configuration makes of a tensor: a name, a function's, or a layer."""
    if given is None:
        return x
    if isinstance(given, Mapping):
        kind, config = given.get("class_name"), given.get("config")
        if isinstance(config, Mapping) and is_class(given, str(kind)) and kind in LAYERS and kind in _KINDS:
            made = LAYERS[str(kind)].write(call.with_(config=config, kind=kind, inputs=[Tensor(x)]))
            return str(made)
        name = config if isinstance(config, str) else kind
        if (
            kind == "function"
            and given.get("registered_name") in (None, name)
            and given.get("module")
            in (
                *(None, "builtins"),
                *("keras.activations", "keras.src.activations.activations"),
            )
        ):
            given = name
        elif isinstance(config, Mapping) and not config and given.get("module") in (None, "keras.activations"):
            given = kind
        else:
            raise FormatError(f"activation: expected one of Keras's own, found {class_name(given)!r}")
    if not isinstance(given, str) or given not in FUNCTIONS:
        raise FormatError(f"activation: expected one of {', '.join(FUNCTIONS)}, found {str(given)[:80]!r}")
    if given in ("softmax", "log_softmax") and call.rank(x) < 2:
        raise FormatError(f"activation: expected two dimensions or more for {given!r}, found {call.shape(x)}")
    return FUNCTIONS[given](call, x)


_KINDS = ("ReLU", "LeakyReLU", "ELU", "ThresholdedReLU", "Softmax", "Activation")


@layer("Activation", carries=True)
def _activation(call: Call) -> Made:
    return activated(call, _float(call), call.value("activation"))


def _float(call: Call) -> str:
    return call.cast(call.x.name, FLOAT32)


@layer("ReLU", carries=True)
def _relu(call: Call) -> Made:
    slope, threshold = call.config.get("negative_slope"), call.config.get("threshold")
    slope, threshold = (0.0 if one is None else number("negative_slope", one) for one in (slope, threshold))
    most = call.config.get("max_value")
    return rectified(call, _float(call), slope, threshold, None if most is None else number("max_value", most))


def rectified(call: Call, x: str, slope: float, threshold: float, most: float | None) -> str:
    """Keras's relu with all of its options."""
    if not threshold and not slope:
        return call.op("Relu", x) if most is None else clipped(call, x, 0.0, most)
    if not threshold and most is None:
        return call.op("LeakyRelu", x, alpha=slope)
    border = call.scalar(threshold, x)
    above = call.op("Where", call.op("Greater", x, border), x, call.scalar(0.0, x)) if threshold else call.op("Relu", x)
    if most is not None:
        above = clipped(call, above, 0.0, most)
    below = call.op("Relu", call.op("Sub", border, x))
    return call.op("Sub", above, call.op("Mul", below, call.scalar(slope, x))) if slope else above


@layer("LeakyReLU", carries=True)
def _leaky_relu(call: Call) -> Made:
    slope = call.config.get("negative_slope", call.config.get("alpha", 0.3))
    return call.op("LeakyRelu", _float(call), alpha=number("negative_slope", slope))


@layer("PReLU", carries=True)
def _prelu(call: Call) -> Made:
    slope = call.once(lambda: call.constant(call.held.weights.read("alpha")[0]))
    return call.op("PRelu", _float(call), slope)


@layer("ELU", carries=True)
def _elu(call: Call) -> Made:
    return call.op("Elu", _float(call), alpha=call.number("alpha", 1.0))


@layer("ThresholdedReLU", carries=True)
def _thresholded(call: Call) -> Made:
    return call.op("ThresholdedRelu", _float(call), alpha=call.number("theta", 1.0))


_FAR = -1e9  # what masked scores become


@layer("Softmax", carries=True)
def _softmax(call: Call) -> Made:
    x, axes = _float(call), call.value("axis", -1)
    if not call.mask:
        return softmax(call, x, axes)
    if call.arguments.get("mask") is None:
        raise FormatError("expected an input without a mask, found one")
    if call.rank(call.mask) > call.rank(x):
        raise FormatError(f"mask: expected at most {call.rank(x)} dimensions, found {call.shape(call.mask)}")
    given = call.mask
    if not call.keras3 and not call.flag("robust_masking", False):
        valid = call.cast(given, FLOAT32)
        far = call.op("Mul", call.op("Sub", call.scalar(1.0, x), valid), call.scalar(_FAR, x))
        return softmax(call, call.op("Add", x, far), axes)
    valid = given if call.dtype(given) == BOOL else call.op("Greater", call.cast(given, FLOAT32), call.scalar(0.5, x))
    y = softmax(call, call.op("Where", valid, x, call.scalar(_FAR, x)), axes)
    return call.op("Where", valid, y, call.scalar(0.0, y)) if call.keras3 else y


def softmax(call: Call, x: str, axes: Any) -> str:
    """Over one axis or several."""
    rank = call.rank(x)
    if not isinstance(axes, (list, tuple)):
        return call.op("Softmax", x, axis=call.axis(axes, rank))
    found = sorted({call.axis(one, rank) for one in axes})
    if len(found) == 1:
        return call.op("Softmax", x, axis=found[0])
    over = call.ints(*found)
    e = call.op("Exp", call.op("Sub", x, call.op("ReduceMax", x, over)))
    return call.op("Div", e, call.op("ReduceSum", e, over))
