"""Comparisons, logic and choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .operator import BOOL, Array, Attributes, Call, TensorType, broadcast_shapes, flag, operator, same_types


def _to_bool(call: Call) -> list[TensorType]:
    same_types(call)
    return [TensorType(broadcast_shapes(*call.shapes), BOOL)]


def _of_bools(call: Call) -> list[TensorType]:
    if any(dtype != BOOL for dtype in call.dtypes):
        raise ValueError(f"expected bools, found {call.dtypes[0]}")
    return _to_bool(call)


def _enter(name: str, function: Callable[..., Any], inputs: int, shape: Callable[[Call], list[TensorType]]) -> None:
    @operator(name, shape, inputs)
    def compute(a: Attributes, *values: Array) -> Array:
        return np.asarray(function(*values))


for _name, _function in {
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
}.items():
    _enter(_name, _function, 2, _to_bool)
for _name, _logical in {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}.items():
    _enter(_name, _logical, 2, _of_bools)
_enter("Not", np.logical_not, 1, _of_bools)
_enter("IsNaN", np.isnan, 1, _to_bool)


@operator("IsInf", _to_bool, detect_negative=flag(1), detect_positive=flag(1))
def _is_inf(a: Attributes, x: Array) -> Array:
    wanted = np.isinf(x)
    if not a["detect_negative"]:
        wanted &= x > 0
    if not a["detect_positive"]:
        wanted &= x < 0
    return wanted


def _where_shape(call: Call) -> list[TensorType]:
    if call.dtypes[0] != BOOL:
        raise ValueError(f"expected a condition of bools, found {call.dtypes[0]}")
    return [TensorType(broadcast_shapes(*call.shapes), same_types(call, 1))]


@operator("Where", _where_shape, 3)
def _where(a: Attributes, condition: Array, x: Array, y: Array) -> Array:
    return np.where(condition, x, y)
