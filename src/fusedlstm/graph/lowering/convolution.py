"""Convolutions: windows over channels-last tensors, multiplied like any other rows."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ... import _core
from ...errors import FormatError
from ..graph import Node
from ..operators import Array
from ..operators.convolution import across_groups, geometry, transposed
from ..operators.lowers import lowers
from ..plan import Plan
from ..tensors import Tensor
from .elementwise import emit_map

_BLOCK = 64
"""Terms of a sum that are added up before the others (see docs/numerics.md)."""
_MANY = 16
"""Positions."""


@lowers("Conv", "fusedlstm.Conv")
def _conv(plan: Plan, node: Node) -> None:
    names, a = (*node.inputs, "")[:3], node.attributes
    weights, bias = plan.value(names[1]), plan.value(names[2]) if names[2] else None
    if weights is None or (names[2] and bias is None):
        raise FormatError("weights that are computed are not supported")
    x, y = plan.read(names[0]), plan.write(node.outputs[0], order=channels_last(len(plan.shape(node.outputs[0]))))
    groups, outputs, channels = a["group"], weights.shape[0], weights.shape[1]
    kernel = weights.shape[2:]
    strides, dilations, before, _, _ = geometry(a, x.shape[2:], kernel)
    padding = a.get("pad_mode", "constant")
    taps = [(0, size) for size in kernel]
    if padding == "constant" and plan.packed.precision.of(node)[0] != "int8":  # whose scales are of whole rows
        taps = [
            _taps_that_meet_data(x.shape[2 + k], y.shape[2 + k], (size, strides[k], dilations[k], before[k]))
            for k, size in enumerate(kernel)
        ]
        # Whole blocks of a sum are left out, so that a short sequence has the bits of the beginning of a long one.
        block = _BLOCK // math.gcd(_BLOCK, channels * math.prod(last - first for first, last in taps[1:]))
        taps[0] = (taps[0][0] // block * block, taps[0][1])
    keep = [slice(*one) for one in taps]
    axes = [
        (last - first, strides[k], dilations[k], before[k] - first * dilations[k], 1)
        for k, (first, last) in enumerate(taps)
    ]
    edge = {"constant": "zeros", "reflect": "reflect", "edge": "nearest"}[padding]
    x, y = channels_beside(plan, x), _moved(y)
    target, each = _beside_each_other(plan, y), outputs // groups
    if across_groups(node.op, groups, weights.shape):
        rows = plan.packed.get(
            ("channels", names[1], names[2], groups, tuple((one.start, one.stop) for one in keep)),
            lambda: _by_channel(weights[(slice(None), slice(None), *keep)], bias),
            weights,
            bias,
        )
        beside = _beside(plan, x, (groups, channels, each))
        plan.emit("channels", rows, (beside, target), (tuple(axes), edge), a.get("activation"))
        groups = 0
    for g in range(groups):
        part = weights[g * each : (g + 1) * each][(slice(None), slice(None), *keep)]
        packed = plan.weights(
            node,
            ("conv", names[1], names[2], groups, g, tuple((one.start, one.stop) for one in keep)),
            partial(_rows, part, None if bias is None else bias[g * each : (g + 1) * each]),
            weights,
            bias,
        )
        plan.emit(
            "product",
            packed,
            x if groups == 1 else x.sliced(len(x.shape) - 1, g * channels, channels),
            target if groups == 1 else target.sliced(len(y.shape) - 1, g * each, each),
            (tuple(axes), edge),
            a.get("activation"),
        )
    if target is not y:
        plan.copy(target, y)


def _beside_each_other(plan: Plan, y: Tensor) -> Tensor:
    """y, or other memory where its channels lie apart in many places: turning all at once costs less."""
    many = math.prod(y.shape[1:-1]) >= _MANY
    return plan.scratch("f", y.shape) if many and y.strides[-1] != 1 and y.shape[-1] > 1 else y


def _taps(weights: Array) -> tuple[Array, None]:
    """(channels, outputs, *kernel) to rows of channels, for each tap and output."""
    return np.moveaxis(weights, (0, 1), (-1, -2)).reshape(-1, len(weights)), None


def _rows(weights: Array, bias: Array | None) -> tuple[Array, Array | None]:
    """(outputs, channels, *kernel) to rows of taps and channels."""
    return np.moveaxis(weights, 1, -1).reshape(len(weights), -1), bias


def _by_channel(weights: Array, bias: Array | None) -> Any:
    """(outputs, channels of a group, *kernel) to rows of outputs."""
    columns = np.moveaxis(weights, 1, -1).reshape(len(weights), -1).T
    return _core.ChannelWeights(
        np.ascontiguousarray(columns, np.float32), None if bias is None else np.ascontiguousarray(bias, np.float32)
    )


def _beside(plan: Plan, x: Tensor, sizes: tuple[int, int, int]) -> Tensor:
    """x (batch, *spatial, channels) as (batch, *spatial, channels of a group, outputs): what each output sees."""
    groups, channels, each = sizes
    step = x.strides[-1]
    shape = (*x.shape[:-1], channels, groups, each)
    found = x.view(shape, (*x.strides[:-1], step, channels * step, 0))
    if channels == each == 1:
        return found.view((*x.shape[:-1], 1, groups), (*x.strides[:-1], 1, step))
    found = plan.dense(found)
    return found.view((*x.shape[:-1], channels, groups * each), (*found.strides[:-2], 1))


def _taps_that_meet_data(length: int, outputs: int, window: tuple[int, int, int, Any]) -> tuple[int, int]:
    """The first tap that any output finds inside of the input, and the one after the last."""
    size, stride, dilation, before = window
    reach = (outputs - 1) * stride  # outputs are at 0, stride, ..., reach before the padding is taken off
    met = [
        tap
        for tap in range(size)
        if -(-max(before - tap * dilation, 0) // stride) * stride <= min(length - 1 + before - tap * dilation, reach)
    ]
    return (met[0], met[-1] + 1) if met else (0, 1)


def channels_last(rank: int) -> list[int]:
    """The axes of (batch, channels, spatial...) with the channels behind."""
    return [0, *range(2, rank), 1]


def _moved(tensor: Tensor) -> Tensor:
    return tensor.transposed(channels_last(len(tensor.shape)))


@lowers("ConvTranspose")
def _transposed_conv(plan: Plan, node: Node) -> None:
    """Each input times all taps, and the taps added up where they meet."""
    names, a = (*node.inputs, "")[:3], node.attributes
    weights = plan.value(names[1])
    if weights is None:
        raise FormatError("weights that are computed are not supported")
    x, kernel, n = plan.read(names[0]), weights.shape[2:], weights.ndim - 2
    _, before, _ = transposed(a, x.shape[2:], kernel)
    y = _moved(plan.write(node.outputs[0], order=channels_last(n + 2)))
    target = y if y.strides[-1] == 1 or y.shape[-1] == 1 else plan.scratch("f", y.shape)
    slides = tuple(zip(kernel, a["strides"] or (1,) * n, a["dilations"] or (1,) * n, before, (1,) * n))
    groups, each = a["group"], weights.shape[1]
    channels, taps = len(weights) // groups, math.prod(kernel)
    x, bias = channels_beside(plan, x), plan.read(names[2]) if names[2] else None
    bias = None if bias is None else plan.dense(bias)
    if across_groups(node.op, groups, weights.shape):
        columns = plan.scratch("f", (*x.shape[:-1], taps, groups, each))
        by_tap = plan.packed.get(
            ("taps", names[1]),
            lambda: np.ascontiguousarray(weights.reshape(groups, each, taps).transpose(2, 0, 1)),
            weights,
        )
        one = x.view((*x.shape[:-1], 1, groups, 1), (*x.strides[:-1], 1, x.strides[-1], 1))
        emit_map(plan, "Mul", [one, plan.constant(by_tap)], columns)
        plan.emit(
            "overlap",
            columns.view((*x.shape[:-1], taps * groups * each), (*columns.strides[:-3], 1)),
            target,
            bias,
            slides,
        )
    else:
        for g in range(groups):
            part = weights[g * channels : (g + 1) * channels]
            packed = plan.weights(
                node,
                ("taps", names[1], groups, g),
                partial(_taps, part),
                weights,
            )
            columns = plan.scratch("f", (*x.shape[:-1], taps * each))
            plan.emit("product", packed, x.sliced(n + 1, g * channels, channels), columns, None, None)
            own = None if bias is None else bias.sliced(0, g * each, each)
            plan.emit("overlap", columns, target.sliced(n + 1, g * each, each), own, slides)
    if target is not y:
        plan.copy(target, y)


def channels_beside(plan: Plan, x: Tensor) -> Tensor:
    """(batch, *spatial, channels), the channels beside each other."""
    moved = _moved(x)
    return moved if moved.shape[-1] == 1 or moved.strides[-1] == 1 else plan.dense(moved)
