"""Run what a reader made of a file: the one place that says with what."""

import numpy as np
import reference


def run(weights, x, state=None, lengths=None, mask=None):
    """y, (h, c) as LSTM's call gives them, with the axes that weights.batch_first says."""
    x = x if weights.batch_first else np.swapaxes(x, 0, 1)
    y, states = reference.lstm(weights, x, state, lengths, mask)
    if not weights.batch_first:
        y = tuple(np.swapaxes(one, 0, 1) for one in y) if isinstance(y, tuple) else np.swapaxes(y, 0, 1)
    return y, states
