"""Run what a reader made of a file: the one place that says with what."""

import fusedlstm as fl


def run(weights, x, state=None, lengths=None, mask=None):
    """y, (h, c) in the layout that the weights have."""
    return fl.LSTM(weights)(x, state, lengths, mask=mask)
