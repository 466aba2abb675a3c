"""Files of torch.save from before PyTorch 1.6 (``_use_new_zipfile_serialization=False``), read without PyTorch.

Layout, seen in files written by torch 2.13 and described in its ``torch/serialization.py``: five pickles after each
other (a magic number, a version, the machine, the object, the keys of its storages), then each storage in that order:
the count of its elements in 8 bytes, and their bytes, all little-endian.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ..containers.ndarrays import Text
from ..containers.pickle import Global
from ..containers.source import Source
from ..contents import Contents
from .objects import Saved, Storage, Tensor, TorchUnpickler
from .records import DTYPES, Records
from .trees import contents, pickled

NAME = "PyTorch checkpoint (before 1.6)"

# The first pickle: LONG1 of ten bytes, after the protocol and perhaps a frame.
_MAGIC = re.compile(rb"(?s)\x80[\x02-\x05](?:\x95.{8})?\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\.")


def read(source: Source) -> Contents | None:
    """Every LSTM in the object's dictionaries, by module path."""
    if not _MAGIC.match(source.head):
        return None
    root, records = _parse(source.map(), source.packed)
    return contents(NAME, root, pickled(records), source)


def saved(name: str, tensor: Tensor, inside: Saved) -> npt.NDArray[np.generic]:
    """A tensor whose storage is a file of this kind by itself."""
    if inside.parsed is None:
        data = inside.data.text.encode("latin-1", "replace") if isinstance(inside.data, Text) else inside.data
        if not _MAGIC.match(data):
            raise FormatError(f"{name}: expected the bytes of a storage, found others")
        inside.parsed = _parse(data)
    storage, records = inside.parsed
    if not isinstance(storage, Storage):
        raise FormatError(f"{name}: expected the bytes of a storage, found those of another object")
    kind = tensor.kind or storage.kind
    whole = Tensor(kind, storage, tensor.offset, tensor.size, tensor.stride, tensor.metadata)
    found: npt.NDArray[np.generic] = records.tensor(name, whole)
    return found


def _parse(data: Any, packed: int | None = None) -> tuple[Any, Records]:
    """The object, and where its storages lie."""
    unpickler = _Pickles(data, "pickle", packed)
    for _ in range(3):  # the magic number, the version, the machine
        unpickler.load()
    root, keys = unpickler.load(), unpickler.load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise FormatError("expected the keys of the storages after the pickled object, found others")
    return root, Records(_Storages(data, unpickler.position, keys, unpickler.itemsizes))


class _Pickles(TorchUnpickler):
    """The pickles one after the other, and what they say of storages."""

    def __init__(self, data: Any, where: str, packed: int | None) -> None:
        super().__init__(data, where, packed)
        self._file.seek(0)
        self.itemsizes: dict[str, int] = {}

    @property
    def position(self) -> int:
        """Where the last pickle ended."""
        return int(self._file.tell())

    def persistent(self, identifier: Any) -> Storage | Global:
        """A storage, whose type is what tells its size in bytes."""
        found = super().persistent(identifier)
        if isinstance(found, Storage):
            size = 4 if found.kind == "QInt32Storage" else np.dtype(DTYPES.get(found.kind, "u1")).itemsize
            if self.itemsizes.setdefault(found.key, size) != size:
                raise FormatError(f"storage {found.key!r:.50}: expected one type, found two")
        return found


class _Storages:
    """The storages behind the pickles, by their keys."""

    def __init__(self, data: Any, at: int, keys: list[str], itemsizes: dict[str, int]) -> None:
        self._data = data
        self._places: dict[str, tuple[int, int]] = {}
        for key in keys:
            if key not in itemsizes or key in self._places or len(data) < at + 8:
                raise FormatError(f"storage {key!r:.50}: expected one that the pickle names, once, found another")
            size = int.from_bytes(data[at : at + 8], "little") * itemsizes[key]
            if size > len(data) - at - 8:
                raise FormatError(f"storage {key!r:.50}: expected {size} bytes, found {len(data) - at - 8} in the file")
            self._places[key] = at + 8, size
            at += 8 + size

    def size(self, name: str) -> int:
        """Of a storage in bytes."""
        return self._find(name)[1]

    def read(self, name: str) -> bytes:
        """A storage's bytes."""
        start, size = self._find(name)
        return bytes(self._data[start : start + size])

    def _find(self, name: str) -> tuple[int, int]:
        if name not in self._places:
            raise FormatError(f"storage {name!r:.50}: expected in the file, found none of that key")
        return self._places[name]
