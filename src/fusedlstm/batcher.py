"""class AsyncBatcher: steps of many asyncio tasks, run together."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._batch import Step, kind_of, run
from .machine import get_num_threads
from .pool import StreamPool

if TYPE_CHECKING:
    from ._batch import Pool

_BRIEF = 0.001
"""Seconds: what a batch takes that runs on the event loop's own thread. To hand one over and back may cost five times
that: where another thread is busy, one that asks for the GIL waits 5 ms."""
_KINDS = 1024
"""Of batches, of which it is known at once how long they took."""


class AsyncBatcher:
    """Steps of a pool's streams from any number of asyncio tasks, run together.

    A batch starts when none runs and the first step in it has waited for `window`, or there are `max_batch` steps, or
    as many as open streams. Steps of one stream run in the order in which they came. A batch runs on a worker thread;
    where batches of its size have been seen to take less than a millisecond, on the loop's own.

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
        self._waiting: deque[Step] = deque()
        self._running: asyncio.Future[tuple[list[Any], float]] | None = None
        self._batch: list[Step] = []  # that runs
        self._timer: asyncio.Handle | None = None  # of the next batch
        self._soon = False  # whether that is in this turn of the loop
        self._took: dict[Any, float] = {}  # seconds, for batches of a kind
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
            self._expect_open()
            self._check(id)
        except BaseException:
            self._places.release()
            raise
        step = Step(int(id), row, loop.time() + self._window, loop.create_future())
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
            if mine := [step.result for step in (*self._batch, *self._waiting) if step.id == id]:
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
        self._expect_open()
        return loop

    def _expect_open(self) -> None:
        if self._closed:
            raise RuntimeError("batcher: expected an open batcher, found a closed one")

    def _check(self, id: int) -> None:
        if id not in self.pool or id in self._closing:
            raise ValueError(f"stream {id}: expected an open stream of this pool, found one that is closed or closing")

    def _undo(self, opened: asyncio.Future[int]) -> None:
        if not opened.cancelled() and opened.exception() is None:
            self.pool.close(opened.result())

    def _consider(self) -> None:
        """See to it that the next batch starts when it is time."""
        if self._running is not None or not self._waiting or self._soon or self._loop is None:
            return  # the end of a batch comes here, too
        complete = len(self._waiting) >= min(self._max_batch, len(self.pool))
        if complete or self._waiting[0].due <= self._loop.time():
            if self._timer is not None:
                self._timer.cancel()
            # Not at once: who steps gives way to others, and who else is about to step comes along.
            self._timer, self._soon = self._loop.call_soon(self._dispatch), True
        elif self._timer is None:
            self._timer = self._loop.call_at(self._waiting[0].due, self._dispatch)

    def _dispatch(self) -> None:
        """Start a batch of the steps that wait."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._soon = None, False
        if self._running is not None or self._loop is None:
            return
        batch: list[Step] = []
        while self._waiting and len(batch) < self._max_batch:
            step = self._waiting.popleft()
            self._places.release()
            if not step.result.done():  # or its task was cancelled
                batch.append(step)
        if not batch:
            return
        if self._brief(batch):
            self._finish(batch, *run(self.pool, batch))
            return
        self._batch = batch
        self._running = self._loop.run_in_executor(self._worker, run, self.pool, batch)
        self._running.add_done_callback(lambda running: self._finish(batch, *running.result()))

    def _brief(self, batch: list[Step]) -> bool:
        """Whether the loop need not go on beside it."""
        pool = self.pool
        if type(pool) is not StreamPool or pool.busy:  # what others do may take any time
            return False
        return self._took.get(kind_of(batch), math.inf) < _BRIEF

    def _finish(self, batch: list[Step], results: list[Any], seconds: float) -> None:
        self._running, self._batch = None, []
        if not any(isinstance(result, Exception) for result in results):
            if len(self._took) >= _KINDS:
                self._took.clear()
            kind = kind_of(batch)
            self._took[kind] = min(seconds, 1.25 * self._took.get(kind, seconds))  # an interruption counts little
        for step, result in zip(batch, results):
            if step.result.done():
                continue  # its task was cancelled
            if isinstance(result, Exception):
                step.result.set_exception(result)
            else:
                step.result.set_result(result)
        self._consider()
