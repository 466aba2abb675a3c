"""Functions that only programs have, against float64 over a wide sample of float32, on every instruction set."""

import math

import numpy as np
import pytest
from graphs import Builder
from planned import run_planned

SMALLEST_NORMAL = 2.0**-126


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# Each with the largest error in units in the last place.
FUNCTIONS = {
    "Floor": (np.floor, 0),
    "Ceil": (np.ceil, 0),
    "Round": (np.rint, 0),
    "Neg": (np.negative, 0),
    "Abs": (np.abs, 0),
    "Sqrt": (np.sqrt, 0.5),
    "Reciprocal": (np.reciprocal, 0.5),
    "Log": (np.log, 1),
    "Erf": (np.vectorize(math.erf, otypes=[float]), 3),
    "Mish": (lambda x: x * np.tanh(softplus(x)), 5),
}


def sample():
    every = np.arange(0, 2**32, 2**32 // 100_003, dtype=np.uint64).astype(np.uint32).view(np.float32)
    grids = [np.linspace(-high, high, 40_001).astype(np.float32) for high in (1, 4, 15, 100)]
    halves = np.arange(-40, 41).astype(np.float32) / 2
    special = np.array([np.nan, np.inf, -np.inf, 2**23 - 0.5, 2**23, 2**24, -(2**23) + 0.5, 0.49999997], np.float32)
    x = np.concatenate([every[np.isfinite(every)], *grids, halves, special])
    return x[~(np.abs(x) < SMALLEST_NORMAL) | (x == 0)]


@pytest.mark.parametrize("op", FUNCTIONS)
def test_accuracy(isa, op):
    """Results within a factor of 128 of the smallest normal number may be flushed to zero."""
    function, limit = FUNCTIONS[op]
    x = sample()
    b = Builder(x=x.shape)
    (y,) = run_planned(b.graph(b(op, "x")), {"x": x})
    with np.errstate(all="ignore"):
        exact = function(x.astype(float))
        rounded = exact.astype(np.float32)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    tiny = finite & (np.abs(exact) < 128 * SMALLEST_NORMAL) & (exact != 0)
    assert np.abs(y[tiny]).max(initial=0) <= 129 * SMALLEST_NORMAL
    seen = finite & ~tiny
    units = np.abs(y[seen] - exact[seen]) / np.spacing(np.abs(rounded[seen])).astype(float)
    assert units.max() <= limit, (units.max(), x[seen][np.argmax(units)])
