"""Convolutions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator


def _padding(call: Call, w: str, rank: int, dilations: tuple[int, ...]) -> list[int]:
    """Starts, then ends; what is left over of ``padding="same"`` goes to the ends."""
    given = call.value("padding", 0)
    if isinstance(given, str):
        if given == "valid":
            return [0] * (2 * rank)
        sizes = call.shape(w)[2:]
        if given != "same" or any(type(size) is not int for size in sizes):
            raise FormatError(f"padding: expected same or valid, found {given[:80]!r}")
        totals = [d * (size - 1) for d, size in zip(dilations, sizes)]
        return [*(total // 2 for total in totals), *(total - total // 2 for total in totals)]
    return list(call.ints("padding", rank, 0)) * 2


def _convolution(call: Call, turned: bool, groups: int) -> str:
    x, w = call.tensor("input"), call.tensor("weight")
    rank = call.rank(w) - 2
    alone = call.rank(x) == rank + 1
    if rank < 1 or not (alone or call.rank(x) == rank + 2):
        raise FormatError(f"expected {rank + 2} dimensions, found {call.shape(x)}")
    x = call.unsqueeze(x, 0) if alone else x
    dilations = call.ints("dilation", rank, 1)
    pads = _padding(call, w, rank, dilations)
    options = {"strides": call.ints("stride", rank, 1), "dilations": dilations, "group": groups}
    if min(pads) < 0:
        raise FormatError(f"padding: expected 0 or more, found {pads}")
    bias = [call.tensor("bias")] if call.has("bias") else []
    if turned:
        options["output_padding"] = call.ints("output_padding", rank, 0)
    made = call.op("ConvTranspose" if turned else "Conv", x, w, *bias, pads=pads, **options)
    return call.squeeze(made, 0) if alone else made


_PLAIN = [f"conv{n}d.{kind}" for n in (1, 2, 3) for kind in ("default", "padding")]


@operator(*_PLAIN)
def _plain(call: Call) -> str:
    return _convolution(call, False, call.whole("groups", 1))


@operator("conv_transpose1d.default", "conv_transpose2d.input", "conv_transpose3d.input")
def _turned(call: Call) -> str:
    return _convolution(call, True, call.whole("groups", 1))


@operator("convolution.default", "_convolution.default")
def _either(call: Call) -> str:
    return _convolution(call, call.flag("transposed"), call.whole("groups", 1))


def _taps(call: Call, channels: object, kernel: tuple[int, ...]) -> str:
    """Kernels of one place each: what a convolution with them makes are the places of its windows."""
    count = math.prod(kernel)
    if type(channels) is not int or min(kernel) < 1 or channels * count * count > 1 << 22:
        raise FormatError(f"kernel_size: expected small windows of a known number of channels, found {kernel}")
    call.builder.expect_room(4 * channels * count * count)
    return call.constant(np.tile(np.eye(count, dtype=np.float32).reshape(count, 1, *kernel), (channels, 1, 1, 1)))


def _summed(call: Call, x: str, taps: str, kernel: tuple[int, ...], options: dict[str, Any]) -> str:
    """Columns in their places; of an image one side of which may be free."""
    blocks: list[int] = []
    rest: list[int] = []
    free: list[int] = []
    for axis, size in enumerate(call.items("output_size")):
        step, dilation = options["strides"][axis], options["dilations"][axis]
        if type(size) is not int:
            free.append(axis)
            blocks.append(-1)
            rest.append(step - 1)
            continue
        room = size + 2 * options["pads"][axis] - dilation * (kernel[axis] - 1) - 1
        if room < 0 or step < 1:
            raise FormatError(f"output_size: expected room for a window of {kernel}, found {size}")
        blocks.append(room // step + 1)
        rest.append(room % step)
    if len(blocks) != 2 or len(free) > 1:
        raise FormatError("output_size: expected one that is known, or one of two, found others")
    folded = call.op("Reshape", x, call.int_list(0 if free else -1, call.shape(x)[1], *blocks))
    made = call.op("ConvTranspose", folded, taps, output_padding=rest, **options)
    for axis in free:
        end = call.list_of("output_size", [call.items("output_size")[axis]])
        made = call.op("Slice", made, call.int_list(0), end, call.int_list(axis + 2))
    return made


@operator("im2col.default", "col2im.default")
def _columns(call: Call) -> str:
    """torch.nn.functional.unfold and fold: windows of an image as columns, and the sums of such columns."""
    x, back = call.tensor("self"), call.kind.startswith("col2im")
    alone = call.rank(x) == (2 if back else 3)
    x = call.unsqueeze(x, 0) if alone else x
    kernel, strides, dilations, pads = (call.ints(name, 2) for name in ("kernel_size", "stride", "dilation", "padding"))
    channels = call.shape(x)[1]
    if back:
        channels = channels // math.prod(kernel) if type(channels) is int and min(kernel) > 0 else channels
    taps = _taps(call, channels, kernel)
    options = {"strides": strides, "dilations": dilations, "group": channels, "pads": [*pads, *pads]}
    if back:
        made = _summed(call, x, taps, kernel, options)
    else:
        made = call.op("Conv", x, taps, **options)
        made = call.reshape(made, 0, channels * math.prod(kernel), -1)
    return call.squeeze(made, 0) if alone else made
