"""What was handed in to be read: bytes with a name, wherever they are."""

from __future__ import annotations

import builtins
import io
import mmap
import os
import stat
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ...errors import FormatError

T = TypeVar("T")

Config = Mapping[str, Any] | str | os.PathLike[str]
"""What a caller states of a model: as it is, or the path of a file of JSON."""
Given = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path, or a file's content: its bytes, or a file object that is open in binary mode."""

HEAD = 512


class Source:
    """A file, and what its containers made of it: each parses it once, whoever asks.

    Parameters
    ----------
    given : path-like, bytes or binary file object
        The file. One that is given by its path is opened when it is read, and never written; a file object is read to
        its end.
    name : str, optional
        What messages call it. Default: the path, or the name that a file object has.
    config : mapping or path-like, optional
        What the caller states of the model, for formats that leave it out.
    ignore : sequence of str
        Patterns of the names of tensors that the caller says to leave out.

    Raises
    ------
    OSError
        It is missing, a directory or unreadable.
    TypeError
        It is nothing of the kind.
    FormatError
        It is no file but a pipe or a device, which may have no end.
    """

    name: str
    """What messages call it."""
    path: Path | None
    """Where it lies, for a library that opens files itself, and for files beside it; None where it lies in memory."""
    size: int
    """In bytes."""
    head: bytes
    """Its first bytes, by which most formats are recognised."""
    config: Config | None
    """What the caller states of the model."""
    ignore: tuple[str, ...]
    """Patterns of tensors to leave out, of whoever reads state dicts."""
    packed: int
    """How many bytes these are where they came from: fewer than `size`, if they were compressed."""

    def __init__(
        self, given: Given, config: Config | None = None, ignore: tuple[str, ...] = (), name: str | None = None
    ) -> None:
        self.path, self._data = (Path(given), b"") if isinstance(given, str | os.PathLike) else (None, _content(given))
        self.name = str(self.path or _name(given)) if name is None else name
        self.config, self.ignore = config, ignore
        if self.path is not None:
            kind = self.path.stat()
            if not stat.S_ISREG(kind.st_mode) and not stat.S_ISDIR(kind.st_mode):  # opening a pipe may wait for ever
                raise FormatError("expected a file, found a pipe, a socket or a device")
        with self.open() as file:
            self.size = len(self._data) if self.path is None else os.fstat(file.fileno()).st_size
            self.head = file.read(HEAD)
        self.packed = self.size
        self._parsed: dict[Hashable, Any] = {}

    def open(self) -> BinaryIO:
        """The bytes as a file, for whoever reads parts of them."""
        return io.BytesIO(self._data) if self.path is None else builtins.open(self.path, "rb")

    def read(self) -> bytes:
        """All bytes."""
        if self.path is None:
            return self._data
        with self.open() as file:
            return file.read()

    def map(self) -> bytes | mmap.mmap:
        """All bytes, without reading what nobody looks at."""
        if self.path is None or not self.size:
            return self._data
        with self.open() as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def beside(self, given: Given, name: str | None = None, packed: int | None = None) -> Source:
        """Another one, of which the caller states the same; one that was packed in this."""
        other = Source(given, self.config, self.ignore, name)
        other.packed = other.size if packed is None else packed
        return other

    def once(self, parse: Callable[[Source], T]) -> T:
        """What `parse` makes of this, made the first time that it is asked for."""
        if parse not in self._parsed:
            self._parsed[parse] = parse(self)
        found: T = self._parsed[parse]
        return found


def _content(given: Any) -> bytes:
    """The bytes of something that is no path."""
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    read = getattr(given, "read", None)
    if not callable(read):
        raise TypeError(f"expected a path, bytes or a binary file object, found {type(given).__name__}")
    data = read()
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"expected a file that is open in binary mode, found one that gives {type(data).__name__}")
    return bytes(data)


def _name(given: Any) -> str:
    """What to call something that is no path."""
    name = getattr(given, "name", "")
    return name if isinstance(name, str) and name else "<bytes>"
