"""NumPy's arrays in a zip archive: ``.npy``, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.

The header is a Python literal. NumPy's own parsers take seconds over some of 200 bytes, so the three entries that there
may be are read here, as whoever follows that page writes them.
"""

from __future__ import annotations

import re
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from .zip import Archive

MAX_HEADER = 1 << 14
"""NumPy writes some 100 bytes for an array of numbers; arrays of many fields take more."""

_MAGIC = b"\x93NUMPY"
_LENGTHS = {1: 2, 2: 4, 3: 4}  # by the version: bytes that the header's length takes
_ITEM = re.compile(
    r"""(?s)\s*['"](\w{1,20})['"]\s*:\s*(True|False|'[^']*'|"[^"]*"|\([\d\s,L]*\)|\[.*\])\s*(?:,\s*|(?=\}))"""
)
_END = re.compile(r"\}\s*")
_MAX_RANK = 64  # NumPy's own
_NUMBER = re.compile(r"\s*(\d{1,19})L?\s*")  # L: as Python 2 wrote it
_FIELDS = "["

Array = npt.NDArray[np.generic]


class Header(NamedTuple):
    """What an array declares, and where its data start; `kind` is a dtype as it is written."""

    shape: tuple[int, ...]
    kind: str
    order: str
    start: int


def header(archive: Archive, member: str) -> Header:
    """The header alone."""
    data = archive.read(member, MAX_HEADER)
    size = _LENGTHS.get(data[6] if data.startswith(_MAGIC) and len(data) > 6 else 0, 0)
    start = 8 + size + int.from_bytes(data[8 : 8 + size], "little")
    if not size or start > len(data):
        raise _damaged(member, data[:40])
    text = data[8 + size : start].decode("latin-1")
    items: dict[str, str] = {}
    at = 1 if text.startswith("{") else 0
    while item := _ITEM.match(text, at):
        if item[1] in items:
            raise _damaged(member, text)
        items[item[1]], at = item[2], item.end()
    if set(items) != {"descr", "fortran_order", "shape"} or not _END.fullmatch(text, at):
        raise _damaged(member, text)
    kind, order, numbers = items["descr"], items["fortran_order"], items["shape"]
    shape = [_NUMBER.fullmatch(one) for one in numbers[1:-1].split(",")] if numbers[0] == "(" else [None]
    if shape[-1] is None and not numbers[1:-1].rpartition(",")[2].strip():
        shape.pop()  # what comes after the last comma, or stands in an empty pair
    if (
        numbers[0] != "("
        or None in shape
        or len(shape) > _MAX_RANK
        or order not in ("True", "False")
        or kind[0] not in "'\"["
    ):
        raise _damaged(member, text)
    sizes = tuple(int(one[1]) for one in shape if one)
    return Header(sizes, kind if kind[0] == _FIELDS else kind[1:-1], "F" if order == "True" else "C", start)


def read(archive: Archive, member: str) -> Array:
    """An array of numbers."""
    name, (shape, kind, order, start) = member.removesuffix(".npy"), header(archive, member)
    try:
        dtype = None if kind[0] == _FIELDS else np.dtype(kind)
    except (TypeError, ValueError, OverflowError, SyntaxError) as error:
        raise FormatError(f"{name}: expected numbers, found dtype {kind[:50]!r}") from error
    if dtype is None or dtype.names:
        raise FormatError(f"{name}: expected numbers, found dtype {kind[:200]} of several fields")
    if dtype.hasobject:
        raise FormatError(f"{name}: expected numbers, found Python objects, which are pickles that may run code")
    if archive.size(member) - start != prod(shape) * dtype.itemsize:
        raise FormatError(
            f"{name}: expected {prod(shape) * dtype.itemsize} bytes for shape {shape} of {dtype}, "
            f"found {archive.size(member) - start}"
        )
    try:
        flat: Array = np.frombuffer(archive.read(member), dtype, offset=start)
        return flat.reshape(shape, order="F" if order == "F" else "C")
    except (ValueError, OverflowError) as error:  # such as a shape of 0 times more than NumPy counts
        raise FormatError(f"{name}: damaged array ({error})") from error


def _damaged(member: str, found: object) -> FormatError:
    return FormatError(f"{member}: damaged array header (expected descr, fortran_order, shape; found {found!r:.90})")
