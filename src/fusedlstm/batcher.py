"""class AsyncBatcher: steps of many asyncio tasks, run together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import Unfinished
from .lstm import LSTM
from .machine import get_num_threads
from .pool import StreamPool

if TYPE_CHECKING:
    from .ray import StreamService

    Pool: TypeAlias = "StreamPool | StreamService"


@dataclass(slots=True, eq=False)
class _Step:
    id: int
    x: tuple[npt.NDArray[Any], ...]  # each input of one row
    due: float  # by the loop's clock
    result: asyncio.Future[Any]


class AsyncBatcher:
    """Steps of a pool's streams from any number of asyncio tasks, run together on one worker thread.

    A batch starts when the worker is idle and the first step in it has waited for `window`, or there are `max_batch`
    steps, or as many as open streams. Steps of one stream run in the order in which they came.

    If a task is cancelled before its batch starts, the step does not run; after that, the step runs as a whole and its
    result is dropped. An exception reaches the task whose step it is, and no other.

    It belongs to one event loop. Use it as ``async with``, or call `aclose`.

    Parameters
    ----------
    pool : StreamPool or fusedlstm.ray.StreamService
        May be used directly beside this, for `state`, `fork` and so on.
    window : float
        Seconds that a step waits for others, at most; the event loop's timers are exact to about 1 ms. 0: whatever came
        in the same turn of the loop.
    max_batch : int
        Steps in a batch, at most.
    max_waiting : int
        Steps that wait for a batch, at most: `step` waits for a place when there are more.

    Examples
    --------
    >>> async with fl.AsyncBatcher(pool) as batcher:    # doctest: +SKIP
    ...     id = await batcher.open()
    ...     y_t = await batcher.step(id, x_t)
    ...     await batcher.close(id)
    """

    def __init__(self, pool: Pool, *, window: float = 0.001, max_batch: int = 1024, max_waiting: int = 4096) -> None:
        if not all(hasattr(pool, name) for name in ("open", "close", "step", "process", "one")):  # a StreamService has
            raise TypeError(f"pool: expected fusedlstm.StreamPool, found {type(pool).__name__}")
        if not 0 <= window <= 60:
            raise ValueError(f"window: expected 0 to 60 seconds, found {window}")
        for name, value in (("max_batch", max_batch), ("max_waiting", max_waiting)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected a whole number from 1, found {value!r}")
        self.pool = pool
        self._window, self._max_batch = window, max_batch
        self._places = asyncio.Semaphore(max_waiting)
        self._waiting: deque[_Step] = deque()
        self._running: asyncio.Future[list[Any]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._worker = ThreadPoolExecutor(1, "fusedlstm-batcher")
        self._closing: set[int] = set()  # streams whose last steps are on their way
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def threads(self) -> int:
        """The most threads a batch is run on: the model's own number, or the process's."""
        return self.pool.model.threads or get_num_threads()

    async def open(self, state: Any = None) -> int:
        """Let a stream join, as `StreamPool.open` does; the event loop goes on while the pool grows.

        Raises
        ------
        RuntimeError
            The pool is full, or the batcher closed.
        TypeError, ValueError
            The state does not fit.
        """
        loop = self._bind()
        opened = loop.run_in_executor(self._worker, self.pool.open, state)
        try:
            return await asyncio.shield(opened)
        except asyncio.CancelledError:
            opened.add_done_callback(self._undo)  # nobody has its id
            raise

    async def step(self, id: int, x: Any) -> Any:
        """Run one time step of a stream.

        Parameters
        ----------
        id : int
            Which one.
        x : array_like, shape (input,)
            One row of what `StreamPool.step` takes, a tuple of them for a model of several inputs; copied at once.

        Returns
        -------
        ndarray of float32, shape (output,)
            The hidden state of the last layer, or what a model gives: an array, a tuple of them, None.

        Raises
        ------
        RuntimeError
            The batcher was closed.
        TypeError, ValueError
            The stream is not open, or x does not fit. The state is as before.
        """
        loop = self._bind()
        row = self.pool.one(x)
        await self._places.acquire()  # at once, as long as there are any
        try:
            self._bind()
            self._check(id)
        except BaseException:
            self._places.release()
            raise
        step = _Step(int(id), row, loop.time() + self._window, loop.create_future())
        self._waiting.append(step)
        self._consider()
        return await step.result

    async def close(self, id: int) -> None:
        """Let a stream leave, once the steps that wait have run; a step that comes later is refused.

        Where the task is cancelled meanwhile, the stream leaves at once, and the steps that wait are refused.

        Raises
        ------
        ValueError
            The stream is not open.
        """
        self._check(id)
        self._closing.add(int(id))
        try:
            if mine := [step.result for step in self._waiting if step.id == id]:
                await asyncio.wait(mine)
        finally:
            self._closing.discard(int(id))
            self.pool.close(id)

    async def aclose(self) -> None:
        """Run the steps that wait, refuse new ones, end the worker thread. The pool and its streams stay."""
        self._closed = True
        while self._waiting or self._running is not None:
            self._dispatch()
            if self._running is not None:
                await asyncio.wait([self._running])
        self._worker.shutdown(wait=False)

    def __repr__(self) -> str:
        return f"AsyncBatcher({self.pool!r}, threads={self.threads})"

    async def __aenter__(self) -> AsyncBatcher:
        self._bind()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _bind(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise RuntimeError("batcher: expected calls from one event loop, found another; make a batcher for each")
        if self._closed:
            raise RuntimeError("batcher: expected an open batcher, found a closed one")
        return loop

    def _check(self, id: int) -> None:
        if id not in self.pool or id in self._closing:
            raise ValueError(f"stream {id}: expected an open stream of this pool, found one that is closed or closing")

    def _undo(self, opened: asyncio.Future[int]) -> None:
        if not opened.cancelled() and opened.exception() is None:
            self.pool.close(opened.result())

    def _consider(self) -> None:
        """Start a batch if it is time, or see to it that somebody asks again."""
        if self._running is not None or not self._waiting or self._loop is None:
            return  # the end of a batch comes here, too
        complete = len(self._waiting) >= min(self._max_batch, len(self.pool))
        if complete or self._waiting[0].due <= self._loop.time():
            self._dispatch()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._waiting[0].due, self._dispatch)

    def _dispatch(self) -> None:
        """Start a batch of the steps that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None or self._loop is None:
            return
        batch: list[_Step] = []
        while self._waiting and len(batch) < self._max_batch:
            step = self._waiting.popleft()
            self._places.release()
            if not step.result.done():  # or its task was cancelled
                batch.append(step)
        if batch:
            self._running = self._loop.run_in_executor(self._worker, _run, self.pool, batch)
            self._running.add_done_callback(lambda running: self._finish(batch, running.result()))

    def _finish(self, batch: list[_Step], results: list[Any]) -> None:
        self._running = None
        for step, result in zip(batch, results):
            if step.result.done():
                continue  # its task was cancelled
            if isinstance(result, Exception):
                step.result.set_exception(result)
            else:
                step.result.set_result(result)
        self._consider()


