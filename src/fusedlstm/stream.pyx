# cython: language_level=3, binding=True, embedsignature=False
"""class Stream: an LSTM that keeps its state between calls."""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uintptr_t

from .capi cimport (
    FUSEDLSTM_API_VERSION, FUSEDLSTM_BUSY, FUSEDLSTM_NO_MEMORY, FUSEDLSTM_OK, FUSEDLSTM_UNSUPPORTED, fusedlstm_lstm,
)

import numpy as np

from . import _core

# Giving the GIL up and taking it back costs some 100 ns, ten times as much when another thread wants it. Steps of fewer
# multiplications than this take about 5 microseconds at most, the interpreter's own patience with a thread is 5 ms.
cdef size_t worth_releasing = 500_000

cdef object float32 = np.dtype(np.float32)
cdef object ndarray = np.ndarray
cdef object empty = np.empty


cdef bint is_float32(const Py_buffer* view) noexcept:
    return view.itemsize == 4 and view.format != NULL and view.format[0] == c"f" and view.format[1] == 0


cdef class Stream:
    """A live stream, or `batch_size` of them that step together: owns h and c, steps without allocating.

    Made by `LSTM.stream`. A stream belongs to one thread at a time: a call while another thread is in it raises, and
    changes nothing. It runs on the calling thread alone.

    Attributes
    ----------
    input : ndarray of float32, shape (batch, input)
        What `step` without arguments reads.
    output : ndarray of float32, shape (batch, output)
        What `step` without arguments writes.
    """

    def __cinit__(self):
        self.api = <const fusedlstm_api*>PyCapsule_GetPointer(_core.c_api, "fusedlstm.c_api")

    def __init__(self, lstm, batch_size=1):
        if not isinstance(batch_size, int) or isinstance(batch_size, bool):
            raise TypeError(f"batch_size: expected a whole number, found {type(batch_size).__name__}")
        if not 1 <= batch_size <= 1 << 24:
            raise ValueError(f"batch_size: expected 1 to {1 << 24}, found {batch_size}")
        if self.stream != NULL:
            raise RuntimeError("Stream: expected to be initialised once")
        cdef const fusedlstm_lstm* handle = <const fusedlstm_lstm*><uintptr_t>lstm.handle
        cdef int status = self.api.open(handle, batch_size, &self.stream)
        if status == FUSEDLSTM_UNSUPPORTED:
            raise ValueError(
                "stream: a bidirectional or reversed LSTM needs the end of the sequence before its first output; call "
                "lstm(x) on whole sequences or on overlapping windows instead"
            )
        check(status)
        adopt(self, lstm, handle, batch_size)

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
            The hidden state of the last layer: `out`, or `output` when called without arguments, or a new array.

        Raises
        ------
        RuntimeError
            Another thread is in this stream.
        TypeError, ValueError
            Arrays that do not fit, or the stream was closed. The state is as before.
        """
        cdef int status
        cdef Py_buffer view_x, view_y
        if x is None and out is None and active is None:
            opened(self)
            if self.releases:
                with nogil:
                    status = self.api.step(self.stream, self.input_data, self.output_data, NULL)
            else:
                status = self.api.step(self.stream, self.input_data, self.output_data, NULL)
            if status != FUSEDLSTM_OK:
                check(status)
            return self.output
        opened(self)
        if x is None:
            x, out = self.input, self.output if out is None else out
        x = input_view(self, x, "x", &view_x, self.sizes.input_size)
        try:
            if out is None:
                out = empty(output_shape(self, view_x.ndim), float32)
            output_view(self, out, &view_y, view_x.ndim)
            try:
                status = run_step(self, <const float*>view_x.buf, <float*>view_y.buf, active)
            finally:
                PyBuffer_Release(&view_y)
        finally:
            PyBuffer_Release(&view_x)
        if status != FUSEDLSTM_OK:
            check(status)
        return out

    def process(self, x, *, out=None):
        """Run any number of time steps.

        Parameters
        ----------
        x : array_like, shape (time, input) for a batch of 1, or as the LSTM takes it: (batch, time, input), or
                (time, batch, input) if it is not `batch_first`
            Floating point; any number of steps, 0 included.
        out : ndarray of float32, optional
            Where to write: y's shape, C-contiguous, not overlapping x.

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
        """
        opened(self)
        x = np.ascontiguousarray(_floats("x", x))
        cdef bint flat = x.ndim == 2
        batch_axis, time_axis = (1, 0) if self.time_first else (0, 1)
        if (
            x.shape[-1:] != (self.sizes.input_size,) or x.ndim not in (2, 3)
            or (self.rows if flat else x.shape[batch_axis]) != self.rows or (flat and self.rows != 1)
        ):
            axes = f"(time, {self.rows}" if self.time_first else f"({self.rows}, time"
            raise ValueError(
                f"x: expected shape {axes}, {self.sizes.input_size})"
                + (f" or (time, {self.sizes.input_size})" if self.rows == 1 else "") + f", found {x.shape}"
            )
        shape = (*x.shape[:-1], self.sizes.output_size)
        if out is None:
            y = np.empty(shape, np.float32)
        else:
            y = out
            if type(out) is not ndarray or out.dtype != float32:
                found = f"dtype {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
                raise TypeError(f"out: expected a numpy array of float32, found {found}")
            if out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
                raise ValueError(
                    f"out: expected a writeable, C-contiguous array of shape {shape}, found shape {out.shape}, "
                    f"strides {out.strides}"
                )
            if np.may_share_memory(out, x):
                x = x.copy()
        cdef size_t time = x.shape[0] if flat else x.shape[time_axis]
        if time == 0:
            return y
        cdef const float* data = <const float*><uintptr_t>x.ctypes.data
        cdef float* result = <float*><uintptr_t>y.ctypes.data
        cdef Py_ssize_t x_row, x_time, y_row, y_time
        x_row, y_row = self.sizes.input_size, self.sizes.output_size
        x_time, y_time = x_row, y_row
        if self.time_first:
            x_time, y_time = x_row * self.rows, y_row * self.rows
        else:
            x_row, y_row = x_row * time, y_row * time
        cdef int status
        if self.releases or self.sizes.multiplications * self.rows * time >= worth_releasing:
            with nogil:
                status = self.api.process(self.stream, time, data, x_row, x_time, result, y_row, y_time)
        else:
            status = self.api.process(self.stream, time, data, x_row, x_time, result, y_row, y_time)
        check(status)
        return y

    @property
    def state(self):
        """(h, c) as `LSTM.__call__` takes and returns them: (layers, batch, size); copies."""
        opened(self)
        states = np.empty((self.rows, self.sizes.state_size), np.float32)
        check(self.api.get_state(self.stream, <float*><uintptr_t>states.ctypes.data))
        h, c = [], []
        at = 0
        for output_size, hidden_size in self._layers():
            h.append(states[:, at : at + output_size])
            at += output_size
            c.append(states[:, at : at + hidden_size])
            at += hidden_size
        return np.stack(h), np.stack(c)

    @state.setter
    def state(self, value):
        opened(self)
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise TypeError(f"state: expected a pair (h, c), found {type(value).__name__}")
        h, c = (_floats(f"state {name}", one) for name, one in zip("hc", value))
        parts = []
        layers = self._layers()
        for name, array, which in (("h", h, 0), ("c", c, 1)):
            expected = (len(layers), self.rows, layers[0][which])
            if array.shape != expected and not (self.rows == 1 and array.shape == (expected[0], expected[2])):
                raise ValueError(f"state {name}: expected shape {expected}, found {array.shape}")
            parts.append(array.reshape(expected))
        states = np.concatenate([part[k] for k in range(len(layers)) for part in parts], axis=1)
        states = np.ascontiguousarray(states, np.float32)
        check(self.api.set_state(self.stream, <const float*><uintptr_t>states.ctypes.data))

    def _layers(self):
        return [(layer[0].output_size, layer[0].hidden_size) for layer in self.lstm.weights.layers]

    def reset(self, rows=None):
        """Back to the initial state.

        Parameters
        ----------
        rows : array_like of bool, shape (batch,), optional
            Which ones. Default: all.
        """
        opened(self)
        cdef const unsigned char[::1] mask
        if rows is None:
            check(self.api.reset(self.stream, NULL))
        else:
            mask = row_mask(self, "rows", rows)
            check(self.api.reset(self.stream, &mask[0]))

    def copy(self):
        """A second stream that goes on from the same state, with buffers of its own."""
        opened(self)
        cdef Stream twin = Stream.__new__(Stream)
        check(self.api.copy(self.stream, &twin.stream))
        adopt(twin, self.lstm, <const fusedlstm_lstm*><uintptr_t>self.lstm.handle, self.rows)
        twin.input[...] = self.input
        twin.output[...] = self.output
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def close(self):
        """Free the state. Closing twice does nothing; any other call on a closed stream raises."""
        if self.stream != NULL:
            self.api.close(self.stream)
            self.stream = NULL

    def __enter__(self):
        opened(self)
        return self

    def __exit__(self, *error):
        self.close()

    def __reduce__(self):
        return _restored, (self.lstm, self.rows, self.state)

    def __repr__(self):
        return f"Stream({self.lstm!r}, batch_size={self.rows}{', closed' if self.stream == NULL else ''})"


cdef adopt(Stream stream, lstm, const fusedlstm_lstm* handle, size_t rows):
    stream.lstm = lstm
    stream.rows = rows
    stream.time_first = not lstm.batch_first
    stream.api.sizes(handle, &stream.sizes)
    stream.releases = stream.sizes.multiplications * rows >= worth_releasing
    stream.input = np.zeros((rows, stream.sizes.input_size), np.float32)
    stream.output = np.zeros((rows, stream.sizes.output_size), np.float32)
    stream.input_data = <float*><uintptr_t>stream.input.ctypes.data
    stream.output_data = <float*><uintptr_t>stream.output.ctypes.data


cdef int check(int status) except -1:
    if status == FUSEDLSTM_OK:
        return 0
    if status == FUSEDLSTM_BUSY:
        raise RuntimeError(
            "stream: another thread is using it, and nothing was done; give each thread its own stream (copy()), or "
            "hold a lock around calls"
        )
    if status == FUSEDLSTM_NO_MEMORY:
        raise MemoryError("stream: not enough memory for its state")
    raise ValueError(f"stream: refused with status {status}")


cdef int opened(Stream stream) except -1:
    if stream.stream == NULL:
        raise ValueError("stream: expected an open stream, found a closed one; make a new one with lstm.stream()")
    return 0


cdef int run_step(Stream stream, const float* x, float* y, active) except -1:
    cdef const unsigned char[::1] mask
    cdef const unsigned char* rows = NULL
    cdef int status
    if active is not None:
        mask = row_mask(stream, "active", active)
        rows = &mask[0]
    if stream.releases:
        with nogil:
            status = stream.api.step(stream.stream, x, y, rows)
    else:
        status = stream.api.step(stream.stream, x, y, rows)
    return status


# A view of one step's input: as it is if it is float32 and contiguous, else of a converted copy, which is returned.
cdef object input_view(Stream stream, x, name, Py_buffer* view, size_t features):
    if type(x) is not ndarray:
        x = _floats(name, x)
    PyObject_GetBuffer(x, view, PyBUF_FORMAT | PyBUF_STRIDES)
    if not is_float32(view) or not PyBuffer_IsContiguous(view, c"C"):
        PyBuffer_Release(view)
        x = np.ascontiguousarray(_floats(name, x))
        PyObject_GetBuffer(x, view, PyBUF_FORMAT | PyBUF_STRIDES)
    if not fits(stream, view, features):
        shape = x.shape
        PyBuffer_Release(view)
        raise ValueError(f"{name}: expected shape {expected_shape(stream, features)}, found {shape}")
    return x


cdef int output_view(Stream stream, out, Py_buffer* view, int rank) except -1:
    if type(out) is not ndarray:
        raise TypeError(f"out: expected a numpy array of float32, found {type(out).__name__}")
    PyObject_GetBuffer(out, view, PyBUF_FORMAT | PyBUF_STRIDES)
    message, error = None, ValueError
    if not is_float32(view):
        message = f"expected a numpy array of float32, found dtype {out.dtype}"
        error = TypeError
    elif view.readonly:
        message = "expected a writeable array, found a read-only one"
    elif view.ndim != rank or not fits(stream, view, stream.sizes.output_size):
        message = f"expected shape {output_shape(stream, rank)}, found {out.shape}"
    elif not PyBuffer_IsContiguous(view, c"C"):
        message = f"expected a C-contiguous array, found strides {out.strides}"
    if message is not None:
        PyBuffer_Release(view)
        raise error(f"out: {message}")
    return 0


cdef bint fits(Stream stream, const Py_buffer* view, size_t features) noexcept:
    if view.ndim == 1:
        return stream.rows == 1 and <size_t>view.shape[0] == features
    return view.ndim == 2 and <size_t>view.shape[0] == stream.rows and <size_t>view.shape[1] == features


cdef tuple output_shape(Stream stream, int rank):
    if rank == 1:
        return (stream.sizes.output_size,)
    return (stream.rows, stream.sizes.output_size)


cdef str expected_shape(Stream stream, size_t features):
    return f"({stream.rows}, {features})" + (f" or ({features},)" if stream.rows == 1 else "")


cdef object row_mask(Stream stream, name, value):
    rows = np.asarray(value)
    if rows.dtype != bool:
        raise TypeError(f"{name}: expected an array of bool, found dtype {rows.dtype}")
    if rows.shape != (stream.rows,):
        raise ValueError(f"{name}: expected shape ({stream.rows},), found {rows.shape}")
    return np.ascontiguousarray(rows).view(np.uint8)


def _restored(lstm, batch_size, state):
    stream = Stream(lstm, batch_size)
    stream.state = state
    return stream


cdef object _floats(name, value):
    array = np.asarray(value)
    if array.dtype == float32:
        return array
    if array.dtype.kind != "f":
        raise TypeError(
            f"{name}: expected a floating-point array, found dtype {array.dtype}; "
            "convert it with .astype(numpy.float32) if that is what you mean"
        )
    with np.errstate(over="ignore"):
        return array.astype(np.float32)
