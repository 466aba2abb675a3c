"""How h and c lie in arrays, said once: by layer, as calls take and return them, and as the engine keeps them.

A call has one array (layers * directions, batch, size) for h and one for c where all layers are of one size, and lists
of (directions, batch, size) where not; the engine has the same numbers, one layer after the other. A stream has one
array (batch, floats of a row), in each row layer by layer h, then c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arguments import State, float32, pair
from .weights import FloatArray, LSTMWeights

NOT_LIVE = (
    "a bidirectional or reversed LSTM needs the end of the sequence before its first output; call lstm(x) on whole "
    "sequences or on overlapping windows instead"
)
"""Why some models have no streams."""

SIZES = ("output_size", "hidden_size")
"""Of h and of c, in each direction of a layer."""


def stacked(weights: LSTMWeights) -> bool:
    """Whether h and c are one array each."""
    return weights.equal_layers


def engine_state(weights: LSTMWeights, state: State, batch: int | None) -> tuple[FloatArray, FloatArray]:
    """The (h, c) of a call as the engine takes it; `batch` is None where x has no batch axis."""
    if stacked(weights):
        return pair(state)
    flat = []
    for name, part, size in zip("hc", _two(state), SIZES):
        shapes = _shapes(weights, size, batch)
        if not isinstance(part, Sequence) or len(part) != len(shapes):
            raise ValueError(f"state {name}: expected a list of {len(shapes)} arrays, one for each layer")
        arrays = [float32(f"state {name}[{k}]", one) for k, one in enumerate(part)]
        for k, (one, shape) in enumerate(zip(arrays, shapes)):
            if one.shape != shape:
                raise ValueError(f"state {name}[{k}]: expected shape {shape}, found {one.shape}")
        flat.append(np.concatenate([one.ravel() for one in arrays]))
    return flat[0], flat[1]


def call_state(weights: LSTMWeights, h: FloatArray, c: FloatArray, batch: int | None) -> tuple[Any, Any]:
    """The inverse."""
    if stacked(weights):
        return h, c

    def split(flat: FloatArray, size: str) -> list[FloatArray]:
        shapes = _shapes(weights, size, batch)
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes)]

    return split(h, SIZES[0]), split(c, SIZES[1])


def initial_state(weights: LSTMWeights) -> FloatArray:
    """One row of a stream: what the model has learned, or zeros."""
    if weights.initial_state is None:
        return np.zeros(sum(size for layer in _live_sizes(weights) for size in layer), np.float32)
    row: FloatArray = pack_state(weights, weights.initial_state, 1)[0]
    return row


def pack_state(weights: LSTMWeights, state: State, batch: int) -> FloatArray:
    """(h, c), as a call of the LSTM takes and returns them, as a stream has it.

    Raises
    ------
    TypeError, ValueError
        Not a pair of floating-point arrays of these sizes; the batch axis may be left out if it is 1.
    """
    h, c = (
        [_layer(f"state {name}", part, k, len(sizes), batch, size) for k, size in enumerate(sizes)]
        for name, part, sizes in zip("hc", _two(state), zip(*_live_sizes(weights)))
    )
    return np.concatenate([part for layer in zip(h, c) for part in layer], axis=1)


def unpack_state(weights: LSTMWeights, states: FloatArray) -> tuple[Any, Any]:
    """The inverse: arrays of their own."""
    ends = np.cumsum([size for layer in _live_sizes(weights) for size in layer])
    parts = np.split(states, ends[:-1], axis=1)
    if stacked(weights):
        return np.stack(parts[0::2]), np.stack(parts[1::2])
    return [part[None].copy() for part in parts[0::2]], [part[None].copy() for part in parts[1::2]]


def _two(state: State) -> State:
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise TypeError(f"state: expected a pair (h, c), found {type(state).__name__}")
    return state


def _shapes(weights: LSTMWeights, size: str, batch: int | None) -> list[tuple[int, ...]]:
    middle = () if batch is None else (batch,)
    return [(len(layer), *middle, getattr(layer[0], size)) for layer in weights.layers]


def _live_sizes(weights: LSTMWeights) -> list[tuple[int, int]]:
    """Of h and c in each layer, where there is one direction."""
    return [(layer[0].output_size, layer[0].hidden_size) for layer in weights.layers]


def _layer(name: str, part: Any, k: int, layers: int, batch: int, size: int) -> FloatArray:
    if not hasattr(part, "__len__") or len(part) != layers:
        raise ValueError(f"{name}: expected one array for each of {layers} layers, found {np.shape(part)}")
    one = float32(name, part[k])
    if one.shape not in ((batch, size), (1, batch, size)) and not (batch == 1 and one.shape == (size,)):
        raise ValueError(f"{name}: expected shape {(batch, size)} for layer {k}, found {one.shape}")
    return one.reshape(batch, size)
