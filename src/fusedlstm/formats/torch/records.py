"""Tensors in the zip files that PyTorch writes: one record for each storage, and views into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights.reparametrised import Shape
from ...weights.state_dict import bfloat16
from ..containers.zip import Archive
from .objects import Storage, Tensor

MAX_RANK = 32

Reads = Callable[[], npt.NDArray[np.generic]]
"""What reads one tensor."""

DTYPES = {
    name: dtype
    for names, dtype in (
        (("FloatStorage", "torch.float32"), "f4"),
        (("DoubleStorage", "torch.float64"), "f8"),
        (("HalfStorage", "torch.float16"), "f2"),
        (("BFloat16Storage", "torch.bfloat16"), "u2"),
    )
    for name in names
}


class Records:
    """The tensors of an archive; `root` is the folder that holds everything, with its slash."""

    def __init__(self, archive: Archive, root: str) -> None:
        self._archive, self._root = archive, root
        order = archive.read(f"{root}byteorder", 16) if f"{root}byteorder" in archive else b"little"
        if order not in (b"little", b"big"):
            raise FormatError(f"{root}byteorder: expected 'little' or 'big', found {order!r}")
        self._read: dict[str, bytes] = {}  # nn.LSTM on a GPU keeps all its tensors in one storage
        self._order: Literal["<", ">"] = "<" if order == b"little" else ">"

    def tensor(self, name: str, tensor: Tensor) -> npt.NDArray[np.generic]:
        """One pickled tensor, after every number that describes it is found to fit the bytes that are there."""
        dtype = self.dtype(name, tensor.kind)
        if tensor.metadata:
            raise FormatError(f"{name}: expected a plain tensor, found a conjugated or negated view; clone it first")
        storage = tensor.storage
        if not isinstance(storage, Storage):
            raise FormatError(f"{name}: expected a storage, found {type(storage).__name__}")
        record = f"{self._root}data/{storage.key}"
        declared = storage.numel * (1 if storage.kind == "UntypedStorage" else dtype.itemsize)
        held = self._archive.size(record)
        if declared != held:
            raise FormatError(f"{name}: expected a storage of {declared} bytes, found {held} in {record}")
        return self.view(name, record, dtype, tensor.offset, tensor.size, tensor.stride)

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
        numel = self._archive.size(record) // dtype.itemsize
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
            self._read[record] = self._archive.read(record)
        numbers = np.frombuffer(self._read[record], dtype, numel)[offset:]
        strides = [step * dtype.itemsize for step in steps]
        view = np.lib.stride_tricks.as_strided(numbers, size, strides, writeable=False)
        return bfloat16(view) if dtype.kind == "u" else view


def by_name(readers: Mapping[str, Reads]) -> Callable[[str], npt.NDArray[np.generic]]:
    """What reads a tensor when it is told the name."""
    return lambda name: readers[name]()


def shape(name: str, size: Any) -> Shape:
    """A tensor's shape, checked."""
    if type(size) is not tuple or len(size) > MAX_RANK or not naturals(size):
        raise FormatError(f"{name}: expected a shape of at most {MAX_RANK} numbers of 0 or more, found another")
    return size


def naturals(values: tuple[Any, ...]) -> bool:
    """Whether all are whole numbers of 0 or more that fit 64 bits."""
    return all(type(value) is int and 0 <= value < 2**63 for value in values)
