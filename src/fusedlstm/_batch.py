"""What an AsyncBatcher runs as one: steps of many streams, each with its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import Unfinished
from .lstm import LSTM

if TYPE_CHECKING:
    from .pool import StreamPool
    from .ray import StreamService

    Pool: TypeAlias = "StreamPool | StreamService"


@dataclass(slots=True, eq=False)
class Step:
    """One that a task waits for."""

    id: int
    x: tuple[npt.NDArray[Any], ...]  # each input of one row
    due: float  # by the loop's clock
    result: asyncio.Future[Any]


def kind_of(batch: list[Step]) -> Any:
    """Batches of one take about as long."""
    return len(batch).bit_length(), *[part.shape for part in batch[0].x]


def run(pool: Pool, batch: list[Step]) -> tuple[list[Any], float]:
    """Run them: an output, or what went wrong, for each step, and how long it took."""
    start = perf_counter()
    results = _results(pool, batch)
    return results, perf_counter() - start


def _results(pool: Pool, batch: list[Step]) -> list[Any]:
    if len({step.id for step in batch}) == len(batch):
        return _attempt(pool, batch, _turn)
    if isinstance(pool.model, LSTM):  # several steps of one stream are a chunk of it
        return _attempt(pool, batch, _chunks)
    steps_of: dict[int, list[int]] = {}
    for k, step in enumerate(batch):
        steps_of.setdefault(step.id, []).append(k)
    results: list[Any] = [None] * len(batch)
    for turn in range(max(map(len, steps_of.values()))):
        which = [steps[turn] for steps in steps_of.values() if turn < len(steps)]
        for k, result in zip(which, _attempt(pool, [batch[k] for k in which], _turn)):
            results[k] = result
    return results


def _attempt(pool: Pool, steps: list[Step], how: Callable[[Pool, list[Step]], list[Any]]) -> list[Any]:
    """Run steps of which none runs where one cannot; without streams that were closed meanwhile."""
    if not steps:
        return []
    try:
        return how(pool, steps)
    except Exception as error:
        there = [step.id in pool for step in steps]
        if all(there):
            return [error] * len(steps)
    # Nothing has run: a pool looks at all ids first.
    others = iter(_attempt(pool, [step for step, is_there in zip(steps, there) if is_there], how))
    return [
        next(others) if is_there else ValueError(f"stream {step.id}: closed before the step ran")
        for step, is_there in zip(steps, there)
    ]


def _chunks(pool: Pool, steps: list[Step]) -> list[Any]:
    """Several steps of some streams of an LSTM."""
    places: dict[int, list[int]] = {}
    for k, step in enumerate(steps):
        places.setdefault(step.id, []).append(k)
    (x,) = _columns(steps)
    try:
        made = pool.process({id: x[which] for id, which in places.items()})
    except Unfinished as error:
        made = {id: error.of(id) for id in places}
    results: list[Any] = [None] * len(steps)
    for id, which in places.items():
        rows = made[id]
        for k, row in zip(which, repeat(rows) if isinstance(rows, Exception) else rows):
            results[k] = row if isinstance(row, Exception) else row.copy()
    return results


def _turn(pool: Pool, steps: list[Step]) -> list[Any]:
    """One step of each stream; where a value makes no sense, it is its own step that fails."""
    try:
        made = pool.step([step.id for step in steps], *_columns(steps))
    except ValueError as error:
        if not all(step.id in pool for step in steps):
            raise
        return [error] if len(steps) == 1 else [made for one in steps for made in _attempt(pool, [one], _turn)]
    except Unfinished as error:
        results = [error.of(step.id) for step in steps]
        # That an actor refuses one of its streams' values leaves the others as they were.
        for k, step in enumerate(steps):
            if step.id in error.refused and len(steps) > 1:
                (results[k],) = _attempt(pool, [step], _turn)
        return results
    if isinstance(made, tuple):  # of several outputs, or of none beside the states
        return list(zip(*map(_rows, made))) if made else [()] * len(steps)
    return _rows(made)


def _columns(steps: list[Step]) -> list[npt.NDArray[Any]]:
    return [_stacked(column) for column in zip(*[step.x for step in steps])]


def _stacked(rows: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    shapes = {row.shape for row in rows}
    if len(shapes) > 1 or () in shapes:
        return np.stack(rows)
    return np.concatenate(rows).reshape(len(rows), *rows[0].shape)  # a fifth of the time


def _rows(made: Any) -> list[Any]:
    """Each of its own: who keeps one does not keep the batch."""
    return [None if row is None else row.copy() for row in made]
