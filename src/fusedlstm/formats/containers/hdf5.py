"""HDF5 files as Keras writes them, read without the HDF5 library.

The library follows links into other files, loops for ever or fills the memory on damaged ones, and inflates compressed
chunks without bound. A weights file needs none of what makes it so: what Keras writes is plain groups, contiguous
arrays and attributes that are strings. That much is read here, and everything else is refused.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from .hdf5_objects import AGAIN, ATTRIBUTE, DATASPACE, DATATYPE, EXTERNAL_FILES, FILTERS, LAYOUT, SIGNATURE, Objects
from .source import Source

FloatArray = npt.NDArray[np.float32]

MAX_RANK = 32

_FLOAT, _STRING, _OPAQUE, _VARIABLE = 1, 3, 5, 9

# Floating-point types by exponent position and size, mantissa position and size, exponent bias.
_FLOATS = {
    (2, 10, 5, 0, 10, 15): "f2",
    (2, 7, 8, 0, 7, 127): "bfloat16",
    (4, 23, 8, 0, 23, 127): "f4",
    (8, 52, 11, 0, 52, 1023): "f8",
}


@dataclass(frozen=True)
class _Type:
    """A datatype: class, size, and for numbers that can be read NumPy's name for it (or "bfloat16")."""

    kind: int
    size: int
    name: str | None = None
    order: str = "<"


def opened(source: Source) -> Hdf5 | None:
    """The HDF5 file that a source is, or None."""
    return source.once(_whole) if source.head.startswith(SIGNATURE) else None


def _whole(source: Source) -> Hdf5:
    return Hdf5(source.map())


