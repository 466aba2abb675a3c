"""The engine's form of an LSTM's weights."""

from __future__ import annotations

import numpy as np

from . import _core
from .weights import LSTMWeights


def pack(weights: LSTMWeights) -> _core.Lstm:
    """Every direction's arrays with its initial state, and the options of the whole."""
    layers = []
    for k, layer in enumerate(weights.layers):
        directions = []
        for d, one in enumerate(layer):
            arrays = dict(one.arrays)
            if weights.initial_state is not None:
                arrays["h_0"], arrays["c_0"] = (np.asarray(part[k])[d] for part in weights.initial_state)
            directions.append((arrays, None if one.plain else one.cell))
        layers.append(directions)
    residual = weights.residual or [False] * len(layers)
    return _core.Lstm(layers, weights.merge, weights.reverse, residual, weights.dtype, weights.products)
