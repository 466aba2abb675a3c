"""JSON from anywhere: read strictly, so that nothing in it is dropped or replaced without a word."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

from ...errors import FormatError

MAX_LISTS = 4_000_000
"""Lists and objects: an empty one takes three bytes of text, and twenty times as much when parsed."""


def parse(where: str, data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    FormatError
        No JSON object, a name twice in one object, NaN or Infinity (which are no JSON), too many lists or too
        deep ones.
    """
    if data.count(b"[") + data.count(b"{") > MAX_LISTS:
        raise FormatError(f"{where}: expected at most {MAX_LISTS} lists and objects, found more")
    try:
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise FormatError(f"{where}: expected JSON that is nested a few levels deep, found it deeper") from None
    except ValueError as error:
        raise FormatError(f"{where}: expected JSON, found it damaged ({str(error)[:200]})") from error
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected a JSON object, found {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twice[:100]!r} twice in one object")
    return table


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} where a finite number was expected")
