"""What a pool of an LSTM steps: rows of h and c."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._arguments import FLOAT32, State, check_out, float32
from ._slots import Integers
from ._states import NOT_LIVE, initial_state, pack_state, unpack_state
from .lstm import LSTM
from .weights import FloatArray


class LSTMRows:
    """Streams of an LSTM: how a state is a row, and how rows step.

    Attributes
    ----------
    first : ndarray
        The row of a stream that begins: layer by layer h, then c.
    """

    def __init__(self, lstm: LSTM) -> None:
        if lstm.bidirectional or lstm.weights.reverse:
            raise ValueError(f"pool: {NOT_LIVE}")
        self.model, self._core = lstm, lstm._core
        self.first = initial_state(lstm.weights)
        self._input_size, self._output_size = lstm.weights.input_size, lstm.weights.output_size

    def pack(self, state: State) -> FloatArray:
        """(h, c) as a row."""
        row: FloatArray = pack_state(self.model.weights, state, 1)[0]
        return row

    def unpack(self, row: FloatArray) -> State:
        """The inverse."""
        return unpack_state(self.model.weights, row[None])

    def one(self, x: npt.ArrayLike) -> tuple[FloatArray]:
        """The input of one stream's step, copied."""
        row = np.array(float32("x", x))
        if row.shape != (self._input_size,):
            raise ValueError(f"x: expected shape ({self._input_size},), found {row.shape}")
        return (row,)

    def steps(self, count: int, args: Sequence[npt.ArrayLike], named: Mapping[str, npt.ArrayLike]) -> tuple[FloatArray]:
        """The inputs of a step of so many streams."""
        if len(args) + len(named) != 1 or not {"x"} >= named.keys():
            raise TypeError(f"expected x alone, found {len(args)} arrays and {', '.join(named) or 'no names'}")
        x = float32("x", args[0] if args else named["x"])
        if not (x.flags.c_contiguous and x.flags.aligned):
            x = np.array(x, order="C")
        if x.shape != (count, self._input_size):
            raise ValueError(f"x: expected shape ({count}, {self._input_size}), a row for each id, found {x.shape}")
        return (x,)

    def step(self, states: FloatArray, slots: Integers, given: tuple[FloatArray], out: FloatArray) -> FloatArray:
        """Step the rows of some slots."""
        if len(slots):
            _core.step_slots(self._core, given[0], out, states, slots, None)
        return out

    def chunks(self, ids: Sequence[int], given: Sequence[Any]) -> tuple[FloatArray, Integers]:
        """Several steps of each stream."""
        arrays = [float32(f"chunk of {id}", chunk) for id, chunk in zip(ids, given, strict=True)]
        for id, chunk in zip(ids, arrays):
            if chunk.ndim != 2 or chunk.shape[1] != self._input_size:
                raise ValueError(f"chunk of {id}: expected shape (time, {self._input_size}), found {chunk.shape}")
        lengths = np.array([len(chunk) for chunk in arrays], np.int64)
        return np.concatenate(arrays) if arrays else np.empty((0, self._input_size), np.float32), lengths

    def process(self, states: FloatArray, slots: Integers, given: tuple[FloatArray, Integers]) -> list[FloatArray]:
        """Run them; the outputs of each stream."""
        x, lengths = given
        y = np.empty((len(x), self._output_size), np.float32)
        if len(x):
            _core.step_slots(self._core, x, y, states, slots, lengths)
        return np.split(y, np.cumsum(lengths)[:-1]) if len(lengths) else []

    def outputs_for(self, rows: int, out: FloatArray | None) -> FloatArray:
        """Where a step writes.

        Raises
        ------
        TypeError, ValueError
            `out` does not fit.
        """
        shape = (rows, self._output_size)
        if out is None:
            return np.empty(shape, np.float32)
        if type(out) is not np.ndarray or out.dtype is not FLOAT32 or not out.flags.carray:
            check_out(out)  # says what is wrong with most of them
        if out.shape != shape:
            raise ValueError(f"out: expected shape {shape}, found {out.shape}")
        if not out.flags.c_contiguous:
            raise ValueError(f"out: expected a C-contiguous array, found strides {out.strides}")
        return out
