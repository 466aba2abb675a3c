"""Windows over time: convolutions and poolings keep the steps that the next windows see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...dims import Dim
from ...operators.convolution import geometry, transposed
from ...operators.resize import taps
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
    ends = before[k], after[k]
    fill = _least(moving.walk.graph.types[node.inputs[0]].dtype) if node.op == "MaxPool" else 0
    before[k] = after[k] = 0
    return _slid(moving, reach, strides[k], ends, fill, auto_pad="NOTSET", pads=(*before, *after))


def _least(dtype: np.dtype[Any]) -> Any:
    """What no element is less than."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _slid(moving: Moving, reach: int, stride: int, ends: tuple[int, int], fill: float, **attributes: Any) -> Moved:
    """The node, with `attributes`, on a chunk and the steps before it that its windows see; `ends`: what pads time."""
    flow, node = moving.flow().alone, moving.node
    made, past = flow.windows(reach, stride, *ends, node)
    order = (0, *range(2, len(moving.shapes[0])), 1) if flow.axis == 2 else None
    window = Window(moving.walk, node.inputs[0], past, node, order, fill)
    take = window.slid(moving.walk, made, stride, -ends[0], reach)

    def write(chunk: Chunk) -> None:
        x = take(chunk)
        if x:
            chunk.copy(node, [x, *map(chunk.name, node.inputs[1:])], **attributes)

    return Moved([made, None][: len(node.outputs)], write)


@goes("ConvTranspose")
def _spreads(moving: Moving) -> Moved:
    """Each step over some of the output's, which are settled when the last step that reaches them is there."""
    flow, node, a, rank = moving.flow(), moving.node, moving.a, len(moving.shapes[0])
    if flow.axis == 0:
        return _rows(moving)
    n, k = rank - 2, flow.axis - 2
    if k < 0 or a["output_shape"]:
        raise ValueError("over time it is not known to go step by step")
    sizes = [_LONG if axis == k else size for axis, size in enumerate(moving.shapes[0][2:])]
    kernel, strides, dilations = moving.shapes[1][2:], a["strides"] or (1,) * n, a["dilations"] or (1,) * n
    out, begin, end = transposed(a, sizes, kernel)
    reach = [d * (size - 1) + 1 for d, size in zip(dilations, kernel)]
    before, stride = begin[k], strides[k]
    tail = out[k] - (stride * _LONG - before)
    flow, early = flow.alone, min(tail, 0)  # outputs that are missing at the end come with the next steps
    past = max((reach[k] - 1 - early) // stride, -(early // stride))
    made = flow.faster(stride, before, tail)
    made = replace(made, blame=node if tail > 0 else flow.blame)
    more = [o + b + e - (s * (x - 1) + r) for o, b, e, s, x, r in zip(out, begin, end, strides, sizes, reach)]
    more[k], begin[k], end[k] = max(stride - reach[k], 0), 0, 0
    attributes = {"pads": (*begin, *end), "output_padding": tuple(more), "auto_pad": "NOTSET"}
    order = (0, *range(2, rank), 1) if flow.axis == 2 else None
    window = Window(moving.walk, node.inputs[0], past, node, order)
    moving.walk.offsets.append(lambda n, t: made.settled(n) + before - stride * flow.settled(n))

    def write(chunk: Chunk) -> None:
        seen, stop = flow.settled(chunk.before), flow.settled(chunk.before + chunk.count)
        x = window.take(chunk, seen - past, stop)
        if chunk.new(made):
            chunk.copy(node, [x, *map(chunk.name, node.inputs[1:])], **attributes)
            first = made.settled(chunk.before) + before - stride * (seen - past)
            y = node.outputs[0]
            chunk.put(y, chunk.sliced(y, flow.axis, first, first + chunk.new(made)))

    return Moved([made], write)


@goes("Resize")
def _resize(moving: Moving) -> Moved:
    """Each step some times over."""
    flow, node, a = moving.flow(), moving.node, moving.a
    now, made = moving.shapes[0][flow.axis], moving.made[0][flow.axis]
    times = made // now if isinstance(made, Dim) else 0
    if type(times) is not int or times < 1 or times * now != made or a["keep_aspect_ratio_policy"] != "stretch":
        raise ValueError("how many steps it makes is not a whole number of times what it sees")
    few = 7
    at, weights = taps(a, few, times * few, float(times))
    if not np.array_equal(at[weights != 0], np.repeat(np.arange(few), times)):
        raise ValueError(f"its mode {a['mode']!r} mixes steps, and how depends on how long the sequence is")
    found = flow if times == 1 else flow.alone.faster(times, 0, 0)
    kind, scales = moving.walk.graph.types[node.outputs[0]], [*moving.values, None, None][2]

    def write(chunk: Chunk) -> None:
        inputs = [chunk.name(name) if name else "" for name in node.inputs]
        if scales is None or not scales.size:
            sizes = chunk.sized(kind, found)
            axes = range(len(sizes)) if a["axes"] is None else a["axes"]
            inputs[3] = chunk.constant(np.array([sizes[axis] for axis in axes], np.int64), f"{node.outputs[0]}/sizes")
        chunk.copy(node, inputs)

    return Moved([found], write)
