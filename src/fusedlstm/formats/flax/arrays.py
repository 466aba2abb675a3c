"""Arrays as flax.serialization stores them: msgpack extension 1 = (shape, dtype name, bytes), large ones in chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ..containers.msgpack import MAX_FIXINT, token, unpack

Array = npt.NDArray[Any]

_NDARRAY, _COMPLEX, _SCALAR = 1, 2, 3  # extension codes
_CHUNKED = "__msgpack_chunked_array__"  # how an array of more than 2**30 bytes is stored
_DTYPES = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8", "bool": "?"}
_DTYPES |= {f"{kind}{8 * size}": f"<{kind[0]}{size}" for kind in ("int", "uint") for size in (1, 2, 4, 8)}
_MAX_RANK = 32


def is_tree(head: bytes) -> bool:
    """Whether a file starts as Flax's do: maps with names as keys, down to an array (or to the end of `head`)."""
    named = False
    try:
        kind, left, at = token(head, 0)
        levels = [left]  # entries to come, of each map that is open
        if kind != "map" or left == 0:
            return False
        while levels:
            if levels[-1] == 0:
                levels.pop()
                continue
            levels[-1] -= 1
            kind, length, after = token(head, at)
            if kind == "str" and length:
                name, after = head[after : after + length], after + length
                if not name.isascii() or not name.decode().isprintable():
                    return False
                named = named or after <= len(head)
            elif kind != "plain" or head[at] > MAX_FIXINT:  # nnx numbers the modules of a list
                return False
            kind, value, at = token(head, after)
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
    parts = unpack(f"{where}: ", leaf.data, raw=True, use_list=False, max_array_len=_MAX_RANK)
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


def _in_order(where: str, tree: Any) -> tuple[Any, ...]:
    """A tuple as Flax stores it: a map from "0", "1", …"""
    if not isinstance(tree, Mapping) or set(tree) != {str(index) for index in range(len(tree))}:
        raise FormatError(f"{where}: expected chunks numbered from 0, found {tree!r:.80}")
    return tuple(tree[str(index)] for index in range(len(tree)))


def _shape(where: str, sizes: tuple[Any, ...]) -> tuple[int, ...]:
    if len(sizes) > _MAX_RANK or not all(type(size) is int and size >= 0 for size in sizes):
        raise FormatError(f"{where}: expected a shape, found {sizes!r:.80}")
    return sizes
