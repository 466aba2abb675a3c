"""Which stream lives where: ids that never come twice, for rows that are used again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._arguments import INT64
from ._growing import Growing
from .weights.checked import unmasked

Integers = npt.NDArray[np.int64]
Ids = Sequence[int] | npt.NDArray[np.integer[Any]]

# An id is its slot, plus this for each stream that the slot had before.
APART = MOST = 1 << 24


class Slots:
    """A table of the ids that are open. Not safe to share between threads without a lock.

    Whoever is stopped in the middle of a method (by a fork, an exception) has lost a free slot at most.
    """

    def __init__(self, count: int) -> None:
        self._turns = Growing(count, 1, np.int64)  # how often a slot was opened and closed: odd while it is open
        self._place = np.empty(count, np.int64)  # scratch, to find ids that come twice
        self._fresh = 0  # this slot and those after it were never used
        self._free: list[int] = []  # of those that were
        self._left: list[int] = []  # closed, but not yet free: a running step may still write there
        self._open = 0

    @property
    def count(self) -> int:
        """Slots, free or not."""
        return len(self._place)

    def __len__(self) -> int:
        """Ids that are open."""
        return self._open

    def __contains__(self, id: object) -> bool:
        """Whether an id is open."""
        if not isinstance(id, (int, np.integer)) or isinstance(id, bool) or id < 0:
            return False
        slot, turns = int(id) % APART, 2 * (int(id) // APART) + 1
        return slot < self.count and bool(self._turns.array.item(slot) == turns)

    def full(self) -> bool:
        """Whether no slot is free."""
        return not self._free and self._fresh == self.count

    def open(self) -> tuple[int, int]:
        """A new id and its slot, where one is free."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._fresh
            self._fresh += 1
        self._turns.array[slot] += 1
        self._open += 1
        return slot + APART * (int(self._turns.array[slot, 0]) // 2), slot

    def close(self, id: int) -> None:
        """Forget an id; its slot is free after the next `recycle`."""
        slot = self.find_one(id)
        self._turns.array[slot] += 1
        self._open -= 1
        self._left.append(slot)

    def recycle(self) -> None:
        """Free the slots of closed ids: nobody writes there any more."""
        left, self._left = self._left, []
        self._free += left

    def grow(self, count: int) -> None:
        """Add free slots, up to so many in all."""
        self._turns.grow(count)
        self._place = np.empty(count, np.int64)

    def find_one(self, id: int) -> int:
        """The slot of one id."""
        return int(self.find(id_array([id]))[0])

    def find(self, ids: Integers) -> Integers:
        """Their slots; refuses ids that are not open, and those named twice."""
        slots = np.empty_like(ids)
        if not _core.find_slots(ids, self._turns.array, APART, self._place, slots):
            raise ValueError(self._what_is_wrong(ids.tolist()))
        return slots

    def _what_is_wrong(self, ids: list[int]) -> str:
        seen: set[int] = set()
        for id in ids:
            if id not in self:
                return self._not_open(id)
            if id in seen:
                break
            seen.add(id)
        return f"ids: expected each stream once, found {id} twice"

    def _not_open(self, id: int) -> str:
        slot = id % APART
        if id >= 0 and slot < self.count and int(self._turns.array[slot, 0]) > 2 * (id // APART) + 1:
            return f"stream {id}: expected an open stream, found one that was closed"
        return f"stream {id}: expected an open stream, found an id that this pool never gave"


def id_array(ids: Ids) -> Integers:
    """Ids as an array of our own, refused if they are not whole numbers."""
    array = np.array(ids if isinstance(ids, list) else unmasked("ids", ids), order="C")
    if array.ndim != 1:
        raise ValueError(f"ids: expected shape (n,), found {array.shape}")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"ids: expected whole numbers, found dtype {array.dtype}")
    return array if array.dtype == INT64 else array.astype(INT64)


def count_of(name: str, value: int) -> int:
    """How many slots are asked for."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a whole number, found {type(value).__name__}")
    if not 1 <= value <= MOST:
        raise ValueError(f"{name}: expected 1 to {MOST}, found {value}")
    return int(value)
