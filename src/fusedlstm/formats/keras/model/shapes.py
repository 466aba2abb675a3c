"""What moves data: reshaping, repeating, padding, cropping."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.operators.shapes import product
from .call import Call, whole
from .registry import Made, layer


@layer("Flatten")
def _flatten(call: Call) -> Made:
    x = call.x.name
    rank = call.rank(x)
    if call.config.get("data_format") == "channels_first" and rank > 2:
        x = call.transpose(x, 0, *range(2, rank), 1)
    return call.unsqueeze(x, 1) if rank == 1 else flattened(call, x)


def flattened(call: Call, x: str) -> str:
    """(batch, everything else)."""
    rest = product(call.shape(x)[1:])
    return call.reshape(x, 0 if type(rest) is not int else -1, -1 if type(rest) is not int else rest)


@layer("Reshape")
def _reshape(call: Call) -> Made:
    sizes = call.value("target_shape")
    if not isinstance(sizes, (list, tuple)) or any(one is not None and type(one) is not int for one in sizes):
        raise FormatError(f"target_shape: expected sizes, found {str(sizes)[:80]!r}")
    wanted = [-1 if one is None else one for one in sizes]
    if wanted.count(-1) > 1 or any(one < -1 for one in wanted):
        raise FormatError(f"target_shape: expected sizes of which one may be -1, found {sizes}")
    rest = product(call.shape(call.x.name)[1:])
    if -1 in wanted and type(rest) is int:
        known = math.prod(one for one in wanted if one != -1)
        if not known or rest % known:
            raise FormatError(f"target_shape: expected sizes of {rest} elements, found {sizes}")
        wanted[wanted.index(-1)] = rest // known
    return call.reshape(call.x.name, 0 if -1 in wanted else -1, *wanted)


@layer("Permute")
def _permute(call: Call) -> Made:
    rank = call.rank(call.x.name)
    order = call.value("dims")
    if not isinstance(order, (list, tuple)) or sorted(map(str, order)) != sorted(map(str, range(1, rank))):
        raise FormatError(f"dims: expected an order of {rank - 1} axes, found {str(order)[:80]!r}")
    return call.transpose(call.x.name, 0, *order)


@layer("RepeatVector")
def _repeat(call: Call) -> Made:
    call.expect_rank(call.x.name, 2)
    count = call.whole("n", least=0)
    return call.op("Tile", call.unsqueeze(call.x.name, 1), call.ints(1, count, 1))


def _pairs(call: Call, key: str, rank: int) -> list[tuple[int, int]]:
    """Numbers before and after along each of some axes."""
    found = call.value(key)
    if isinstance(found, int):
        found = [found] * rank
    elif rank == 1 and isinstance(found, (list, tuple)) and len(found) == 2:
        found = [found]
    if not isinstance(found, (list, tuple)) or len(found) != rank:
        raise FormatError(f"{key}: expected {rank} pairs of numbers, found {str(found)[:80]!r}")
    pairs: list[tuple[int, int]] = []
    for one in found:
        both: Any = [one, one] if isinstance(one, int) else one
        if not isinstance(both, (list, tuple)) or len(both) != 2:
            raise FormatError(f"{key}: expected {rank} pairs of numbers, found {str(found)[:80]!r}")
        pairs.append((whole(key, both[0], 0), whole(key, both[1], 0)))
    return pairs


def spatial(call: Call, rank: int) -> range:
    """The axes between batch and channels."""
    call.expect_rank(call.x.name, rank + 2)
    first = call.config.get("data_format") == "channels_first"
    return range(2, rank + 2) if first else range(1, rank + 1)


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def _cropping(call: Call) -> Made:
    rank = int(call.kind[-2])
    axes, pairs = spatial(call, rank), _pairs(call, "cropping", rank)
    x = call.x.name
    for axis, (before, after) in zip(axes, pairs):
        size = call.shape(x)[axis]
        if type(size) is int and before + after >= size:
            raise FormatError(f"cropping: expected less than {size} elements, found {before + after}")
        x = call.slice(x, axis, before, -after if after else 1 << 62)
    return x


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def _padding(call: Call) -> Made:
    rank = int(call.kind[-2])
    axes, pairs = spatial(call, rank), _pairs(call, "padding", rank)
    before, after = [0] * (rank + 2), [0] * (rank + 2)
    for axis, pair in zip(axes, pairs):
        before[axis], after[axis] = pair
    return call.op("Pad", call.x.name, call.ints(*before, *after))


@layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def _upsampling(call: Call) -> Made:
    rank = int(call.kind[-2])
    axes = spatial(call, rank)
    factors = call.sizes("size", rank)
    x = call.x.name
    if call.config.get("interpolation", "nearest") != "nearest":
        return _interpolated(call, x, axes, factors)
    for axis, factor in zip(axes, factors):
        if factor == 1:
            continue
        size, *rest = call.shape(x)[axis:]
        if any(type(one) is not int for one in rest):
            raise FormatError(f"expected known sizes behind axis {axis}, found {call.shape(x)}")
        wide = call.op("Tile", call.unsqueeze(x, axis + 1), call.ints(*_at(rank + 3, axis + 1, factor)))
        x = call.reshape(wide, *[0] * axis, size * factor if type(size) is int else -1, *rest)
    return x


@layer("Resizing")
def _resizing(call: Call) -> Made:
    call.choice("interpolation", "bilinear")
    for key in ("crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        if call.config.get(key):
            raise FormatError(f"{key}: expected images of any proportions, found that it is on")
    sizes = [call.config.get(key) for key in ("height", "width")]
    if any(type(one) is not int or one < 1 for one in sizes):
        raise FormatError(f"expected a height and a width, found {str(sizes)[:80]}")
    x, axes = call.x.name, spatial(call, 2)
    to = call.constant(np.asarray(sizes, np.int64))
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return call.op("Resize", x, "", "", to, axes=tuple(axes), **how)


def _at(rank: int, axis: int, value: int) -> list[int]:
    found = [1] * rank
    found[axis] = value
    return found


def _interpolated(call: Call, x: str, axes: range, factors: tuple[int, ...]) -> str:
    call.choice("interpolation", "bilinear")
    rank = len(axes) + 2
    order = [0, rank - 1, *range(1, rank - 1)]
    moved = x if axes[0] == 2 else call.transpose(x, *order)
    scales = call.constant(np.asarray([1, 1, *factors], np.float32))
    mode = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    y = call.op("Resize", moved, "", scales, **mode)
    return y if axes[0] == 2 else call.transpose(y, 0, *range(2, rank), 1)
