"""Haiku's and Equinox's LSTMs by their parameters' names, in npz, safetensors, pickles and memory."""

import pathlib
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

import fusedlstm as fl

DATA = pathlib.Path(__file__).parents[2] / "data"


@pytest.fixture
def haiku():
    with np.load(DATA / "haiku.npz") as file:
        return dict(file)


def renamed(params, how):
    """As people flatten Haiku's dictionaries of dictionaries."""
    return {how(*name.rpartition("/")[::2]): value for name, value in params.items()}


SAVED = {
    "slash": lambda module, name: f"{module}/{name}",
    "dot": lambda module, name: f"{module}.{name}",
    "double slash": lambda module, name: f"{module}//{name}",
    "inside a model": lambda module, name: f"model/~/{module}/{name}",
}


def run(lstms, names):
    """Both layers on the stored input, and what Haiku made of it."""
    with np.load(DATA / "haiku_outputs.npz") as file:
        x, y_ = file["x"], file["y"]
    for name in names:
        x, _ = lstms[name](x)
    np.testing.assert_allclose(x, y_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", SAVED)
@pytest.mark.parametrize("kind", ["npz", "safetensors", "memory", "pickle"])
def test_haiku(tmp_path, haiku, how, kind):
    params = renamed(haiku, SAVED[how])
    names = ["lstm", "lstm_1"]
    if how == "inside a model":
        names = [f"model/~/{name}" for name in names]
    if kind == "memory":
        lstms = {name: fl.LSTM.from_state_dict(params, name, batch_first=False) for name in names}
    else:
        path = tmp_path / "a"
        if kind == "npz":
            np.savez(tmp_path / "a.npz", **params)
            path = tmp_path / "a.npz"
        elif kind == "safetensors":
            save_file(params, path)
        else:
            path.write_bytes(pickle.dumps(params))
        lstms = fl.LSTM.load_all(path, batch_first=False)
        assert sorted(lstms) == names
    run(lstms, names)


def test_haikus_own_dictionaries(tmp_path, haiku):
    """As they are pickled, with NumPy's arrays and JAX's."""
    nested = {}
    for name, value in haiku.items():
        module, _, own = name.rpartition("/")
        nested.setdefault(module, {})[own] = value
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(nested))
    run(fl.LSTM.load_all(tmp_path / "a.pkl", batch_first=False), ["lstm", "lstm_1"])
    jax = pytest.importorskip("jax")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(jax.tree_util.tree_map(jax.numpy.asarray, nested)))
    run(fl.LSTM.load_all(tmp_path / "b.pkl", batch_first=False), ["lstm", "lstm_1"])


def test_what_is_no_haiku_lstm(tmp_path, haiku):
    def refused(params, match):
        np.savez(tmp_path / "a.npz", **params)
        with pytest.raises(fl.FormatError, match=match):
            fl.LSTM.load(tmp_path / "a.npz", "lstm")

    refused({**haiku, "lstm/layer_norm/scale": np.ones(5)}, "lstm/layer_norm/scale: expected only w and b under 'lstm'")
    refused(
        {**haiku, "lstm/linear/w": np.ones((11, 19))}, r"lstm/linear/w: expected shape \(input \+ hidden, 4 \* hidden\)"
    )
    refused({**haiku, "lstm/linear/w": np.ones((5, 20))}, "lstm/linear/w: expected shape")
    refused({**haiku, "lstm/linear/b": np.ones(19)}, r"lstm/linear/b: expected shape \(20,\), found \(19,\)")
    refused({"mlp/linear/w": np.ones((11, 20)), "mlp/linear/b": np.ones(20)}, "expected an LSTM, found none")


def equinox(params, x):
    """eqx.nn.LSTMCell along time, as its documentation has it."""
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    h = c = jnp.zeros(params["weight_hh"].shape[1])
    ys = []
    for one in x:
        lin = params["weight_ih"] @ one + params["weight_hh"] @ h + params["bias"]
        i, f, g, o = jnp.split(lin, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        ys.append(h)
    return np.asarray(jnp.stack(ys))


@pytest.mark.parametrize("path", ["", ".", ".cell.", "encoder/cell/", ".layers[0].cell.", ".layers[1]['a']."])
def test_equinox(tmp_path, path):
    rng = np.random.default_rng(0)
    shapes = {"weight_ih": (16, 3), "weight_hh": (16, 4), "bias": (16,)}
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    np.savez(tmp_path / "a.npz", **{f"{path}{name}": value for name, value in params.items()})
    save_file({f"{path}{name}": value for name, value in params.items()}, tmp_path / "a.safetensors")
    x = rng.normal(size=(7, 3)).astype(np.float32)
    for file in ("a.npz", "a.safetensors"):
        lstm = fl.LSTM.load(tmp_path / file)
        np.testing.assert_allclose(lstm(x)[0], equinox(params, x), rtol=0, atol=1e-6)


def test_what_is_no_equinox_cell(tmp_path):
    shapes = {"c.weight_ih": (16, 3), "c.weight_hh": (16, 4), "c.bias": (16,)}
    params = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    save_file(params, tmp_path / "a.safetensors", metadata={"format": "pt"})  # a cell of someone's own in PyTorch
    with pytest.raises(fl.FormatError, match="c.bias: expected the tensors of nn.LSTM .*another cell's"):
        fl.LSTM.load(tmp_path / "a.safetensors")
    for beside in ("c.bias_n", "c.norm.weight"):
        np.savez(tmp_path / "b.npz", **params, **{beside: np.ones(4)})
        with pytest.raises(fl.FormatError, match=f"{beside}: expected the tensors of nn.LSTM"):
            fl.LSTM.load(tmp_path / "b.npz")
    gru = {
        "c.weight_ih": np.ones((12, 3)),
        "c.weight_hh": np.ones((12, 4)),
        "c.bias": np.ones(12),
        "c.bias_n": np.ones(4),
    }
    np.savez(tmp_path / "c.npz", **gru)
    with pytest.raises(fl.FormatError, match="expected an LSTM, found none .*'c' is a GRU, no LSTM"):
        fl.LSTM.load(tmp_path / "c.npz")
