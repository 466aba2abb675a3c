"""This package, called as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np

import fusedlstm

from ...weights import FloatArray, LSTMWeights
from ..cases import State
from .base import Engine, fastest


class FusedLSTM(Engine):
    """``lstm(x)`` for sequences; for single steps the faster of the stream and, with several threads, a call."""

    name = "fusedlstm"
    needs = ("fusedlstm",)
    install = "fusedlstm"
    dtype: ClassVar[str] = "float32"
    products: ClassVar[str | None] = None

    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None:
        fusedlstm.set_num_threads(threads)
        lstm: Any = fusedlstm.LSTM(weights).astype(self.dtype, self.products)
        self._state, self._stream = state, None
        ways: dict[str, Callable[[], Any]]
        if state is not None and weights.bidirectional:
            ways = {"lstm(x, state=...)": partial(lstm, x, state=state)}
        elif state is not None:
            stream = lstm.stream(batch_size=x.shape[1])
            ways = self._steps(stream, x[0].reshape(stream.input.shape))
            if threads > 1:  # a stream runs on its caller's thread alone
                ways["lstm(x, state=...)"] = partial(lstm, x, state=state)
        else:
            out = np.empty((*x.shape[:2], weights.hidden_size * len(weights.layers[0])), np.float32)
            ways = {"lstm(x)": partial(lstm, x), "lstm(x, out=y)": partial(lstm, x, out=out)}
        self.setting = fastest(ways)
        self.call = ways[self.setting]
        if state is not None and self.setting != "lstm(x, state=...)":
            self._stream = stream

    @staticmethod
    def _steps(stream: Any, x: FloatArray) -> dict[str, Callable[[], Any]]:
        """Ways to make a step: x is in place already, as peers have theirs bound."""
        stream.input[...] = x
        return {"stream.step()": stream.step}

    def y(self) -> FloatArray:
        """Call once, from the initial state."""
        if self._stream is not None:
            self._stream.state = self._state
            stepped: FloatArray = np.array(self.call())
            return stepped.reshape(1, -1, stepped.shape[-1])
        y: FloatArray = self.call()[0]
        return y


class FreshSample(FusedLSTM):
    """A step of the stream with a sample that is not yet in its place, as a live one never is."""

    name = "fusedlstm, a fresh sample"

    @staticmethod
    def _steps(stream: Any, x: FloatArray) -> dict[str, Callable[[], Any]]:
        """Ways to make a step."""

        def fill_and_step() -> Any:
            stream.input[...] = x
            return stream.step()

        return {"stream.input[...] = x; stream.step()": fill_and_step, "stream.step(x)": partial(stream.step, x)}
