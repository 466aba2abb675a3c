"""Which stream lives where: ids that never come twice, for rows that are used again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core

Integers = npt.NDArray[np.int64]
Ids = Sequence[int] | npt.NDArray[np.integer[Any]]

# An id is its slot, plus this for each stream that the slot had before.
APART = MOST = 1 << 24
FREE = -1


class Slots:
    """A table of the ids that are open. Not safe to share between threads without a lock."""

    def __init__(self, count: int) -> None:
        self._ids = np.full(count, FREE, np.int64)  # who lives in a slot
        self._next = np.arange(count)  # the id that the slot gives next
        self._place = np.empty(count, np.int64)  # scratch, to find ids that come twice
        self._free = list(range(count))[::-1]
        self._left: list[int] = []  # closed, but not yet free: a running step may still write there

    @property
    def count(self) -> int:
        """Slots, free or not."""
        return len(self._ids)

    def __len__(self) -> int:
        """Ids that are open."""
        return self.count - len(self._free) - len(self._left)

    def __contains__(self, id: object) -> bool:
        """Whether an id is open."""
        if not isinstance(id, (int, np.integer)) or isinstance(id, bool) or id < 0:
            return False
        slot = int(id) % APART
        return slot < self.count and bool(self._ids[slot] == id)

    def full(self) -> bool:
        """Whether no slot is free."""
        return not self._free

    def open(self) -> tuple[int, int]:
        """A new id and its slot, where one is free."""
        slot = self._free.pop()
        id = int(self._next[slot])
        self._ids[slot] = id
        return id, slot

    def close(self, id: int) -> None:
        """Forget an id; its slot is free after the next `recycle`."""
        slot = self.find_one(id)
        self._ids[slot] = FREE
        self._next[slot] += APART
        self._left.append(slot)

    def recycle(self) -> None:
        """Free the slots of closed ids: nobody writes there any more."""
        self._free += self._left
        self._left.clear()

    def grow(self, count: int) -> None:
        """Add free slots, up to so many in all."""
        new = np.arange(self.count, count)
        self._ids = np.concatenate([self._ids, np.full(len(new), FREE)])
        self._next = np.concatenate([self._next, new])
        self._place = np.empty(count, np.int64)
        self._free = new[::-1].tolist() + self._free

    def find_one(self, id: int) -> int:
        """The slot of one id."""
        return int(self.find(id_array([id]))[0])

    def find(self, ids: Integers) -> Integers:
        """Their slots; refuses ids that are not open, and those named twice."""
        slots = np.empty_like(ids)
        if not _core.find_slots(ids, self._ids, APART, self._place, slots):
            raise ValueError(self._what_is_wrong(ids.tolist()))
        return slots

    def _what_is_wrong(self, ids: list[int]) -> str:
        for id in ids:
            if id not in self:
                return self._not_open(id)
        twice = next(id for k, id in enumerate(ids) if id in ids[:k])
        return f"ids: expected each stream once, found {twice} twice"

    def _not_open(self, id: int) -> str:
        slot = id % APART
        if id >= 0 and slot < self.count and id < self._next[slot]:
            return f"stream {id}: expected an open stream, found one that was closed"
        return f"stream {id}: expected an open stream, found an id that this pool never gave"


def id_array(ids: Ids) -> Integers:
    """Ids as an array, refused if they are not whole numbers."""
    array = np.asarray(ids)
    if array.ndim != 1:
        raise ValueError(f"ids: expected shape (n,), found {array.shape}")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"ids: expected whole numbers, found dtype {array.dtype}")
    return np.ascontiguousarray(array, np.int64)
