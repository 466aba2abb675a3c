"""Shared parts of the tests: random LSTMs, and every instruction set of this machine."""

import os
from dataclasses import dataclass

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("SKBUILD_EDITABLE_VERBOSE", "0")  # an editable install prints into what programs of ours print

import numpy as np
import pytest

import fusedlstm as fl
from fusedlstm import _core

ISAS = _core.available_isas()


@pytest.fixture(params=ISAS)
def isa(request):
    """Run the test once per instruction set; LSTMs made in it use that one."""
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


@pytest.fixture
def threads():
    """set_num_threads, undone after the test."""
    before = fl.get_num_threads()
    yield fl.set_num_threads
    fl.set_num_threads(before)


@dataclass
class Case:
    """A random LSTM with data for it."""

    weights: fl.LSTMWeights
    x: np.ndarray  # (batch, time, input)
    state: tuple[np.ndarray, np.ndarray] | None
    lengths: np.ndarray | None


def random_weights(rng, input_size, hidden, layers=1, directions=1, proj=0, bias=True, **kwargs):
    """Uniform in +-1/sqrt(hidden), as PyTorch initialises."""
    bound = 1 / np.sqrt(hidden)

    def uniform(*shape):
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    out = proj or hidden
    return fl.LSTMWeights(
        [
            [
                fl.DirectionWeights(
                    uniform(4 * hidden, directions * out if k else input_size),
                    uniform(4 * hidden, out),
                    uniform(4 * hidden) if bias else None,
                    uniform(proj, hidden) if proj else None,
                )
                for _ in range(directions)
            ]
            for k in range(layers)
        ],
        **kwargs,
    )


def random_case(rng, *, smallest_batch=0, largest=130, longest=40, shortest_length=0):
    """One of the configurations that the issue names: layers 1-3, both directions, projection, lengths, states."""
    layers, directions = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    hidden, input_size = (int(size) for size in rng.integers(1, largest + 1, 2))
    proj = int(rng.integers(1, hidden)) if hidden > 1 and rng.random() < 0.4 else 0
    batch, time = int(rng.integers(smallest_batch, 10)), int(rng.integers(1, longest + 1))
    weights = random_weights(rng, input_size, hidden, layers, directions, proj, bias=rng.random() < 0.7)
    state = None
    if rng.random() < 0.5:
        sizes = (proj or hidden, hidden)
        state = tuple(rng.uniform(-1, 1, (layers * directions, batch, size)).astype(np.float32) for size in sizes)
    lengths = rng.integers(shortest_length, time + 1, batch) if rng.random() < 0.5 else None
    return Case(weights, rng.standard_normal((batch, time, input_size)).astype(np.float32), state, lengths)


def errors(found, expected):
    """The largest and the root-mean-square difference over y, h and c."""
    (y, (h, c)), (y_ref, (h_ref, c_ref)) = found, expected
    pairs = ((y, y_ref), (h, h_ref), (c, c_ref))
    for a, b in pairs:
        assert a.shape == b.shape
    difference = np.concatenate([(a.astype(float) - b).ravel() for a, b in pairs])
    if not difference.size:
        return 0.0, 0.0
    return float(np.abs(difference).max()), float(np.sqrt(np.mean(difference**2)))


def largest_error(found, expected):
    """Largest absolute difference over y, h and c."""
    return errors(found, expected)[0]
