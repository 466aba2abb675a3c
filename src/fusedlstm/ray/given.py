"""What calls of a service were given, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arguments import whole_number


def whole(name: str, value: int, least: int = 1) -> int:
    """A number from `least` on."""
    found = whole_number(name, value)
    if found < least:
        raise ValueError(f"{name}: expected {least} or more, found {value}")
    return found


def id_list(ids: Iterable[Any]) -> list[int]:
    """Ids of streams."""
    if isinstance(ids, np.ndarray):
        ids = ids.tolist()
    return [index(id) for id in ids]


def numbers_of(at: Sequence[int], count: int) -> list[int]:
    """The number of a step for each stream."""
    if len(at) != count:
        raise ValueError(f"at: expected {count} numbers, one for each id; found {len(at)}")
    return [index(number) for number in at]


def rows_of(name: str, array: npt.ArrayLike, count: int) -> npt.NDArray[Any]:
    """An array with a row for each stream."""
    found = np.asarray(array)
    if found.ndim < 1 or len(found) != count:
        raise ValueError(f"{name}: expected {count} rows, one for each id; found shape {found.shape}")
    return found
