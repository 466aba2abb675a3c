"""Element-wise operators of ONNX on constants (https://onnx.ai/onnx/operators/): what a graph does to a learned state.

Floats are computed in float64 and rounded once to the type of the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import FormatError
from .graph import Array

Function = Callable[..., Any]


def _erf(x: Array) -> Array:
    found: Array = np.asarray([math.erf(one) for one in x.ravel()], float).reshape(x.shape)
    return found


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def _div(a: Array, b: Array) -> Array:
    """Integers are divided towards zero."""
    if a.dtype.kind == "f":
        return a / b
    if not b.all():
        raise FormatError("expected no division by zero, found one")
    quotient: Array = np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))
    return quotient


def _mod(a: Array, b: Array, fmod: int = 0) -> Array:
    if a.dtype.kind != "f" and not b.all():
        raise FormatError("expected no division by zero, found one")
    return np.fmod(a, b) if fmod else np.mod(a, b)


def _clip(x: Array, low: Array | float = -math.inf, high: Array | float = math.inf) -> Array:
    return np.minimum(np.maximum(x, low), high)


def _gelu(x: Array, approximate: str = "none") -> Array:
    tanh = approximate == "tanh"
    inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)) if tanh else _erf(x / math.sqrt(2))
    found: Array = 0.5 * x * (1 + inner)
    return found


def _celu(x: Array, alpha: float = 1.0) -> Array:
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))


# By the operator's name: what it computes, how many inputs it takes (at least, at most), and its attributes.
OPERATORS: dict[str, tuple[Function, int, int, tuple[str, ...]]] = {
    **{
        name: (getattr(np, name.lower()), 1, 1, ())
        for name in ("Abs", "Ceil", "Cos", "Cosh", "Exp", "Floor", "Log", "Sign", "Sin", "Sinh", "Sqrt", "Tan", "Tanh")
    },
    **{name: (getattr(np, f"arc{name[1:]}"), 1, 1, ()) for name in ("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh")},
    "Celu": (_celu, 1, 1, ("alpha",)),
    "Clip": (_clip, 1, 3, ("min", "max")),
    "Elu": (lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), 1, 1, ("alpha",)),
    "Erf": (_erf, 1, 1, ()),
    "Gelu": (_gelu, 1, 1, ("approximate",)),
    "HardSigmoid": (lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1), 1, 1, ("alpha", "beta")),
    "HardSwish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), 1, 1, ()),
    "LeakyRelu": (lambda x, alpha=0.01: np.where(x < 0, alpha * x, x), 1, 1, ("alpha",)),
    "Mish": (lambda x: x * np.tanh(_softplus(x)), 1, 1, ()),
    "Neg": (np.negative, 1, 1, ()),
    "Not": (np.logical_not, 1, 1, ()),
    "Reciprocal": (lambda x: 1 / x, 1, 1, ()),
    "Relu": (lambda x: np.maximum(x, 0), 1, 1, ()),
    "Round": (np.rint, 1, 1, ()),
    "Selu": (
        lambda x, alpha=1.6732632423543772, gamma=1.0507009873554805: (
            gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
        ),
        *(1, 1, ("alpha", "gamma")),
    ),
    "Sigmoid": (_sigmoid, 1, 1, ()),
    "Softplus": (_softplus, 1, 1, ()),
    "Softsign": (lambda x: x / (1 + np.abs(x)), 1, 1, ()),
    "ThresholdedRelu": (lambda x, alpha=1.0: np.where(x > alpha, x, 0), 1, 1, ("alpha",)),
    "Add": (np.add, 2, 2, ()),
    "And": (np.logical_and, 2, 2, ()),
    "Div": (_div, 2, 2, ()),
    "Equal": (np.equal, 2, 2, ()),
    "Greater": (np.greater, 2, 2, ()),
    "GreaterOrEqual": (np.greater_equal, 2, 2, ()),
    "Less": (np.less, 2, 2, ()),
    "LessOrEqual": (np.less_equal, 2, 2, ()),
    "Mod": (_mod, 2, 2, ("fmod",)),
    "Mul": (np.multiply, 2, 2, ()),
    "Or": (np.logical_or, 2, 2, ()),
    "Pow": (np.power, 2, 2, ()),
    "PRelu": (lambda x, slope: np.where(x < 0, slope * x, x), 2, 2, ()),
    "Sub": (np.subtract, 2, 2, ()),
    "Xor": (np.logical_xor, 2, 2, ()),
    "Max": (lambda *all_: _reduced(np.maximum, all_), 1, 32, ()),
    "Mean": (lambda *all_: _reduced(np.add, all_) / len(all_), 1, 32, ()),
    "Min": (lambda *all_: _reduced(np.minimum, all_), 1, 32, ()),
    "Sum": (lambda *all_: _reduced(np.add, all_), 1, 32, ()),
    "Where": (np.where, 3, 3, ()),
}


def compute(name: str, arrays: list[Array], given: dict[str, Any]) -> Array:
    """One operator on arrays that were found to go together.

    Raises
    ------
    FormatError
        Another number or type of inputs than it takes, or attributes that are not known.
    """
    function, least, most, known = OPERATORS[name]
    if not least <= len(arrays) <= most:
        raise FormatError(f"expected {least if least == most else f'{least} to {most}'} inputs, found {len(arrays)}")
    if other := given.keys() - set(known):
        raise FormatError(f"expected attributes {', '.join(known) or 'none'}, found {min(other)!r}")
    options = {"low" if key == "min" else "high" if key == "max" else key: value for key, value in given.items()}
    like = arrays[1].dtype if name == "Where" else arrays[0].dtype
    wide = [one.astype(np.float64) if one.dtype.kind == "f" else one for one in arrays]
    try:
        with np.errstate(all="ignore"):
            found: Array = np.asarray(function(*wide, **options))
    except (TypeError, ValueError) as error:  # NumPy does not subtract booleans, and raises no integer to -1
        raise FormatError(f"expected numbers that go together, found others ({error})") from error
    return found if found.dtype.kind == "b" else found.astype(like)


def _reduced(function: Callable[[Array, Array], Array], arrays: tuple[Array, ...]) -> Array:
    total = arrays[0]
    for one in arrays[1:]:
        total = function(total, one)
    return total
