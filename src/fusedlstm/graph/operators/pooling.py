"""Pooling over windows, and over all of space."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .convolution import AUTO_PAD, geometry
from .operator import INT64, REQUIRED, Array, Attributes, Call, TensorType, flag, integer, integers, operator, text

_WINDOW: dict[str, Any] = {
    "auto_pad": text(*AUTO_PAD),
    "ceil_mode": flag(),
    "dilations": integers(least=1),
    "kernel_shape": integers(REQUIRED, least=1),
    "pads": integers(least=0),
    "strides": integers(least=1),
}


def _rule(call: Call) -> list[TensorType]:
    x = call.shapes[0]
    if len(x) < 3:
        raise ValueError(f"expected an input (batch, channels, ...), found {x}")
    shape = (*x[:2], *geometry(call.attributes, x[2:], call.attributes["kernel_shape"])[-1])
    return [TensorType(shape, call.dtypes[0]), TensorType(shape, INT64)]


def _windows(a: Attributes, x: Array, fill: Any) -> tuple[Array, list[int], list[int]]:
    """Each position's elements along the last axis, `fill` where the window leaves the input; padding; positions."""
    kernel = a["kernel_shape"]
    strides, dilations, before, after, positions = geometry(a, x.shape[2:], kernel)
    room = [
        (0, max(0, (count - 1) * stride + dilation * (size - 1) + 1 - x.shape[2 + axis] - before[axis]))
        for axis, (count, stride, dilation, size) in enumerate(zip(positions, strides, dilations, kernel))
    ]
    padded = np.pad(
        x, [(0, 0), (0, 0), *((b, max(e, r)) for b, e, (_, r) in zip(before, after, room))], constant_values=fill
    )
    taps = []
    for tap in itertools.product(*map(range, kernel)):
        at = tuple(
            slice(t * d, t * d + s * (count - 1) + 1, s) for t, d, s, count in zip(tap, dilations, strides, positions)
        )
        taps.append(padded[(slice(None), slice(None), *at)])
    return np.stack(taps, -1), before, positions


def _least(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


@operator("MaxPool", _rule, 1, (1, 2), storage_order=flag(), **_WINDOW)
def _max_pool(a: Attributes, x: Array) -> tuple[Array, Array]:
    windows, _, _ = _windows(a, x, _least(x.dtype))
    where = np.arange(math.prod(x.shape), dtype=np.int64).reshape(x.shape)
    if a["storage_order"]:  # column-major within each plane
        plane = np.arange(math.prod(x.shape[2:]), dtype=np.int64).reshape(x.shape[:1:-1]).T
        start = np.arange(math.prod(x.shape[:2]), dtype=np.int64).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
        where = plane + start * math.prod(x.shape[2:])
    places, _, _ = _windows(a, where, -1)
    best = np.where(places < 0, False, windows == windows.max(-1, keepdims=True)).argmax(-1)
    return windows.max(-1), np.take_along_axis(places, best[..., None], -1)[..., 0]


@operator("AveragePool", lambda call: _rule(call)[:1], 1, 1, count_include_pad=flag(), **_WINDOW)
def _average_pool(a: Attributes, x: Array) -> Array:
    windows, _, positions = _windows(a, x.astype(np.float64), 0)
    counted = np.ones(x.shape)
    if a["count_include_pad"]:  # the padding counts, what a rounded-up window sees behind it does not
        _, _, before, after, _ = geometry(a, x.shape[2:], a["kernel_shape"])
        counted = np.ones((*x.shape[:2], *(b + n + e for b, n, e in zip(before, x.shape[2:], after))))
        a = {**a, "pads": (0,) * (2 * len(before)), "auto_pad": "NOTSET"}
    counts, _, _ = _windows(a, counted, 0)
    counts = counts[(slice(None), slice(None), *map(slice, positions))]
    return (windows.sum(-1) / counts.sum(-1)).astype(x.dtype)


@operator("LpPool", lambda call: _rule(call)[:1], 1, 1, p=integer(2, least=1), **_WINDOW)
def _lp_pool(a: Attributes, x: Array) -> Array:
    windows, _, _ = _windows(a, np.abs(x.astype(np.float64)), 0)
    return ((windows ** a["p"]).sum(-1) ** (1 / a["p"])).astype(x.dtype)


def _global_rule(call: Call) -> list[TensorType]:
    x = call.shapes[0]
    if len(x) < 3:
        raise ValueError(f"expected an input (batch, channels, ...), found {x}")
    return [TensorType((*x[:2], *(1,) * (len(x) - 2)), call.dtypes[0])]


@operator("GlobalAveragePool", _global_rule)
def _global_average(a: Attributes, x: Array) -> Array:
    return x.mean(tuple(range(2, x.ndim)), np.float64, keepdims=True).astype(x.dtype)


@operator("GlobalMaxPool", _global_rule)
def _global_max(a: Attributes, x: Array) -> Array:
    return x.max(tuple(range(2, x.ndim)), keepdims=True)


@operator("GlobalLpPool", _global_rule, p=integer(2, least=1))
def _global_lp(a: Attributes, x: Array) -> Array:
    powers = (np.abs(x.astype(np.float64)) ** a["p"]).sum(tuple(range(2, x.ndim)), keepdims=True)
    return (powers ** (1 / a["p"])).astype(x.dtype)
