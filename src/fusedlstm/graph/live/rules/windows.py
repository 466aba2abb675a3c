"""Windows over time: convolutions and poolings keep the steps that the next windows see."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...operators.convolution import geometry
from ..chunk import Chunk, Window
from ..flow import Moved, Moving, goes
from .recurrent import BatchError


@goes("ConvInteger", "DepthToSpace", "QLinearConv", "SpaceToDepth")
def _rows(moving: Moving) -> Moved:
    """Where steps are rows."""
    flow = moving.flow()
    if flow.axis != 0:
        raise ValueError("over time it is not known to go step by step")
    if not moving.walk.rows and not moving.walk.merged(moving.node.inputs[0]):
        raise BatchError("expected time where the layer has it, found it where the layer has rows")
    return Moved([flow, None][: len(moving.node.outputs)])


_LONG = 1 << 20  # steps, in place of a number that is not known


@goes("Conv", "fusedlstm.Conv", "MaxPool", "AveragePool", "LpPool")
def _windows(moving: Moving) -> Moved:
    flow, a, node = moving.flow(), moving.a, moving.node
    shape, pool = moving.shapes[0], "Pool" in node.op
    if pool and len(node.outputs) > 1 and node.outputs[1] in moving.walk.graph.types:
        raise ValueError("where the largest elements are is counted from the start of the sequence")
    if flow.axis == 0:
        return _rows(moving)
    if flow.axis == 1:
        raise ValueError("expected time where the layer has it, found it where the layer has channels")
    if (flow.outer, flow.inner) != (1, 1):
        raise ValueError("expected an axis of steps alone, found one that it shares with others")
    kernel = a["kernel_shape"] if pool else moving.shapes[1][2:]
    k = flow.axis - 2
    sizes = [_LONG if axis == k else size for axis, size in enumerate(shape[2:])]
    strides, dilations, before, after, _ = geometry(a, sizes, kernel)
    reach = dilations[k] * (kernel[k] - 1) + 1
    if a["auto_pad"].startswith("SAME") and strides[k] > 1 and reach > 1:
        raise ValueError("'same' padding with strides depends on how long the sequence is; 'valid' does not")
    if (before[k] or after[k]) and a.get("pad_mode", "constant") != "constant":
        raise ValueError(f"its edge is padded with {a['pad_mode']} steps, which are not there yet")
    if a.get("ceil_mode") and strides[k] > 1:
        raise ValueError("its last windows may be cut short (ceil_mode), and later ones come in their place")
    if node.op == "AveragePool" and before[k] and not a["count_include_pad"]:
        raise ValueError("its first windows are shorter than the others")
    ends, fill = (before[k], after[k]), -np.inf if node.op == "MaxPool" else 0
    before[k] = after[k] = 0
    return _slid(moving, reach, strides[k], ends, fill, auto_pad="NOTSET", pads=(*before, *after))


def _slid(moving: Moving, reach: int, stride: int, ends: tuple[int, int], fill: float, **attributes: Any) -> Moved:
    """The node, with `attributes`, on a chunk and the steps before it that its windows see; `ends`: what pads time."""
    flow, node, first = moving.flow(), moving.node, ends[0]
    made, past = flow.windows(reach, stride, *ends, node)
    order = (0, *range(2, len(moving.shapes[0])), 1) if flow.axis == 2 else None
    window = Window(moving.walk, node.inputs[0], past, node, order, fill)
    moving.walk.offsets.append(
        lambda n, t: made.settled(n) * stride - flow.settled(n) if made.settled(n + t) > made.settled(n) else 0
    )

    def write(chunk: Chunk) -> None:
        start, stop = made.settled(chunk.before), made.settled(chunk.before + chunk.count)
        x = window.take(chunk, start * stride - first, (stop - 1) * stride - first + reach if stop > start else 0)
        if stop > start:
            chunk.copy(node, [x, *map(chunk.name, node.inputs[1:])], **attributes)

    return Moved([made, None][: len(node.outputs)], write)


@goes("ConvTranspose")
def _spreads(moving: Moving) -> Moved:
    """Step by step over time it is a convolution: what is cut off a whole window's ends is what may come again."""
    flow, a, shape = moving.flow(), moving.a, moving.shapes[0]
    if flow.axis == 0:
        return _rows(moving)
    n, k = len(shape) - 2, flow.axis - 2
    plain = k >= 0 and (flow.outer, flow.inner) == (1, 1)
    if not plain or a["auto_pad"] not in ("NOTSET", "VALID") or a["output_shape"] or any(a["output_padding"] or ()):
        raise ValueError("over time it is not known to go step by step")
    if (a["strides"] or (1,) * n)[k] != 1:
        raise ValueError("it makes several steps of one (strides), and a stream has as many as its input")
    reach = (a["dilations"] or (1,) * n)[k] * (moving.shapes[1][2 + k] - 1) + 1
    pads = list(a["pads"] or (0,) * (2 * n))
    ends = reach - 1 - pads[k], reach - 1 - pads[n + k]
    pads[k] = pads[n + k] = reach - 1
    return _slid(moving, reach, 1, ends, 0, pads=tuple(pads))
