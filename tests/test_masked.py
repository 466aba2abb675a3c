"""Masked arrays are refused wherever an array is taken: NumPy would drop their mask without a word."""

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl


@pytest.fixture
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 3, 4))


X = np.ma.masked_less(np.ones((2, 5, 3), np.float32), 0)
MASK = r"expected an array without a mask, found a masked one; fill it \(.filled\(0\)\), .*lengths= or mask="


def calls(lstm):
    x, h = X.filled(0), np.zeros((1, 2, 4), np.float32)
    conv = fl.ConvLSTM(fl.ConvLSTMWeights(np.ones((4, 3, 1)), np.ones((4, 3, 1)), np.ones(4)))
    pool = fl.StreamPool(lstm, 2)
    ids = [pool.open(), pool.open()]
    stream = lstm.stream(2)
    state = dict(lstm.weights.layers[0][0].arrays)
    own = {"weight_ih_l0": state["weight_ih"], "weight_hh_l0": state["weight_hh"]}
    masked = np.ma.array
    return {
        "x": lambda: lstm(X),
        "a list of them": lambda: lstm([X[0], X[1]]),
        "state": lambda: lstm(x, (masked(h), h)),
        "c": lambda: lstm(x, (h, masked(h))),
        "lengths": lambda: lstm(x, lengths=masked([1, 2])),
        "mask": lambda: lstm(x, mask=masked(np.ones((2, 5), bool))),
        "out": lambda: lstm(x, out=masked(np.empty((2, 5, 4), np.float32))),
        "weights": lambda: fl.DirectionWeights(masked(state["weight_ih"]), state["weight_hh"]),
        "ConvLSTM": lambda: conv(masked(np.ones((1, 2, 5, 1), np.float32))),
        "step": lambda: stream.step(X[:, 0]),
        "process": lambda: stream.process(X.swapaxes(0, 1)),
        "pool.step": lambda: pool.step(ids, X[:, 0]),
        "ids": lambda: pool.step(masked(ids), x[:, 0]),
        "pool.process": lambda: pool.process({ids[0]: X[0]}),
        "from_flax": lambda: fl.LSTM.from_flax({"dense_i": {"kernel": masked(np.ones((3, 8)))}, "dense_h": {}}),
        "from_state_dict": lambda: fl.LSTM.from_state_dict({**own, "weight_ih_l0": masked(own["weight_ih_l0"])}),
    }


NAMES = (
    *("x", "a list of them", "state", "c", "lengths", "mask", "out", "weights", "ConvLSTM", "step", "process"),
    *("pool.step", "ids", "pool.process", "from_flax", "from_state_dict"),
)


@pytest.mark.parametrize("name", NAMES)
def test_is_refused(lstm, name):
    with pytest.raises((TypeError, ValueError), match="expected an array without a mask, found a masked one; fill it"):
        calls(lstm)[name]()


def test_the_way_out(lstm):
    with pytest.raises(TypeError, match=f"^x: {MASK}"):
        lstm(X)
    y, _ = lstm(X.filled(0), mask=~X.mask.any(-1) if X.mask.any() else np.ones((2, 5), bool))
    np.testing.assert_array_equal(y, lstm(X.data)[0])
