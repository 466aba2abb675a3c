"""Small HDF5 files for the tests, and what loading them must give."""

import pathlib
import time
import tracemalloc

import numpy as np
import pytest
from reference import lstm as oracle
from run import run

import fusedlstm as fl
from fusedlstm import formats

DATA = pathlib.Path(__file__).parents[1] / "data"
RNG = np.random.default_rng(5)
KERNEL, RECURRENT, BIAS = (RNG.normal(size=size).astype(np.float32) for size in ((3, 8), (2, 8), (8,)))
WEIGHTS = fl.LSTMWeights([[fl.DirectionWeights(KERNEL.T, RECURRENT.T, BIAS)]])
X = RNG.normal(size=(2, 5, 3)).astype(np.float32)


def check(path, scale=1.0, prefix=None, weights=None):
    """Loads, and computes what the oracle computes with KERNEL, RECURRENT and BIAS times a scale."""
    if weights is None:
        weights = fl.LSTMWeights([[fl.DirectionWeights(KERNEL.T * scale, RECURRENT.T * scale, BIAS * scale)]])
    found = formats.open(path).load(fl.LSTMWeights, prefix)
    y, _ = run(found, X if found.batch_first else X.swapaxes(0, 1))
    np.testing.assert_allclose(y if found.batch_first else y.swapaxes(0, 1), oracle(weights, X)[0], rtol=0, atol=1e-5)
    return found


def put(file, group, scale=1.0, names=("0", "1", "2")):
    for name, value in zip(names, (KERNEL, RECURRENT, BIAS), strict=True):
        file[f"{group}/{name}"] = value * scale


def refused(path, match, seconds=5.0, megabytes=8):
    """Loading gives FormatError with this message, soon and without much memory."""
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        with pytest.raises(fl.FormatError, match=match):
            fl.LSTM.load(path)
        assert time.perf_counter() - begin < seconds
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()
