"""Protocol buffers: enough of their bytes to recognise a file and to bound what parsing it will cost.

https://protobuf.dev/programming-guides/encoding/: a message is a run of (tag, value), tag = number << 3 | wire type.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

from ...errors import FormatError
from .need import need

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_FIELDS = 1_000_000

Buffer = bytes | mmap.mmap


def parse(data: bytes, message: Any) -> Any:
    """Parse a file into a message of the library's.

    Raises
    ------
    FormatError
        It is damaged, or its messages would take far more memory than the file: an empty one is 2 bytes here and about
        200 there.
    """
    decode_error = need("google.protobuf.message", "onnx").DecodeError
    _check(data, message.DESCRIPTOR)
    try:
        message.ParseFromString(data)
    except decode_error as error:
        raise FormatError(f"damaged protobuf data ({error})") from error
    return message


def _check(data: bytes, message: Any) -> None:
    """Count the fields of a file, whose outermost message is described by `message`; texts have to be UTF-8."""
    schema: dict[str, tuple[dict[int, Any], set[int]]] = {}  # of a message: the messages that it holds, and the texts

    def inside(kind: Any) -> tuple[dict[int, Any], set[int]]:
        if kind.full_name not in schema:
            held: dict[int, Any] = {}
            schema[kind.full_name] = held, {f.number for f in kind.fields if f.type == f.TYPE_STRING}
            held.update((f.number, inside(f.message_type)) for f in kind.fields if f.message_type is not None)
        return schema[kind.full_name]

    count = 0
    stack = [(0, len(data), inside(message))]
    while stack:
        start, stop, (nested, texts) = stack.pop()
        for number, wire, at, end in fields(data, start, stop):
            count += 1
            if end > stop:
                raise FormatError(f"expected {end - at} bytes of data at byte {at}, found {stop - at}: it is truncated")
            if count > _MAX_FIELDS:
                raise FormatError(f"expected at most {_MAX_FIELDS} protobuf fields, found more")
            if at < end and wire == BYTES and number in nested:
                stack.append((at, end, nested[number]))
            if wire == BYTES and number in texts:
                try:
                    data[at:end].decode()
                except UnicodeDecodeError:
                    raise FormatError(f"expected UTF-8 at byte {at}, found something else") from None


def fields(data: Buffer, at: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, start and end of each field's value; the end may lie past a truncated file's own."""
    while at < stop:
        tag, at = data[at], at + 1
        if tag > 127:
            tag, at = _varint(data, at - 1, stop)
        wire = tag & 7
        if wire == VARINT:
            _, end = _varint(data, at, stop)
        elif wire == BYTES:
            length, at = _varint(data, at, stop)
            end = at + length
        elif wire in (FIXED64, FIXED32):
            end = at + (8 if wire == FIXED64 else 4)
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
