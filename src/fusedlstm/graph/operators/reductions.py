"""Reductions over axes, in float64 where the input is of floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .elementwise import wide
from .operator import INT64, Array, Attributes, Call, Shape, TensorType, axes_of, axis_of, flag, integer, operator


def reduced_shape(shape: Shape, axes: tuple[int, ...], keep: int) -> Shape:
    """What is left of a shape: sizes of 1, or no axes at all."""
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _rule(call: Call) -> list[TensorType]:
    shape, a = call.shapes[0], call.attributes
    axes = axes_of(call.ints(1), len(shape)) if call.has(1) else ()
    if not axes and not a["noop_with_empty_axes"]:
        axes = tuple(range(len(shape)))
    return [TensorType(reduced_shape(shape, axes, a["keepdims"]), call.dtypes[0])]


def _log_sum_exp(x: Array, axes: Any, keepdims: bool) -> Array:
    x = x.astype(np.float64)
    high = x.max(axes, keepdims=True, initial=-np.inf)
    high = np.where(np.isfinite(high), high, 0)
    found = np.log(np.exp(x - high).sum(axes, keepdims=True)) + high
    return found if keepdims else found.reshape(x.sum(axes).shape)


def _limit(dtype: np.dtype[Any], sign: int) -> Any:
    if dtype.kind == "f":
        return sign * np.inf
    if dtype.kind == "b":
        return sign > 0
    return np.iinfo(dtype).max if sign > 0 else np.iinfo(dtype).min


for _name, _function in {
    "ReduceSum": lambda x, axes, keepdims: x.sum(axes, dtype=x.dtype, keepdims=keepdims),
    "ReduceMean": lambda x, axes, keepdims: x.mean(axes, keepdims=keepdims),
    "ReduceMax": lambda x, axes, keepdims: x.max(axes, keepdims=keepdims, initial=_limit(x.dtype, -1)),
    "ReduceMin": lambda x, axes, keepdims: x.min(axes, keepdims=keepdims, initial=_limit(x.dtype, 1)),
    "ReduceProd": lambda x, axes, keepdims: x.prod(axes, dtype=x.dtype, keepdims=keepdims),
    "ReduceL1": lambda x, axes, keepdims: np.abs(x).sum(axes, dtype=x.dtype, keepdims=keepdims),
    "ReduceL2": lambda x, axes, keepdims: np.sqrt((x * x).sum(axes, keepdims=keepdims)),
    "ReduceSumSquare": lambda x, axes, keepdims: (x * x).sum(axes, dtype=x.dtype, keepdims=keepdims),
    "ReduceLogSum": lambda x, axes, keepdims: np.log(x.sum(axes, keepdims=keepdims)),
    "ReduceLogSumExp": _log_sum_exp,
}.items():

    def _reduce(a: Attributes, x: Array, axes: Array | None = None, function: Callable[..., Any] = _function) -> Array:
        over = () if axes is None else axes_of(axes.tolist(), x.ndim)
        if not over and not a["noop_with_empty_axes"]:
            over = tuple(range(x.ndim))
        return np.asarray(function(wide(x), over, bool(a["keepdims"]))).astype(x.dtype)

    operator(_name, _rule, (1, 2), shape_inputs=(1,), keepdims=flag(1), noop_with_empty_axes=flag())(_reduce)


def _arg_rule(call: Call) -> list[TensorType]:
    shape, a = call.shapes[0], call.attributes
    return [TensorType(reduced_shape(shape, (axis_of(a["axis"], len(shape)),), a["keepdims"]), INT64)]


_ARGS: dict[str, Callable[..., Any]] = {"ArgMax": np.argmax, "ArgMin": np.argmin}
for _name, _find in _ARGS.items():

    def _arg(a: Attributes, x: Array, function: Callable[..., Any] = _find) -> Array:
        axis = axis_of(a["axis"], x.ndim)
        last = a["select_last_index"]
        found = x.shape[axis] - 1 - function(np.flip(x, axis), axis) if last else function(x, axis)
        return np.asarray(np.expand_dims(found, axis) if a["keepdims"] else found).astype(np.int64)

    operator(_name, _arg_rule, axis=integer(0), keepdims=flag(1), select_last_index=flag())(_arg)


def _top_rule(call: Call) -> list[TensorType]:
    shape = call.shapes[0]
    axis, (k,) = axis_of(call.attributes["axis"], len(shape)), call.ints(1)
    if k < 0 or (type(shape[axis]) is int and k > shape[axis]):
        raise ValueError(f"expected k of at most {shape[axis]}, found {k}")
    found = (*shape[:axis], k, *shape[axis + 1 :])
    return [TensorType(found, call.dtypes[0]), TensorType(found, INT64)]


@operator("TopK", _top_rule, 2, (1, 2), shape_inputs=(1,), axis=integer(-1), largest=flag(1), sorted=flag(1))
def _top(a: Attributes, x: Array, k: Array) -> tuple[Array, Array]:
    axis, count = axis_of(a["axis"], x.ndim), int(k.reshape(()))
    if a["largest"]:  # of equal elements the first one comes first
        order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    order = np.take(order, range(count), axis)
    return np.take_along_axis(x, order, axis), order.astype(np.int64)
