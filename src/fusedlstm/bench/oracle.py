"""The yardstick of every engine here: an LSTM in float64 NumPy, from the definition, a batch at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..weights import DirectionWeights, FloatArray, LSTMWeights
from .cases import State

Array = npt.NDArray[np.float64]


def lstm(weights: LSTMWeights, x: FloatArray, state: State | None = None) -> Array:
    """Compute y (time, batch, directions * hidden) of x (time, batch, input); no projection."""
    y: Array = x.astype(np.float64)
    for k, layer in enumerate(weights.layers):
        directions = []
        for d, one in enumerate(layer):
            row = k * len(layer) + d
            start = np.zeros((2, x.shape[1], one.hidden_size))
            if state is not None:
                start[:] = [part[row] for part in state]
            backward = slice(None, None, -1 if d else 1)
            directions.append(_direction(one, y[backward], *start)[backward])
        y = np.concatenate(directions, axis=2)
    return y


def errors(y: FloatArray, expected: Array) -> tuple[float, float]:
    """Compute the largest and the root-mean-square difference; infinite if there is a NaN."""
    if y.shape != expected.shape:
        raise ValueError(f"expected y of shape {expected.shape}, found {y.shape}")
    difference = np.nan_to_num(np.abs(y - expected), nan=np.inf)
    return float(difference.max()), float(np.sqrt(np.mean(difference**2)))


def _direction(one: DirectionWeights, x: Array, h: Array, c: Array) -> Array:
    bias = 0.0 if one.bias is None else one.bias.astype(np.float64)
    projected = x @ one.weight_ih.T.astype(np.float64) + bias
    recurrent = one.weight_hh.T.astype(np.float64)
    y = []
    for z in projected:
        i, f, g, o = np.split(z + h @ recurrent, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        y.append(h)
    return np.stack(y)


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))