class Hdf5(Objects):
    """The content of the groups and datasets: shapes, arrays, attributes."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        super().__init__(data)
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}

    @property
    def tensors(self) -> dict[str, Callable[[], FloatArray]]:
        """What reads each dataset, by its path."""
        return {path: partial(self.read, path) for path in sorted(self.datasets)}

    def shape(self, path: str) -> tuple[int, ...]:
        """The declared shape of a dataset."""
        if path not in self.datasets:
            raise FormatError(f"{path!r}: expected a dataset, found none")
        return self._dataspace(*self.message(path, DATASPACE)) or ()

    def read(self, path: str) -> FloatArray:
        """A dataset of floating-point numbers, in float32."""
        shape = self.shape(path)
        kind = self._type(*self.message(path, DATATYPE))
        start, stored = self._contiguous(path)
        declared = prod(shape) * kind.size
        if declared > stored or start + declared > len(self.data):
            found = min(stored, max(0, len(self.data) - start))
            raise FormatError(f"{path!r}: expected {declared} bytes for shape {shape}, found {found} in the file")
        name = kind.name
        if kind.kind == _OPAQUE and kind.size == 2 and self.text(path, "dtype") == "bfloat16":
            name = "bfloat16"  # Keras stores it as two opaque bytes
        if name is None:
            raise FormatError(f"{path!r}: expected floating-point numbers, found HDF5 type class {kind.kind}")
        stored_as = kind.order + ("u2" if name == "bfloat16" else name)
        numbers: Any = np.frombuffer(self.data, stored_as, prod(shape), start).reshape(shape)
        with np.errstate(over="ignore"):
            # bfloat16 is the upper half of a float32.
            upper = name == "bfloat16"
            array: FloatArray = (numbers.astype("u4") << 16).view("f4") if upper else numbers.astype(np.float32)
        return array

    def _contiguous(self, path: str) -> tuple[int, int]:
        """Start and size of a dataset's data."""
        kinds = self.kinds(path)
        if EXTERNAL_FILES in kinds:
            raise FormatError(f"{path!r}: expected data inside the file, found external storage")
        start, size = self.message(path, LAYOUT)
        version, layout = self.unpack("<BB", start)
        if version not in (3, 4) or layout not in (0, 1) or FILTERS in kinds:
            raise FormatError(
                f"{path!r}: expected plain contiguous data, found it chunked (perhaps compressed) or virtual; {AGAIN}"
            )
        if layout == 0:  # in the header itself
            return start + 4, min(*self.unpack("<H", start + 2), size - 4)
        start, size = self.unpack("<QQ", start + 2)
        return start, size

    def has_attribute(self, path: str, name: str) -> bool:
        """Whether a group or dataset has an attribute of that name."""
        return self._attribute(path, name) is not None

    def text(self, path: str, name: str) -> str | None:
        """An attribute that holds one string, or None where there is no such object or attribute."""
        found = self._attribute(path, name)
        if found is None:
            return None
        kind, shape, start, size = found
        if kind.kind not in (_STRING, _VARIABLE) or shape != () or size < kind.size:
            raise FormatError(f"attribute {name!r} of {path!r}: expected one string, found something else")
        length = kind.size
        if kind.kind == _VARIABLE:
            length, heap, index = self.unpack("<IQI", start)
            start, stored = self._heap(heap).get(index, (0, -1)) if length else (0, 0)
            if length > stored:
                raise FormatError(f"attribute {name!r} of {path!r}: expected {length} characters, found none")
        self.spend(length)
        return self.utf8(bytes(self.data[start : start + length]).partition(b"\0")[0], start)

    def _dataspace(self, start: int, size: int) -> tuple[int, ...] | None:
        """A shape; () for a single value, None for no value at all."""
        version, rank, _, kind = self.unpack("<4B", start)
        dimensions = start + (8 if version == 1 else 4)
        if version not in (1, 2) or rank > MAX_RANK or dimensions + 8 * rank > start + size:
            raise FormatError(f"damaged HDF5 file (a dataspace at byte {start})")
        return None if version == 2 and kind == 2 else self.unpack(f"<{rank}Q", dimensions)

    def _type(self, start: int, size: int) -> _Type:
        first, bits, sign, length = self.unpack("<BBBxI", start)
        if first & 15 != _FLOAT:
            # Of variable-length types only strings matter here.
            return _Type(first & 15 if first & 15 != _VARIABLE or bits & 15 == 1 else -1, length)
        offset, precision, *layout = self.unpack("<HH4BI", start + 8)
        plain = (offset, precision, sign, bits & 0x70) == (0, 8 * length, 8 * length - 1, 0x20)
        return _Type(_FLOAT, length, _FLOATS.get((length, *layout)) if plain else None, ">" if bits & 1 else "<")

    def _attribute(self, path: str, wanted: str) -> tuple[_Type, tuple[int, ...] | None, int, int] | None:
        """Type, shape, start and size of an attribute."""
        for _, start, size in self.messages(path, ATTRIBUTE):
            version, flags, *sizes = self.unpack("<BBHHH", start)
            at, parts = start + (9 if version == 3 else 8), []
            for length in sizes:  # of the name, the type, the dataspace
                parts.append((at, length))
                at += (length + 7) // 8 * 8 if version == 1 else length
            name = bytes(self.data[parts[0][0] : sum(parts[0])])
            self.spend(8 + len(name))
            if name.rstrip(b"\0") == wanted.encode():
                if version not in (1, 2, 3) or (version > 1 and flags) or at > start + size:
                    raise FormatError(f"attribute {wanted!r} of {path!r}: damaged")
                return self._type(*parts[1]), self._dataspace(*parts[2]), at, start + size - at
        return None

    def _heap(self, start: int) -> dict[int, tuple[int, int]]:
        """Start and size of the objects in a collection of strings, by number."""
        if start not in self._heaps:
            self.expect(b"GCOL\x01", start)
            at, end = start + 16, start + self.unpack("<Q", start + 8)[0]
            objects = self._heaps[start] = {}
            while at + 16 <= min(end, len(self.data)):
                number, size = self.unpack("<H6xQ", at)
                self.spend(16)
                if number == 0:  # the rest is free
                    break
                if at + 16 + size > min(end, len(self.data)):
                    raise FormatError(f"damaged HDF5 file (a heap object of {size} bytes at byte {at})")
                objects[number] = at + 16, size
                at += 16 + (size + 7) // 8 * 8
        return self._heaps[start]
