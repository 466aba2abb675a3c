"""Convolutions."""

from __future__ import annotations

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
