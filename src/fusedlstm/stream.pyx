# cython: language_level=3, binding=True
"""class Stream: an LSTM that keeps its state between calls."""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uintptr_t

from .capi cimport (
    FUSEDLSTM_BUSY, FUSEDLSTM_CLOSED, FUSEDLSTM_NO_MEMORY, FUSEDLSTM_OK, FUSEDLSTM_TORN, FUSEDLSTM_UNSUPPORTED,
    fusedlstm_api, fusedlstm_lstm, fusedlstm_sizes, fusedlstm_stream,
)

import numpy as np

from . import _core
from ._arguments import booleans, float32 as floats
from ._assumed import tell_axes
from ._states import NOT_LIVE, pack_state, unpack_state

# Giving the GIL up and taking it back costs some 100 ns, and far more when another thread wants it meanwhile. Calls of fewer
# multiplications than this take at most some 5 microseconds, a thousandth of what the interpreter lets a thread have.
cdef size_t worth_releasing = 500_000

cdef WithoutGil without_gil = <WithoutGil>PyCapsule_GetPointer(_core.without_gil, "fusedlstm.without_gil")

cdef object float32 = np.dtype(np.float32)
cdef object ndarray = np.ndarray
cdef object empty = np.empty
cdef object handle_of = _core.Lstm.handle.fget  # refuses whatever is no packed LSTM

# Whatever may run Python, such as converting arguments, may close the stream. So it comes first, and whether the stream is open
# is for the C API to say.


