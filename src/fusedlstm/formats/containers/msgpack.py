"""The msgpack files of flax.serialization: nested maps, and arrays as extension 1 = (shape, dtype name, bytes)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from .need import need

Array = npt.NDArray[Any]

_NDARRAY, _COMPLEX, _SCALAR = 1, 2, 3  # extension codes
_CHUNKED = "__msgpack_chunked_array__"  # how an array of more than 2**30 bytes is stored
_DTYPES = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8"}
_MAX_ENTRIES = 100_000
_MAX_RANK = 32

# First bytes of msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), and how many bytes of length or value
# follow them.
_MAX_FIXINT = 0x7F
_STR, _MAP, _EXT = {0xD9: 1, 0xDA: 2, 0xDB: 4}, {0xDE: 2, 0xDF: 4}, {0xC7: 1, 0xC8: 2, 0xC9: 4}
_PLAIN = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8} | {0xCC + k: 1 << k for k in range(4)}
_PLAIN |= {0xD0 + k: 1 << k for k in range(4)}


def is_tree(head: bytes) -> bool:
    """Whether a file starts as Flax's do: maps with names as keys, down to an array (or to the end of `head`)."""
    named = False
    try:
        kind, left, at = _token(head, 0)
        levels = [left]  # entries to come, of each map that is open
        if kind != "map" or left == 0:
            return False
        while levels:
            if levels[-1] == 0:
                levels.pop()
                continue
            levels[-1] -= 1
            kind, length, after = _token(head, at)
            if kind == "str" and length:
                name, after = head[after : after + length], after + length
                if not name.isascii() or not name.decode().isprintable():
                    return False
                named = named or after <= len(head)
            elif kind != "plain" or head[at] > _MAX_FIXINT:  # nnx numbers the modules of a list
                return False
            kind, value, at = _token(head, after)
            if kind == "ext":
                return named and value in (_NDARRAY, _COMPLEX, _SCALAR)
            if kind == "map":
                levels.append(value)
            elif kind == "str":
                at += value
            elif kind != "plain":
                return False
    except IndexError:  # the head ends within the map
        return named
    return False


def read_tree(data: bytes) -> dict[str, Any]:
    """The nested maps of a file; arrays stay undecoded until `to_array`.

    Raises
    ------
    FormatError
        Not one whole map of names, a name twice, or far more entries than a model has.
    """
    count = 0

    def mapping(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        nonlocal count
        count += len(pairs)
        if count > _MAX_ENTRIES:
            raise FormatError(f"expected at most {_MAX_ENTRIES} entries, found more")
        tree: dict[str, Any] = {}
        for key, value in pairs:
            if not isinstance(key, str | int):
                raise FormatError(f"expected names as keys, found {key!r}")
            if str(key) in tree:
                raise FormatError(f"expected {str(key)!r} once, found it twice in one map")
            tree[str(key)] = value
        return tree

    # Flax writes no msgpack arrays outside the extension: lists become maps with "0", "1", … as keys.
    limits = {"max_array_len": 0, "max_map_len": 1 << 16}
    tree = _unpack("", data, object_pairs_hook=mapping, raw=False, strict_map_key=False, **limits)
    if not isinstance(tree, dict):
        raise FormatError(f"expected a map, found {type(tree).__name__}")
    return tree


def is_array(leaf: Any) -> bool:
    """Whether a value of the tree is a stored array."""
    return (isinstance(leaf, Mapping) and _CHUNKED in leaf) or (isinstance(leaf, tuple) and hasattr(leaf, "code"))


def to_array(where: str, leaf: Any) -> Array:
    """A stored array, whole or in chunks; bfloat16 comes as float32.

    Raises
    ------
    FormatError
        Another extension or type than an array of floats, or not as many bytes as its shape says.
    """
    if not isinstance(leaf, Mapping):
        return _whole(where, leaf)
    shape = _shape(where, _in_order(where, leaf.get("shape")))
    chunks = [_whole(where, chunk).reshape(-1) for chunk in _in_order(where, leaf.get("chunks"))]
    if len({chunk.dtype for chunk in chunks}) != 1 or sum(chunk.size for chunk in chunks) != math.prod(shape):
        raise FormatError(f"{where}: expected chunks of one type that fill shape {shape}, found others")
    return np.concatenate(chunks).reshape(shape)


def _whole(where: str, leaf: Any) -> Array:
    code = getattr(leaf, "code", None)
    if code != _NDARRAY:
        raise FormatError(f"{where}: expected an array (msgpack extension {_NDARRAY}), found extension {code}")
    parts = _unpack(f"{where}: ", leaf.data, raw=True, use_list=False, max_array_len=_MAX_RANK)
    match parts:
        case (tuple() as stored, bytes() as name, bytes() as data):
            shape = _shape(where, stored)
        case _:
            raise FormatError(f"{where}: expected shape, dtype and bytes, found {type(parts).__name__}")
    dtype = name.decode("ascii", "replace")
    if dtype not in _DTYPES:
        raise FormatError(f"{where}: expected one of {', '.join(_DTYPES)}, found dtype {dtype!r}")
    size = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if len(data) != size:
        raise FormatError(f"{where}: expected {size} bytes for {dtype} of shape {shape}, found {len(data)}")
    array: Array = np.frombuffer(data, _DTYPES[dtype])
    if dtype == "bfloat16":
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(shape)


def _unpack(where: str, data: bytes, **options: Any) -> Any:
    msgpack = need("msgpack", "flax")
    try:
        return msgpack.unpackb(data, **options)
    except FormatError:
        raise
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        name = type(error).__name__
        raise FormatError(f"{where}expected whole msgpack data, found it damaged ({name}: {error})") from error


def _in_order(where: str, tree: Any) -> tuple[Any, ...]:
    """A tuple as Flax stores it: a map from "0", "1", …"""
    if not isinstance(tree, Mapping) or set(tree) != {str(index) for index in range(len(tree))}:
        raise FormatError(f"{where}: expected chunks numbered from 0, found {tree!r:.80}")
    return tuple(tree[str(index)] for index in range(len(tree)))


def _shape(where: str, sizes: tuple[Any, ...]) -> tuple[int, ...]:
    if len(sizes) > _MAX_RANK or not all(type(size) is int and size >= 0 for size in sizes):
        raise FormatError(f"{where}: expected a shape, found {sizes!r:.80}")
    return sizes


def _token(data: bytes, at: int) -> tuple[str, int, int]:
    """What starts at a position: its kind; entries of a map, length of a string or code of an extension; where it goes
    on.
    """
    first = data[at]
    at += 1

    def number(size: int) -> int:
        data[at + size - 1]  # IndexError where the data ends
        return int.from_bytes(data[at : at + size], "big")

    if 0x80 <= first <= 0x8F:
        return "map", first & 15, at
    if 0xA0 <= first <= 0xBF:
        return "str", first & 31, at
    if first in _MAP:
        return "map", number(_MAP[first]), at + _MAP[first]
    if first in _STR:
        return "str", number(_STR[first]), at + _STR[first]
    if first in _EXT:
        return "ext", data[at + _EXT[first]], at + _EXT[first] + 1
    if 0xD4 <= first <= 0xD8:
        return "ext", data[at], at + 1
    if first <= _MAX_FIXINT or first >= 0xE0:
        return "plain", 0, at
    return ("plain", 0, at + _PLAIN[first]) if first in _PLAIN else ("unknown", 0, at)
