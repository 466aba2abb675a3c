"""The skeleton of an HDF5 file: which groups and datasets there are, and their headers' messages.

https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, as far as h5py writes it unless told otherwise:
superblock 0, object headers of version 1, groups with a symbol table (or, where a name is not ASCII, link messages).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Any

from ...errors import FormatError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 100_000
MAX_DEPTH = 64
MAX_NAME = 4096
MAX_WORK = 1 << 25
"""Looking at a structure costs about its bytes. A hostile file makes them overlap; this ends it after some seconds."""

AGAIN = "open it in Keras and save it again"

DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL_FILES, LAYOUT, FILTERS = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08, 0x0B
ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0x0C, 0x10, 0x11

_SHARED, _SOFT_SYMBOL, _HARD_LINK = 0x02, 2, 0
_UNDEFINED = (1 << 64) - 1


class Objects:
    """The groups and datasets of an HDF5 file, by path without a leading slash.

    Parameters
    ----------
    data : bytes or mmap
        The whole file.

    Raises
    ------
    FormatError
        Structures that lie outside the file or overlap, links other than plain ones, an object with two names (which
        is how cycles are made), too many objects, groups nested too deeply.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self.groups: set[str] = set()
        self.datasets: set[str] = set()
        self._headers: dict[str, int] = {}
        self.renew()
        if data[:8] != SIGNATURE:
            raise FormatError(f"expected an HDF5 file, found content starting with {data[:8]!r}")
        if data[8:9] != b"\0" or data[13:15] != b"\x08\x08":
            raise FormatError(f"expected HDF5 of the oldest layout, as Keras writes it, found another; {AGAIN}")
        base, _, end, _, _, root = self.unpack("<6Q", 24)
        if base or end > len(data):
            raise FormatError(f"truncated HDF5 file: expected {end} bytes, found {len(data)}")
        seen, waiting = {root}, [("", root)]
        while waiting:
            path, self._headers[path] = waiting.pop()
            kinds = self.kinds(path)
            if LAYOUT in kinds:
                self.datasets.add(path)
            elif SYMBOL_TABLE in kinds or LINK_INFO in kinds:
                self.groups.add(path)
                for name, address in self._symbols(path) if SYMBOL_TABLE in kinds else self._links(path):
                    member = f"{path}/{name}" if path else name
                    self.spend(len(member))
                    if address is None:
                        raise FormatError(f"{member!r}: expected an object in the file, found a soft or external link")
                    if address in seen:
                        raise FormatError(f"{member!r}: expected one name for each object, found two (a hard link)")
                    seen.add(address)
                    waiting.append((member, address))
            if len(seen) > MAX_OBJECTS:
                raise FormatError(f"expected at most {MAX_OBJECTS} objects, found more")
            if path.count("/") >= MAX_DEPTH:
                raise FormatError(f"expected at most {MAX_DEPTH} nested groups, found more at {path[:80]!r}...")

    def unpack(self, layout: str, at: int) -> tuple[Any, ...]:
        """Numbers at a place in the file."""
        if at + struct.calcsize(layout) > len(self.data):
            raise FormatError(f"damaged HDF5 file (a structure at byte {at} of {len(self.data)})")
        return struct.unpack_from(layout, self.data, at)

    def expect(self, signature: bytes, at: int) -> None:
        """Check how a structure starts."""
        if self.data[at : at + len(signature)] != signature:
            raise FormatError(f"damaged HDF5 file (expected {signature!r} at byte {at})")

    def renew(self) -> None:
        """Count work from here on."""
        self._budget = min(4 * len(self.data), MAX_WORK)

    def spend(self, steps: int) -> None:
        """Account for work."""
        self._budget -= steps
        if self._budget < 0:
            raise FormatError("damaged HDF5 file (its structures overlap)")

    def messages(self, path: str, wanted: int | None = None) -> Iterator[tuple[int, int, int]]:
        """An object's messages, all or of one kind, as (kind, start, size)."""
        if path not in self._headers:
            return
        address = self._headers[path]
        version, count, size = self.unpack("<BxHxxxxI", address)
        if version != 1:
            raise FormatError(f"{path!r}: expected an object header of version 1, as Keras writes it; {AGAIN}")
        blocks = [(address + 16, size)]
        for at, length in blocks:
            end = min(at + length, len(self.data))
            while at + 8 <= end and count > 0:
                kind, size, flags = self.unpack("<HHB", at)
                at, count = at + 8, count - 1
                self.spend(8)
                if at + size > end:
                    raise FormatError(f"{path!r}: damaged object header (a message of {size} bytes at byte {at})")
                if kind == CONTINUATION:
                    start, size_there = self.unpack("<QQ", at)
                    blocks.append((start, size_there))
                elif wanted in (None, kind):
                    if wanted is not None and flags & _SHARED:
                        raise FormatError(f"{path!r}: expected plain header messages, found a shared one; {AGAIN}")
                    yield kind, at, size
                at += size

    def kinds(self, path: str) -> set[int]:
        """Which kinds of messages an object has."""
        return {kind for kind, *_ in self.messages(path)}

    def message(self, path: str, wanted: int) -> tuple[int, int]:
        """Start and size of an object's only message of a kind."""
        found = [(start, size) for _, start, size in self.messages(path, wanted)]
        if len(found) != 1:
            raise FormatError(f"{path!r}: expected one header message of type {wanted}, found {len(found)}")
        return found[0]

    def _symbols(self, path: str) -> Iterator[tuple[str, int | None]]:
        """The members of a group with a symbol table: names, and addresses (None for a link to elsewhere)."""
        tree, heap = self.unpack("<QQ", self.message(path, SYMBOL_TABLE)[0])
        self.expect(b"HEAP\0", heap)
        size, _, names = self.unpack("<QQQ", heap + 8)
        waiting: list[tuple[int, int | None]] = [(tree, None)]
        while waiting:
            node, expected = waiting.pop()
            if expected == -1:
                self.expect(b"SNOD\x01", node)
                (count,) = self.unpack("<H", node + 6)
                for entry in range(node + 8, node + 8 + 40 * count, 40):
                    self.spend(40)
                    offset, address, cached = self.unpack("<QQI", entry)
                    start = names + offset
                    name = self.data[start : min(names + size, start + MAX_NAME)].partition(b"\0")[0]
                    yield self._name(name, start), None if cached == _SOFT_SYMBOL else address
            else:
                self.expect(b"TREE\0", node)
                level, count = self.unpack("<BH", node + 5)
                self.spend(24 + 16 * count)
                if expected not in (None, level):
                    raise FormatError(f"damaged HDF5 file (a tree node of level {level} at byte {node})")
                children = self.unpack(f"<{2 * count}Q", node + 24)[1::2]
                waiting += [(child, level - 1) for child in children]

    def _links(self, path: str) -> Iterator[tuple[str, int | None]]:
        """The members of a group with link messages."""
        start, _ = self.message(path, LINK_INFO)
        _, flags = self.unpack("<BB", start)
        (heap,) = self.unpack("<Q", start + (10 if flags & 1 else 2))
        if heap != _UNDEFINED:
            raise FormatError(
                f"{path!r}: expected at most 8 members where a name is not ASCII, found more (which HDF5 stores in "
                "another way); save it as .keras"
            )
        for _, start, size in self.messages(path, LINK):
            _, flags = self.unpack("<BB", start)
            at = start + 2
            (kind,) = self.unpack("<B", at) if flags & 8 else (_HARD_LINK,)
            at += bool(flags & 8) + 8 * bool(flags & 4) + bool(flags & 16)
            (length,) = self.unpack(("<B", "<H", "<I", "<Q")[flags & 3], at)
            at += 1 << (flags & 3)
            if at + length > start + size:
                raise FormatError(f"{path!r}: damaged link message at byte {start}")
            name = self._name(self.data[at : at + length], at)
            yield name, self.unpack("<Q", at + length)[0] if kind == _HARD_LINK else None

    def _name(self, name: bytes, at: int) -> str:
        if not name or b"/" in name:
            raise FormatError(f"damaged HDF5 file (no name at byte {at})")
        return self.utf8(name, at)

    def utf8(self, text: bytes, at: int) -> str:
        """Text, as names and strings are stored."""
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"damaged HDF5 file (no UTF-8 at byte {at})") from error
