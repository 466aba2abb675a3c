"""FlatBuffers as bytes: tables, vectors and strings, each checked against the end of the file before it is touched.

https://flatbuffers.dev/internals: a table starts with the signed distance back to its vtable (u16: its own size, the
table's size, then where each field lies in the table, 0 for absent); tables, vectors and strings lie at unsigned
distances forward from the field that holds them; a vector starts with its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError

_MAX_OBJECTS = 300_000  # tables, and numbers in lists that become Python's
_COPIES = 16  # bytes that may be read, as a multiple of the file's
_MAX_NAME = 1000
_NUMBERS = {kind: struct.Struct("<" + kind) for kind in "bBhHiIqQf?"}


class Buffer:
    """A file, and how much may be read of it at once: tables and vectors that overlap would multiply without end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.renew()

    def renew(self) -> None:
        """Count what is read from here on."""
        self._left = max(len(self.data), 1 << 16) * _COPIES
        self._objects = _MAX_OBJECTS

    def number(self, kind: str, at: int) -> Any:
        """A number of one of struct's kinds."""
        one = _NUMBERS[kind]
        if not 0 <= at <= len(self.data) - one.size:
            raise FormatError(f"expected {one.size} bytes at byte {at}, found the end at {len(self.data)}")
        return one.unpack_from(self.data, at)[0]

    def span(self, at: int, size: int) -> int:
        """`at`, if that many bytes lie there, and may still be read."""
        if not 0 <= at <= len(self.data) - size:
            raise FormatError(f"expected {size} bytes at byte {at}, found the end at {len(self.data)}")
        self._left -= size
        if self._left < 0:
            raise FormatError("expected tensors and lists of a size that the file justifies, found far larger ones")
        return at

    def count(self, objects: int) -> None:
        """Before making so many Python objects."""
        self._objects -= objects
        if self._objects < 0:
            raise FormatError(f"expected at most {_MAX_OBJECTS} tables and indices, found more")

    def array(self, dtype: str, count: int, at: int) -> npt.NDArray[Any]:
        """Numbers, not copied."""
        return np.frombuffer(self.data, dtype, count, self.span(at, count * np.dtype(dtype).itemsize))

    def root(self) -> Table:
        """The table that the file is."""
        return Table(self, int(self.number("I", 0)))


class Table:
    """One table; fields go by their number in the schema."""

    __slots__ = ("_at", "_buffer", "_extent", "_size", "_vtable")

    def __init__(self, buffer: Buffer, at: int) -> None:
        buffer.count(1)
        self._buffer = buffer
        self._at = at
        self._vtable = at - int(buffer.number("i", at))
        self._size = int(buffer.number("H", self._vtable))
        self._extent = int(buffer.number("H", self._vtable + 2))
        buffer.span(self._vtable, self._size)
        buffer.span(at, self._extent)
        if self._size < 4 or self._size % 2 or self._extent < 4:
            raise FormatError(f"expected a table at byte {at}, found none")

    @property
    def position(self) -> int:
        """Where it starts in the file, which tells it from others."""
        return self._at

    def number(self, field: int, kind: str, default: Any) -> Any:
        """A number that the table holds itself."""
        at = self._field(field)
        return default if at is None else self._buffer.number(kind, at)

    def table(self, field: int) -> Table | None:
        """A table, None where absent."""
        at = self._target(field)
        return None if at is None else Table(self._buffer, at)

    def tables(self, field: int) -> Tables:
        """A vector of tables, empty where absent."""
        start, count = self.vector(field) or (0, 0)
        return Tables(self._buffer, start, self._buffer.array("<u4", count, start))

    def numbers(self, field: int, dtype: str) -> npt.NDArray[Any] | None:
        """A vector of numbers, None where absent."""
        where = self.vector(field)
        return None if where is None else self._buffer.array(dtype, where[1], where[0])

    def integers(self, field: int) -> list[int]:
        """A vector of int32, empty where absent."""
        found = self.numbers(field, "<i4")
        if found is None:
            return []
        self._buffer.count(len(found))
        return [int(one) for one in found]

    def string(self, field: int) -> str:
        """A string, empty where absent, cut where no name is that long."""
        where = self.vector(field)
        if where is None:
            return ""
        return self._buffer.array("u1", min(where[1], _MAX_NAME), where[0]).tobytes().decode("utf-8", "replace")

    def vector(self, field: int) -> tuple[int, int] | None:
        """Where a vector's elements start, and how many the file says they are; None where absent."""
        at = self._target(field)
        return None if at is None else (at + 4, int(self._buffer.number("I", at)))

    def _target(self, field: int) -> int | None:
        at = self._field(field)
        return None if at is None else at + int(self._buffer.number("I", at))

    def _field(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return None
        offset = int(self._buffer.number("H", self._vtable + entry))
        if offset >= self._extent:
            raise FormatError(f"expected field {field} in a table of {self._extent} bytes, found it at {offset}")
        return self._at + offset if offset else None


class Tables:
    """A vector of tables, each made when asked for, once."""

    def __init__(self, buffer: Buffer, start: int, offsets: npt.NDArray[Any]) -> None:
        self._buffer = buffer
        self._start = start
        self._offsets = offsets
        self._made: dict[int, Table] = {}

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[Table]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Table:
        if index not in self._made:
            self._made[index] = Table(self._buffer, self._start + 4 * index + int(self._offsets[index]))
        return self._made[index]
