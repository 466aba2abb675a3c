"""Integers that stand for floats, exactly as ONNX defines them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .convolution import CONV, conv_shape, convolve
from .matrix import matmul_shape
from .operator import FLOAT32, INT32, Array, Attribute, Attributes, Call, TensorType, axis_of, flag, integer, operator

_UINT8 = np.dtype(np.uint8)
_DTYPE = Attribute("a dtype", None)


def _spread(values: Array, shape: tuple[int, ...], axis: int, block: int) -> Array:
    """A scale or zero point for each element: one for all, one for each index of an axis, or one for each block."""
    if values.size == 1 and values.ndim <= 1:
        return values.reshape(())
    at = axis_of(axis, len(shape))
    if block:
        return np.repeat(values, block, at)[tuple(slice(0, size) for size in shape)]
    return values.reshape(*(1,) * at, -1, *(1,) * (len(shape) - at - 1))


def _saturated(x: Array, dtype: np.dtype[Any]) -> Array:
    limits = np.iinfo(dtype)
    return np.clip(x, limits.min, limits.max).astype(dtype)


def _rounded(x: Array, scale: Array, zero: Array, dtype: np.dtype[Any]) -> Array:
    """As ONNX has it: divide in the type of x, round half to even, add, cut off."""
    return _saturated(np.rint(x / scale).astype(np.float64) + zero, dtype)


def _quantize_rule(call: Call) -> list[TensorType]:
    wanted = call.attributes["output_dtype"]
    dtype = call.dtypes[2] if call.has(2) else wanted or _UINT8
    if dtype.kind not in "iu" or (wanted is not None and wanted != dtype):
        raise ValueError(f"expected to round to whole numbers, found {dtype}")
    return [TensorType(call.shapes[0], dtype)]


@operator(
    "QuantizeLinear",
    _quantize_rule,
    (2, 3),
    axis=integer(1),
    block_size=integer(0, least=0),
    output_dtype=_DTYPE,
    precision=integer(0),
    saturate=flag(1),
)
def _quantize(a: Attributes, x: Array, scale: Array, zero: Array | None = None) -> Array:
    zero = np.zeros(scale.shape, a["output_dtype"] or np.uint8) if zero is None else zero
    spread, shift = (_spread(one, x.shape, a["axis"], a["block_size"]) for one in (scale, zero))
    return _rounded(x.astype(FLOAT32) if x.dtype.kind != "f" else x, spread, shift, zero.dtype)


@operator(
    "DequantizeLinear",
    lambda call: [TensorType(call.shapes[0], call.attributes["output_dtype"] or call.dtypes[1])],
    (2, 3),
    axis=integer(1),
    block_size=integer(0, least=0),
    output_dtype=_DTYPE,
)
def _dequantize(a: Attributes, x: Array, scale: Array, zero: Array | None = None) -> Array:
    shifted = x.astype(np.int64)
    if zero is not None:
        shifted = shifted - _spread(zero, x.shape, a["axis"], a["block_size"])
    spread = _spread(scale, x.shape, a["axis"], a["block_size"])
    return (shifted.astype(FLOAT32) * spread.astype(FLOAT32)).astype(a["output_dtype"] or scale.dtype)


@operator(
    "DynamicQuantizeLinear",
    lambda call: [TensorType(call.shapes[0], _UINT8), TensorType((), FLOAT32), TensorType((), _UINT8)],
    1,
    3,
)
def _dynamic(a: Attributes, x: Array) -> tuple[Array, Array, Array]:
    low, high = (
        np.float32(function(np.float32(0), getattr(x, name)())) for function, name in ((min, "min"), (max, "max"))
    )
    scale = np.float32((high - low) / np.float32(255))
    zero = _saturated(np.rint(-low / scale) if scale else np.float32(0), _UINT8)
    return _rounded(x, scale if scale else np.float32(1), zero, _UINT8), np.asarray(scale), zero


def shifted(x: Array, zero: Array | None, axis: int) -> Array:
    """As int64, the zero point (one, or one for each index of an axis) subtracted."""
    x = x.astype(np.int64)
    if zero is None or zero.size == 1:
        return x if zero is None else x - zero.astype(np.int64).reshape(())
    if zero.ndim > 1:
        return x - zero.astype(np.int64)
    return x - _spread(zero.astype(np.int64), x.shape, axis, 0)


@operator("MatMulInteger", lambda call: [TensorType(matmul_shape(call.shapes[0], call.shapes[1]), INT32)], (2, 4))
def _matmul_integer(
    a: Attributes, x: Array, y: Array, x_zero: Array | None = None, y_zero: Array | None = None
) -> Array:
    return np.asarray(np.matmul(shifted(x, x_zero, -2), shifted(y, y_zero, -1))).astype(INT32)


@operator("ConvInteger", lambda call: [TensorType(_integer_conv(call), INT32)], (2, 4), **CONV)
def _conv_integer(a: Attributes, x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
    return convolve(a, shifted(x, x_zero, 1), shifted(w, w_zero, 0)).astype(INT32)


def _integer_conv(call: Call) -> Any:
    return conv_shape(Call(call.attributes, call.shapes[:2], call.dtypes[:2], call.values[:2], 1))


def _qmatmul_rule(call: Call) -> list[TensorType]:
    return [TensorType(matmul_shape(call.shapes[0], call.shapes[3]), call.dtypes[7])]


@operator("QLinearMatMul", _qmatmul_rule, 8)
def _qlinear_matmul(
    a: Attributes, x: Array, xs: Array, xz: Array, y: Array, ys: Array, yz: Array, zs: Array, zz: Array
) -> Array:
    sums = np.matmul(shifted(x, xz, -2), shifted(y, yz, -1))
    rows = _spread(xs, sums.shape, -2, 0) if xs.ndim <= 1 else xs
    columns = _spread(ys, sums.shape, -1, 0) if ys.ndim <= 1 else ys
    factor = rows.astype(np.float64) * columns.astype(np.float64) / zs.astype(np.float64)
    return _saturated(np.rint(sums * factor) + zz, zz.dtype)


def _qconv_rule(call: Call) -> list[TensorType]:
    shapes = [call.shapes[0], call.shapes[3]]
    return [TensorType(conv_shape(Call(call.attributes, shapes, (), (), 1)), call.dtypes[7])]


@operator("QLinearConv", _qconv_rule, (8, 9), **CONV)
def _qlinear_conv(
    a: Attributes,
    x: Array,
    xs: Array,
    xz: Array,
    w: Array,
    ws: Array,
    wz: Array,
    ys: Array,
    yz: Array,
    bias: Array | None = None,
) -> Array:
    sums = convolve(a, shifted(x, xz, 1), shifted(w, wz, 0))
    channels = (-1, *(1,) * (x.ndim - 2))
    if bias is not None:
        sums = sums + bias.astype(np.int64).reshape(channels)
    factor = (xs.astype(np.float64) * ws.astype(np.float64) / ys.astype(np.float64)).reshape(-1)
    factor = factor.reshape(channels) if factor.size > 1 else factor
    return _saturated(np.rint(sums * factor) + yz.astype(np.int64), yz.dtype)
