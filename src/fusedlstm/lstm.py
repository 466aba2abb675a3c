"""class LSTM: load a trained LSTM and call it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _variants, formats
from ._arguments import State, check_out, float32, pair, whole_numbers
from ._assumed import settled, tell_axes, tell_once
from ._layer import Layer
from ._memory import FromMemory
from ._packing import pack
from ._renamed import renamed
from ._sizes import Sizes
from ._variants import Result
from .formats import Config, Given
from .stream import Stream
from .weights import FloatArray, LSTMWeights
from .weights.checked import expect_type
from .weights.precision import rounded


class LSTM(FromMemory, Sizes, Layer[LSTMWeights]):
    """A trained LSTM, packed and ready to run. Immutable; any number of threads may call it at once.

    Parameters
    ----------
    weights : LSTMWeights
        What to run. Use `load`, `from_torch` or `from_keras` rather than building it by hand.
    threads : int, optional
        The most threads a call uses. Default: as many as `set_num_threads` says.

    Attributes
    ----------
    weights : LSTMWeights
        As they run: canonical order, read-only; float32 arrays, rounded to `dtype`.

    Examples
    --------
    >>> import fusedlstm as fl
    >>> lstm = fl.LSTM.load("weights.safetensors")      # doctest: +SKIP
    >>> y, (h, c) = lstm(x)                             # doctest: +SKIP
    """

    __slots__ = ("_direct",)
    _kind = LSTMWeights

    weights: LSTMWeights

    def __init__(self, weights: LSTMWeights, threads: int | None = None) -> None:
        expect_type("weights", weights, LSTMWeights)
        self._hold(rounded(weights, weights.dtype, weights.products), threads)

    def _packed(self) -> Any:
        self._direct = _variants.direct(self.weights)
        return pack(self.weights)

    @classmethod
    @renamed(products="activations")
    def load(
        cls,
        path: Given,
        prefix: str | None = None,
        *,
        batch_first: bool | None = None,
        config: Config | None = None,
        ignore: Sequence[str] = (),
        dtype: npt.DTypeLike | None = None,
        products: str | None = None,
        threads: int | None = None,
    ) -> LSTM:
        """Load an LSTM from the file that a training framework wrote; no framework is needed.

        The format is recognised by content: PyTorch, safetensors, Keras, ONNX, Flax, npz, JSON (see docs/formats.md).

        Parameters
        ----------
        path : str, path, bytes or binary file object
            The file, its content, or a folder or zip archive that holds one.
        prefix : str, optional
            Which LSTM, by the source framework's own name for it: a PyTorch module path (``"encoder.rnn"``), a Keras
            layer name, an ONNX node or output name, a Flax path. Not needed when the file holds only one.
        batch_first : bool, optional
            Whether x is (batch, time, input) or (time, batch, input), for files that do not say. Default: what the file
            says, else batch first, with an `AssumptionWarning` at the first call where it matters.
        config : mapping or path, optional
            What else the file leaves out, such as the activations of Keras's weights: the model's configuration, a
            file that has it, or a dict of what is not the framework's default (see docs/formats.md).
        ignore : sequence of str, optional
            Glob patterns of tensors beside an LSTM's own that do not change it, such as ``["lora_*"]``: each fits a
            whole name or its end. Without it, what is not understood is refused.
        dtype, products : str, optional
            Round the weights, as `astype` does. Default: as the native form says, else float32.
        threads : int, optional
            The most threads a call of it uses. Default: as many as `set_num_threads` says.

        Raises
        ------
        OSError
            The file is missing, a directory or unreadable.
        ImportError
            The format needs an extra (such as ``fusedlstm[onnx]``); the message names it.
        FormatError
            The file is damaged, hostile, unsupported, holds no LSTM, or several and `prefix` is not one of them.
        """
        contents = formats.open(path, config, ignore)
        found = {prefix or "": contents.load(LSTMWeights, prefix)}
        (weights,) = settled("LSTM", found, contents.file, batch_first).values()
        if dtype is not None or products is not None:
            return cls._of(rounded(weights, weights.dtype if dtype is None else dtype, products), threads)
        return cls(weights, threads)

    @classmethod
    def load_all(
        cls,
        path: Given,
        *,
        batch_first: bool | None = None,
        config: Config | None = None,
        ignore: Sequence[str] = (),
        threads: int | None = None,
    ) -> dict[str, LSTM]:
        """Load every LSTM of a file that can be read, by the prefix under which `load` finds it.

        What is refused is left out, and a warning says why.

        Parameters
        ----------
        path, batch_first, config, ignore, threads
            As for `load`.

        Raises
        ------
        OSError, ImportError, FormatError
            As for `load`; FormatError where none can be read.
        """
        contents = formats.open(path, config, ignore)
        found = settled("LSTM", contents.load_all(LSTMWeights), contents.file, batch_first)
        return tell_once({prefix: cls(weights, threads) for prefix, weights in found.items()})

    @renamed(products="activations")
    def astype(self, dtype: npt.DTypeLike, products: str | None = None) -> LSTM:
        """Round the weights to another precision; x, y, the states and the biases stay float32.

        Speed and errors are in docs/numerics.md.

        Parameters
        ----------
        dtype : str or dtype
            ``"float32"``, ``"float16"``, ``"bfloat16"``, or ``"int8"`` with a scale for each row of a matrix.
        products : str, optional
            What x and h are rounded to when they are multiplied. Beside int8 weights ``"int16"``, the default,
            ``"int16/int8"`` (x and h) or ``"int8"``; beside bfloat16 ones ``"float32"``, the default, or
            ``"bfloat16"``. The defaults add no error; the others are faster in batches, and have 1.05, 2 and 1.5 times
            the error of most models.

        Raises
        ------
        ValueError
            A name that does not exist, or weights that are not finite or overflow; the message says where.
        """
        other = self._of(rounded(self.weights, dtype, products), self.threads)
        other._untold = self._untold
        return other

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
        return int(self._core.handle)

    def _shown(self) -> list[str]:
        """The sizes, as PyTorch shows them, and what differs from PyTorch's LSTM."""
        extra = [f"{name}={getattr(self, name)}" for name in ("proj_size", "bidirectional") if getattr(self, name)]
        if self.num_layers > 1:
            extra.insert(0, f"num_layers={self.num_layers}")
        if self.dtype != "float32":
            extra.append(f"dtype={self.weights.precision}")
        sizes = [str(self.input_size), str(self.hidden_size)]
        return [*sizes, *extra, f"batch_first={self.batch_first}", *self.weights.differences]

    def __call__(
        self,
        x: npt.ArrayLike,
        state: State | None = None,
        lengths: Sequence[int] | npt.NDArray[np.integer[Any]] | None = None,
        out: FloatArray | None = None,
        *,
        mask: npt.ArrayLike | None = None,
    ) -> Result:
        """Run whole sequences; shapes and meaning are those of ``torch.nn.LSTM``, unless the model says otherwise.

        Parameters
        ----------
        x : array_like, shape (batch, time, input), or (time, batch, input) if not `batch_first`, or (time, input)
            Floating point, any strides; anything but float32 is converted once. NaN and inf propagate. Or a
            ``torch.nn.utils.rnn.PackedSequence``: then y is one, too.
        state : (h, c), optional
            Initial states, (layers * directions, batch, size) with the sizes of h and c below; without the batch axis
            when x has none. Default: the model's own, or zeros.
        lengths : sequence of int, shape (batch,), optional
            Valid steps of each row, 0 to time. Past them y is zero (or repeats, if `weights.padding` says so), h and c
            are those of the last valid step (the initial ones for length 0), and the backward direction starts at each
            row's own end.
        out : ndarray of float32, optional
            Where to write y: y's shape, writeable, last axis contiguous.
        mask : array_like of bool, shape (batch, time), optional
            In place of lengths, where valid steps are not all at the front: a step that is False is passed over, and y
            is there what it is past a row's length.

        Returns
        -------
        y : ndarray of float32, shape as x with directions * (proj_size or hidden_size) features
            The hidden states of the last layer at each step, forward then backward. Merged directions have the features
            of one; a pair of arrays where `weights.merge` is ``"none"``.
        (h, c) : ndarrays of float32
            The final states: h is (layers * directions, batch, proj_size or hidden_size),
            c is (layers * directions, batch, hidden_size). Where layers differ in size, both are lists with an array
            (directions, batch, size) for each layer, here and in `state`.

        Raises
        ------
        TypeError
            An array that is not floating point (integers are not converted silently).
        ValueError
            Shapes or lengths that do not fit; the message says what was expected.
        KeyboardInterrupt
            Ctrl-C, within 0.2 s. What `out` holds is undefined.
        """
        if type(x) is not np.ndarray and _variants.is_packed(x):
            if lengths is not None or out is not None or mask is not None:
                raise ValueError("lengths, out, mask: expected none of them beside a PackedSequence")
            packed: Result = _variants.run_packed(self._core, self.weights, x, state)
            return packed
        x = float32("x", x)
        if self._untold and x.ndim == 3:
            tell_axes(self._untold)
        if lengths is not None:
            lengths = whole_numbers("lengths", lengths)
        if out is not None:
            check_out(out)
        repeats = lengths is not None and self.weights.padding == "repeat"
        if mask is not None or repeats or not self._direct:
            return _variants.run(self._core, self.weights, x, self.weights.batch_first, state, lengths, mask, out)
        h_0, c_0 = (None, None) if state is None else pair(state)
        y, h, c = self._core.run(x, self.weights.batch_first, h_0, c_0, lengths, out, True)
        return (y if out is None else out), (h, c)
