"""What calls of a service were given, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arguments import whole_number, whole_numbers
from .._slots import id_array
from ..weights.checked import unmasked


def whole(name: str, value: int, least: int = 1) -> int:
    """A number from `least` on."""
    found = whole_number(name, value)
    if found < least:
        raise ValueError(f"{name}: expected {least} or more, found {value}")
    return found


def id_list(ids: Iterable[Any]) -> list[int]:
    """Ids of streams."""
    known = isinstance(ids, (list, np.ndarray)) or not isinstance(ids, Iterable)  # an array, or what is told of as one
    found: list[int] = id_array(ids if known else [*ids]).tolist()  # type: ignore[arg-type]
    return found


def numbers_of(at: Any, count: int) -> list[int]:
    """The number of a step for each stream."""
    array = whole_numbers("at", at)
    if array.shape != (count,):
        raise ValueError(f"at: expected {count} numbers, one for each id; found shape {array.shape}")
    found: list[int] = array.tolist()
    return found


def numbers_for(at: Mapping[int, int], ids: Sequence[int]) -> list[int]:
    """The number of a chunk's first step for each stream."""
    if not isinstance(at, Mapping):
        raise TypeError(f"at: expected a mapping of id to number, found {type(at).__name__}")
    for id in ids:
        if id not in at:
            raise ValueError(f"at: expected a number for each id, found none for {id}")
    return numbers_of([at[id] for id in ids], len(ids))


def rows_of(name: str, array: npt.ArrayLike, count: int) -> npt.NDArray[Any]:
    """An array with a row for each stream."""
    found = np.asarray(unmasked(name, array))
    if found.ndim < 1 or len(found) != count:
        raise ValueError(f"{name}: expected {count} rows, one for each id; found shape {found.shape}")
    return found


def plain(chunk: Any) -> Any:
    """What actors can read, whatever is installed there: NumPy's arrays alone."""
    return tuple(np.asarray(part) for part in chunk) if isinstance(chunk, tuple) else np.asarray(chunk)
