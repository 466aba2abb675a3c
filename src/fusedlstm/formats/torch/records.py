"""Tensors in the files that PyTorch writes: one record for each storage, and views into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights.named import Shape
from ...weights.state_dict import bfloat16
from ..containers.zip import Archive
from .objects import Saved, Storage, Tensor

MAX_RANK = 32

Reads = Callable[[], npt.NDArray[np.generic]]
"""What reads one tensor."""

# By the names of storages and of dtypes; bfloat16 is that of its bits.
DTYPES = {
    name: dtype
    for names, dtype in (
        (("FloatStorage", "torch.float32"), "f4"),
        (("DoubleStorage", "torch.float64"), "f8"),
        (("HalfStorage", "torch.float16"), "f2"),
        (("BFloat16Storage", "torch.bfloat16"), "u2"),
        (("CharStorage", "torch.int8"), "i1"),
        (("ShortStorage", "torch.int16"), "i2"),
        (("IntStorage", "torch.int32"), "i4"),
        (("LongStorage", "torch.int64"), "i8"),
        (("ByteStorage", "torch.uint8"), "u1"),
        (("torch.uint16",), "u2"),
        (("torch.uint32",), "u4"),
        (("torch.uint64",), "u8"),
        (("BoolStorage", "torch.bool"), "?"),
        (("ComplexFloatStorage", "torch.complex64"), "c8"),
        (("ComplexDoubleStorage", "torch.complex128"), "c16"),
    )
    for name in names
}
_BFLOAT16 = ("BFloat16Storage", "torch.bfloat16")


class Store(Protocol):
    """Where the records lie."""

    def size(self, name: str) -> int:
        """Of a record in bytes; FormatError where there is none of that name."""

    def read(self, name: str) -> bytes:
        """A whole record."""


class Records:
    """The tensors of a file.

    Parameters
    ----------
    store : Store
        Which holds the bytes.
    folder : str
        Before a storage's key in a record's name.
    order : "little" or "big"
        Of the bytes of a number.
    """

    def __init__(self, store: Store, folder: str = "", order: Literal["little", "big"] = "little") -> None:
        self._store, self._folder = store, folder
        self._read: dict[str, bytes] = {}  # nn.LSTM on a GPU keeps all its tensors in one storage
        self._order: Literal["<", ">"] = "<" if order == "little" else ">"

    @classmethod
    def of_archive(cls, archive: Archive, root: str) -> Records:
        """Those of a zip archive; `root` is the folder that holds everything, with its slash."""
        order = archive.read(f"{root}byteorder", 16) if f"{root}byteorder" in archive else b"little"
        if order not in (b"little", b"big"):
            raise FormatError(f"{root}byteorder: expected 'little' or 'big', found {order!r}")
        return cls(archive, f"{root}data/", "little" if order == b"little" else "big")

    @classmethod
    def nowhere(cls) -> Records:
        """Those of a pickle alone: only tensors that hold their own bytes."""
        return cls(_Nothing())

    def tensor(self, name: str, tensor: Tensor) -> npt.NDArray[np.generic]:
        """One pickled tensor, after every number that describes it is found to fit the bytes that are there."""
        storage = tensor.storage
        if isinstance(storage, Saved):
            from .legacy import saved  # which reads its tensors with this module

            return saved(name, tensor, storage)
        dtype = self.dtype(name, tensor.kind)
        if tensor.metadata:
            raise FormatError(f"{name}: expected a plain tensor, found a conjugated or negated view; clone it first")
        if not isinstance(storage, Storage):
            raise FormatError(f"{name}: expected a storage, found {type(storage).__name__}")
        record = f"{self._folder}{storage.key}"
        declared = storage.numel * (1 if storage.kind == "UntypedStorage" else dtype.itemsize)
        held = self._store.size(record)
        if declared != held:
            raise FormatError(f"{name}: expected a storage of {declared} bytes, found {held} in {record}")
        offset = tensor.offset + storage.start if type(tensor.offset) is int else tensor.offset
        array = self.view(name, record, dtype, offset, shape(name, tensor.size), tensor.stride)
        return bfloat16(array) if tensor.kind in _BFLOAT16 else array

    def dtype(self, name: str, kind: str) -> np.dtype[Any]:
        """The dtype of a tensor's bytes, by its storage's or its own name."""
        if kind not in DTYPES:
            raise FormatError(f"{name}: expected float32, float64, float16 or bfloat16, found {kind}")
        return np.dtype(DTYPES[kind]).newbyteorder(self._order)

    def view(
        self, name: str, record: str, dtype: np.dtype[Any], offset: Any, size: Shape, stride: Any
    ) -> npt.NDArray[np.generic]:
        """What a tensor sees of a record; offset and strides count numbers, not bytes."""
        if type(stride) is not tuple or len(stride) != len(size) or not naturals((offset, *stride)):
            raise FormatError(f"{name}: expected an offset and {len(size)} strides of 0 or more, found others")
        numel = self._store.size(record) // dtype.itemsize
        # A dimension of 1 is never stepped along, so its stride means nothing.
        steps = [step if count > 1 else 0 for step, count in zip(stride, size)]
        last = offset + sum(step * (count - 1) for step, count in zip(steps, size))
        if prod(size) and last >= numel:
            raise FormatError(f"{name}: expected numbers within the {numel} of {record}, found a view up to {last}")
        if prod(size) > numel:
            raise FormatError(
                f"{name}: expected at most the {numel} numbers of {record}, found shape {size} (an expanded view; "
                "clone it before saving)"
            )
        if record not in self._read:
            self._read[record] = self._store.read(record)
        numbers = np.frombuffer(self._read[record], dtype, numel)[offset:]
        strides = [step * dtype.itemsize for step in steps]
        view: npt.NDArray[np.generic] = np.lib.stride_tricks.as_strided(numbers, size, strides, writeable=False)
        return view


class _Nothing:
    """No records."""

    def size(self, name: str) -> int:
        """There is none."""
        raise FormatError(f"storage {name!r:.50}: expected in the file, found none of that key")

    def read(self, name: str) -> bytes:
        """There is none."""
        raise FormatError(f"storage {name!r:.50}: expected in the file, found none of that key")


def shape(name: str, size: Any) -> Shape:
    """A tensor's shape, checked."""
    if type(size) is not tuple or len(size) > MAX_RANK or not naturals(size):
        raise FormatError(f"{name}: expected a shape of at most {MAX_RANK} numbers of 0 or more, found another")
    return size


def naturals(values: tuple[Any, ...]) -> bool:
    """Whether all are whole numbers of 0 or more that fit 64 bits."""
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def by_name(readers: Mapping[str, Reads]) -> Callable[[str], npt.NDArray[np.generic]]:
    """What reads a tensor when it is told the name."""
    return lambda name: readers[name]()
