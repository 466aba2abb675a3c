"""Frames of another size, such as Keras's UpSampling2D."""

from __future__ import annotations

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator

_AXES = (1, 2)


@operator("RESIZE_NEAREST_NEIGHBOR", options=74, inputs=2)
def _nearest(call: Call) -> str:
    """Rows and columns by their numbers, rounded in float32 as LiteRT does."""
    corners, centres = call.option(0, "?", False), call.option(1, "?", False)
    y, shape = call.input(0), call.shape(call.input(0))
    for axis, size in zip(_AXES, _sizes(call)):
        old = None if shape is None else shape[axis]
        if type(old) is not int:
            raise FormatError(f"expected frames of a known size, found {shape}")
        scale = np.float32((old - 1) / (size - 1) if corners and size > 1 else old / size)
        places = (np.arange(size, dtype=np.float32) + np.float32(0.5 if centres else 0)) * scale
        places = np.floor(places + np.float32(0.5)) if corners else np.floor(places)
        y = call.op("Gather", y, call.constant(places.astype(np.int64).clip(0, old - 1)), axis=axis)
    return y


@operator("RESIZE_BILINEAR", options=15, inputs=2)
def _bilinear(call: Call) -> str:
    mode = (
        "align_corners" if call.option(2, "?", False) else "half_pixel" if call.option(3, "?", False) else "asymmetric"
    )
    sizes = call.int_list(*_sizes(call))
    return call.op(
        "Resize", call.input(0), "", "", sizes, mode="linear", coordinate_transformation_mode=mode, axes=_AXES
    )


def _sizes(call: Call) -> tuple[int, ...]:
    if call.rank(0) != 4:
        raise FormatError(f"expected frames (batch, height, width, channels), found {call.rank(0)} axes")
    sizes = call.ints(1, "size")
    if len(sizes) != len(_AXES) or min(sizes) < 1:
        raise FormatError(f"expected a height and a width, found {sizes}")
    return sizes
