"""class LSTM: load a trained LSTM and call it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, formats
from .stream import Stream
from .weights import FloatArray, LSTMWeights

State = tuple[npt.ArrayLike, npt.ArrayLike]


class LSTM:
    """A trained LSTM, packed and ready to run. Immutable; any number of threads may call it at once.

    Parameters
    ----------
    weights : LSTMWeights
        What to run. Use `load`, `from_torch` or `from_keras` rather than building it by hand.

    Examples
    --------
    >>> import fusedlstm as fl
    >>> lstm = fl.LSTM.load("weights.safetensors")      # doctest: +SKIP
    >>> y, (h, c) = lstm(x)                             # doctest: +SKIP
    """

    __slots__ = ("_core", "weights")

    weights: LSTMWeights
    """The weights as they were read: float32, canonical order, read-only."""

    def __init__(self, weights: LSTMWeights) -> None:
        if not isinstance(weights, LSTMWeights):
            raise TypeError(f"weights: expected fusedlstm.LSTMWeights, found {type(weights).__name__}")
        if not weights.plain:
            raise ValueError("weights: variants of the cell are not supported yet")
        self.weights = weights
        self._core = _core.Lstm(
            [[(one.weight_ih, one.weight_hh, one.bias, one.weight_hr) for one in layer] for layer in weights.layers]
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], prefix: str | None = None, *, batch_first: bool | None = None) -> LSTM:
        """Load an LSTM from the file that a training framework wrote; no framework is needed.

        The format is recognised by content: PyTorch, safetensors, Keras, ONNX, Flax, npz (see docs/formats.md).

        Parameters
        ----------
        path : str or path
            The file.
        prefix : str, optional
            Which LSTM, by the source framework's own name for it: a PyTorch module path (``"encoder.rnn"``), a Keras
            layer name, an ONNX node or output name, a Flax path. Not needed when the file holds only one.
        batch_first : bool, optional
            Whether x is (batch, time, input) or (time, batch, input), for files that do not say. Default: what the file
            says, else batch first.

        Raises
        ------
        OSError
            The file is missing, a directory or unreadable.
        ImportError
            The format needs an extra (such as ``fusedlstm[onnx]``); the message names it.
        FormatError
            The file is damaged, hostile, unsupported, holds no LSTM, or several and `prefix` is not one of them.
        """
        weights = formats.load(path, prefix)
        return cls(weights if batch_first is None else replace(weights, batch_first=batch_first))

    @classmethod
    def from_torch(cls, module: Any) -> LSTM:
        """Take the weights of a ``torch.nn.LSTM`` or ``torch.nn.LSTMCell``; keeps the module's ``batch_first``.

        Raises
        ------
        TypeError
            `module` is something else.
        """
        from .formats import pytorch

        return cls(pytorch.from_module(module))

    @classmethod
    def from_keras(cls, layer: Any) -> LSTM:
        """Take the weights of a built Keras ``LSTM`` or ``Bidirectional(LSTM)`` layer.

        Raises
        ------
        TypeError
            `layer` is something else.
        FormatError
            The layer computes something that is not supported; the message names it.
        """
        from .formats import keras3

        return cls(keras3.from_layer(layer))

    @classmethod
    def from_flax(cls, params: Mapping[Any, Any], prefix: str | None = None) -> LSTM:
        """Take the weights of a Flax ``LSTMCell`` or ``OptimizedLSTMCell``: alone, in an ``RNN`` or ``Bidirectional``.

        Parameters
        ----------
        params : mapping
            linen: the variables or parameters, as `init` returns them. nnx: ``nnx.state(module)``, or a dict of it.
        prefix : str, optional
            Which LSTM, by its path in the tree without "params", such as ``"encoder/cell"``. Not needed when there is
            only one.

        Raises
        ------
        TypeError
            `params` is not a mapping.
        FormatError
            No LSTM, several and `prefix` is not one of them, or parameters that do not fit together.
        """
        from .formats import flax

        return cls(formats.choose(flax.lstms(params), prefix)())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the native form, a self-describing safetensors file that `load` reads back bit for bit."""
        from .formats import safetensors

        safetensors.save(self.weights, path)

    def stream(self, batch_size: int = 1) -> Stream:
        """Open a live stream that owns its state: one step at a time, or in chunks, without allocating.

        Parameters
        ----------
        batch_size : int
            Streams that step together.

        Raises
        ------
        ValueError
            The LSTM is bidirectional or reversed: it needs the end of a sequence first.
        """
        return Stream(self, batch_size)

    @property
    def handle(self) -> int:
        """The address that the C API (``include/capi.h``) takes; valid while this object lives."""
        return self._core.handle

    @property
    def input_size(self) -> int:
        """Features of x at each step."""
        return self.weights.input_size

    @property
    def hidden_size(self) -> int:
        """Units of each layer and direction."""
        return self.weights.hidden_size

    @property
    def num_layers(self) -> int:
        """Stacked layers."""
        return self.weights.num_layers

    @property
    def bidirectional(self) -> bool:
        """Whether there is a backward direction."""
        return self.weights.bidirectional

    @property
    def proj_size(self) -> int:
        """Size of the projected hidden state; 0 without a projection."""
        return self.weights.proj_size

    @property
    def batch_first(self) -> bool:
        """Whether x is (batch, time, input) rather than (time, batch, input)."""
        return self.weights.batch_first

    @property
    def dtype(self) -> str:
        """The precision of the packed weights."""
        return "float32"

    def __repr__(self) -> str:
        """Show the sizes, as PyTorch does."""
        extra = f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        extra += f", proj_size={self.proj_size}" if self.proj_size else ""
        extra += ", bidirectional=True" if self.bidirectional else ""
        return f"LSTM({self.input_size}, {self.hidden_size}{extra}, batch_first={self.batch_first})"

    def __reduce__(self) -> tuple[type[LSTM], tuple[LSTMWeights]]:
        """Pickle the weights; packing is done again when unpickled."""
        return LSTM, (self.weights,)

    def __call__(
        self,
        x: npt.ArrayLike,
        state: State | None = None,
        lengths: Sequence[int] | npt.NDArray[np.integer[Any]] | None = None,
        out: FloatArray | None = None,
    ) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
        """Run whole sequences; shapes and meaning are those of ``torch.nn.LSTM``.

        Parameters
        ----------
        x : array_like, shape (batch, time, input), or (time, batch, input) if not `batch_first`, or (time, input)
            Floating point, any strides; anything but float32 is converted once. NaN and inf propagate.
        state : (h, c), optional
            Initial states, (layers * directions, batch, size) with the sizes of h and c below; without the batch axis
            when x has none. Default: zeros.
        lengths : sequence of int, shape (batch,), optional
            Valid steps of each row, 0 to time. Past them y is zero, h and c are those of the last valid step (the
            initial ones for length 0), and the backward direction starts at each row's own end.
        out : ndarray of float32, optional
            Where to write y: y's shape, writeable, last axis contiguous.

        Returns
        -------
        y : ndarray of float32, shape as x with directions * (proj_size or hidden_size) features
            The hidden states of the last layer at each step, forward then backward.
        (h, c) : ndarrays of float32
            The final states: h is (layers * directions, batch, proj_size or hidden_size),
            c is (layers * directions, batch, hidden_size).

        Raises
        ------
        TypeError
            An array that is not floating point (integers are not converted silently).
        ValueError
            Shapes or lengths that do not fit; the message says what was expected.
        """
        x = _rows_contiguous(_float32("x", x))
        h_0, c_0 = (None, None) if state is None else _pair(state)
        if lengths is not None:
            lengths = _whole_numbers(lengths)
        if out is not None:
            _check_out(out)
            if np.may_share_memory(out, x):
                x = x.copy()
        y, h, c = self._core.run(x, self.weights.batch_first, h_0, c_0, lengths, out)
        return (y if out is None else out), (h, c)


