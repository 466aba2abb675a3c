"""class ConvLSTM: load a trained ConvLSTM and call it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, formats
from ._arguments import State, check_out, float32, pair
from ._assumed import settled
from ._layer import Layer
from .formats import Config
from .weights import Cell, ConvLSTMWeights, FloatArray


class ConvLSTM(Layer[ConvLSTMWeights]):
    """A trained ConvLSTM over one or two spatial axes, packed and ready to run. Immutable, for any number of threads.

    Parameters
    ----------
    weights : ConvLSTMWeights
        What to run. Use `load`, `from_keras` or `from_flax` rather than building it by hand.
    threads : int, optional
        The most threads a call uses. Default: as many as `set_num_threads` says.

    Attributes
    ----------
    weights : ConvLSTMWeights
        As they were read: float32, canonical order, read-only.

    Examples
    --------
    >>> import fusedlstm as fl
    >>> lstm = fl.ConvLSTM.load("radar.keras")      # doctest: +SKIP
    >>> y, (h, c) = lstm(frames)                    # doctest: +SKIP
    """

    __slots__ = ()
    _kind = ConvLSTMWeights

    weights: ConvLSTMWeights

    def _packed(self) -> _core.ConvLstm:
        weights = self.weights
        # Two axes throughout: one axis is a line, of height 1.
        ones = (1,) * (2 - weights.rank)
        kernel, recurrent = (
            array.reshape(len(array), *ones, *array.shape[1:]) for array in (weights.weight_ih, weights.weight_hh)
        )
        assert weights.strides is not None and weights.dilation is not None
        return _core.ConvLstm(
            kernel,
            recurrent,
            weights.bias,
            (*ones, *weights.strides),
            (*ones, *weights.dilation),
            weights.padding == "same",
            None if weights.plain else Cell(weights.gate, weights.candidate, weights.output),
        )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        prefix: str | None = None,
        *,
        config: Config | None = None,
        threads: int | None = None,
    ) -> ConvLSTM:
        """Load a ConvLSTM from a Keras or Flax file, or from what `save` wrote; no framework is needed.

        Parameters
        ----------
        path : str or path
            The file.
        prefix : str, optional
            Which ConvLSTM, by its Keras layer name or Flax path. Not needed when the file holds only one.
        config : mapping or path, optional
            What the file leaves out, as in `LSTM.load`.
        threads : int, optional
            The most threads a call of it uses. Default: as many as `set_num_threads` says.

        Raises
        ------
        OSError
            The file is missing, a directory or unreadable.
        ImportError
            The format needs an extra (such as ``fusedlstm[flax]``); the message names it.
        FormatError
            The file is damaged, hostile, unsupported, holds no ConvLSTM, or several and `prefix` is not one of them.
        """
        found = {prefix or "": formats.open(path, config).load(ConvLSTMWeights, prefix)}
        (weights,) = settled("ConvLSTM", found, path).values()
        return cls(weights, threads)

    @classmethod
    def from_keras(cls, layer: Any, *, threads: int | None = None) -> ConvLSTM:
        """Take the weights of a built Keras ``ConvLSTM1D`` or ``ConvLSTM2D`` layer; `threads` as in `load`.

        Raises
        ------
        TypeError
            `layer` is something else.
        FormatError
            The layer computes something that is not supported; the message names it.
        """
        from .formats.keras.layer import from_conv_layer

        return cls(from_conv_layer(layer), threads)

    @classmethod
    def from_flax(
        cls,
        params: Mapping[Any, Any],
        prefix: str | None = None,
        *,
        config: Config | None = None,
        threads: int | None = None,
    ) -> ConvLSTM:
        """Take the weights of a Flax linen ``ConvLSTMCell`` with its default padding, alone or inside a module.

        Parameters
        ----------
        params : mapping
            The variables or parameters, as `init` returns them.
        prefix : str, optional
            Which one, by its path in the tree without "params". Not needed when there is only one.
        config, threads
            As for `load`: parameters do not say how the model uses them.

        Raises
        ------
        TypeError
            `params` is not a mapping.
        FormatError
            No ConvLSTM, several and `prefix` is not one of them, or parameters that do not fit together.
        """
        from .formats.flax.params import contents

        found = {prefix or "": contents(params, config=config).load(ConvLSTMWeights, prefix)}
        (weights,) = settled("ConvLSTM", found).values()
        return cls(weights, threads)

    @property
    def channels(self) -> int:
        """Channels of x."""
        return self.weights.channels

    @property
    def filters(self) -> int:
        """Channels of y, h and c."""
        return self.weights.filters

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Size of the input kernel, a number for each spatial axis."""
        return self.weights.kernel_size

    def _shown(self) -> list[str]:
        weights = self.weights
        shown = {"kernel_size": weights.kernel_size, "padding": weights.padding}
        default: dict[str, object] = {"strides": (1,) * weights.rank, "dilation": (1,) * weights.rank}
        default |= dict.fromkeys(("channels_first", "reverse", "flip_output"), False)
        shown |= {name: getattr(weights, name) for name in default if getattr(weights, name) != default[name]}
        return [str(self.channels), str(self.filters), *(f"{name}={value!r}" for name, value in shown.items())]

    def __call__(
        self, x: npt.ArrayLike, state: State | None = None, out: FloatArray | None = None
    ) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
        """Run whole sequences of frames.

        Parameters
        ----------
        x : array_like, shape (batch, time, space..., channels), or (time, space..., channels)
            Frames of one or two spatial axes of any size; (channels, space...) with `channels_first`. Floating point,
            any strides; anything but float32 is converted once. NaN and inf propagate.
        state : (h, c), optional
            Initial states, shaped as those returned. Default: zeros.
        out : ndarray of float32, optional
            Where to write y: y's shape, writeable.

        Returns
        -------
        y : ndarray of float32
            The hidden states at each step, shaped as x, with `filters` channels and the spatial size that strides and
            padding leave.
        (h, c) : ndarrays of float32
            The final states: a frame of y for each row of the batch.

        Raises
        ------
        TypeError
            An array that is not floating point (integers are not converted silently).
        ValueError
            Shapes that do not fit; the message says what was expected.
        """
        weights = self.weights
        x = float32("x", x)
        batched, size = self._read_shape(x.shape)
        lead = x.shape[: 1 + batched]
        frame = (weights.filters, *size) if weights.channels_first else (*size, weights.filters)
        state_shape = (*lead[:-1], *frame)
        initial = (None, None) if state is None else pair(state)
        for name, one in zip("hc", initial):
            if one is not None and one.shape != state_shape:
                raise ValueError(f"state {name}: expected shape {state_shape}, found {one.shape}")
        if out is None:
            y = np.empty((*lead, *frame), np.float32)
        else:
            check_out(out)
            if out.shape != (*lead, *frame):
                raise ValueError(f"out: expected shape {(*lead, *frame)} like y, found {out.shape}")
            y = out
        backwards = slice(None, None, -1) if weights.reverse else slice(None)
        h_0, c_0 = (None if one is None else self._as_engine(one, batched) for one in initial)
        final = self._core.run(
            self._as_engine(x, batched)[:, backwards],
            self._as_engine(y, batched)[:, slice(None) if weights.flip_output else backwards],
            h_0,
            c_0,
        )
        h, c = (self._from_engine(one, state_shape) for one in final)
        return y, (h, c)

    def _read_shape(self, shape: tuple[int, ...]) -> tuple[bool, tuple[int, ...]]:
        """Whether x has a batch axis, and the spatial size of y."""
        weights = self.weights
        space = ("length",) if weights.rank == 1 else ("height", "width")
        axes = ", ".join(("time", "channels", *space) if weights.channels_first else ("time", *space, "channels"))
        found = f"found shape {shape}"
        if len(shape) - weights.rank not in (2, 3):
            raise ValueError(f"x: expected (batch, {axes}) or ({axes}), {found}")
        batched = len(shape) - weights.rank == 3
        where = f"x: expected (batch, {axes})" if batched else f"x: expected ({axes})"
        channel, first = (1, 2) if weights.channels_first else (weights.rank + 1, 1)
        if shape[batched + channel] != weights.channels:
            raise ValueError(f"{where} with {weights.channels} channels, {found}")
        if shape[batched] == 0:
            raise ValueError(f"{where} with at least one time step, {found}")
        size = weights.output_size(shape[batched + first :][: weights.rank])
        if min(size) < 1:
            raise ValueError(f"{where} with frames no smaller than the window of the kernel, {found}")
        return batched, size

    def _as_engine(self, array: FloatArray, batched: bool) -> FloatArray:
        """The same memory as (batch, [time,] height, width, channels)."""
        weights = self.weights
        if not batched:
            array = array[np.newaxis]
        if weights.channels_first:
            array = np.moveaxis(array, -1 - weights.rank, -1)
        return array if weights.rank == 2 else array[..., np.newaxis, :, :]

    def _from_engine(self, state: FloatArray, shape: tuple[int, ...]) -> FloatArray:
        """The inverse, for a state (batch, height, width, filters)."""
        if self.weights.channels_first:
            state = np.ascontiguousarray(np.moveaxis(state, -1, 1))
        return state.reshape(shape)
