"""What was handed in to be read: bytes with a name, wherever they are."""

from __future__ import annotations

import builtins
import mmap
import os
import stat
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ...errors import FormatError

T = TypeVar("T")

HEAD = 512

Config = Mapping[str, Any] | str | os.PathLike[str]


class Source:
    """A file, and what its containers made of it: each parses it once, whoever asks.

    Parameters
    ----------
    path : path-like
        The file. It is opened when it is read, and never written.
    config : mapping or path-like, optional
        What the caller states of the model, for formats that leave it out.

    Raises
    ------
    OSError
        It is missing, a directory or unreadable.
    FormatError
        It is no file but a pipe or a device, which may have no end.
    """

    name: str
    """What messages call it."""
    path: Path
    """Where it lies, for a library that opens files itself."""
    size: int
    """In bytes."""
    head: bytes
    """Its first bytes, by which most formats are recognised."""
    config: Config | None
    """What the caller states of the model."""

    def __init__(self, path: str | os.PathLike[str], config: Config | None = None) -> None:
        self.path, self.config = Path(path), config
        self.name = str(self.path)
        kind = self.path.stat()
        if not stat.S_ISREG(kind.st_mode) and not stat.S_ISDIR(kind.st_mode):  # opening a pipe may wait for ever
            raise FormatError("expected a file, found a pipe, a socket or a device")
        with self.open() as file:
            self.size = os.fstat(file.fileno()).st_size
            self.head = file.read(HEAD)
        self._parsed: dict[Hashable, Any] = {}

    def open(self) -> BinaryIO:
        """The bytes as a file, for whoever reads parts of them."""
        return builtins.open(self.path, "rb")

    def read(self) -> bytes:
        """All bytes."""
        with self.open() as file:
            return file.read()

    def map(self) -> bytes | mmap.mmap:
        """All bytes, without reading what nobody looks at."""
        if not self.size:
            return b""
        with self.open() as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def once(self, parse: Callable[[Source], T]) -> T:
        """What `parse` makes of this, made the first time that it is asked for."""
        if parse not in self._parsed:
            self._parsed[parse] = parse(self)
        found: T = self._parsed[parse]
        return found
