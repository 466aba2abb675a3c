"""NumPy's arrays in a zip archive: ``.npy``, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html."""

from __future__ import annotations

from io import BytesIO
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from ...errors import FormatError
from .zip import Archive

MAX_HEADER = 1 << 14
"""NumPy reads headers of up to 10 000 bytes."""

Array = npt.NDArray[np.generic]


class Header(NamedTuple):
    """What an array declares, and where its data start."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    start: int


def header(archive: Archive, member: str) -> Header:
    """The header alone: np.load would allocate what it declares before it reads."""
    file = BytesIO(archive.read(member, MAX_HEADER))
    try:
        version = npy.read_magic(file)
        # 3.0 differs from 2.0 in the encoding of field names only.
        parse = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0, 3: npy.read_array_header_2_0}[version[0]]
        shape, _, dtype = parse(file)
    except Exception as error:  # whatever NumPy says of a damaged header
        raise FormatError(f"{member}: damaged array header ({str(error)[:200]})") from error
    if min(shape, default=0) < 0:
        raise FormatError(f"{member}: expected a shape of numbers of 0 or more, found {shape}")
    return Header(shape, dtype, file.tell())


def read(archive: Archive, member: str) -> Array:
    """An array of numbers."""
    name, (shape, dtype, start) = member.removesuffix(".npy"), header(archive, member)
    if dtype.hasobject:
        raise FormatError(f"{name}: expected numbers, found Python objects, which are pickles that may run code")
    if archive.size(member) - start != prod(shape) * dtype.itemsize:
        raise FormatError(
            f"{name}: expected {prod(shape) * dtype.itemsize} bytes for shape {shape} of {dtype}, "
            f"found {archive.size(member) - start}"
        )
    try:
        array: Array = np.load(BytesIO(archive.read(member)), allow_pickle=False)
    except (ValueError, OverflowError) as error:  # such as a shape of 0 times more than NumPy counts
        raise FormatError(f"{name}: damaged array ({error})") from error
    return array
