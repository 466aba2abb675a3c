"""class StreamPool: many live streams that step together, each joining and leaving when it likes."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, _forks
from ._arguments import FLOAT32, State, check_out, float32
from ._growing import Growing
from ._slots import MOST, Ids, Integers, Slots, id_array
from ._states import NOT_LIVE, initial_state, pack_state, unpack_state
from .lstm import LSTM
from .weights import FloatArray


class StreamPool:
    """Many live streams of one LSTM, batched step by step; each has the bits that it would have alone.

    Any thread may call any method. Steps run one at a time, on the threads of `set_num_threads` and without the GIL;
    `open` and `close` go on beside them. Whatever else touches a state waits for the step that runs. A forked child has
    the pool as it was; streams that were stepping in another thread have no state there until they are given one.

    Parameters
    ----------
    lstm : LSTM
        What the streams run: one direction, forward.
    capacity : int
        Streams that memory is set aside for; it doubles when they are more.
    max_streams : int, optional
        Streams that may be open at once. Default: 2**24.

    Examples
    --------
    >>> pool = fl.StreamPool(lstm, capacity=1000)       # doctest: +SKIP
    >>> ids = [pool.open() for _ in range(3)]           # doctest: +SKIP
    >>> y = pool.step(ids, x)                           # doctest: +SKIP
    """

    def __init__(self, lstm: LSTM, capacity: int = 64, *, max_streams: int | None = None) -> None:
        if not isinstance(lstm, LSTM):
            raise TypeError(f"lstm: expected fusedlstm.LSTM, found {type(lstm).__name__}")
        if lstm.bidirectional or lstm.weights.reverse:
            raise ValueError(f"pool: {NOT_LIVE}")
        self.lstm, self._core = lstm, lstm._core
        self.max_streams = _count("max_streams", MOST if max_streams is None else max_streams)
        slots = min(_count("capacity", capacity), self.max_streams)
        weights = lstm.weights
        self._input_size, self._output_size = weights.input_size, weights.output_size
        self._initial = initial_state(weights)
        self._states = Growing(slots, self._initial.size, np.float32)  # of one stream: layer by layer h, then c
        self._slots = Slots(slots)
        # Whoever needs both takes them in this order. _running: states are read or written by a step. _table: the rest.
        self._running, self._table = Lock(), Lock()
        self._stepping: Integers | None = None  # the slots that a step is writing to
        self._torn: set[int] = set()  # and those where it was, in another thread, when this process was forked
        _forks.register(self)

    def open(self, state: State | None = None) -> int:
        """Let a stream join.

        Parameters
        ----------
        state : (h, c), optional
            Where it goes on from, as `state` or `LSTM.__call__` return it for one row. Default: the LSTM's initial
            state.

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
        row = self._initial if state is None else pack_state(self.lstm.weights, state, 1)[0]
        with self._table:
            if not self._slots.full():
                return self._join(row)
        with self._running:
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

    def step(self, ids: Ids, x: npt.ArrayLike, out: FloatArray | None = None) -> FloatArray:
        """Run one time step of some streams.

        Parameters
        ----------
        ids : sequence of int, shape (n,)
            Which ones, each once, in any order. An array of int64 is fastest.
        x : array_like, shape (n, input)
            Floating point.
        out : ndarray of float32, shape (n, output), optional
            Where to write; C-contiguous. May be the memory of `x`.

        Returns
        -------
        ndarray of float32, shape (n, output)
            The hidden states of the last layer: `out`, or a new array.

        Raises
        ------
        TypeError, ValueError
            Ids that are not open or come twice, arrays that do not fit. No state has changed.
        RuntimeError
            After a fork: a stream that was stepping in another thread.
        """
        wanted = id_array(ids)
        x = float32("x", x)
        if not (x.flags.c_contiguous and x.flags.aligned):
            x = np.array(x, order="C")
        if x.shape != (wanted.size, self._input_size):
            raise ValueError(
                f"x: expected shape ({wanted.size}, {self._input_size}), a row for each id, found {x.shape}"
            )
        y = self._output(wanted.size, out)
        self._run(wanted, x, y, None)
        return y

    def process(self, chunks: Mapping[int, npt.ArrayLike]) -> dict[int, FloatArray]:
        """Run any number of time steps of some streams.

        Parameters
        ----------
        chunks : mapping of id to array_like, shape (time, input)
            Floating point; each as long as it likes, 0 steps included.

        Returns
        -------
        dict of id to ndarray of float32, shape (time, output)
            The hidden states of the last layer at each step; views of one array.

        Raises
        ------
        TypeError, ValueError
            Ids that are not open, arrays that do not fit. No state has changed.
        RuntimeError
            After a fork: a stream that was stepping in another thread.
        """
        ids, given = [*chunks.keys()], [*chunks.values()]
        wanted = id_array(ids)
        arrays = [float32(f"chunk of {id}", chunk) for id, chunk in zip(ids, given, strict=True)]
        for id, chunk in zip(ids, arrays):
            if chunk.ndim != 2 or chunk.shape[1] != self._input_size:
                raise ValueError(f"chunk of {id}: expected shape (time, {self._input_size}), found {chunk.shape}")
        lengths = np.array([len(chunk) for chunk in arrays], np.int64)
        x = np.concatenate(arrays) if arrays else np.empty((0, self._input_size), np.float32)
        y = np.empty((len(x), self._output_size), np.float32)
        self._run(wanted, x, y, lengths)
        return dict(zip(ids, np.split(y, np.cumsum(lengths)[:-1])))

    def state(self, id: int) -> tuple[Any, Any]:
        """A stream's (h, c), copies, as `Stream.state` gives them; a pool in another process can `open(state)`."""
        with self._running, self._table:
            row = self._row(id)
        return unpack_state(self.lstm.weights, row[None])

    def set_state(self, id: int, state: State) -> None:
        """Let a stream go on from another state: (h, c) as `state` returns it.

        Raises
        ------
        TypeError, ValueError
            The stream is not open, or the state does not fit.
        """
        row = pack_state(self.lstm.weights, state, 1)[0]
        with self._running, self._table:
            self._write(self._slots.find(id_array([id])), row)

    def reset(self, ids: Ids) -> None:
        """Back to the initial state: zeros, or what the model has learned.

        Raises
        ------
        TypeError, ValueError
            Ids that are not open or come twice. No state has changed.
        """
        wanted = id_array(ids)
        with self._running, self._table:
            self._write(self._slots.find(wanted), self._initial)

    def fork(self, id: int) -> int:
        """Open a stream that goes on from the state of another one.

        Raises
        ------
        RuntimeError
            `max_streams` are open.
        ValueError
            The stream is not open.
        """
        with self._running:
            with self._table:
                row = self._row(id)
            return self._open(row)

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
        return f"StreamPool({self.lstm!r}, {len(self)} of {self.capacity} open)"

    def __reduce__(self) -> Any:
        """Refuse to be copied or pickled: streams have one home."""
        raise TypeError(
            "pool: cannot be copied or pickled; move its streams one by one, with state(id) and open(state)"
        )

    def start_over(self) -> None:
        """In a forked child: new locks. A step that another thread was in will never end."""
        self._running, self._table = Lock(), Lock()
        if self._stepping is not None:
            self._torn.update(self._stepping.tolist())
            self._stepping = None

    def _run(self, wanted: Integers, x: FloatArray, y: FloatArray, lengths: Integers | None) -> None:
        with self._running:
            with self._table:
                slots = self._slots.find(wanted)
            self._expect_whole(slots)
            if not len(x):
                return
            self._stepping = slots
            try:
                _core.step_slots(self._core, x, y, self._states.array, slots, lengths)
            finally:
                self._stepping = None

    def _row(self, id: int) -> FloatArray:
        slots = self._slots.find(id_array([id]))
        self._expect_whole(slots)
        row: FloatArray = self._states.array[slots[0]].copy()
        return row

    def _write(self, slots: Integers, row: FloatArray) -> None:
        self._states.array[slots] = row
        self._torn.difference_update(slots.tolist())

    def _expect_whole(self, slots: Integers) -> None:
        if self._torn and not self._torn.isdisjoint(slots.tolist()):
            raise RuntimeError(
                "pool: the process was forked while another thread was stepping some of these streams, and their "
                "states here are undefined; reset() them, set_state() or close() them"
            )

    def _open(self, row: FloatArray) -> int:
        """Join, where no step runs: slots that were left are free, and the array of states may move."""
        with self._table:
            self._slots.recycle()
            if self._slots.full():
                self._grow()
            return self._join(row)

    def _join(self, row: FloatArray) -> int:
        id, slot = self._slots.open()
        self._states.array[slot] = row
        self._torn.discard(slot)
        return id

    def _grow(self) -> None:
        before = self._slots.count
        count = min(2 * before, self.max_streams)
        if count == before:
            raise RuntimeError(
                f"pool: full, {before} streams are open; close one, or make the pool with more max_streams"
            )
        self._states.grow(count)
        self._slots.grow(count)

    def _output(self, rows: int, out: FloatArray | None) -> FloatArray:
        shape = (rows, self._output_size)
        if out is None:
            return np.empty(shape, np.float32)
        if type(out) is not np.ndarray or out.dtype is not FLOAT32 or not out.flags.carray:
            check_out(out)  # says what is wrong with most of them
        if out.shape != shape:
            raise ValueError(f"out: expected shape {shape}, found {out.shape}")
        if not out.flags.c_contiguous:
            raise ValueError(f"out: expected a C-contiguous array, found strides {out.strides}")
        return out


def _count(name: str, value: int) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a whole number, found {type(value).__name__}")
    if not 1 <= value <= MOST:
        raise ValueError(f"{name}: expected 1 to {MOST}, found {value}")
    return int(value)
