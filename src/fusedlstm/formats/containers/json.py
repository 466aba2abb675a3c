"""JSON from anywhere: read strictly, so that nothing in it is dropped or replaced without a word."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

from ...errors import FormatError
from .source import Config, Source

MAX_LISTS = 4_000_000
"""Lists and objects: an empty one takes three bytes of text, and twenty times as much when parsed."""
MAX_STATED = 64 << 20
"""Bytes of a configuration that a caller points to."""
MAX_DEPTH = 200
"""Lists and objects in each other: whoever walks through them may call itself."""


def parse(where: str, data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    FormatError
        No JSON object, a name twice in one object, NaN or Infinity (which are no JSON), too many lists or too
        deep ones.
    """
    value = _parse(where, data, object_pairs_hook=_unique, parse_constant=_no_constant)
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected a JSON object, found {type(value).__name__}")
    return value


def parse_python(where: str, data: bytes | str) -> Any:
    """What Python's json module wrote, which may hold NaN and Infinity; bounded as by `parse`."""
    return _parse(where, data)


def stated(config: Config) -> Any:
    """What a caller states of a model: a mapping as it is, or what a file of JSON holds."""
    if isinstance(config, Mapping):
        return config
    source = Source(config)
    if source.size > MAX_STATED:
        raise FormatError(f"config {source.name}: expected at most {MAX_STATED} bytes of JSON, found {source.size}")
    return parse_python(f"config {source.name}", source.read())


def _parse(where: str, data: bytes | str, **options: Any) -> Any:
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        if text.count("[") + text.count("{") > MAX_LISTS:
            raise FormatError(f"{where}: expected at most {MAX_LISTS} lists and objects, found more")
        value = json.loads(text, **options)
    except RecursionError:
        raise _too_deep(where) from None
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{where}: expected JSON, found it damaged ({str(error)[:200]})") from error
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        insides = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [one for inside in insides for one in inside if isinstance(one, dict | list)]
    if level:
        raise _too_deep(where)
    return value


def _too_deep(where: str) -> FormatError:
    return FormatError(f"{where}: expected JSON that is nested a few levels deep, found it deeper")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twice[:100]!r} twice in one object")
    return table


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} where a finite number was expected")
