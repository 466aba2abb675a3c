"""class Worker: the actor in which streams live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..lstm import LSTM
from ..model import Model
from ..pool import StreamPool
from .sources import use_own_cpus

Moved = tuple[int, int, Any]
"""A stream on its way: its id, how many steps it has run, its state (None: the initial one)."""
Reply = tuple[Any, list[Moved]]
"""Outputs and checkpoints, or an Exception and none: nothing has changed then."""


class Worker:
    """A StreamPool, whose streams have the ids of a service.

    Calls run in the order in which the service sends them. What they refuse they return, since Ray would wrap it.

    Parameters
    ----------
    model : LSTM or Model
        What the streams run.
    every : int
        Steps from one checkpoint of a stream to the next.
    options : dict
        Of the pool.
    """

    def __init__(self, model: LSTM | Model, every: int, options: Mapping[str, Any]) -> None:
        use_own_cpus()
        self._pool, self._every = StreamPool(model, **options), every
        self._local: dict[int, int] = {}
        self._counts: dict[int, int] = {}

    def ready(self) -> None:
        """Answered once the model is there."""

    def adopt(self, streams: Sequence[Moved]) -> None:
        """Let streams live here, or go on from another state."""
        for id, count, state in streams:
            if id not in self._local:
                self._local[id] = self._pool.open(state)
            elif state is None:
                self._pool.reset([self._local[id]])
            else:
                self._pool.set_state(self._local[id], state)
            self._counts[id] = count

    def give(self, ids: Sequence[int]) -> list[Moved]:
        """Streams as they are now; they stay until `drop`."""
        return [(id, self._counts[id], self._pool.state(self._local[id])) for id in ids]

    def drop(self, ids: Sequence[int]) -> None:
        """Let them leave."""
        for id in ids:
            self._pool.close(self._local.pop(id))
            del self._counts[id]

    def step(self, ids: Sequence[int], args: Sequence[Any], named: Mapping[str, Any]) -> Reply:
        """As `StreamPool.step`."""
        local = [self._local[id] for id in ids]
        return self._run(ids, [1] * len(ids), lambda: self._pool.step(local, *args, **named))

    def process(self, ids: Sequence[int], chunks: Sequence[Any], counts: Sequence[int]) -> Reply:
        """As `StreamPool.process`; outputs in the order of ids."""
        given = {self._local[id]: chunk for id, chunk in zip(ids, chunks)}
        return self._run(ids, counts, lambda: [*self._pool.process(given).values()])

    def _run(self, ids: Sequence[int], steps: Sequence[int], run: Callable[[], Any]) -> Reply:
        try:
            made = run()
        except Exception as error:
            return error, []
        due = []
        for id, count in zip(ids, steps):
            before = self._counts[id]
            self._counts[id] = before + count
            # By id, so that streams that began together do not save themselves in the same step.
            if (before + count + id) // self._every != (before + id) // self._every:
                due.append(id)
        return made, self.give(due)