_FLOAT32 = np.dtype(np.float32)


def _float32(name: str, value: npt.ArrayLike) -> FloatArray:
    if type(value) is np.ndarray and value.dtype is _FLOAT32:  # the usual case, and a step's time is short
        return value
    array = np.asarray(value)
    if array.dtype == _FLOAT32:  # native only: the other byte order compares unequal
        return array
    # Not "i": whole numbers here are mostly raw samples or token ids that still lack their scaling or embedding.
    if array.dtype.kind != "f":
        raise TypeError(
            f"{name}: expected a floating-point array, found dtype {array.dtype}; "
            "convert it with .astype(numpy.float32) if that is what you mean"
        )
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _rows_contiguous(x: FloatArray) -> FloatArray:
    """The engine takes any strides but the last axis's, in whole elements."""
    if x.flags.c_contiguous and x.flags.aligned:
        return x
    whole = x.ndim == 0 or (x.strides[-1] == 4 and not any(stride % 4 for stride in x.strides) and x.flags.aligned)
    return x if whole else np.ascontiguousarray(x)


def _pair(state: State) -> tuple[FloatArray, FloatArray]:
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise TypeError(f"state: expected a pair (h, c), found {type(state).__name__}")
    return np.ascontiguousarray(_float32("state h", state[0])), np.ascontiguousarray(_float32("state c", state[1]))


def _whole_numbers(lengths: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(lengths)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"lengths: expected whole numbers, found dtype {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.int64)


def _check_out(out: FloatArray) -> None:
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or not out.dtype.isnative:
        found = f"dtype {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out: expected a numpy array of float32, found {found}")
    if not out.flags.writeable:
        raise ValueError("out: expected a writeable array, found a read-only one")
    if _rows_contiguous(out) is not out:
        raise ValueError(f"out: expected the last axis to be contiguous, found strides {out.strides}")
    reach = 4  # bytes that the axes so far span: the next one must step over them, or elements would share memory
    for stride, size in sorted((abs(stride), size) for stride, size in zip(out.strides, out.shape) if size > 1):
        if stride < reach:
            raise ValueError(f"out: expected elements that do not share memory, found strides {out.strides}")
        reach += stride * (size - 1)
