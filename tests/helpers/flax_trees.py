"""Flax parameter trees made by hand, and the bytes that Flax would write for them."""

import numpy as np
import pytest

import fusedlstm as fl

msgpack = pytest.importorskip("msgpack")


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def saved(content, tmp_path):
    path = tmp_path / "model.msgpack"
    path.write_bytes(content)
    return path


def cell(features=3, hidden=5, seed=0):
    rng = np.random.default_rng(seed)
    inputs = {f"i{gate}": {"kernel": rng.random((features, hidden), np.float32)} for gate in "ifgo"}
    return inputs | {
        f"h{gate}": {"kernel": rng.random((hidden, hidden), np.float32), "bias": rng.random(hidden, np.float32)}
        for gate in "ifgo"
    }


def fused(features=3, hidden=5):
    rng = np.random.default_rng(0)
    h = {"kernel": rng.random((hidden, 4 * hidden), np.float32), "bias": rng.random(4 * hidden, np.float32)}
    return {"dense_i": {"kernel": rng.random((features, 4 * hidden), np.float32)}, "dense_h": h}


def ndarray(array, shape=None, dtype=None, data=None):
    parts = (
        array.shape if shape is None else shape,
        dtype or array.dtype.name,
        array.tobytes() if data is None else data,
    )
    return msgpack.ExtType(1, msgpack.packb(parts))


def packed(tree):
    """The bytes that Flax writes for a tree."""
    return msgpack.packb(tree, default=lambda leaf: ndarray(leaf))


def refused(tree, tmp_path, match, prefix=None, file_only=False):
    """Both doors say no, and the file's says which file."""
    with pytest.raises(fl.FormatError, match=match) as caught:
        fl.LSTM.load(saved(packed(tree), tmp_path), prefix)
    assert "model.msgpack: " in str(caught.value)
    if not file_only:
        with pytest.raises(fl.FormatError, match=match):
            fl.LSTM.from_flax(tree, prefix)
