"""Who lives where: what a service knows of its streams and actors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Condition
from typing import Any

import ray

from .worker import Moved

ATTEMPTS = 5
"""Actors that may die one after the other over what is done between steps: a fork, a move."""


@dataclass(slots=True, eq=False)
class Place:
    """An actor, or its successor when it dies, and who lives there."""

    actor: Any
    lives: set[Live] = field(default_factory=set)
    waiting: int = 0
    """Steps that are on their way."""
    fresh: list[Moved] = field(default_factory=list)
    """Streams of which the actor has not heard yet."""

    def told(self) -> Any:
        """The actor, which knows of all streams by what it is called next."""
        if self.fresh:
            self.actor.adopt.remote(self.fresh)
            self.fresh = []
        return self.actor


@dataclass(slots=True, eq=False)
class Live:
    """A stream."""

    id: int
    place: Place
    count: int = 0
    """Steps that were answered, and are in the state."""
    saved: int = 0
    state: Any = None
    """The last checkpoint: after how many steps, and the state (None: the initial one)."""
    lost: int = 0
    """Steps that were answered before its actor died, behind the checkpoint; 0 as soon as a caller was told."""
    kept: tuple[int, int, Any, Any] | None = None
    """Of the last call: its first step's number, its steps, how outputs are joined, the stream's own."""
    busy: bool = False
    moving: bool = False

    def rewind(self) -> None:
        """Go on from the checkpoint."""
        self.lost += self.count - self.saved
        self.count = self.saved
        if self.kept is not None and sum(self.kept[:2]) > self.saved:
            self.kept = None

    def told(self) -> int:
        """How many answered steps its caller has to repeat, who hears it now."""
        steps, self.lost = self.lost, 0
        return steps

    @property
    def checkpoint(self) -> Moved:
        """What a new actor needs."""
        return self.id, self.saved, self.state


class Table:
    """Streams and places; whoever looks or changes anything holds `changed`.

    Parameters
    ----------
    hire : callable
        Starts an actor.
    max_streams : int
        Streams that may be open.
    max_waiting : int
        Steps that may be on their way to one actor.
    """

    def __init__(self, hire: Callable[[], Any], max_streams: int, max_waiting: int) -> None:
        self.changed = Condition()
        self.lives: dict[int, Live] = {}
        self.places: list[Place] = []
        self.closed = False
        self.hire, self._max_streams, self._max_waiting = hire, max_streams, max_waiting
        self._ids = count()

    def over(self) -> bool:
        """Whether there are no actors any more. Ray would start a new cluster if it were asked for them."""
        return self.closed or not ray.is_initialized()

    def expect_open(self) -> None:
        """Refuse what comes too late."""
        if self.over():
            what = "one that was shut down" if self.closed else "that ray.shutdown() has ended its actors"
            raise RuntimeError(f"service: expected one that is open, found {what}")

    def find(self, id: int) -> Live:
        """An open stream."""
        live = self.lives.get(id)
        if live is None:
            raise ValueError(f"ids: expected streams that are open, found {id}")
        return live

    def take(self, ids: Sequence[int]) -> list[Live]:
        """Streams that no other call has; waits for them. They are the caller's where it says `busy`."""
        if len(set(ids)) < len(ids):
            raise ValueError("ids: expected each stream once, found some twice")
        while True:
            self.expect_open()
            lives = [self.find(id) for id in ids]
            if not any(live.busy or live.moving for live in lives):
                return lives
            self.changed.wait()

    def room(self, place: Place, steps: int) -> bool:
        """Whether so many steps may be sent; more than `max_waiting` go alone."""
        return not place.waiting or place.waiting + steps <= self._max_waiting

    def join(self, count: int, state: Any, place: Place | None = None) -> int:
        """A new stream, by default where there are fewest; its actor hears of it with the next call."""
        self.expect_open()
        if len(self.lives) >= self._max_streams:
            raise RuntimeError(
                f"service: full, {len(self.lives)} streams are open; close one, or make it with more max_streams"
            )
        place = place or min(self.places, key=lambda place: len(place.lives))
        live = Live(next(self._ids), place, count, count, state)
        place.fresh.append(live.checkpoint)
        place.lives.add(live)
        self.lives[live.id] = live
        return live.id

    def leave(self, live: Live) -> None:
        """The stream is no more."""
        del self.lives[live.id]
        live.place.lives.discard(live)
        live.place.told().drop.remote([live.id])
        self.changed.notify_all()

    def replace(self, place: Place, actor: Any) -> None:
        """Put another actor in the place of one that died, or is out of reach: nobody steps there again."""
        with self.changed:
            if place.actor is not actor or self.over():
                return  # another call has seen to it
            ray.kill(actor)
            place.actor, place.fresh = self.hire(), [live.checkpoint for live in place.lives]
            for live in place.lives:
                live.rewind()
            self.changed.notify_all()

    @contextmanager
    def held(self, live: Live) -> Iterator[None]:
        """A stream that is busy until the end, whatever that is."""
        try:
            yield
        finally:
            with self.changed:
                live.busy = False
                self.changed.notify_all()
