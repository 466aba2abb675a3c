"""One call of a service: sent to the actors where its streams live, answered, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from ..errors import Unfinished
from .given import id_list
from .table import ATTEMPTS, Live, Place, Table

Send = Callable[[Any, Sequence[int], Sequence[int]], Any]
"""(actor, ids, which rows of the call) -> ObjectRef of a Reply."""
Join = Callable[[Sequence[Any]], Any]
"""Outputs of the rows, as the caller wants them."""


@dataclass(slots=True)
class _Part:
    """Rows of a call that one actor runs."""

    place: Place
    lives: list[Live] = field(default_factory=list)
    which: list[int] = field(default_factory=list)
    steps: int = 0
    actor: Any = None
    ref: Any = None


class Call:
    """Steps of some streams.

    Parameters
    ----------
    table : Table
        Where they live.
    ids, steps : sequence of int
        Which streams, and how many steps of each.
    at : sequence of int, optional
        The number of each one's first step.
    join : callable
        Makes one of the outputs of the rows.
    """

    def __init__(
        self, table: Table, ids: Sequence[int], steps: Sequence[int], at: Sequence[int] | None, join: Join
    ) -> None:
        self._table, self._ids, self._steps, self._at, self._join = table, ids, steps, at, join
        self._made: dict[int, tuple[Any, int]] = {}  # row -> outputs of several, and which of them
        self._late: list[tuple[int, Live]] = []  # rows that cannot run, as their streams were lost before
        self._repeat: dict[int, int] = {}
        self._untold: list[Live] = []  # until the caller hears of it, which Ctrl-C may prevent
        self._refused: dict[int, Exception] = {}
        self._cause: BaseException | None = None

    def run(self, send: Send) -> Any:
        """Outputs of the rows, joined; nobody else has them.

        Raises
        ------
        Unfinished
            Not all streams have stepped.
        Exception
            What the pool refuses; no state has changed.
        """
        parts = self._start(send)
        alone = len(parts) == 1 and parts[0].which == [*range(len(self._ids))]
        while parts:
            try:
                self._settle(parts[0], _answer(parts[0]))
            except BaseException:  # Ctrl-C: the steps are on their way, and will have run
                Thread(target=self._settle_all, args=(parts,), daemon=True).start()
                raise
            parts.pop(0)
        if self._repeat or (self._refused and self._made):
            with self._table.changed:
                for live in self._untold:
                    live.lost = 0
            outputs = {self._ids[k]: own(_row(*found)) for k, found in self._made.items()}
            raise Unfinished(outputs, self._repeat, self._refused) from self._cause
        for error in self._refused.values():
            raise error
        return own(self._made[0][0]) if alone else self._join([_row(*self._made[k]) for k in range(len(self._ids))])

    def _start(self, send: Send) -> list[_Part]:
        """Send what is to run, as soon as there is room for all of it."""
        with self._table.changed:
            parts = self._parts()
            while not all(self._table.room(part.place, part.steps) for part in parts):
                self._table.changed.wait()  # holding nothing: anything may happen to actors and streams meanwhile
                parts = self._parts()
            for k, live in self._late:
                self._tell(k, live)
            try:
                for part in parts:
                    part.actor = part.place.told()
                    part.ref = send(part.actor, [live.id for live in part.lives], part.which)
                    part.place.waiting += part.steps
                    for live in part.lives:
                        live.lost, live.busy = 0, True
            except BaseException:
                sent = [part for part in parts if part.ref is not None]
                Thread(target=self._settle_all, args=(sent,), daemon=True).start()
                raise
        return parts

    def _parts(self) -> list[_Part]:
        """What each actor is to run, as things are now."""
        parts: dict[int, _Part] = {}
        self._made, self._late = {}, []
        lives = self._table.take(self._ids)
        for k, live in enumerate(lives):
            if self._at is not None:
                self._expect(k, live)
            if k in self._made:
                continue
            if live.lost and (self._at is None or self._at[k] != live.count):
                self._late.append((k, live))
                continue
            part = parts.setdefault(id(live.place), _Part(live.place))
            part.lives.append(live)
            part.which.append(k)
            part.steps += self._steps[k]
        return [*parts.values()]

    def _expect(self, k: int, live: Live) -> None:
        """The step that comes next; or the last call's again, which is answered again."""
        at, steps = self._at[k], self._steps[k]  # type: ignore[index]
        if live.count <= at <= live.count + live.lost:
            return
        if live.kept is not None and live.kept[:3] == (at, steps, self._join):
            self._made[k] = [live.kept[3]], 0
            return
        raise ValueError(f"at: expected step {live.count} of stream {live.id}, or its last call again; found {at}")

    def _tell(self, k: int, live: Live) -> None:
        """What is to be repeated: from the checkpoint to the end of this call."""
        self._untold.append(live)
        self._repeat[live.id] = self._steps[k] + (live.lost if self._at is None else self._at[k] - live.count)

    def _settle_all(self, parts: Sequence[_Part]) -> None:
        for part in parts:
            self._settle(part, _answer(part))

    def _settle(self, part: _Part, reply: Any) -> None:
        """Take the answer down."""
        if isinstance(reply, Exception):
            self._cause = reply
            self._table.replace(part.place, part.actor)
        with self._table.changed:
            part.place.waiting -= part.steps
            # Answered by an actor that was given up meanwhile: its streams are where their checkpoints are.
            died = isinstance(reply, Exception) or part.place.actor is not part.actor
            made, checkpoints = (None, ()) if died else reply
            for row, (live, k) in enumerate(zip(part.lives, part.which)):
                live.busy = False
                if died:
                    self._tell(k, live)
                elif isinstance(made, Exception):
                    self._refused[live.id] = made
                else:
                    # Copies, here and below: a row, or a state, would keep all that came with it.
                    live.kept = live.count, self._steps[k], self._join, own(_row(made, row))
                    live.count += self._steps[k]
                    self._made[k] = made, row
            for id, count, state in checkpoints:
                self._table.lives[id].saved, self._table.lives[id].state = count, own(state)
            self._table.changed.notify_all()


