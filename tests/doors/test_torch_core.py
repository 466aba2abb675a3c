"""What of _core takes tensors, given nonsense: None or an error each time, and memory that nobody can break."""

import numpy as np
import pytest
from conftest import random_weights
from torch_modules import torch

import fusedlstm as fl
from fusedlstm import _core

pytestmark = pytest.mark.skipif(
    not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"), reason="tensors are exchanged through NumPy"
)


@pytest.fixture(scope="module")
def kind():
    return _core.TensorType(torch.Tensor)


@pytest.fixture(scope="module")
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 3, 4, 2, 2))


@pytest.fixture(scope="module")
def cell():
    return fl.LSTM(random_weights(np.random.default_rng(0), 3, 4))


X, STATE = torch.ones(5, 2, 3), torch.zeros(4, 2, 4)
NONSENSE = {
    "nothing": None,
    "array": np.ones((5, 2, 3), np.float32),
    "double": X.double(),
    "half": X.half(),
    "whole": X.long(),
    "complex": X.cfloat(),
    "meta": X.to("meta"),
    "zeros nowhere": torch._efficientzerotensor(5, 2, 3),
    "sparse": X.to_sparse(),
    "subclass": torch.nn.Parameter(X),
    "scalar": torch.tensor(1.0),
    "narrow": torch.ones(5, 2, 2),
    "flat": torch.ones(3, 3)[0, :0],
    "four axes": torch.ones(1, 5, 2, 3),
    "no steps": torch.ones(0, 2, 3),
    "no rows": torch.ones(5, 0, 3),
    "every second": torch.ones(5, 2, 6)[..., ::2],
    "negated when it is read": torch._neg_view(X),
    "odd address": torch.frombuffer(bytearray(4 * 30 + 1), dtype=torch.uint8)[1:].numpy().view(np.float32),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_inputs(kind, lstm, cell, name):
    given = NONSENSE[name]
    if name == "odd address":
        given = torch.from_numpy(np.lib.stride_tricks.as_strided(given, (5, 2, 3)))
    assert lstm._core.run_tensors(kind, given, False, None, None, None) is None
    stepper = _core.Stepper(cell._core)
    step = given[0] if isinstance(given, torch.Tensor) and given.dim() == 3 and len(given) else given
    if name not in ("no steps", "subclass"):  # of which a step is none any more
        assert stepper.step(kind, step, None, None) is None
    h, _ = stepper.step(kind, X[0], None, None)
    assert np.array_equal(h, cell(X[:1].numpy().swapaxes(0, 1))[0][:, 0])


STATES = {
    "one": (STATE, None),
    "small": (STATE[..., :3], STATE),
    "other rows": (STATE[:, :1], STATE),
    "other order": (torch.zeros(2, 4, 4).transpose(0, 1), STATE),
    "array": (STATE.numpy(), STATE.numpy()),
    "flat": (STATE.flatten(), STATE.flatten()),
}


@pytest.mark.parametrize("name", STATES)
def test_states(kind, lstm, cell, name):
    h, c = STATES[name]
    assert lstm._core.run_tensors(kind, X, False, h, c, None) is None
    part = [one[0] if one is not None and one.ndim == 3 else one for one in (h, c)]
    if name != "other order":
        assert _core.Stepper(cell._core).step(kind, X[0], *part) is None


@pytest.mark.parametrize("lengths", [[6, 1], [-1, 2], [1], [1, 2, 3], []])
def test_lengths(kind, lstm, lengths):
    assert lstm._core.run_tensors(kind, X, False, None, None, np.array(lengths, np.int64)) is None
    assert lstm._core.run_tensors(kind, X, False, None, None, np.array([0, 5])) is not None


def test_types(kind, lstm):
    class Liar:
        __dlpack_c_exchange_api__ = 3

    for wrong in (int, Liar, np.ndarray):
        with pytest.raises((ValueError, TypeError)):
            _core.TensorType(wrong)
    for wrong in (None, 3, X):
        with pytest.raises(TypeError):
            _core.TensorType(wrong)
        with pytest.raises(TypeError):
            lstm._core.run_tensors(wrong, X, False, None, None, None)
        with pytest.raises(TypeError):
            _core.Stepper(wrong)
    for made in (_core.TensorType, _core.Stepper):
        with pytest.raises(TypeError):
            made.__new__(made).array(X) if made is _core.TensorType else made.__new__(made).step(kind, X[0], None, None)
    with pytest.raises(ValueError, match="one layer"):
        _core.Stepper(lstm._core)
    residual = fl.LSTMWeights(random_weights(np.random.default_rng(0), 4, 4).layers, residual=[True], batch_first=True)
    with pytest.raises(ValueError, match="one layer"):
        _core.Stepper(fl.LSTM(residual)._core)
    assert kind.array(X.numpy()) is None and kind.array(None) is None
    assert np.shares_memory(kind.array(X), X.numpy())


def test_steps_of_several_sizes(kind, cell):
    """More sizes of batches than are kept, in turn."""
    stepper, rng = _core.Stepper(cell._core), np.random.default_rng(1)
    for rows in [*range(1, 14), 1, 5, 13]:
        x = rng.standard_normal((rows, 3)).astype(np.float32)
        h, c = (rng.standard_normal((rows, 4)).astype(np.float32) for _ in range(2))
        found = stepper.step(kind, *map(torch.from_numpy, (x, h, c)))
        y, (_, c_n) = cell(x[:, None], (h[None], c[None]))
        assert np.array_equal(found[0], y[:, 0]) and np.array_equal(found[1], c_n[0])
