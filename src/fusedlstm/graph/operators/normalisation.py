"""Normalisations and softmax, computed in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from .operator import (
    FLOAT32,
    Array,
    Attributes,
    Call,
    TensorType,
    axes_of,
    axis_of,
    differ,
    integer,
    integers,
    number,
    operator,
    same,
)
from .shapes import reaches


def _along(array: Array, rank: int, axis: int = 1) -> Array:
    """A value for each channel, in a shape that broadcasts."""
    return array.astype(np.float64).reshape(*(1,) * axis, -1, *(1,) * (rank - axis - 1))


def _standard(x: Array, axes: Any, epsilon: float) -> Array:
    """Zero mean and unit variance over `axes`."""
    x = x.astype(np.float64)
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + epsilon)


def _by_channel(call: Call) -> list[TensorType]:
    channels = call.shapes[0][1] if len(call.shapes[0]) > 1 else 1
    for shape in call.shapes[1:]:
        if len(shape) != 1 or differ(shape[0], channels):
            raise ValueError(f"expected a number for each of {channels} channels, found shape {shape}")
    return same(call)


@operator(
    "BatchNormalization",
    _by_channel,
    5,
    1,
    epsilon=number(1e-5),
    momentum=number(0.9),
)
def _batch(a: Attributes, x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Array:
    scale, bias, mean, var = (_along(one, x.ndim) for one in (scale, bias, mean, var))
    return ((x - mean) * (scale / np.sqrt(var + a["epsilon"])) + bias).astype(x.dtype)


@operator("InstanceNormalization", _by_channel, 3, epsilon=number(1e-5))
def _instance(a: Attributes, x: Array, scale: Array, bias: Array) -> Array:
    normal = _standard(x, tuple(range(2, x.ndim)), a["epsilon"])
    return (normal * _along(scale, x.ndim) + _along(bias, x.ndim)).astype(x.dtype)


def _group_rule(call: Call) -> list[TensorType]:
    channels, groups = call.shapes[0][1], call.attributes["num_groups"]
    for shape in call.shapes[1:]:
        if len(shape) != 1 or (differ(shape[0], channels) and shape[0] != groups):
            raise ValueError(f"expected a number for each channel or group, found shape {shape}")
    if type(channels) is int and channels % groups:
        raise ValueError(f"expected channels in {groups} groups, found {channels}")
    return same(call)


@operator(
    "GroupNormalization", _group_rule, 3, epsilon=number(1e-5), num_groups=integer(least=1), stash_type=integer(1)
)
def _group(a: Attributes, x: Array, scale: Array, bias: Array) -> Array:
    groups, channels = a["num_groups"], x.shape[1]
    parts = x.reshape(x.shape[0], groups, channels // groups, *x.shape[2:])
    normal = _standard(parts, tuple(range(2, parts.ndim)), a["epsilon"]).reshape(x.shape)
    if scale.size != channels:  # operator set 18 had one for each group
        scale, bias = (np.repeat(one, channels // groups) for one in (scale, bias))
    return (normal * _along(scale, x.ndim) + _along(bias, x.ndim)).astype(x.dtype)


def _layer_rule(call: Call) -> list[TensorType]:
    x = call.shapes[0]
    axis = axis_of(call.attributes["axis"], len(x))
    for shape in call.shapes[1:]:
        if shape is not None and not reaches(shape, x[axis:]):
            raise ValueError(f"expected scale and bias that broadcast to {x[axis:]}, found {shape}")
    kept = TensorType((*x[:axis], *(1,) * (len(x) - axis)), FLOAT32)
    return [TensorType(x, call.dtypes[0]), kept, kept]


@operator(
    "LayerNormalization", _layer_rule, (2, 3), (1, 3), axis=integer(-1), epsilon=number(1e-5), stash_type=integer(1)
)
def _layer(a: Attributes, x: Array, scale: Array, bias: Array | None = None) -> tuple[Array, Array, Array]:
    axes = tuple(range(axis_of(a["axis"], x.ndim), x.ndim))
    wide = x.astype(np.float64)
    mean = wide.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(((wide - mean) ** 2).mean(axes, keepdims=True) + a["epsilon"])
    y = (wide - mean) * inverse * scale + (0 if bias is None else bias)
    return y.astype(x.dtype), mean.astype(FLOAT32), inverse.astype(FLOAT32)


@operator(
    "RMSNormalization",
    lambda call: _layer_rule(call)[:1],
    2,
    axis=integer(-1),
    epsilon=number(1e-5),
    stash_type=integer(1),
)
def _rms(a: Attributes, x: Array, scale: Array) -> Array:
    axes = tuple(range(axis_of(a["axis"], x.ndim), x.ndim))
    wide = x.astype(np.float64)
    return (wide / np.sqrt((wide**2).mean(axes, keepdims=True) + a["epsilon"]) * scale).astype(x.dtype)


@operator("MeanVarianceNormalization", same, axes=integers((0, 2, 3)))
def _mean_variance(a: Attributes, x: Array) -> Array:
    wide, axes = x.astype(np.float64), axes_of(a["axes"], x.ndim)
    mean = wide.mean(axes, keepdims=True)
    spread = np.sqrt((wide**2).mean(axes, keepdims=True) - mean**2)
    return ((wide - mean) / (spread + 1e-9)).astype(x.dtype)


@operator("LpNormalization", same, axis=integer(-1), p=integer(2))
def _lp(a: Attributes, x: Array) -> Array:
    wide = np.abs(x.astype(np.float64))
    norm = (wide ** a["p"]).sum(axis_of(a["axis"], x.ndim), keepdims=True) ** (1 / a["p"])
    return np.where(norm == 0, 0, x / norm).astype(x.dtype)


@operator("LRN", same, alpha=number(1e-4), beta=number(0.75), bias=number(1.0), size=integer(least=1))
def _lrn(a: Attributes, x: Array) -> Array:
    squares, size = x.astype(np.float64) ** 2, a["size"]
    before = (size - 1) // 2
    padded = np.pad(squares, [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    sums = sum(padded[:, k : k + x.shape[1]] for k in range(size))
    return (x / (a["bias"] + a["alpha"] / size * sums) ** a["beta"]).astype(x.dtype)


def _softmax_rule(call: Call) -> list[TensorType]:
    axis_of(call.attributes["axis"], len(call.shapes[0]))
    return same(call)


@operator("Softmax", _softmax_rule, axis=integer(-1))
def _softmax(a: Attributes, x: Array) -> Array:
    e = np.exp(_shifted(x, a["axis"]))
    return (e / e.sum(a["axis"], keepdims=True)).astype(x.dtype)


@operator("LogSoftmax", _softmax_rule, axis=integer(-1))
def _log_softmax(a: Attributes, x: Array) -> Array:
    z = _shifted(x, a["axis"])
    return (z - np.log(np.exp(z).sum(a["axis"], keepdims=True))).astype(x.dtype)


def _shifted(x: Array, axis: int) -> Array:
    wide = x.astype(np.float64)
    return wide - wide.max(axis, keepdims=True, initial=-np.inf)


@operator("Hardmax", _softmax_rule, axis=integer(-1))
def _hardmax(a: Attributes, x: Array) -> Array:
    found = np.zeros_like(x)
    np.put_along_axis(found, np.expand_dims(x.argmax(a["axis"]), a["axis"]), 1, a["axis"])
    return found
