"""Arithmetic on each element: https://onnx.ai/onnx/operators/. Floats are computed in float64 and rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from .operator import (
    BOOL,
    INT32,
    MANY,
    REQUIRED,
    Array,
    Attribute,
    Attributes,
    Call,
    TensorType,
    broadcast_shapes,
    flag,
    operator,
    same,
    same_types,
    text,
)


def wide(x: Array) -> Array:
    """Floats as float64, all else as it is."""
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def broadcast(call: Call) -> list[TensorType]:
    """The shape rule of operators whose inputs have one type and broadcast."""
    shapes = call.shapes
    if len(shapes) == 2 and shapes[0] == shapes[1]:
        return [TensorType(shapes[0], same_types(call))]
    return [TensorType(broadcast_shapes(*shapes), same_types(call))]


def unary(name: str, function: Callable[[Array], Array], kinds: str = "f") -> None:
    """Enter an operator of one input; `kinds` are those of dtypes that it takes."""

    def shape(call: Call) -> list[TensorType]:
        if call.dtypes[0].kind not in kinds:
            raise ValueError(f"expected an input of another type, found {call.dtypes[0]}")
        return same(call)

    @operator(name, shape)
    def compute(a: Attributes, x: Array) -> Array:
        return np.asarray(function(wide(x))).astype(x.dtype, copy=False)


def binary(name: str, function: Callable[[Array, Array], Array]) -> None:
    """Enter an operator of two inputs of one type."""

    @operator(name, broadcast, 2)
    def compute(a: Attributes, x: Array, y: Array) -> Array:
        return np.asarray(function(x, y)).astype(x.dtype, copy=False)


def variadic(name: str, function: Callable[..., Array]) -> None:
    """Enter an operator of one or more inputs of one type."""

    @operator(name, broadcast, (1, MANY))
    def compute(a: Attributes, *inputs: Array) -> Array:
        return np.asarray(function(*inputs)).astype(inputs[0].dtype, copy=False)


erf = np.vectorize(math.erf, otypes=[np.float64])

_UNARY: dict[str, Callable[[Array], Array]] = {
    "Sqrt": np.sqrt,
    "Reciprocal": lambda x: 1 / x,
    "Exp": np.exp,
    "Log": np.log,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.rint,
    "Erf": erf,
    "Sin": np.sin,
    "Cos": np.cos,
    "Tan": np.tan,
    "Asin": np.arcsin,
    "Acos": np.arccos,
    "Atan": np.arctan,
    "Sinh": np.sinh,
    "Cosh": np.cosh,
    "Asinh": np.arcsinh,
    "Acosh": np.arccosh,
    "Atanh": np.arctanh,
}
for _name, _function in _UNARY.items():
    unary(_name, _function)
unary("Abs", np.abs, "fiu")
unary("Neg", np.negative, "fi")
unary("Sign", np.sign, "fiu")


def _divide(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return x / y
    quotient = x // y  # whole numbers are cut towards zero, where NumPy goes down
    return quotient + ((quotient < 0) & (quotient * y != x))


binary("Add", np.add)
binary("Sub", np.subtract)
binary("Mul", np.multiply)
binary("Div", _divide)
variadic("Min", lambda *inputs: reduce(np.minimum, inputs))
variadic("Max", lambda *inputs: reduce(np.maximum, inputs))
variadic("Sum", lambda *inputs: reduce(np.add, map(wide, inputs)))
variadic("Mean", lambda *inputs: reduce(np.add, map(wide, inputs)) / len(inputs))


@operator("Mod", broadcast, 2, fmod=flag())
def _mod(a: Attributes, x: Array, y: Array) -> Array:
    return np.fmod(x, y) if a["fmod"] else np.mod(x, y)


def _first_type(call: Call) -> list[TensorType]:
    return [TensorType(broadcast_shapes(*call.shapes), call.dtypes[0])]


@operator("Pow", _first_type, 2)
def _pow(a: Attributes, x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu" and y.dtype.kind in "iu" and not (y < 0).any():
        return np.power(x, y).astype(x.dtype, copy=False)
    return np.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)


def _clip_shape(call: Call) -> list[TensorType]:
    same_types(call)
    return same(call)


@operator("Clip", _clip_shape, (1, 3))
def _clip(a: Attributes, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    if low is not None:
        x = np.maximum(x, low.reshape(()))
    return x if high is None else np.minimum(x, high.reshape(()))


def _cast_shape(call: Call) -> list[TensorType]:
    return [TensorType(call.shapes[0], call.attributes["to"])]


def _convert(x: Array, dtype: Any) -> Array:
    if dtype == BOOL:
        return x != 0
    if x.dtype.kind == "f" and dtype.kind in "iu" and dtype.itemsize < 4:  # as C does: by way of int32
        x = x.astype(INT32)
    return x.astype(dtype)


@operator(
    "Cast", _cast_shape, to=Attribute("a dtype", REQUIRED), saturate=flag(1), round_mode=text("up", "down", "nearest")
)
def _cast(a: Attributes, x: Array) -> Array:
    return _convert(x, a["to"])


def _cast_like_shape(call: Call) -> list[TensorType]:
    return [TensorType(call.shapes[0], call.dtypes[1])]


@operator("CastLike", _cast_like_shape, 2, saturate=flag(1), round_mode=text("up", "down", "nearest"))
def _cast_like(a: Attributes, x: Array, y: Array) -> Array:
    return _convert(x, y.dtype)


def _scan(function: Callable[..., Array]) -> Callable[..., Array]:
    def compute(a: Attributes, x: Array, axis: Array) -> Array:
        at = int(axis.reshape(()))
        turned = np.flip(x, at) if a["reverse"] else x
        found = function(turned, axis=at, dtype=np.float64 if x.dtype.kind == "f" else x.dtype)
        if a["exclusive"]:
            first = np.full_like(found.take([0], at), 1 if function is np.cumprod else 0)
            found = np.concatenate([first, np.delete(found, -1, at)], at) if x.shape[at] else found
        return (np.flip(found, at) if a["reverse"] else found).astype(x.dtype)

    return compute


_SCANS: dict[str, Callable[..., Array]] = {"CumSum": np.cumsum, "CumProd": np.cumprod}
for _name, _running in _SCANS.items():
    operator(_name, same, 2, shape_inputs=(1,), exclusive=flag(), reverse=flag())(_scan(_running))


def _integers(call: Call) -> list[TensorType]:
    if call.dtypes[0].kind not in "iu":
        raise ValueError(f"expected whole numbers, found {call.dtypes[0]}")
    return broadcast(call)


_BITWISE: dict[str, Any] = {
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}
for _name, _bitwise in _BITWISE.items():
    operator(_name, _integers, 2)(lambda a, x, y, function=_bitwise: function(x, y))
unary("BitwiseNot", np.invert, "iu")


@operator("BitShift", _integers, 2, direction=text("LEFT", "RIGHT", required=True))
def _shift(a: Attributes, x: Array, y: Array) -> Array:
    bits = x.itemsize * 8
    if a["direction"] == "RIGHT":  # as far as it goes, the sign stays
        return np.right_shift(np.right_shift(x, np.minimum(y, bits - 1)), (y >= bits).astype(x.dtype))
    return np.where(y < bits, np.left_shift(x, np.minimum(y, bits - 1)), 0).astype(x.dtype)


@operator("Det", lambda call: [TensorType(call.shapes[0][:-2], call.dtypes[0])])
def _det(a: Attributes, x: Array) -> Array:
    return np.asarray(np.linalg.det(wide(x))).astype(x.dtype)


@operator("Trilu", same, (1, 2), upper=flag(1))
def _trilu(a: Attributes, x: Array, k: Array | None = None) -> Array:
    diagonal = 0 if k is None else max(-(1 << 31), min(1 << 31, int(k.reshape(()))))
    return np.triu(x, diagonal) if a["upper"] else np.tril(x, diagonal)
