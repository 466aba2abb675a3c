"""Protocol buffers as bytes: enough to recognise an ONNX file and to bound what parsing it will cost.

https://protobuf.dev/programming-guides/encoding/: a message is a run of (tag, value), tag = number << 3 | wire type.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import FormatError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL = {1: _VARINT, 2: _BYTES, 3: _BYTES, 4: _BYTES, 5: _VARINT, 6: _BYTES, 7: _BYTES, 8: _BYTES, 14: _BYTES}
_GRAPH = 7
_IN_GRAPH = {1, 2, 5, 10, 11, 12, 13, 14, 15, 16}
_MAX_FIELDS = 1_000_000

Buffer = bytes | mmap.mmap


def is_model(path: Path) -> bool:
    """Whether a file is a ModelProto: ir_version first, then only its fields up to a graph. A few reads, no parsing."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for index, (number, wire, start, stop) in enumerate(islice(_fields(data, 0, len(data)), 64)):
                if _MODEL.get(number) != wire or (index == 0 and not _is_version(data[start:stop])):
                    return False
                if number == _GRAPH:
                    first = next(_fields(data, start, min(stop, len(data))), None)
                    return first is None or (first[0] in _IN_GRAPH and first[1] == _BYTES)
        except FormatError:
            return False
    return False


def check_cost(data: bytes, model: Any) -> None:
    """Refuse a file whose messages, parsed, would take far more memory than the file: an empty one is 2 bytes here and
    about 200 there.

    Parameters
    ----------
    data : bytes
        The file.
    model : protobuf descriptor
        Of ModelProto: which fields hold messages.
    """
    schema: dict[str, dict[int, Any]] = {}  # message → field number → the message it holds

    def inside(message: Any) -> dict[int, Any]:
        if message.full_name not in schema:
            held = schema[message.full_name] = {}
            held.update((f.number, inside(f.message_type)) for f in message.fields if f.message_type is not None)
        return schema[message.full_name]

    count = 0
    stack = [(0, len(data), inside(model))]
    while stack:
        start, stop, nested = stack.pop()
        for number, wire, at, end in _fields(data, start, stop):
            count += 1
            if end > stop:
                raise FormatError(f"expected {end - at} bytes of data at byte {at}, found {stop - at}: it is truncated")
            if count > _MAX_FIELDS:
                raise FormatError(f"expected at most {_MAX_FIELDS} protobuf fields, found more")
            if at < end and wire == _BYTES and number in nested:
                stack.append((at, end, nested[number]))


def _is_version(value: bytes) -> bool:
    return len(value) == 1 and value[0] > 0


def _fields(data: Buffer, at: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, start and end of each field's value; the end may lie past a truncated file's own."""
    while at < stop:
        tag, at = data[at], at + 1
        if tag > 127:
            tag, at = _varint(data, at - 1, stop)
        wire = tag & 7
        if wire == _VARINT:
            _, end = _varint(data, at, stop)
        elif wire == _BYTES:
            length, at = _varint(data, at, stop)
            end = at + length
        elif wire in (_FIXED64, _FIXED32):
            end = at + (8 if wire == _FIXED64 else 4)
        else:
            raise FormatError(f"expected a protobuf field at byte {at}, found wire type {wire}")
        yield tag >> 3, wire, at, end
        at = end


def _varint(data: Buffer, at: int, stop: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= stop:
            raise FormatError(f"expected a protobuf number at byte {at}, found the end: the file is truncated")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise FormatError(f"expected a protobuf number at byte {at - 10}, found more than 64 bits")
