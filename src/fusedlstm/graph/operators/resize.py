"""Resize: nearest and linear (https://onnx.ai/onnx/operators/onnx__Resize.html)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Dim
from .operator import Array, Attributes, Call, TensorType, UnknownError, axes_of, flag, integers, number, operator, text


def sizes_and_scales(a: Attributes, shape: Sequence[Any], scales: Any, sizes: Any) -> tuple[list[Any], list[float]]:
    """The new shape, and the scale of each axis."""
    axes = axes_of(range(len(shape)) if a["axes"] is None else a["axes"], len(shape))
    out, factors = list(shape), [1.0] * len(shape)
    given = scales if sizes is None else sizes
    if given is None or len(given) != len(axes):
        raise ValueError(f"expected a scale or size for each of {len(axes)} axes, found {given}")
    policy = a["keep_aspect_ratio_policy"]
    for axis, one in zip(axes, given):
        if sizes is None:
            factors[axis] = float(one)
            out[axis] = (
                math.floor(shape[axis] * one)
                if type(shape[axis]) is int
                else shape[axis] * int(one)
                if one == int(one)
                else Dim.unknown("resize", shape[axis], one)
            )
        else:
            out[axis] = one
            factors[axis] = one / shape[axis] if type(shape[axis]) is int and shape[axis] and type(one) is int else 1.0
    if sizes is not None and policy != "stretch":
        scale = (min if policy == "not_larger" else max)(factors[axis] for axis in axes)
        for axis in axes:
            out[axis], factors[axis] = math.floor(scale * shape[axis] + 0.5), scale
    return out, factors


def _rule(call: Call) -> list[TensorType]:
    found: list[Any] = []
    for index in (2, 3):
        value = call.values[index] if call.has(index) else None
        if call.has(index) and value is None:
            raise UnknownError
        found.append(None if value is None or value.size == 0 else value.tolist())
    return [TensorType(tuple(sizes_and_scales(call.attributes, call.shapes[0], *found)[0]), call.dtypes[0])]


def _places(a: Attributes, size: int, out: int, scale: float) -> Array:
    """Where each element of the output lies in the input."""
    x, mode = np.arange(out, dtype=np.float64), a["coordinate_transformation_mode"]
    if mode == "asymmetric":
        return x / scale
    if mode == "align_corners":
        return x * (size - 1) / (scale * size - 1) if out > 1 else x * 0
    if mode == "half_pixel_symmetric":
        length = scale * size
        adjustment = out / length if length else 1.0
        return size / 2 * (1 - adjustment) + (x + 0.5) / scale - 0.5
    if mode == "tf_half_pixel_for_nn":  # until opset 12; tf2onnx and ONNX Runtime have it later as well
        return (x + 0.5) / scale
    if mode == "pytorch_half_pixel" and out == 1:
        return np.zeros(1)
    return (x + 0.5) / scale - 0.5


def _nearest(a: Attributes, places: Array) -> Array:
    mode = a["nearest_mode"]
    if mode == "floor":
        return np.floor(places)
    if mode == "ceil":
        return np.ceil(places)
    return np.ceil(places - 0.5) if mode == "round_prefer_floor" else np.floor(places + 0.5)


def taps(a: Attributes, size: int, out: int, scale: float) -> tuple[Array, Array]:
    """Of one axis: the elements of the input that each of the output is made of, and their weights: (out, taps)."""
    places = _places(a, size, out, scale)[:, None]
    antialias = a["antialias"] and scale < 1
    if a["mode"] == "nearest":
        at, weights = _nearest(a, places), np.ones((out, 1))
    elif a["mode"] == "linear" and not antialias:
        at = np.floor(places) + np.arange(2)
        weights = 1 - np.abs(places - at)
    else:
        stretch = max(1.0, 1 / scale) if a["antialias"] else 1.0
        reach = (1 if a["mode"] == "linear" else 2) * stretch
        at = np.floor(places - reach) + np.arange(1, math.ceil(2 * reach) + 1)
        weights = np.where(at < np.ceil(places + reach), _kernel(a, (at - places) / stretch), 0)
        if a["exclude_outside"]:
            weights = np.where((at >= 0) & (at < size), weights, 0)
        if a["exclude_outside"] or a["antialias"]:
            weights = weights / weights.sum(1, keepdims=True)
    return np.clip(at, 0, size - 1).astype(np.int64), weights


def _matrix(a: Attributes, size: int, out: int, scale: float) -> Array:
    """The weights (out, in) of one axis."""
    at, own = taps(a, size, out, scale)
    weights = np.zeros((out, size))
    np.add.at(weights, (np.arange(out)[:, None], at), own)
    return weights


def _kernel(a: Attributes, x: Array) -> Array:
    x = np.abs(x)
    if a["mode"] == "linear":
        return np.maximum(0, 1 - x)
    c = a["cubic_coeff_a"]
    near = ((c + 2) * x - (c + 3)) * x * x + 1
    far = ((c * x - 5 * c) * x + 8 * c) * x - 4 * c
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


@operator(
    "Resize",
    _rule,
    (1, 4),
    shape_inputs=(2, 3),
    antialias=flag(),
    axes=integers(),
    coordinate_transformation_mode=text(
        *("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"),
        "tf_half_pixel_for_nn",
    ),
    cubic_coeff_a=number(-0.75),
    exclude_outside=flag(),
    extrapolation_value=number(0.0),
    keep_aspect_ratio_policy=text("stretch", "not_larger", "not_smaller"),
    mode=text("nearest", "linear", "cubic"),
    nearest_mode=text("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
)
def _resize(a: Attributes, x: Array, roi: Any = None, scales: Array | None = None, sizes: Array | None = None) -> Array:
    out, factors = sizes_and_scales(
        a,
        x.shape,
        None if scales is None or not scales.size else scales.tolist(),
        None if sizes is None or not sizes.size else sizes.tolist(),
    )
    found = x.astype(np.float64)
    for axis, (size, target) in enumerate(zip(x.shape, out)):
        if size != target or factors[axis] != 1:
            weights = _matrix(a, size, target, factors[axis])
            found = np.moveaxis(np.tensordot(weights, found, (1, axis)), 0, axis)
    return found.astype(x.dtype)
