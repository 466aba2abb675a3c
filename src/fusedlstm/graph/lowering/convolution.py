"""Convolutions: windows over channels-last tensors, multiplied like any other rows."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ... import _core
from ...errors import FormatError
from ..graph import Node
from ..operators import Array
from ..operators.convolution import geometry
from ..operators.lowers import lowers
from ..plan import Plan
from ..tensors import Tensor


@lowers("Conv", "fusedlstm.Conv")
def _conv(plan: Plan, node: Node) -> None:
    names, a = (*node.inputs, "")[:3], node.attributes
    weights, bias = plan.value(names[1]), plan.value(names[2]) if names[2] else None
    if weights is None or (names[2] and bias is None):
        raise FormatError("weights that are computed are not supported")
    x, y = plan.read(names[0]), plan.write(node.outputs[0], order=_channels_last(len(plan.shape(node.outputs[0]))))
    groups, outputs, channels = a["group"], weights.shape[0], weights.shape[1]
    kernel = weights.shape[2:]
    strides, dilations, before, _, _ = geometry(a, x.shape[2:], kernel)
    padding = a.get("pad_mode", "constant")
    axes, keep = [], []
    for k, size in enumerate(kernel):
        first, last = 0, size
        if padding == "constant":
            first, last = _taps_that_meet_data(
                x.shape[2 + k], y.shape[2 + k], (size, strides[k], dilations[k], before[k])
            )
        keep.append(slice(first, last))
        axes.append((last - first, strides[k], dilations[k], before[k] - first * dilations[k], 1))
    edge = {"constant": "zeros", "reflect": "reflect", "edge": "nearest"}[padding]
    x = _last(x, plan)
    y = _moved(y)
    each = outputs // groups
    for g in range(groups):
        part = weights[g * each : (g + 1) * each][(slice(None), slice(None), *keep)]
        packed = plan.packed.get(
            ("conv", names[1], names[2], g, tuple((one.start, one.stop) for one in keep)),
            partial(_pack, part, None if bias is None else bias[g * each : (g + 1) * each]),
        )
        plan.emit(
            "product",
            packed,
            x if groups == 1 else x.sliced(len(x.shape) - 1, g * channels, channels),
            y if groups == 1 else y.sliced(len(y.shape) - 1, g * each, each),
            (tuple(axes), edge),
            a.get("activation"),
        )


def _pack(weights: Array, bias: Array | None) -> Any:
    """(outputs, channels, *kernel) to rows of taps and channels."""
    rows = np.moveaxis(weights, 1, -1).reshape(len(weights), -1)
    return _core.PackedWeights(
        np.ascontiguousarray(rows, np.float32),
        None if bias is None else np.ascontiguousarray(bias, np.float32),
        "float32",
        "float32",
    )


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


def _channels_last(rank: int) -> list[int]:
    return [0, *range(2, rank), 1]


def _moved(tensor: Tensor) -> Tensor:
    return tensor.transposed(_channels_last(len(tensor.shape)))


def _last(x: Tensor, plan: Plan) -> Tensor:
    """(batch, *spatial, channels), the channels beside each other."""
    moved = _moved(x)
    return moved if moved.shape[-1] == 1 or moved.strides[-1] == 1 else plan.dense(moved)
