from types import TracebackType

import numpy as np
import numpy.typing as npt

from ._arguments import State
from .lstm import LSTM
from .weights import FloatArray

_Rows = npt.ArrayLike

class Stream:
    """A live stream, or `batch_size` of them that step together: owns h and c, steps without allocating.

    Made by `LSTM.stream`. A stream belongs to one thread at a time: a call while another thread is in it raises, and
    changes nothing. It runs on the calling thread alone. After a fork, a stream in which another thread was raises in
    the child until `reset` or `state` gives it a state again.

    Attributes
    ----------
    lstm : LSTM
        What it runs.
    input : ndarray of float32, shape (batch, input)
        What `step` without arguments reads.
    output : ndarray of float32, shape (batch, output)
        What `step` without arguments writes.
    """

    lstm: LSTM
    input: FloatArray
    output: FloatArray

    def __init__(self, lstm: LSTM, batch_size: int = 1) -> None: ...
    @property
    def batch_size(self) -> int:
        """Rows that step together."""
    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
    @property
    def state(self) -> tuple[FloatArray, FloatArray]:
        """(h, c) as `LSTM.__call__` takes and returns them, copies; set it to go on from another state."""
    @state.setter
    def state(self, value: State) -> None: ...
    def step(
        self, x: npt.ArrayLike | None = None, *, out: FloatArray | None = None, active: _Rows | None = None
    ) -> FloatArray:
        """Run one time step.

        Parameters
        ----------
        x : array_like, shape (batch, input), or (input,) for a batch of 1; optional
            Floating point. Default: `input`, and the result goes to `output`.
        out : ndarray of float32, shape (batch, output), or (output,) where x is (input,); optional
            Where to write; C-contiguous. May be the memory of `x`.
        active : array_like of bool, shape (batch,), optional
            Rows that step; the others keep their state, and get zeros.

        Returns
        -------
        ndarray of float32
            The hidden state of the last layer: `out`, or `output` when called without x, or a new array.

        Raises
        ------
        RuntimeError
            Another thread is in this stream.
        TypeError, ValueError
            Arrays that do not fit, or the stream was closed. The state is as before.
        """
    def process(self, x: npt.ArrayLike, *, out: npt.NDArray[np.float32] | None = None) -> FloatArray:
        """Run any number of time steps.

        Parameters
        ----------
        x : array_like, shape (time, input) for a batch of 1, or (batch, time, input)
            As the LSTM takes it: (time, batch, input) if it is not `batch_first`. Floating point; any number of
            steps, 0 included.
        out : ndarray of float32, optional
            Where to write: y's shape, C-contiguous. May be the memory of `x`.

        Returns
        -------
        ndarray of float32
            The hidden states of the last layer at each step; the same bits as in one call over the whole sequence.

        Raises
        ------
        RuntimeError
            Another thread is in this stream.
        TypeError, ValueError
            Arrays that do not fit, or the stream was closed. The state is as before.
        KeyboardInterrupt
            Ctrl-C. The state is as before; what `out` holds is undefined.
        """
    def reset(self, rows: _Rows | None = None) -> None:
        """Back to the initial state: zeros, or what the model has learned.

        Parameters
        ----------
        rows : array_like of bool, shape (batch,), optional
            Which ones. Default: all.
        """
    def copy(self) -> Stream:
        """A second stream that goes on from the same state, with buffers of its own."""
    def close(self) -> None:
        """Free the state. Closing twice does nothing; any other call on a closed stream raises."""
    def __copy__(self) -> Stream: ...
    def __deepcopy__(self, memo: object) -> Stream: ...
    def __enter__(self) -> Stream: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