cdef class Stream:
    """A live stream, or `batch_size` of them that step together: owns h and c, steps without allocating.

    Made by `LSTM.stream`. A stream belongs to one thread at a time: a call while another thread is in it raises, and
    changes nothing. It runs on the calling thread alone. After a fork, a stream in which another thread was raises in the
    child until `reset` or `state` gives it a state again.

    Attributes
    ----------
    lstm : LSTM
        What it runs.
    input : ndarray of float32, shape (batch, input)
        What `step` without arguments reads.
    output : ndarray of float32, shape (batch, output)
        What `step` without arguments writes.
    """

    def __cinit__(self):
        self.api = <const fusedlstm_api*>PyCapsule_GetPointer(_core.c_api, "fusedlstm.c_api")

    def __init__(self, lstm, batch_size=1):
        from .lstm import LSTM

        if not isinstance(lstm, LSTM):
            raise TypeError(f"lstm: expected fusedlstm.LSTM, found {type(lstm).__name__}")
        if not isinstance(batch_size, int) or isinstance(batch_size, bool):
            raise TypeError(f"batch_size: expected a whole number, found {type(batch_size).__name__}")
        if not 1 <= batch_size <= 1 << 24:
            raise ValueError(f"batch_size: expected 1 to {1 << 24}, found {batch_size}")
        cdef object core = lstm._core
        cdef const fusedlstm_lstm* handle = <const fusedlstm_lstm*><uintptr_t>handle_of(core)
        if self.core is not None:
            raise RuntimeError("stream: expected to be initialised once")
        self.core = core
        cdef int status = self.api.open(handle, batch_size, &self.stream)
        if status == FUSEDLSTM_UNSUPPORTED:
            raise ValueError(f"stream: {NOT_LIVE}")
        check(status)
        adopt(self, lstm, core, batch_size)

    def __dealloc__(self):
        if self.stream != NULL:
            self.api.close(self.stream)

    cdef int step_into(self, const float* x, float* y) noexcept nogil:
        return self.api.step(self.stream, x, y, NULL)

    @property
    def batch_size(self):
        """Rows that step together."""
        return self.rows

    @property
    def closed(self):
        """Whether `close` was called."""
        return self.stream == NULL

    def step(self, x=None, *, out=None, active=None):
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
        cdef Py_buffer from_x, to_y
        if x is None:
            if out is None and active is None:
                run_step(self, self.input_data, self.output_data, NULL)
                return self.output
            x = self.input
            out = self.output if out is None else out
        cdef const unsigned char[::1] mask
        cdef const unsigned char* rows = NULL
        if active is not None:
            mask = booleans("active", active, (self.rows,)).view(np.uint8)
            rows = &mask[0]
        x = borrow(x, "x", &from_x)
        try:
            if not is_one_step(self, &from_x, self.sizes.input_size):
                alternative = f" or ({self.sizes.input_size},)" if self.rows == 1 else ""
                raise ValueError(f"x: expected shape ({self.rows}, {self.sizes.input_size}){alternative}, found {x.shape}")
            if out is None:
                out = empty(x.shape[:-1] + self.output_shape, float32)
            borrow_out(out, &to_y)
            try:
                if to_y.ndim != from_x.ndim or not is_one_step(self, &to_y, self.sizes.output_size):
                    raise ValueError(f"out: expected shape {x.shape[:-1] + self.output_shape}, found {out.shape}")
                run_step(self, <const float*>from_x.buf, <float*>to_y.buf, rows)
            finally:
                PyBuffer_Release(&to_y)
        finally:
            PyBuffer_Release(&from_x)
        return out

    def process(self, x, *, out=None):
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
        cdef Py_buffer from_x, to_y
        x = borrow(x, "x", &from_x)
        try:
            if not is_chunk(self, &from_x):
                axes = f"(time, {self.rows}" if self.time_first else f"({self.rows}, time"
                alternative = f" or (time, {self.sizes.input_size})" if self.rows == 1 else ""
                raise ValueError(f"x: expected shape {axes}, {self.sizes.input_size}){alternative}, found {x.shape}")
            if from_x.ndim == 3 and self.rows > 1: tell_axes(self.lstm._untold)
            shape = x.shape[:-1] + self.output_shape
            if out is None:
                out = empty(shape, float32)
            borrow_out(out, &to_y)
            try:
                if out.shape != shape:
                    raise ValueError(f"out: expected shape {shape}, found {out.shape}")
                if overlap(&from_x, &to_y):
                    PyBuffer_Release(&from_x)
                    x = np.array(x, order="C")
                    PyObject_GetBuffer(x, &from_x, PyBUF_FORMAT | PyBUF_STRIDES)
                run_chunk(self, &from_x, <float*>to_y.buf)
            finally:
                PyBuffer_Release(&to_y)
        finally:
            PyBuffer_Release(&from_x)
        return out

    @property
    def state(self):
        """(h, c) as `LSTM.__call__` takes and returns them, copies; set it to go on from another state."""
        if self.stream == NULL:
            refuse_closed()
        states = empty((self.rows, self.sizes.state_size), float32)
        cdef float[:, ::1] data = states
        check(self.api.get_state(self.stream, &data[0, 0]))
        return unpack_state(self.lstm.weights, states)

    @state.setter
    def state(self, value):
        if self.stream == NULL:
            refuse_closed()
        cdef const float[:, ::1] data = pack_state(self.lstm.weights, value, self.rows)
        if <size_t>data.shape[1] != self.sizes.state_size:
            raise ValueError(f"state: expected {self.sizes.state_size} numbers a row, found {data.shape[1]}")
        check(self.api.set_state(self.stream, &data[0, 0]))

    def reset(self, rows=None):
        """Back to the initial state: zeros, or what the model has learned.

        Parameters
        ----------
        rows : array_like of bool, shape (batch,), optional
            Which ones. Default: all.
        """
        cdef const unsigned char[::1] mask
        if rows is None:
            check(self.api.reset(self.stream, NULL))
            return
        mask = booleans("rows", rows, (self.rows,)).view(np.uint8)
        check(self.api.reset(self.stream, &mask[0]))

    def copy(self):
        """A second stream that goes on from the same state, with buffers of its own."""
        cdef Stream twin = Stream.__new__(Stream)
        check(self.api.copy(self.stream, &twin.stream))
        adopt(twin, self.lstm, self.core, self.rows)
        twin.input[...] = self.input
        twin.output[...] = self.output
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def close(self):
        """Free the state. Closing twice does nothing; any other call on a closed stream raises."""
        if self.stream != NULL:
            check(self.api.close(self.stream))
            self.stream = NULL

    def __enter__(self):
        if self.stream == NULL:
            refuse_closed()
        return self

    def __exit__(self, *error):
        self.close()

    def __reduce__(self):
        return _restored, (self.lstm, self.rows, self.state)

    def __repr__(self):
        return f"Stream({self.lstm!r}, batch_size={self.rows}{', closed' if self.stream == NULL else ''})"


def _restored(lstm, batch_size, state):
    stream = Stream(lstm, batch_size)
    stream.state = state
    return stream


cdef int adopt(Stream self, lstm, core, size_t rows) except -1:
    """Fill in what Python knows of a stream that has been opened."""
    self.lstm = lstm
    self.core = core
    self.rows = rows
    self.time_first = not lstm.batch_first
    self.api.sizes(<const fusedlstm_lstm*><uintptr_t>handle_of(core), &self.sizes, sizeof(fusedlstm_sizes))
    self.releases = self.sizes.multiplications * rows >= worth_releasing
    self.output_shape = (self.sizes.output_size,)
    # Memory that NumPy does not own: `resize` of an array of its own would take it from under a step.
    self.input = _core.zeros(rows, self.sizes.input_size)
    self.output = _core.zeros(rows, self.sizes.output_size)
    cdef float[:, ::1] data = self.input
    self.input_data = &data[0, 0]
    data = self.output
    self.output_data = &data[0, 0]
    return 0


cdef int run_step(Stream self, const float* x, float* y, const unsigned char* active) except -1:
    cdef fusedlstm_stream* stream = self.stream  # with the GIL: close may be called meanwhile
    cdef int status
    if self.releases:
        with nogil:
            status = self.api.step(stream, x, y, active)
    else:
        status = self.api.step(stream, x, y, active)
    return check(status)


