"""Tensors that are made of sizes and numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ....errors import FormatError
from .call import FLOAT32, INT64, Call
from .promotion import given
from .registry import operator

_MOST = 1 << 22


def _filled(call: Call, sizes: str, dtype: np.dtype[Any], value: Any) -> str:
    if isinstance(value, bool | int | float):
        with np.errstate(all="ignore"):
            return call.op("ConstantOfShape", sizes, value=np.array([value]).astype(dtype))
    return call.op("Expand", *given(call, dtype, value), sizes)


def _constant(value: float | None, call: Call) -> str:
    fill = call.value("fill_value") if value is None else value
    usual = FLOAT32 if value is not None else _usual(fill)
    return _filled(call, call.sizes("size"), call.dtype(default=usual), fill)


def _usual(fill: Any) -> np.dtype[Any]:
    return np.dtype(np.bool_) if isinstance(fill, bool) else INT64 if isinstance(fill, int) else FLOAT32


def _like(value: float | None, call: Call) -> str:
    x = call.tensor("self")
    fill = call.value("fill_value") if value is None else value
    sizes = call.sizes("size") if call.kind.startswith("new_") else call.op("Shape", x)
    return _filled(call, sizes, call.dtype(default=call.kind_of(x)), fill)


for _name, _value in {"zeros": 0.0, "ones": 1.0, "empty": 0.0, "full": None}.items():
    operator(f"{_name}.{'memory_format' if _name == 'empty' else 'default'}")(partial(_constant, _value))
    operator(f"{_name}_like.default", f"new_{_name}.default")(partial(_like, _value))
operator("empty.default", "new_empty_strided.default", "empty_strided.default", "empty_permuted.default")(
    partial(_constant, 0.0)
)


@operator("fill.Scalar", "fill.Tensor", "zero.default", "copy.default")
def _fill(call: Call) -> str:
    """What is written over the whole of a tensor."""
    x = call.tensor("self")
    value = 0 if call.kind.startswith("zero") else call.value("src" if call.has("src") else "value")
    (made,) = given(call, call.kind_of(x), value)
    return call.op("Expand", made, call.op("Shape", x))


@operator("scalar_tensor.default")
def _scalar(call: Call) -> str:
    value = call.value("s")
    return given(call, call.dtype(default=_usual(value) if not isinstance(value, int) else FLOAT32), value)[0]


@operator("arange.default", "arange.start", "arange.start_step")
def _arange(call: Call) -> str:
    ends = [call.value("start", 0), call.value("end"), call.value("step", 1)]
    floating = any(isinstance(one, float) for one in ends)
    dtype = call.dtype(default=FLOAT32 if floating else INT64)
    if all(type(one) in (int, float) for one in ends):
        start, end, step = ends
        if not step or not np.isfinite([start, end, step]).all() or abs((end - start) / step) > _MOST:
            raise FormatError(f"expected at most {_MOST} numbers, found from {start} to {end} in steps of {step}")
        call.builder.expect_room(8 * int(abs((end - start) / step)))
        return call.constant(np.arange(start, end, step).astype(dtype))
    if floating:
        raise FormatError("expected whole numbers where the ends are computed, found others")
    made = call.op("Range", *given(call, INT64, *ends))
    return call.cast(made, dtype)


@operator("linspace.default")
def _linspace(call: Call) -> str:
    count = call.whole("steps")
    if not 0 <= count <= _MOST:
        raise FormatError(f"steps: expected 0 to {_MOST}, found {count}")
    call.builder.expect_room(8 * count)
    values = np.linspace(call.number("start"), call.number("end"), count)
    return call.constant(values.astype(call.dtype(default=FLOAT32)))


@operator("eye.default", "eye.m")
def _eye(call: Call) -> str:
    rows = call.whole("n")
    columns = call.whole("m", rows)
    if not 0 <= rows * columns <= _MOST or rows < 0:
        raise FormatError(f"expected at most {_MOST} numbers, found {rows} times {columns}")
    call.builder.expect_room(8 * rows * columns)
    return call.constant(np.eye(rows, columns).astype(call.dtype(default=FLOAT32)))