def _run(pool: Pool, batch: list[_Step]) -> list[Any]:
    """On the worker thread: an output, or what went wrong, for each step."""
    steps_of: dict[int, list[int]] = {}
    for k, step in enumerate(batch):
        steps_of.setdefault(step.id, []).append(k)
    if isinstance(pool.model, LSTM) and len(steps_of) < len(batch):  # several steps of one stream are a chunk of it
        return _attempt(pool, batch, _chunks)
    results: list[Any] = [None] * len(batch)
    for turn in range(max(map(len, steps_of.values()), default=0)):
        which = [steps[turn] for steps in steps_of.values() if turn < len(steps)]
        for k, result in zip(which, _attempt(pool, [batch[k] for k in which], _turn)):
            results[k] = result
    return results


def _attempt(pool: Pool, steps: list[_Step], run: Callable[[Pool, list[_Step]], list[Any]]) -> list[Any]:
    """Run steps of which none runs where one cannot; without streams that were closed meanwhile."""
    if not steps:
        return []
    try:
        return run(pool, steps)
    except Exception as error:
        there = [step.id in pool for step in steps]
        if all(there):
            return [error] * len(steps)
    # Nothing has run: a pool looks at all ids first.
    others = iter(_attempt(pool, [step for step, is_there in zip(steps, there) if is_there], run))
    return [
        next(others) if is_there else ValueError(f"stream {step.id}: closed before the step ran")
        for step, is_there in zip(steps, there)
    ]


def _chunks(pool: Pool, steps: list[_Step]) -> list[Any]:
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


def _turn(pool: Pool, steps: list[_Step]) -> list[Any]:
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
    return [_row(made, k) for k in range(len(steps))]


def _columns(steps: list[_Step]) -> list[npt.NDArray[Any]]:
    return [np.stack(column) for column in zip(*(step.x for step in steps))]


def _row(made: Any, k: int) -> Any:
    """One row, of its own: who keeps it does not keep the batch."""
    if isinstance(made, tuple):
        return tuple(_row(one, k) for one in made)
    return None if made[k] is None else made[k].copy()
