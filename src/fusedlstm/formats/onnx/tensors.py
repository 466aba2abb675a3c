"""ONNX's tensors and attributes as NumPy arrays and plain values, with nothing taken on trust."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError

Array = npt.NDArray[Any]
DType = np.dtype[Any]

MAX_RANK = 32
FLOAT16, BFLOAT16, BOOL = 10, 16, 9

# TensorProto.DataType: how it lies in raw_data, and the typed field that may hold it instead.
# bfloat16 and float16 are bit patterns when they lie in int32_data.
_STORED = {
    1: ("<f4", "float_data"),
    2: ("<u1", "int32_data"),
    3: ("<i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    BOOL: ("<u1", "int32_data"),
    FLOAT16: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    BFLOAT16: ("<u2", "int32_data"),
}
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_NAMES = {
    8: "string",
    14: "complex64",
    15: "complex128",
    17: "float8e4m3fn",
    18: "float8e4m3fnuz",
    19: "float8e5m2",
    20: "float8e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4e2m1",
    24: "float8e8m0",
    25: "uint2",
    26: "int2",
    BFLOAT16: "bfloat16",
}


def dtype_of(kind: int) -> DType:
    """The dtype of an ONNX data type.

    Raises
    ------
    FormatError
        One that NumPy does not have, or that holds no numbers.
    """
    if kind == BOOL:
        return np.dtype(np.bool_)
    if kind not in _STORED or kind == BFLOAT16:
        raise FormatError(f"expected a type of numbers that is supported, found {_NAMES.get(kind, kind)}")
    return np.dtype(_STORED[kind][0])


class External:
    """Where tensors may lie outside the file: beside it, never through links, and only if the caller allows it."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, where: str, tensor: Any, count: int) -> bytes:
        """The bytes of a tensor.

        Raises
        ------
        FormatError
            It is not allowed, leads elsewhere, or is not there.
        """
        if self._folder is None:
            raise FormatError(
                f"{where}: expected its data inside the file, found external data, which is read with "
                "external_data=True alone"
            )
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        parts = Path(location).parts
        if not parts or Path(location).is_absolute() or ".." in parts or "\\" in location or "\0" in location:
            raise FormatError(f"{where}: expected external data beside the model, found location {location!r}")
        path = self._folder
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise FormatError(f"{where}: expected external data in a file of its own, found the link {location!r}")
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", count))
        except ValueError as error:
            raise FormatError(f"{where}: expected a place in {location!r}, found {error}") from error
        if length != count or offset < 0:
            raise FormatError(f"{where}: expected {count} bytes in {location!r}, found {length} at {offset}")
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except OSError as error:
            raise FormatError(f"{where}: expected external data in {location!r}, found {error.strerror}") from error
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size < offset + count:
                raise FormatError(f"{where}: expected {count} bytes at {offset} of {location!r}, found fewer")
            with os.fdopen(os.dup(handle), "rb") as file:
                file.seek(offset)
                return file.read(count)
        finally:
            os.close(handle)


def to_array(name: str, tensor: Any, external: External) -> Array:
    """A TensorProto as an array; bfloat16 comes as float32.

    Raises
    ------
    FormatError
        Data of a type that is not supported, or not as many numbers as its shape says.
    """
    where = f"tensor {name!r}"
    if tensor.HasField("segment"):
        raise FormatError(f"{where}: expected a whole tensor, found a segment of one")
    kind = tensor.data_type
    if kind not in _STORED:
        raise FormatError(f"{where}: expected numbers of a type that is supported, found {_NAMES.get(kind, kind)}")
    shape = tuple(tensor.dims)
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise FormatError(f"{where}: expected a shape, found {shape}")
    code, field = _STORED[kind]
    dtype, count = np.dtype(code), math.prod(shape)
    present = [one for one in _TYPED if len(getattr(tensor, one))]
    if tensor.HasField("raw_data"):
        present.append("raw_data")
    if len(present) > 1 or not set(present) <= {field, "raw_data"}:
        raise FormatError(f"{where}: expected its data in raw_data or {field}, found it in {' and '.join(present)}")
    if tensor.data_location or tensor.external_data:
        values = np.frombuffer(external.read(where, tensor, count * dtype.itemsize), dtype)
    elif present == ["raw_data"]:
        if len(tensor.raw_data) != count * dtype.itemsize:
            raise FormatError(
                f"{where}: expected {count * dtype.itemsize} bytes for shape {shape}, found {len(tensor.raw_data)}"
            )
        values = np.frombuffer(tensor.raw_data, dtype)
    else:
        stored = getattr(tensor, field)
        if len(stored) != count:
            raise FormatError(f"{where}: expected {count} numbers for shape {shape}, found {len(stored)}")
        values = _from_typed(where, stored, dtype)
    if kind == BFLOAT16:
        values = (values.astype("<u4") << 16).view("<f4")
    return (values != 0 if kind == BOOL else values).reshape(shape)


def _from_typed(where: str, stored: Any, dtype: DType) -> Array:
    if dtype.kind == "f" and dtype.itemsize > 2:
        return np.array(stored, dtype)
    bits = np.dtype("<u2") if dtype.kind == "f" else dtype  # float16 lies here as its bits
    values = np.array(stored, np.uint64 if dtype.itemsize == 8 and dtype.kind == "u" else np.int64)
    limits = np.iinfo(bits)
    if values.size and not (limits.min <= values.min() and values.max() <= limits.max):
        raise FormatError(f"{where}: expected numbers of {dtype.itemsize} byte(s), found larger ones")
    return values.astype(bits).view(dtype)


def attributes(protos: Any, outer: dict[str, Any] | None) -> Iterator[tuple[str, Any]]:
    """Names and plain values of attributes; tensors and graphs as they are.

    Parameters
    ----------
    protos : sequence of AttributeProto
        Of one node.
    outer : dict, optional
        Those of the node that calls the function which this node is in.
    """
    for one in protos:
        if one.ref_attr_name:
            if outer is None:
                raise FormatError(f"attribute {one.name!r}: expected a value, found a reference outside of a function")
            if one.ref_attr_name in outer:
                yield one.name, outer[one.ref_attr_name]
            continue
        field = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings"}.get(one.type)
        if field is None:
            raise FormatError(
                f"attribute {one.name!r}: expected numbers, text, a tensor or a graph, found another kind"
            )
        value = getattr(one, field)
        if field in ("floats", "ints"):
            value = tuple(value)
        elif field == "strings":
            value = tuple(item.decode("utf-8", "replace") for item in value)
        elif field == "s":
            value = value.decode("utf-8", "replace")
        yield one.name, value
