"""What a fork leaves behind: locks that nobody will release, steps that nobody will finish."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Protocol

PATIENCE = 1.0
"""Seconds that a fork waits for a table. Tables are locked for microseconds; a signal handler that forks inside of one
must not wait for itself."""


class Forked(Protocol):
    """Something with a lock around what must be whole in a forked child."""

    _table: Any  # a lock

    def start_over(self) -> None:
        """In the child, which has one thread: take new locks, and note what was under way."""


_alive: dict[int, weakref.ref[Forked]] = {}
_held = threading.local()  # .tables: of a thread that is forking


def register(one: Forked) -> None:
    """Have `one` start over in every forked child, with its table whole."""
    key = id(one)
    _alive[key] = weakref.ref(one, lambda gone: _alive.pop(key, None) if _alive.get(key) is gone else None)


def _all() -> list[Forked]:
    return [one for reference in list(_alive.values()) if (one := reference()) is not None]


def _before() -> None:
    _held.tables = [one._table for one in _all() if one._table.acquire(timeout=PATIENCE)]


def _in_parent() -> None:
    for table in _held.tables:
        table.release()
    del _held.tables


def _in_child() -> None:
    for one in _all():
        one.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
