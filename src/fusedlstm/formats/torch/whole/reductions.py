"""Reductions and running sums."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from ....errors import FormatError
from .call import BOOL, FLOAT32, INT32, INT64, Call
from .promotion import floats
from .registry import operator


def reduced(call: Call, op: str, x: str, axes: tuple[int, ...], keeps: bool) -> str:
    """Over some axes; a scalar is what it is."""
    return call.op(op, x, call.int_list(*axes), keepdims=int(keeps)) if axes else x


def _sum(op: str, call: Call) -> str:
    x = call.tensor("self")
    whole = call.kind_of(x).kind != "f"
    usual = (INT64 if op != "ReduceMean" else FLOAT32) if whole else call.kind_of(x)
    x = call.cast(x, call.dtype(default=usual))
    return reduced(call, op, x, call.axes("dim", call.rank(x)), call.flag("keepdim", False))


operator("sum.default", "sum.dim_IntList")(partial(_sum, "ReduceSum"))
operator("mean.default", "mean.dim")(partial(_sum, "ReduceMean"))
operator("prod.default", "prod.dim_int")(partial(_sum, "ReduceProd"))


def _extreme(op: str, call: Call) -> str:
    x = call.tensor("self")
    truth = call.kind_of(x) == BOOL
    made = reduced(
        call, op, call.cast(x, INT32) if truth else x, call.axes("dim", call.rank(x)), call.flag("keepdim", False)
    )
    return call.cast(made, BOOL) if truth else made


for _name, _op in {"max": "ReduceMax", "min": "ReduceMin"}.items():
    operator(f"a{_name}.default", f"{_name}.default")(partial(_extreme, _op))


def _truth(op: str, call: Call) -> str:
    x = call.cast(call.cast(call.tensor("self"), BOOL), INT32)
    return call.cast(reduced(call, op, x, call.axes("dim", call.rank(x)), call.flag("keepdim", False)), BOOL)


for _name, _op in {"any": "ReduceMax", "all": "ReduceMin"}.items():
    operator(f"{_name}.default", f"{_name}.dim", f"{_name}.dims")(partial(_truth, _op))


def _with_place(most: bool, call: Call) -> list[str]:
    """The greatest or least along an axis, and where it is."""
    x = call.tensor("self")
    rank, keeps = call.rank(x), call.flag("keepdim", False)
    if not rank:
        return [x, call.constant(np.array(0, np.int64))]
    axis = call.axis(call.whole("dim"), rank)
    place = call.op("ArgMax" if most else "ArgMin", x, axis=axis, keepdims=int(keeps))
    return [reduced(call, "ReduceMax" if most else "ReduceMin", x, (axis,), keeps), place]


operator("max.dim")(partial(_with_place, True))
operator("min.dim")(partial(_with_place, False))


def _place(op: str, call: Call) -> str:
    x = call.tensor("self")
    if not call.has("dim"):
        made = call.op(op, call.reshape(x, -1), axis=0, keepdims=0)
        return call.reshape(made, *[1] * call.rank(x)) if call.flag("keepdim", False) else made
    if not call.rank(x):
        return call.constant(np.array(0, np.int64))
    axis = call.axis(call.whole("dim"), call.rank(x))
    return call.op(op, x, axis=axis, keepdims=int(call.flag("keepdim", False)))


operator("argmax.default")(partial(_place, "ArgMax"))
operator("argmin.default")(partial(_place, "ArgMin"))


@operator("var.default", "var.dim", "var.correction", "std.default", "std.dim", "std.correction")
@operator("var_mean.correction", "var_mean.dim", "var_mean.default", "std_mean.correction", "std_mean.dim")
def _variance(call: Call) -> list[str]:
    """Of the differences from the mean; n less the correction divides."""
    x = call.tensor("self")
    axes, keeps = call.axes("dim", call.rank(x)), call.flag("keepdim", False)
    correction = 1.0 if call.flag("unbiased", True) else 0.0
    if call.has("correction"):
        correction = call.number("correction")
    mean = reduced(call, "ReduceMean", x, axes, True)
    away = call.op("Sub", x, mean)
    total = reduced(call, "ReduceSum", call.op("Mul", away, away), axes, keeps)
    sizes = [call.shape(x)[axis] for axis in axes]
    if all(type(size) is int for size in sizes):
        count = call.like(x, max(math.prod(sizes) - correction, 0.0))
    else:
        parts = [call.op("Shape", x, start=axis, end=axis + 1) for axis in axes]
        number = parts[0] if len(parts) == 1 else call.op("Concat", *parts, axis=0)
        number = call.cast(call.op("ReduceProd", number, call.int_list(0), keepdims=0), call.kind_of(x))
        count = call.op("Max", call.op("Sub", number, call.like(x, correction)), call.like(x, 0.0))
    made = call.op("Div", total, count)
    made = call.op("Sqrt", made) if call.kind.startswith("std") else made
    return [made, mean if keeps else call.squeeze(mean, *axes)]


@operator(
    "norm.ScalarOpt_dim", "norm.Scalar", "linalg_vector_norm.default", "norm.ScalarOpt_dim_dtype", "linalg_norm.default"
)
def _norm(call: Call) -> str:
    x = floats(call)
    x = call.cast(x, call.dtype(default=call.kind_of(x)))
    order = call.value("ord" if call.has("ord") else "p", 2)
    order = 2.0 if order is None else order
    axes, keeps = call.axes("dim", call.rank(x)), call.flag("keepdim", False)
    if call.kind.startswith("linalg_norm") and len(axes) > 1 and call.has("ord"):
        raise FormatError(f"ord: expected none for a matrix, found {str(order)[:80]!r}, which is not supported")
    if type(order) not in (int, float):
        raise FormatError(f"ord: expected a number, found {str(order)[:80]!r}")
    if not axes:
        return call.op("Abs", x)
    if order in (1, 2):
        return reduced(call, f"ReduceL{int(order)}", x, axes, keeps)
    size = call.op("Abs", x)
    if math.isinf(order):
        return reduced(call, "ReduceMax" if order > 0 else "ReduceMin", size, axes, keeps)
    if order == 0:
        nonzero = call.cast(call.op("Greater", size, call.like(x, 0)), call.kind_of(x))
        return reduced(call, "ReduceSum", nonzero, axes, keeps)
    powers = reduced(call, "ReduceSum", call.op("Pow", size, call.like(x, order)), axes, keeps)
    return call.op("Pow", powers, call.like(x, 1 / order))


@operator("logsumexp.default")
def _logsumexp(call: Call) -> str:
    x = floats(call)
    return reduced(call, "ReduceLogSumExp", x, call.axes("dim", call.rank(x)), call.flag("keepdim", False))


@operator("count_nonzero.default", "count_nonzero.dim_IntList")
def _count(call: Call) -> str:
    x = call.cast(call.cast(call.tensor("self"), BOOL), INT64)
    return reduced(call, "ReduceSum", x, call.axes("dim", call.rank(x)), False)


def _running(op: str, call: Call) -> str:
    x = call.tensor("self")
    x = call.cast(x, call.dtype(default=call.kind_of(x) if call.kind_of(x).kind == "f" else INT64))
    if not call.rank(x):
        return x
    axis = call.axis(call.whole("dim"), call.rank(x))
    return call.op(op, x, call.constant(np.array(axis, np.int64)))


operator("cumsum.default")(partial(_running, "CumSum"))
operator("cumprod.default")(partial(_running, "CumProd"))
