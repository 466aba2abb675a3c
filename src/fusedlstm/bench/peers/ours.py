"""This package, called as a user calls it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fusedlstm

from ...weights import FloatArray, LSTMWeights
from ..cases import State
from .base import Engine, fastest


class FusedLSTM(Engine):
    """``lstm(x)`` for sequences; for single steps the stream, or ``lstm(x, state=...)`` where there is none yet."""

    name = "fusedlstm"
    needs = ("fusedlstm",)
    install = "fusedlstm"

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        fusedlstm.set_num_threads(threads)
        lstm: Any = fusedlstm.LSTM(weights)
        self._state, self._stream = state, None
        if state is not None and hasattr(lstm, "stream"):
            self._stream = lstm.stream(batch_size=x.shape[1])
            self._stream.input[...] = x[0].reshape(self._stream.input.shape)
            self.call, self.setting = self._stream.step, "stream"
        elif state is not None:
            self.call, self.setting = partial(lstm, x, state=state), "lstm(x, state=...)"
        else:
            out = np.empty((*x.shape[:2], weights.hidden_size * len(weights.layers[0])), np.float32)
            ways = {"lstm(x)": partial(lstm, x), "lstm(x, out=y)": partial(lstm, x, out=out)}
            self.setting = fastest(ways)
            self.call = ways[self.setting]

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        if self._stream is not None:
            self._stream.state = self._state
            self._stream.step()
            stepped: FloatArray = np.array(self._stream.output)
            return stepped.reshape(1, -1, stepped.shape[-1])
        y: FloatArray = self.call()[0]
        return y
