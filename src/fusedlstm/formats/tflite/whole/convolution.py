"""Convolutions: channels last in the file, first in the graph."""

from __future__ import annotations

import numpy as np

from ....errors import FormatError
from ....graph.operators import Array
from .call import Call
from .registry import operator

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_SAME, _VALID = 0, 1


def padding(call: Call, field: int) -> str:
    """What ONNX calls the padding."""
    found = int(call.option(field, "b", 0))
    if found not in (_SAME, _VALID):
        raise FormatError(f"padding: expected SAME or VALID, found {found}")
    return "SAME_UPPER" if found == _SAME else "VALID"


def pair(call: Call, what: str, height: int, width: int, default: int) -> tuple[int, int]:
    """An option of both axes."""
    found = int(call.option(height, "i", default)), int(call.option(width, "i", default))
    if min(found) < 1:
        raise FormatError(f"{what}: expected 1 or more, found {found}")
    return found


def _weights(call: Call, k: int) -> Array:
    w = call.array(k, "weights")
    if w.ndim != 4:
        raise FormatError(f"weights: expected 4 dimensions, found shape {w.shape}")
    return w


def _four(call: Call, k: int) -> str:
    if call.rank(k) != 4:
        raise FormatError(f"expected an input of 4 dimensions, found {call.rank(k)}")
    return call.transpose(call.input(k), *FIRST)


@operator("CONV_2D", options=1, inputs=(2, 3))
def _conv(call: Call) -> str:
    w = _weights(call, 1).transpose(0, 3, 1, 2)  # (out, height, width, in)
    x = _four(call, 0)
    shape, groups = call.shape(x), 1
    if shape is not None and type(shape[1]) is int and w.shape[1]:
        groups, rest = divmod(shape[1], w.shape[1])
        if rest or not groups:
            raise FormatError(f"expected weights for {shape[1]} channels, found {w.shape[1]}")
    made = call.op(
        "Conv",
        x,
        call.constant(w),
        *([call.input(2)] if call.has(2) else []),
        auto_pad=padding(call, 0),
        strides=pair(call, "stride", 2, 1, 0),
        dilations=pair(call, "dilation", 5, 4, 1),
        group=groups,
    )
    return call.activated(call.transpose(made, *LAST), 3)


@operator("DEPTHWISE_CONV_2D", options=2, inputs=(2, 3))
def _depthwise(call: Call) -> str:
    w = _weights(call, 1).transpose(3, 0, 1, 2)  # (1, height, width, out)
    x = _four(call, 0)
    channels = (call.shape(x) or call.graph.open_shape(call.index(0))[-1:] * 2)[1]
    if type(channels) is not int or channels < 1 or len(w) % channels:
        raise FormatError(f"expected channels that {len(w)} filters fit, found {channels}")
    made = call.op(
        "Conv",
        x,
        call.constant(w),
        *([call.input(2)] if call.has(2) else []),
        auto_pad=padding(call, 0),
        strides=pair(call, "stride", 2, 1, 0),
        dilations=pair(call, "dilation", 6, 5, 1),
        group=channels,
    )
    return call.activated(call.transpose(made, *LAST), 4)


@operator("TRANSPOSE_CONV", options=49, inputs=(3, 4))
def _transposed(call: Call) -> str:
    """The output's shape is an input; padding is what the forward convolution would need."""
    w = _weights(call, 1)  # (out, height, width, in)
    strides = pair(call, "stride", 2, 1, 0)
    auto = padding(call, 0)
    x = call.input(2)
    known = call.shape(x) or call.graph.open_shape(call.index(2))
    if len(known) != 4 or call.rank(2) != 4:
        raise FormatError(f"expected an input of 4 dimensions and known shape, found {known}")
    sizes = call.value(0)
    wanted = sizes.reshape(-1).tolist() if sizes is not None else list(call.graph.open_shape(call.operator.outputs[0]))
    pads: list[list[int]] = [[], []]
    outside = []
    for axis in (0, 1):
        kernel, stride, size = w.shape[1 + axis], strides[axis], known[1 + axis]
        end = wanted[1 + axis] if len(wanted) == 4 else None
        if auto == "SAME_UPPER" and sizes is None and (end is None or type(size) is not int):
            total, extra = max(kernel - stride, 0), max(stride - kernel, 0)
        elif type(size) is not int or end is None:
            total, extra = 0, max(stride - kernel, 0)
        else:
            whole = (size - 1) * stride + kernel
            total, extra = max(whole - end, 0), max(end - whole, 0)
        before = 0 if auto == "VALID" else total // 2
        pads[0].append(before)
        pads[1].append(total - before)
        outside.append(extra)
    made = call.op(
        "ConvTranspose",
        call.transpose(x, *FIRST),
        call.constant(w.transpose(3, 0, 1, 2)),
        *([call.input(3)] if call.has(3) else []),
        strides=strides,
        pads=(*pads[0], *pads[1]),
        output_padding=tuple(outside),
    )
    return call.activated(call.transpose(made, *LAST), 3)


