"""ELMo's weights, laid out as its training code writes them: PyTorch's numbers, with what ELMo adds around its LSTM."""

import json
import warnings

import numpy as np
import pytest
from run import run

import fusedlstm as fl
from fusedlstm import formats

h5py = pytest.importorskip("h5py")
torch = pytest.importorskip("torch")

FEATURES, HIDDEN, PROJECTED = 4, 6, 4


def cell_of(way, k):
    return f"RNN_{way}/RNN/MultiRNNCell/Cell{k}/LSTMCell"


@pytest.fixture
def path(tmp_path):
    """Two directions of three layers; large weights, so that both clips are reached."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "lm_weights.hdf5", "w") as file:
        for way in (0, 1):
            for k in range(3):
                for name, shape in {
                    "W_0": ((PROJECTED if k else FEATURES) + PROJECTED, 4 * HIDDEN),
                    "B": (4 * HIDDEN,),
                    "W_P_0": (HIDDEN, PROJECTED),
                }.items():
                    file[f"{cell_of(way, k)}/{name}"] = rng.normal(size=shape, scale=1.5).astype(np.float32)
        file["char_embed"] = np.zeros((262, 16), np.float32)
    return tmp_path / "lm_weights.hdf5"


def elmo(path, way, x, clip=3, forget_bias=1.0, skip=True):
    """One direction as allennlp's LstmCellWithProjection and ElmoLstm define it; x (batch, time, features)."""
    reached = {"cell": 0.0, "projection": 0.0}
    with h5py.File(path) as file:
        for k in range(3):
            kernel, bias, projection = (
                torch.from_numpy(file[f"{cell_of(way, k)}/{n}"][()]).double() for n in ("W_0", "B", "W_P_0")
            )
            h, c, y = (
                torch.zeros(size, dtype=x.dtype)
                for size in ((len(x), PROJECTED), (len(x), HIDDEN), (*x.shape[:2], PROJECTED))
            )
            for t in reversed(range(x.shape[1])) if way else range(x.shape[1]):
                i, j, f, o = (torch.cat([x[:, t], h], 1) @ kernel + bias).chunk(4, 1)
                c = torch.sigmoid(f + forget_bias) * c + torch.sigmoid(i) * torch.tanh(j)
                reached["cell"] = max(reached["cell"], float(c.abs().max()))
                c = c.clamp(-clip, clip)
                h = (torch.sigmoid(o) * torch.tanh(c)) @ projection
                reached["projection"] = max(reached["projection"], float(h.abs().max()))
                y[:, t] = h = h.clamp(-clip, clip)
            x = y + x if k and skip else y
    return x.numpy(), reached


@pytest.mark.parametrize("way", [0, 1])
def test_matches_the_definition(way, path):
    x = np.random.default_rng(1).normal(size=(3, 8, FEATURES)).astype(np.float32)
    wanted, reached = elmo(path, way, torch.from_numpy(x).double())
    assert min(reached.values()) > 3
    assert list(formats.open(path).expect(fl.LSTMWeights)) == ["RNN_0", "RNN_1"]
    weights = formats.open(path).load(fl.LSTMWeights, f"RNN_{way}")
    assert (weights.input_size, weights.hidden_size, weights.proj_size, weights.num_layers) == (4, 6, 4, 3)
    np.testing.assert_allclose(run(weights, x)[0], wanted, rtol=0, atol=1e-5)


OPTIONS = {"projection_dim": 4, "dim": 6, "n_layers": 3, "cell_clip": 1, "proj_clip": 1}


@pytest.mark.parametrize(
    "config, said",
    [
        ({}, {}),
        ({"forget_bias": 0.0}, {"forget_bias": 0.0}),
        ({"cell_clip": 2, "proj_clip": 2.0}, {"clip": 2}),
        ({"use_skip_connections": False, "cell_clip": None, "proj_clip": None}, {"skip": False, "clip": 1e30}),
        ({"lstm": OPTIONS | {"use_skip_connections": True}, "char_cnn": {"n_filters": 5}}, {"clip": 1}),
        ({"lstm": OPTIONS}, {"clip": 1, "skip": False}),  # as its code takes what options.json leaves out
    ],
)
def test_what_the_weights_leave_out_is_stated(config, said, path, tmp_path):
    """By a dict, or the options.json beside the weights."""
    x = np.random.default_rng(1).normal(size=(3, 8, FEATURES)).astype(np.float32)
    wanted, _ = elmo(path, 0, torch.from_numpy(x).double(), **said)
    (tmp_path / "options.json").write_text(json.dumps(config))
    for stated in (config, tmp_path / "options.json"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", fl.AssumptionWarning)
            lstm = fl.LSTM.load(path, "RNN_0", config=stated, batch_first=True)
            np.testing.assert_allclose(lstm(x)[0], wanted, rtol=0, atol=2e-5)
    with pytest.warns(fl.AssumptionWarning, match=r"taken as every published ELMo \(forget_bias 1.0, .*options.json"):
        fl.LSTM.load(path, "RNN_0")


@pytest.mark.parametrize(
    "config, message",
    [
        ({"lstm": OPTIONS | {"dim": 7}}, "config, dim: expected 6, as in the file, found 7"),
        ({"cell_clip": "3"}, "config, cell_clip: expected a number, found '3'"),
        ({"cell_clip": -1}, "cell_clip: expected a number above 0, found -1"),
        ({"use_skip_connections": 1}, "config, use_skip_connections: expected true or false"),
        ({"clip": 3}, "config: expected ELMo's options.json or a dict with any of forget_bias"),
    ],
)
def test_stated_wrongly(config, message, path):
    with pytest.raises(fl.FormatError, match=message):
        fl.LSTM.load(path, "RNN_0", config=config)


def change(path, name, shape):
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = np.zeros(shape, np.float32)


def test_refused(path):
    with pytest.raises(fl.FormatError, match="expected one LSTM, found 2; choose one with prefix=: 'RNN_0', 'RNN_1'"):
        fl.LSTM.load(path)
    with h5py.File(path, "r+") as file:
        file[f"{cell_of(0, 1)}/W_F_diag"] = np.zeros(HIDDEN, np.float32)
        del file["RNN_1/RNN/MultiRNNCell/Cell1"]
    with pytest.raises(fl.FormatError, match="'RNN_0', cell 1: expected B, W_0, W_P_0, found B, W_0, W_F_diag, W_P_0"):
        fl.LSTM.load(path, "RNN_0")
    with pytest.raises(fl.FormatError, match=r"'RNN_1': expected cells numbered from 0, found \[0, 2\]"):
        fl.LSTM.load(path, "RNN_1")


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("W_0", (8, 20), r"expected W_0 \(input \+ P, 4H\) beside W_P_0 \(H, P\), found \(8, 20\) and \(6, 4\)"),
        ("W_0", (4, 24), r"found \(4, 24\)"),
        ("W_0", (24,), r"found \(24,\)"),
        ("W_P_0", (6,), r"found \(8, 24\) and \(6,\)"),
        ("B", (6,), r"LSTMCell/B': expected shape \(24,\), found \(6,\)"),
        ("W_0", (9, 24), r"layers\[1\]\[0\].weight_ih: expected an input size of 4, found 5"),
    ],
)
def test_shapes_that_do_not_fit(name, shape, message, path):
    change(path, f"{cell_of(0, 1)}/{name}", shape)
    with pytest.raises(fl.FormatError, match=message):
        fl.LSTM.load(path, "RNN_0")
