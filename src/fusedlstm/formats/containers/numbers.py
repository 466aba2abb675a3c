"""Arrays as nested lists of numbers: in JSON, in pickles."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError

MAX_NUMBER = 3.4e38
MAX_RANK = 8


def array(name: str, value: Any) -> npt.NDArray[np.float32]:
    """Nested lists of equal length as an array, when every number in them is finite."""
    sizes, rows = shape(name, value), [value]
    for size in sizes:
        if not all(isinstance(row, list | tuple) and len(row) == size for row in rows):
            raise FormatError(f"{name}: expected lists of equal length, found others")
        rows = list(chain.from_iterable(rows))
    for number in rows:
        if type(number) not in (int, float) or not abs(number) < MAX_NUMBER:
            raise FormatError(f"{name}: expected numbers within float32's range, found {_shown(number)}")
    return np.array(rows, dtype=np.float32).reshape(sizes)


def shape(name: str, value: Any) -> tuple[int, ...]:
    """Lengths of nested lists, by the first of each."""
    sizes: tuple[int, ...] = ()
    while isinstance(value, list | tuple):
        sizes = (*sizes, len(value))
        value = value[0] if value else None
        if len(sizes) > MAX_RANK:
            raise FormatError(f"{name}: expected at most {MAX_RANK} lists in each other, found more")
    return sizes


def _shown(value: Any) -> str:
    """A value in a message; a long number or a deep list would take long to write."""
    return f"{value!s:.50}" if isinstance(value, str | float | bool | None) else f"a {type(value).__name__}"
