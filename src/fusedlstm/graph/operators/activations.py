"""Functions of one element that networks use between layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .elementwise import erf
from .operator import Array, Attributes, Call, TensorType, number, operator, same, text
from .shapes import reaches


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.logaddexp(0, x)


def _floats(call: Call) -> list[TensorType]:
    if call.dtypes[0].kind not in "fi":
        raise ValueError(f"expected floats, found {call.dtypes[0]}")
    return same(call)


def _enter(name: str, function: Callable[..., Any], **attributes: Any) -> None:
    """An activation: `function` takes float64 and the attributes by their order."""

    @operator(name, _floats, **attributes)
    def compute(a: Attributes, x: Array) -> Array:
        return np.asarray(function(x.astype(np.float64), *a.values())).astype(x.dtype)


def _gelu(x: Array, approximate: str) -> Array:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def _shrink(x: Array, bias: float, lambd: float) -> Array:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))


def elu(x: Array, alpha: float) -> Array:
    """The exponential linear unit."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


_enter("Relu", lambda x: np.maximum(x, 0))
_enter("LeakyRelu", lambda x, alpha: np.where(x >= 0, x, alpha * x), alpha=number(0.01))
_enter("Elu", elu, alpha=number(1.0))
_enter(
    "Selu",
    lambda x, alpha, gamma: gamma * elu(x, alpha),
    alpha=number(1.67326319217681884765625),
    gamma=number(1.05070102214813232421875),
)
_enter("Celu", lambda x, alpha: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)), alpha=number(1.0))
_enter("Gelu", _gelu, approximate=text("none", "tanh"))
_enter("HardSigmoid", lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), alpha=number(0.2), beta=number(0.5))
_enter("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1))
_enter("Mish", lambda x: x * np.tanh(softplus(x)))
_enter("Swish", lambda x, alpha: x * sigmoid(alpha * x), alpha=number(1.0))
_enter("Softplus", softplus)
_enter("Softsign", lambda x: x / (1 + np.abs(x)))
_enter("Sigmoid", sigmoid)
_enter("Tanh", np.tanh)
_enter("ThresholdedRelu", lambda x, alpha: np.where(x > alpha, x, 0), alpha=number(1.0))
_enter("Shrink", _shrink, bias=number(0.0), lambd=number(0.5))


def _prelu_shape(call: Call) -> list[TensorType]:
    if not reaches(call.shapes[1], call.shapes[0]):
        raise ValueError(f"expected a slope that broadcasts to {call.shapes[0]}, found {call.shapes[1]}")
    return same(call)


@operator("PRelu", _prelu_shape, 2)
def _prelu(a: Attributes, x: Array, slope: Array) -> Array:
    return np.where(x >= 0, x, slope * x)
