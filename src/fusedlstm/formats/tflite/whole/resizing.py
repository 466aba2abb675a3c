"""Frames of another size, such as Keras's UpSampling2D."""

from __future__ import annotations

from ....errors import FormatError
from .call import Call
from .registry import operator


@operator("RESIZE_NEAREST_NEIGHBOR", options=74, inputs=2)
def _nearest(call: Call) -> str:
    """Places are rounded down, counted from the corner of a pixel; between aligned corners half up."""
    mode = _mode(call, 0, 1)
    return _resized(call, mode, mode="nearest", nearest_mode="floor" if mode == "asymmetric" else "round_prefer_ceil")


@operator("RESIZE_BILINEAR", options=15, inputs=2)
def _bilinear(call: Call) -> str:
    return _resized(call, _mode(call, 2, 3), mode="linear")


def _mode(call: Call, corners: int, centres: int) -> str:
    """How places are counted, by the fields of its options."""
    if call.option(corners, "?", False):
        return "align_corners"
    return "half_pixel" if call.option(centres, "?", False) else "asymmetric"


def _resized(call: Call, coordinates: str, **options: str) -> str:
    sizes = call.ints(1, "size")
    if call.rank(0) != 4 or len(sizes) != 2 or min(sizes) < 1:
        raise FormatError(f"expected frames of four axes, and a height and a width, found {call.rank(0)} and {sizes}")
    to = call.int_list(*sizes)
    return call.op(
        "Resize", call.input(0), "", "", to, coordinate_transformation_mode=coordinates, axes=(1, 2), **options
    )
