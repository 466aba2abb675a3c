"""States as a stream keeps them: one array (batch, floats of a row), in each row layer by layer h, then c."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arguments import State, float32
from .weights import FloatArray, LSTMWeights

NOT_LIVE = (
    "a bidirectional or reversed LSTM needs the end of the sequence before its first output; call lstm(x) on whole "
    "sequences or on overlapping windows instead"
)
"""Why some models have no streams."""


def initial_state(weights: LSTMWeights) -> FloatArray:
    """One row: what the model has learned, or zeros."""
    if weights.initial_state is None:
        return np.zeros(sum(map(sum, _sizes(weights))), np.float32)
    row: FloatArray = pack_state(weights, weights.initial_state, 1)[0]
    return row


def pack_state(weights: LSTMWeights, state: State, batch: int) -> FloatArray:
    """(h, c), as a call of the LSTM takes and returns them, as one array.

    Raises
    ------
    TypeError, ValueError
        Not a pair of floating-point arrays of these sizes; the batch axis may be left out if it is 1.
    """
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise TypeError(f"state: expected a pair (h, c), found {type(state).__name__}")
    h, c = (
        [_layer(f"state {name}", part, k, len(sizes), batch, size) for k, size in enumerate(sizes)]
        for name, part, sizes in zip("hc", state, _sizes(weights))
    )
    return np.concatenate([part for layer in zip(h, c) for part in layer], axis=1)


def unpack_state(weights: LSTMWeights, states: FloatArray) -> tuple[Any, Any]:
    """The inverse: h and c are (layers, batch, size), or lists of (1, batch, size) where layers differ in size."""
    ends = np.cumsum([size for layer in zip(*_sizes(weights)) for size in layer])
    parts = np.split(states, ends[:-1], axis=1)
    if weights.equal_layers:
        return np.stack(parts[0::2]), np.stack(parts[1::2])
    return [part[None].copy() for part in parts[0::2]], [part[None].copy() for part in parts[1::2]]


def _sizes(weights: LSTMWeights) -> tuple[list[int], list[int]]:
    first = [directions[0] for directions in weights.layers]
    return [one.output_size for one in first], [one.hidden_size for one in first]


def _layer(name: str, part: Any, k: int, layers: int, batch: int, size: int) -> FloatArray:
    if not hasattr(part, "__len__") or len(part) != layers:
        raise ValueError(f"{name}: expected one array for each of {layers} layers, found {np.shape(part)}")
    one = float32(name, part[k])
    if one.shape not in ((batch, size), (1, batch, size)) and not (batch == 1 and one.shape == (size,)):
        raise ValueError(f"{name}: expected shape {(batch, size)} for layer {k}, found {one.shape}")
    return one.reshape(batch, size)
