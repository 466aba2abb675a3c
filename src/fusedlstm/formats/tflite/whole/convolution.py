"""Convolutions: channels last in the file, first in the graph."""

from __future__ import annotations

from typing import Any

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


def _times(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] * other[0], one[1] * other[1]


def _four(call: Call, k: int) -> str:
    if call.rank(k) != 4:
        raise FormatError(f"expected an input of 4 dimensions, found {call.rank(k)}")
    return call.transpose(call.input(k), *FIRST)


def _channels(call: Call, x: str) -> Any:
    """How many the first input has, which is x with its channels first; as the file says, where no shape follows."""
    known = call.shape(x)
    return known[1] if known is not None and type(known[1]) is int else call.graph.open_shape(call.index(0))[-1]


@operator("CONV_2D", options=1, inputs=(2, 3))
def _conv(call: Call) -> str:
    return full(call, _four(call, 0))


def full(call: Call, x: str, apart: tuple[int, int] = (1, 1)) -> str:
    """A convolution of x with its channels first; its taps are so many times as far apart."""
    w = _weights(call, 1).transpose(0, 3, 1, 2)  # (out, height, width, in)
    channels, groups = _channels(call, x), 1
    if type(channels) is int and w.shape[1]:
        groups, rest = divmod(channels, w.shape[1])
        if rest or not groups:
            raise FormatError(f"expected weights for {channels} channels, found {w.shape[1]}")
    made = call.op(
        "Conv",
        x,
        call.constant(w),
        *([call.input(2)] if call.has(2) else []),
        auto_pad=padding(call, 0),
        strides=pair(call, "stride", 2, 1, 0),
        dilations=_times(pair(call, "dilation", 5, 4, 1), apart),
        group=groups,
    )
    return call.activated(call.transpose(made, *LAST), 3)


@operator("DEPTHWISE_CONV_2D", options=2, inputs=(2, 3))
def _depthwise(call: Call) -> str:
    return depthwise(call, _four(call, 0))


def depthwise(call: Call, x: str, apart: tuple[int, int] = (1, 1)) -> str:
    """As `full`, of each channel alone."""
    w = _weights(call, 1).transpose(3, 0, 1, 2)  # (1, height, width, out)
    channels = _channels(call, x)
    if type(channels) is not int or channels < 1 or len(w) % channels:
        raise FormatError(f"expected channels that {len(w)} filters fit, found {channels}")
    made = call.op(
        "Conv",
        x,
        call.constant(w),
        *([call.input(2)] if call.has(2) else []),
        auto_pad=padding(call, 0),
        strides=pair(call, "stride", 2, 1, 0),
        dilations=_times(pair(call, "dilation", 6, 5, 1), apart),
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
