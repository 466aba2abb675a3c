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
from .table import Live, Place, Table

Send = Callable[[Any, Sequence[int], Sequence[int]], Any]
"""(actor, ids, which rows of the call) -> ObjectRef of a Reply."""


@dataclass(slots=True)
class _Part:
    """Rows of a call that one actor runs."""

    place: Place
    lives: list[Live] = field(default_factory=list)
    which: list[int] = field(default_factory=list)
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
    """

    def __init__(self, table: Table, ids: Sequence[int], steps: Sequence[int], at: Sequence[int] | None) -> None:
        self._table, self._ids, self._steps, self._at = table, ids, steps, at
        self._made: dict[int, tuple[Any, int]] = {}  # row -> outputs of several, and which of them
        self._repeat: dict[int, int] = {}
        self._refused: dict[int, Exception] = {}
        self._cause: BaseException | None = None
        self._told = True  # whether anybody hears what is to be repeated

    def run(self, send: Send, join: Callable[[Sequence[Any]], Any]) -> Any:
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
                reply = _answer(parts[0])
            except BaseException:  # Ctrl-C: the steps are on their way, and will have run
                self._told = False
                Thread(target=self._settle_all, args=(parts,), daemon=True).start()
                raise
            self._settle(parts.pop(0), reply)
        if self._repeat or (self._refused and self._made):
            outputs = {self._ids[k]: own(_row(*found)) for k, found in self._made.items()}
            raise Unfinished(outputs, self._repeat, self._refused) from self._cause
        for error in self._refused.values():
            raise error
        return own(self._made[0][0]) if alone else join([_row(*self._made[k]) for k in range(len(self._ids))])

    def _start(self, send: Send) -> list[_Part]:
        """Send what is to run."""
        parts: dict[int, _Part] = {}
        with self._table.changed:
            lives = self._table.take(self._ids)
            for k, live in enumerate(lives):
                if self._at is not None:
                    self._expect(k, live)
            for k, live in enumerate(lives):
                if k in self._made:
                    continue
                if live.lost and (self._at is None or self._at[k] != live.count):
                    self._tell(k, live)
                    continue
                live.lost, live.busy = 0, True
                part = parts.setdefault(id(live.place), _Part(live.place))
                part.lives.append(live)
                part.which.append(k)
            sent = []
            try:
                for part in parts.values():
                    steps = sum(self._steps[k] for k in part.which)
                    self._table.room(part.place, steps)
                    part.actor = part.place.told()
                    part.ref = send(part.actor, [live.id for live in part.lives], part.which)
                    part.place.waiting += steps
                    sent.append(part)
            except BaseException:
                self._table.let_go([live for part in parts.values() if part.ref is None for live in part.lives])
                self._told = False
                Thread(target=self._settle_all, args=(sent,), daemon=True).start()
                raise
        return sent

    def _expect(self, k: int, live: Live) -> None:
        """The step that comes next; or the last call's again, which is answered again."""
        at, steps = self._at[k], self._steps[k]  # type: ignore[index]
        if at == live.count or (at > live.count and live.lost):
            return
        if live.kept is not None and live.kept[:2] == (at, steps):
            self._made[k] = live.kept[2:]
            return
        raise ValueError(f"at: expected step {live.count} of stream {live.id}, or its last call again; found {at}")

    def _tell(self, k: int, live: Live) -> None:
        """What is to be repeated: from the checkpoint to the end of this call."""
        lost = live.told()
        self._repeat[live.id] = self._steps[k] + (lost if self._at is None else self._at[k] - live.count)

    def _settle_all(self, parts: Sequence[_Part]) -> None:
        for part in parts:
            self._settle(part, _answer(part))

    def _settle(self, part: _Part, reply: Any) -> None:
        """Take the answer down."""
        if isinstance(reply, RayError):
            self._cause = reply
            self._table.replace(part.place, part.actor)
        with self._table.changed:
            part.place.waiting -= sum(self._steps[k] for k in part.which)
            # Answered by an actor that was given up meanwhile: its streams are where their checkpoints are.
            died = isinstance(reply, RayError) or part.place.actor is not part.actor
            made, checkpoints = (None, ()) if died else reply
            for row, (live, k) in enumerate(zip(part.lives, part.which)):
                live.busy = False
                if died and self._told:
                    self._tell(k, live)
                elif isinstance(made, Exception):
                    self._refused[live.id] = made
                elif not died:
                    live.kept = (live.count, self._steps[k], made, row)
                    live.count += self._steps[k]
                    self._made[k] = made, row
            for id, count, state in checkpoints:
                self._table.lives[id].saved, self._table.lives[id].state = count, state
            self._table.changed.notify_all()


def _answer(part: _Part) -> Any:
    """A Reply, or the RayError that says that there will be none."""
    try:
        return ray.get(part.ref)
    except RayError as error:
        return error


def _row(made: Any, k: int) -> Any:
    return tuple(_row(one, k) for one in made) if isinstance(made, tuple) else made[k]


def own(made: Any) -> Any:
    """A copy: what came from Ray cannot be written to, and is kept for who asks again."""
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
