"""What takes the place of a layer's loop over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..conv_lstm import ConvLSTM
from ..lstm import LSTM
from ..weights import ConvLSTMWeights, LSTMWeights

Array = npt.NDArray[Any]


class Loop:
    """The loop of one layer, on arrays: input, perhaps a mask, states, weights.

    Parameters
    ----------
    layer : keras.layers.RNN
        A built layer: LSTM, RNN of LSTMCells, ConvLSTM.
    dtype, products : str, optional
        What weights are rounded to.
    threads : int, optional
        The most threads of a call.

    Attributes
    ----------
    why : str
        Why the last call ran the original; empty where it did not.

    Raises
    ------
    TypeError, ValueError
        The layer computes something else; the message says what.
    """

    def __init__(self, layer: Any, dtype: Any = None, products: str | None = None, threads: int | None = None) -> None:
        self.layer, self.dtype, self.products, self.threads = layer, dtype, products, threads
        self.why = ""
        self.conv = type(layer).__name__.startswith("ConvLSTM")
        self._like: Any = (ConvLSTM if self.conv else LSTM).from_keras(layer).weights
        if self.conv and dtype is not None:
            raise ValueError("a ConvLSTM runs in float32 alone")
        self.cells: list[Any] = list(getattr(layer.cell, "cells", [layer.cell]))
        held = [np.asarray(one, np.float32) for cell in self.cells for one in cell.get_weights()]
        self._options = self._said()
        self._engine: Any = None
        self._held: list[Array] = []
        if not _same(self._like, self._weights(held)):
            raise ValueError("its weights are laid out in another way")

    @property
    def changed(self) -> str:
        """Why the original has to run: an option that is another one than it was; empty where none is."""
        return "" if self._said() == self._options else "an option of the layer was changed since; accelerate it again"

    def _said(self) -> list[Any]:
        names = ("activation", "recurrent_activation", "use_bias")
        return [self.layer.go_backwards, *(getattr(cell, name, None) for cell in self.cells for name in names)]

    @property
    def variables(self) -> list[Any]:
        """The variables of the cells, in the order in which `run` takes their values."""
        return [one for cell in self.cells for one in cell.weights]

    def run(self, x: Array, mask: Array | None, states: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
        """The last output, all outputs where they are wanted, and the final states."""
        engine = self._of(weights)
        last: Any
        if self.conv:
            y, final = engine(x, tuple(states))
            parts = list(final)
            last = y[:, -1]
        else:
            layers = self._like.layers
            if self._like.equal_layers:
                state: Any = tuple(np.stack(states[k::2]) for k in (0, 1))
            else:
                state = tuple([one[None] for one in states[k::2]] for k in (0, 1))
            y, (h, c) = engine(x, state, mask=mask)
            parts = [np.asarray(one[k]).reshape(states[2 * k].shape) for k in range(len(layers)) for one in (h, c)]
            last = y[:, -1]
        made = [last, *([y] if self.layer.return_sequences else []), *parts]
        return [one if one.flags.c_contiguous and min(one.strides) >= 0 else one.copy() for one in made]

    def _of(self, weights: Sequence[Array]) -> Any:
        """The engine of these weights, packed again where they have changed."""
        if len(self._held) != len(weights) or not all(map(_equal, self._held, weights)):
            made = self._weights(weights)
            engine: Any = ConvLSTM(made, self.threads) if self.conv else LSTM(made, self.threads)
            if self.dtype is not None:
                engine = engine.astype(self.dtype, self.products)
            self._engine, self._held = engine, [np.array(one) for one in weights]
        return self._engine

    def _weights(self, arrays: Sequence[Array]) -> Any:
        """Keras's arrays, gates along the last axis, in the neutral form."""
        turned = [np.moveaxis(one, -1, 0) for one in arrays]
        per = len(turned) // len(self.cells)
        parts = [turned[k : k + per] for k in range(0, len(turned), per)]
        named = [dict(zip(("weight_ih", "weight_hh", "bias"), one)) for one in parts]
        if self.conv:
            return replace(self._like, **named[0])
        return replace(self._like, layers=[[replace(row[0], **one)] for row, one in zip(self._like.layers, named)])


def _equal(one: Array, other: Array) -> bool:
    return one is other or (one.shape == other.shape and np.array_equal(one, other))


def _same(one: LSTMWeights | ConvLSTMWeights, other: LSTMWeights | ConvLSTMWeights) -> bool:
    def arrays(weights: Any) -> list[Any]:
        if isinstance(weights, ConvLSTMWeights):
            return [weights.weight_ih, weights.weight_hh, weights.bias]
        return [array for row in weights.layers for array in row[0].arrays.values()]

    pairs = zip(arrays(one), arrays(other), strict=True)
    return all((a is None and b is None) or np.array_equal(a, b, equal_nan=True) for a, b in pairs)