def now(table: Table, id: int) -> tuple[int, Any]:
    """A stream's number of steps and its state, which is a checkpoint as well."""
    cause: Exception | None = None
    (id,) = id_list([id])
    for _ in range(ATTEMPTS):
        with table.changed:
            (live,) = table.take([id])
            if live.lost:
                raise Unfinished({}, {id: live.told()}, {}) from cause
            place, actor = live.place, live.place.told()
            given, live.busy = actor.give.remote([id]), True
        with table.held(live):
            try:
                ((_, count, state),) = ray.get(given)
            except RayError as error:
                cause = error
                table.replace(place, actor)
                continue
            if live.count == count:  # or its actor was given up meanwhile
                live.saved, live.state = count, own(state)
                return count, state
    raise RuntimeError(f"stream {id}: expected an actor that lives, found that they die ({cause})") from cause


def _answer(part: _Part) -> Any:
    """A Reply, or the error that says that there will be none: of Ray, mostly a RayError."""
    try:
        return ray.get(part.ref)
    except Exception as error:
        return error


def _row(made: Any, k: int) -> Any:
    return tuple(_row(one, k) for one in made) if isinstance(made, tuple) else made[k]


def own(made: Any) -> Any:
    """A copy: what came from Ray cannot be written to, and is kept for who asks again."""
    if isinstance(made, dict):
        return {name: own(one) for name, one in made.items()}
    if isinstance(made, (tuple, list)):
        return type(made)(own(one) for one in made)
    return None if made is None else np.array(made)


def together(rows: Sequence[Any]) -> Any:
    """Rows as a pool gives them: an array, a tuple of them, a list where some are None."""
    if not rows or any(row is None for row in rows):
        return own([*rows])
    if isinstance(rows[0], tuple):
        return tuple(together(column) for column in zip(*rows))
    return np.stack(rows)