cdef int process_chunk(const void* given) noexcept nogil:
    cdef const Chunk* one = <const Chunk*>given
    return one.api.process(one.stream, one.time, one.x, one.x_row, one.x_time, one.y, one.y_row, one.y_time)


cdef int run_chunk(Stream self, const Py_buffer* x, float* y) except -1:
    cdef Py_ssize_t time = x.shape[0] if x.ndim == 2 or self.time_first else x.shape[1]
    cdef Py_ssize_t x_row = self.sizes.input_size, y_row = self.sizes.output_size, x_time = x_row, y_time = y_row
    cdef const float* data = <const float*>x.buf
    cdef fusedlstm_stream* stream = self.stream
    if time == 0:
        return refuse_closed() if stream == NULL else 0
    if self.time_first:
        x_time, y_time = x_row * self.rows, y_row * self.rows
    else:
        x_row, y_row = x_row * time, y_row * time
    cdef Chunk chunk = Chunk(self.api, stream, time, data, y, x_row, x_time, y_row, y_time)
    if self.sizes.multiplications * self.rows * time >= worth_releasing:
        return check(without_gil(process_chunk, &chunk))
    return check(process_chunk(&chunk))


cdef int check(int status) except -1:
    if status <= FUSEDLSTM_OK:
        return status  # below: Python has the error
    if status == FUSEDLSTM_BUSY:
        raise RuntimeError(
            "stream: another thread is using it, and nothing was done; give each thread its own stream (copy()), or hold a "
            "lock around calls"
        )
    if status == FUSEDLSTM_CLOSED:
        refuse_closed()
    if status == FUSEDLSTM_TORN:
        raise RuntimeError(
            "stream: the process was forked while another thread was in it, and its state here is undefined; give it one with "
            "reset() or state = (h, c), or make a new stream"
        )
    if status == FUSEDLSTM_NO_MEMORY:
        raise MemoryError("stream: not enough memory for its state")
    raise ValueError(f"stream: refused with status {status}")


cdef int refuse_closed() except -1:
    raise ValueError("stream: expected an open stream, found a closed one; make a new one with lstm.stream()")


cdef object borrow(x, name, Py_buffer* view):
    """A view of x, if it is aligned, contiguous float32, or of a copy that is; returns which. The caller releases the view."""
    if type(x) is not ndarray:
        x = floats(name, x)
    PyObject_GetBuffer(x, view, PyBUF_FORMAT | PyBUF_STRIDES)
    if is_float32(view) and PyBuffer_IsContiguous(view, c"C"):
        return x
    PyBuffer_Release(view)
    x = np.array(floats(name, x), order="C")
    PyObject_GetBuffer(x, view, PyBUF_FORMAT | PyBUF_STRIDES)
    return x


cdef int borrow_out(out, Py_buffer* view) except -1:
    """A view of a writeable, contiguous float32 array."""
    if type(out) is not ndarray:
        raise TypeError(f"out: expected a numpy array of float32, found {type(out).__name__}")
    PyObject_GetBuffer(out, view, PyBUF_FORMAT | PyBUF_STRIDES)
    if is_float32(view) and PyBuffer_IsContiguous(view, c"C") and not view.readonly:
        return 0
    PyBuffer_Release(view)
    if out.dtype != float32:
        raise TypeError(f"out: expected a numpy array of float32, found dtype {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out: expected a writeable array, found a read-only one")
    if not out.flags.aligned:
        raise ValueError("out: expected an aligned array, found one at an odd address")
    raise ValueError(f"out: expected a C-contiguous array, found strides {out.strides}")


cdef bint is_float32(const Py_buffer* view) noexcept:
    """Whether these are aligned floats of this machine."""
    if view.itemsize != 4 or view.format == NULL or view.format[0] != c"f" or view.format[1] != 0:
        return False
    return <uintptr_t>view.buf % sizeof(float) == 0


cdef bint overlap(const Py_buffer* a, const Py_buffer* b) noexcept:
    """Whether two contiguous arrays share memory."""
    return <uintptr_t>a.buf < <uintptr_t>b.buf + b.len and <uintptr_t>b.buf < <uintptr_t>a.buf + a.len


cdef bint is_one_step(Stream self, const Py_buffer* view, size_t features) noexcept:
    if view.ndim == 1:
        return self.rows == 1 and <size_t>view.shape[0] == features
    return view.ndim == 2 and <size_t>view.shape[0] == self.rows and <size_t>view.shape[1] == features


cdef bint is_chunk(Stream self, const Py_buffer* view) noexcept:
    if view.ndim not in (2, 3) or <size_t>view.shape[view.ndim - 1] != self.sizes.input_size:
        return False
    return self.rows == (1 if view.ndim == 2 else <size_t>view.shape[1 if self.time_first else 0])
