"""class StreamPool: many live streams that step together, each joining and leaving when it likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from . import _forks
from ._growing import Growing
from ._lstm_rows import LSTMRows
from ._slots import MOST, Ids, Integers, Slots, count_of, id_array
from .lstm import LSTM
from .weights import FloatArray

if TYPE_CHECKING:
    from .model import Model


class StreamPool:
    """Many live streams of one LSTM or model, batched step by step; each has the bits that it would have alone.

    Any thread may call any method. Steps run one at a time, on the threads of the model and without the GIL;
    `open` and `close` go on beside them. Whatever else touches a state waits for the step that runs. A forked child has
    the pool as it was; streams that were stepping in another thread have no state there until they are given one.

    Parameters
    ----------
    model : LSTM or Model
        What the streams run: an LSTM of one direction, forward; a model that has streams.
    capacity : int
        Streams that memory is set aside for; it doubles when they are more.
    max_streams : int, optional
        Streams that may be open at once. Default: 2**24.
    **options
        Of a model, as for `Model.stream`: ``fixed``, ``states``, ``context``, ``time``, ``every_step``.

    Examples
    --------
    >>> pool = fl.StreamPool(lstm, capacity=1000)       # doctest: +SKIP
    >>> ids = [pool.open() for _ in range(3)]           # doctest: +SKIP
    >>> y = pool.step(ids, x)                           # doctest: +SKIP
    """

    def __init__(
        self, model: LSTM | Model, capacity: int = 64, *, max_streams: int | None = None, **options: Any
    ) -> None:
        self.model, self._rows = model, _rows(model, options)
        self.max_streams = count_of("max_streams", MOST if max_streams is None else max_streams)
        slots = min(count_of("capacity", capacity), self.max_streams)
        self._states = Growing(slots, self._rows.first.size, self._rows.first.dtype)
        self._slots = Slots(slots)
        # Whoever needs both takes them in this order. _running: states are read or written by a step. _table: the rest.
        self._running, self._table = RLock(), RLock()
        self._stepping: Integers | None = None  # the slots that a step is writing to
        self._torn: set[int] = set()  # and those where it was, in another thread, when this process was forked
        _forks.register(self)

    def open(self, state: Any = None) -> int:
        """Let a stream join.

        Parameters
        ----------
        state : optional
            Where it goes on from, as `state` or the streams of the model give it: (h, c), which calls of an LSTM return
            for one row as well, or a dict of a model's. Default: the initial one.

        Returns
        -------
        int
            Its id in this pool; no later stream gets the same.

        Raises
        ------
        RuntimeError
            `max_streams` are open.
        TypeError, ValueError
            The state does not fit.
        """
        row = self._rows.first if state is None else self._rows.pack(state)
        with self._table:
            if not self._slots.full():
                return self._join(row)
        with self._alone():
            return self._open(row)

    def close(self, id: int) -> None:
        """Let a stream leave. If it is stepping at this moment, in another thread, that step still ends well.

        Raises
        ------
        ValueError
            It is not open.
        """
        with self._table:
            self._slots.close(id)

    def step(self, ids: Ids, /, *x: npt.ArrayLike, out: FloatArray | None = None, **named: npt.ArrayLike) -> Any:
        """Run one time step of some streams.

        Parameters
        ----------
        ids : sequence of int, shape (n,)
            Which ones, each once, in any order. An array of int64 is fastest.
        *x, **named : array_like, shape (n, ...)
            A row for each: (n, input) for an LSTM. Of a model the inputs that are neither states nor fixed, as a stream
            takes them without its axis of rows; in order or by name.
        out : ndarray of float32, shape (n, output), optional
            With an LSTM: where to write; C-contiguous. May be the memory of `x`.

        Returns
        -------
        ndarray, or a tuple of them for a model of several outputs
            A row for each: `out`, or a new array. Where some of the streams give no output in this step, or others
            several, a list, with None for the former.

        Raises
        ------
        TypeError, ValueError
            Ids that are not open or come twice, arrays that do not fit. No state has changed.
        RuntimeError
            After a fork: a stream that was stepping in another thread.
        """
        wanted = id_array(ids)
        if isinstance(self.model, LSTM) and len(x) == 2 and out is None:
            *x, out = x  # type: ignore[assignment]
        given = self._rows.steps(wanted.size, x, named)
        return self._run(wanted, given, self._rows.step, self._rows.outputs_for(wanted.size, out))

    def one(self, x: Any) -> tuple[npt.NDArray[Any], ...]:
        """The inputs of one stream's step, checked and copied: a row of what `step` takes."""
        return tuple(self._rows.one(x))

    def steps_of(self, id: int, chunk: Any) -> int:
        """How many steps a chunk has, checked as `process` does; `id` is what it is told of."""
        given = self._rows.chunks([id], [chunk])
        return int(given[1][0] if isinstance(self.model, LSTM) else given[0][1])

    def process(self, chunks: Mapping[int, Any]) -> dict[int, Any]:
        """Run any number of time steps of some streams.

        Parameters
        ----------
        chunks : mapping of id to array_like, shape (time, ...)
            Each as long as it likes, 0 steps included: (time, input) for an LSTM; of a model what `process` of its
            streams takes, without the axis of rows, and a tuple where there are several inputs.

        Returns
        -------
        dict of id to ndarray
            The outputs of each step, likewise; with an LSTM views of one array.

        Raises
        ------
        TypeError, ValueError
            Ids that are not open, arrays that do not fit. No state has changed.
        RuntimeError
            After a fork: a stream that was stepping in another thread.
        """
        ids = [*chunks.keys()]
        given = self._rows.chunks(ids, [*chunks.values()])
        return dict(zip(ids, self._run(id_array(ids), given, self._rows.process)))

    def state(self, id: int) -> Any:
        """A stream's state, copies, as one stream alone gives it; a pool in another process can `open(state)`."""
        with self._alone(), self._table:
            row = self._row(id)
        return self._rows.unpack(row)

    def set_state(self, id: int, state: Any) -> None:
        """Let a stream go on from another state, as `state` returns it.

        Raises
        ------
        TypeError, ValueError
            The stream is not open, or the state does not fit.
        """
        row = self._rows.pack(state)
        with self._alone(), self._table:
            self._write(self._slots.find(id_array([id])), row)

    def reset(self, ids: Ids) -> None:
        """Back to the initial state: zeros, or what the model has learned.

        Raises
        ------
        TypeError, ValueError
            Ids that are not open or come twice. No state has changed.
        """
        wanted = id_array(ids)
        with self._alone(), self._table:
            self._write(self._slots.find(wanted), self._rows.first)

    def fork(self, id: int) -> int:
        """Open a stream that goes on from the state of another one.

        Raises
        ------
        RuntimeError
            `max_streams` are open.
        ValueError
            The stream is not open.
        """
        with self._alone():
            with self._table:
                row = self._row(id)
            return self._open(row)

    @property
    def lstm(self) -> LSTM:
        """The model, where that is an LSTM."""
        if not isinstance(self.model, LSTM):
            raise AttributeError("lstm: expected a pool of an LSTM, found one of a model; see pool.model")
        return self.model

    @property
    def busy(self) -> bool:
        """Whether another thread is in it, and steps would wait."""
        if free := self._running.acquire(blocking=False):
            self._running.release()
        return not free

    @property
    def capacity(self) -> int:
        """Streams that memory is set aside for."""
        return self._slots.count

    def __len__(self) -> int:
        """Streams that are open."""
        with self._table:
            return len(self._slots)

    def __contains__(self, id: object) -> bool:
        """Whether a stream is open."""
        with self._table:
            return id in self._slots

    def __repr__(self) -> str:
        return f"StreamPool({self.model!r}, {len(self)} of {self.capacity} open)"

    def __reduce__(self) -> Any:
        """Refuse to be copied or pickled: streams have one home."""
        raise TypeError("pool: cannot be copied or pickled; move its streams, with state(id) and open(state)")

    def start_over(self) -> None:
        """In a forked child: new locks. A step that another thread was in will never end."""
        self._running, self._table = RLock(), RLock()
        if self._stepping is not None:
            self._torn.update(self._stepping.tolist())
            self._stepping = None

    def _run(self, wanted: Integers, given: Any, run: Callable[..., Any], *more: Any) -> Any:
        with self._alone():
            with self._table:
                slots = self._slots.find(wanted)
            self._expect_whole(slots)
            self._stepping = slots
            try:
                return run(self._states.array, slots, given, *more)
            finally:
                self._stepping = None

    def _alone(self) -> Any:
        """The lock of states. A finalizer or handler of a signal, in the middle of a call, would wait for itself."""
        if any(lock._is_owned() for lock in (self._running, self._table)):  # type: ignore[attr-defined]
            raise RuntimeError("pool: this thread is in the middle of a call of the pool, and nothing was done")
        return self._running

    def _row(self, id: int) -> npt.NDArray[Any]:
        slots = self._slots.find(id_array([id]))
        self._expect_whole(slots)
        row: npt.NDArray[Any] = self._states.array[slots[0]].copy()
        return row

    def _write(self, slots: Integers, row: npt.NDArray[Any]) -> None:
        self._states.array[slots] = row
        self._torn.difference_update(slots.tolist())

    def _expect_whole(self, slots: Integers) -> None:
        if self._torn and not self._torn.isdisjoint(slots.tolist()):
            raise RuntimeError(
                "pool: the process was forked while another thread was stepping some of these streams, and their "
                "states here are undefined; reset() them, set_state() or close() them"
            )

    def _open(self, row: npt.NDArray[Any]) -> int:
        """Join, where no step runs: slots that were left are free, and the array of states may move."""
        with self._table:
            self._slots.recycle()
            if self._slots.full():
                self._grow()
            return self._join(row)

    def _join(self, row: npt.NDArray[Any]) -> int:
        id, slot = self._slots.open()
        self._states.array[slot] = row
        self._torn.discard(slot)
        return id

    def _grow(self) -> None:
        before = self._slots.count
        count = min(2 * before, self.max_streams)
        if count == before:
            raise RuntimeError(f"pool: full, {before} streams are open; close one, or make it with more max_streams")
        self._states.grow(count)
        self._slots.grow(count)


def _rows(model: LSTM | Model, options: dict[str, Any]) -> Any:
    """What is stepped: how a state is a row, and how rows step."""
    if isinstance(model, LSTM):
        return LSTMRows(model, **options)
    from ._live import rows_of
    from .model import Model

    if not isinstance(model, Model):
        raise TypeError(f"model: expected fusedlstm.LSTM or Model, found {type(model).__name__}")
    return rows_of(model, **options)
