"""msgpack: maps with names as keys, and what extensions hold, undecoded."""

from __future__ import annotations

from typing import Any

from ...errors import FormatError
from .need import need

MAX_ENTRIES = 100_000
_MAX_MAP = 1 << 16

# First bytes of msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), and how many bytes of length or value
# follow them.
MAX_FIXINT = 0x7F
_STR, _MAP, _EXT = {0xD9: 1, 0xDA: 2, 0xDB: 4}, {0xDE: 2, 0xDF: 4}, {0xC7: 1, 0xC8: 2, 0xC9: 4}
_PLAIN = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8} | {0xCC + k: 1 << k for k in range(4)}
_PLAIN |= {0xD0 + k: 1 << k for k in range(4)}


def parse(data: bytes) -> dict[str, Any]:
    """The nested maps of a file; extensions stay undecoded.

    Raises
    ------
    FormatError
        Not one whole map of names, a name twice, or far more entries than a model has.
    """
    count = 0

    def mapping(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        nonlocal count
        count += len(pairs)
        if count > MAX_ENTRIES:
            raise FormatError(f"expected at most {MAX_ENTRIES} entries, found more")
        tree: dict[str, Any] = {}
        for key, value in pairs:
            if not isinstance(key, str | int):
                raise FormatError(f"expected names as keys, found {key!r}")
            if str(key) in tree:
                raise FormatError(f"expected {str(key)!r} once, found it twice in one map")
            tree[str(key)] = value
        return tree

    # Flax writes no msgpack arrays outside the extension: lists become maps with "0", "1", … as keys.
    limits = {"max_array_len": 0, "max_map_len": _MAX_MAP}
    tree = unpack("", data, object_pairs_hook=mapping, raw=False, strict_map_key=False, **limits)
    if not isinstance(tree, dict):
        raise FormatError(f"expected a map, found {type(tree).__name__}")
    return tree


def unpack(where: str, data: bytes, **options: Any) -> Any:
    """What the library makes of msgpack data; `options` bound it."""
    msgpack = need("msgpack", "flax")
    try:
        return msgpack.unpackb(data, **options)
    except FormatError:
        raise
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        name = type(error).__name__
        raise FormatError(f"{where}expected whole msgpack data, found it damaged ({name}: {error})") from error


def token(data: bytes, at: int) -> tuple[str, int, int]:
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
    if first <= MAX_FIXINT or first >= 0xE0:
        return "plain", 0, at
    return ("plain", 0, at + _PLAIN[first]) if first in _PLAIN else ("unknown", 0, at)