@operator("DEPTH_TO_SPACE", options=94)
def _depth_to_space(call: Call) -> str:
    made = call.op("DepthToSpace", _four(call, 0), blocksize=int(call.option(0, "i", 0)), mode="DCR")
    return call.transpose(made, *LAST)


@operator("SPACE_TO_DEPTH", options=19)
def _space_to_depth(call: Call) -> str:
    made = call.op("SpaceToDepth", _four(call, 0), blocksize=int(call.option(0, "i", 0)))
    return call.transpose(made, *LAST)


@operator("SPACE_TO_BATCH_ND", inputs=3)
def _space_to_batch(call: Call) -> str:
    """How dilated convolutions are written: pad, then each place modulo the block goes to the batch."""
    x, block, pads = _blocks(call, "paddings")
    rank, count = call.rank(0), len(block)
    every = call.op("Pad", call.transpose(pads, 1, 0), call.int_list(0, 1, 0, rank - count - 1), mode="constant")
    x = call.op("Pad", x, call.reshape(every, -1), mode="constant")
    shape = call.op("Shape", x)
    parts, axes = [_size(call, shape, 0)], [0]
    for axis in range(count):
        parts += [call.op("Div", _size(call, shape, 1 + axis), call.int_list(block[axis])), call.int_list(block[axis])]
    parts += [_size(call, shape, axis) for axis in range(count + 1, rank)]
    x = call.op("Reshape", x, call.op("Concat", *parts, axis=0))
    axes = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2), *range(2 * count + 1, rank + count)]
    x = call.transpose(x, *axes)
    batch = call.op("Mul", parts[0], call.int_list(int(np.prod(block))))
    return call.op(
        "Reshape", x, call.op("Concat", batch, *parts[1 : 2 * count + 1 : 2], *parts[2 * count + 1 :], axis=0)
    )


@operator("BATCH_TO_SPACE_ND", inputs=3)
def _batch_to_space(call: Call) -> str:
    x, block, crops = _blocks(call, "crops")
    rank, count = call.rank(0), len(block)
    shape = call.op("Shape", x)
    batch = call.op("Div", _size(call, shape, 0), call.int_list(int(np.prod(block))))
    rest = [_size(call, shape, axis) for axis in range(1, rank)]
    x = call.op("Reshape", x, call.op("Concat", *(call.int_list(one) for one in block), batch, *rest, axis=0))
    axes = [count]
    for axis in range(count):
        axes += [count + 1 + axis, axis]
    x = call.transpose(x, *axes, *range(2 * count + 1, rank + count))
    whole = [call.op("Mul", rest[axis], call.int_list(block[axis])) for axis in range(count)]
    x = call.op("Reshape", x, call.op("Concat", batch, *whole, *rest[count:], axis=0))
    known = call.builder.constants.get(crops)
    if known is not None and not known.any():
        return x
    starts, ends = (call.op("Gather", crops, call.constant(np.array(k, np.int64)), axis=1) for k in (0, 1))
    stops = call.op("Sub", call.op("Concat", *whole, axis=0), ends)
    return call.op("Slice", x, starts, stops, call.int_list(*range(1, 1 + count)))


def _blocks(call: Call, what: str) -> tuple[str, tuple[int, ...], str]:
    """What is put into blocks, their sizes, and before and behind each axis how much is added or taken."""
    block, known, rank = call.ints(1, "block"), call.value(2), call.rank(0)
    shape = call.graph.shape(call.index(2))
    if len(block) > rank - 1 or min(block, default=0) < 1 or tuple(shape) != (len(block), 2):
        raise FormatError(f"expected block and {what} of {rank - 1} axes at most, found {block} and {shape}")
    if known is not None and known.min() < 0:
        raise FormatError(f"{what}: expected none below 0, found {known.tolist()}")
    return call.input(0), block, call.int64(2)


def _size(call: Call, shape: str, axis: int) -> str:
    return call.op("Gather", shape, call.int_list(axis), axis=0)
