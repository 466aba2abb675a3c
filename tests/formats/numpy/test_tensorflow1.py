"""TensorFlow 1's cells in npz files: its names, its gate order, and what it adds at run time."""

import io
import pathlib
import zipfile

import fuzz
import numpy as np
import pytest
import reference
import tensorflow1

import fusedlstm as fl
from fusedlstm import formats

DATA = pathlib.Path(__file__).parents[2] / "data"
SCOPES = ["rnn/lstm_cell/", "rnn/basic_lstm_cell/", "a/multi_rnn_cell/cell_0/lstm_cell/", "lstm_cell_1/", ""]
CONFIGS = [
    {},
    {"proj": 3},
    {"peepholes": True},
    {"proj": 3, "peepholes": True, "cell_clip": 0.2, "proj_clip": 0.1, "forget_bias": 0.5},
    {"cell_clip": 0.15},
    {"forget_bias": 0.0},
]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def check(path, arrays, rng, prefix=None, **settings):
    weights = formats.open(path).load(fl.LSTMWeights, prefix)
    x = rng.normal(size=(2, 7, weights.input_size)).astype(np.float32)
    y_, h_, c_ = tensorflow1.run(arrays, x, **settings)
    for y, (h, c) in (reference.lstm(weights, x), fl.LSTM(weights)(x)):
        for ours, theirs in ((y, y_), (h[0], h_), (c[0], c_)):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    return weights


@pytest.mark.parametrize(
    "name, prefix",
    [
        ("plain", "plain/rnn/basic_lstm_cell"),
        ("full", "full/rnn/lstm_cell"),
        ("stack", "stack/rnn/multi_rnn_cell"),
        ("backward", "both/bidirectional_rnn/bw/lstm_cell"),
    ],
)
def test_stored_file(name, prefix):
    """What TensorFlow computed (data/make_tensorflow1.py)."""
    expected = np.load(DATA / "tensorflow1_outputs.npz")
    weights = formats.open(DATA / "tensorflow1_cells.npz").load(fl.LSTMWeights, prefix)
    for y, (h, c) in (reference.lstm(weights, expected["x"]), fl.LSTM(weights)(expected["x"])):
        for what, ours in (("y", y), ("h", h[-1]), ("c", c[-1])):
            if f"{name}_{what}" in expected:
                np.testing.assert_allclose(ours, expected[f"{name}_{what}"], rtol=0, atol=5e-7)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("suffix", ["", ":0"])
def test_cells(tmp_path, rng, config, scope, suffix):
    kinds = {key: config[key] for key in ("proj", "peepholes") if key in config}
    settings = {key: value for key, value in config.items() if key not in kinds}
    arrays = tensorflow1.variables(rng, "", 4, 5, **kinds)
    named = {f"{scope}{name}{suffix}": array for name, array in arrays.items()}
    for place in {scope, ""}:
        np.savez(tmp_path / "a.npz", **named, **{place + key: value for key, value in settings.items()}, step=3)
        assert list(formats.open(tmp_path / "a.npz").expect(fl.LSTMWeights)) == [scope.removesuffix("/")]
        weights = check(tmp_path / "a.npz", arrays, rng, **settings)
    assert weights.plain == (not {"peepholes", "cell_clip", "proj_clip"} & set(config))


def test_whole_numbers_as_settings(tmp_path, rng):
    arrays = tensorflow1.variables(rng, "", 4, 5)
    np.savez(tmp_path / "a.npz", **arrays, forget_bias=2, cell_clip=3)
    check(tmp_path / "a.npz", arrays, rng, forget_bias=2.0, cell_clip=3.0)


def test_the_cell_that_has_no_forget_bias(tmp_path, rng):
    arrays = tensorflow1.variables(rng, "", 4, 5)
    scope = "cudnn_lstm/rnn/cudnn_compatible_lstm_cell/"
    np.savez(tmp_path / "a.npz", **{scope + name: array for name, array in arrays.items()})
    check(tmp_path / "a.npz", arrays, rng, forget_bias=0.0)


def test_several(tmp_path, rng):
    """A bidirectional_dynamic_rnn and a MultiRNNCell beside dense layers and an LSTM of Keras."""
    scopes = {"bidirectional_rnn/fw/lstm_cell/": 3, "bidirectional_rnn/bw/lstm_cell/": 3}
    scopes |= {"rnn/multi_rnn_cell/cell_0/basic_lstm_cell/": 3, "rnn/multi_rnn_cell/cell_1/basic_lstm_cell/": 4}
    arrays = {scope: tensorflow1.variables(rng, "", size, 4) for scope, size in scopes.items()}
    everything = {scope + name: array for scope, named in arrays.items() for name, array in named.items()}
    everything |= {"dense/kernel": np.ones((20, 8), np.float32), "dense/bias": np.ones(8, np.float32)}
    everything |= {"lstm/kernel": np.ones((3, 8)), "lstm/recurrent_kernel": np.ones((2, 8)), "lstm/bias": np.ones(8)}
    everything |= {"gru_cell/gates/kernel": np.ones((8, 8)), "gru_cell/gates/bias": np.ones(8)}
    np.savez(tmp_path / "a.npz", **everything)
    found = formats.open(tmp_path / "a.npz").expect(fl.LSTMWeights)
    assert sorted(found) == sorted(["lstm", *(scope.removesuffix("/") for scope in scopes)])
    assert found["lstm"]().hidden_size == 2
    check(tmp_path / "a.npz", arrays["bidirectional_rnn/fw/lstm_cell/"], rng, "bidirectional_rnn/fw/lstm_cell")
    x = rng.normal(size=(2, 7, 3)).astype(np.float32)
    backward = formats.open(tmp_path / "a.npz").load(fl.LSTMWeights, "bidirectional_rnn/bw/lstm_cell")
    y_, _, _ = tensorflow1.run(arrays["bidirectional_rnn/bw/lstm_cell/"], x[:, ::-1])
    for y, _ in (reference.lstm(backward, x), fl.LSTM(backward)(x)):
        np.testing.assert_allclose(y, y_[:, ::-1], rtol=0, atol=1e-6)
    stack = formats.open(tmp_path / "a.npz").load(fl.LSTMWeights, "rnn/multi_rnn_cell")
    y_ = x
    for k in range(2):
        y_, _, _ = tensorflow1.run(arrays[f"rnn/multi_rnn_cell/cell_{k}/basic_lstm_cell/"], y_)
    for y, _ in (reference.lstm(stack, x), fl.LSTM(stack)(x)):
        np.testing.assert_allclose(y, y_, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kernel": (9, 22)}, r"kernel: expected shape \(input \+ output, 4 \* hidden\), found \(9, 22\)"),
        ({"kernel": (3, 20)}, r"kernel: expected more than 3 rows"),
        ({"kernel": (9,)}, r"kernel: expected shape"),
        ({"kernel": (9, 0)}, r"kernel: expected shape"),
        ({"bias": (19,)}, r"bias: expected shape \(20,\), found \(19,\)"),
        ({"bias": None}, "kernel: expected a bias beside it"),
        ({"w_i_diag": (4,)}, r"w_i_diag: expected shape \(5,\)"),
        ({"w_o_diag": None}, "w_i_diag: expected all of w_i_diag, w_f_diag, w_o_diag, found 2 of them"),
        ({"projection/kernel": (4, 3)}, r"projection/kernel: expected shape \(5, output\)"),
        ({"projection/kernel": (5, 0)}, r"projection/kernel: expected shape \(5, output\)"),
        ({"forget_bias": (2,)}, r"forget_bias: expected one number, found shape \(2,\)"),
    ],
    ids=str,
)
def test_shapes_that_do_not_fit(tmp_path, rng, change, message):
    arrays = tensorflow1.variables(rng, "", 4, 5, 3, True)
    for name, shape in change.items():
        arrays.pop(name, None)
        if shape is not None:
            arrays[name] = np.ones(shape, np.float32)
    np.savez(tmp_path / "a.npz", **{f"rnn/lstm_cell/{name}": array for name, array in arrays.items()})
    with pytest.raises(fl.FormatError, match=f"rnn/lstm_cell/{message}"):
        formats.open(tmp_path / "a.npz").load(fl.LSTMWeights)


@pytest.mark.parametrize(
    "setting, value, message",
    [
        ("forget_bias", np.nan, "expected a finite number, found nan"),
        ("cell_clip", 0.0, "expected a limit above 0, found 0.0"),
        ("proj_clip", -1.0, "expected a limit above 0, found -1.0"),
        ("cell_clip", "none", "expected one number, found shape .* of <U4"),
    ],
)
def test_settings_that_are_none(tmp_path, rng, setting, value, message):
    np.savez(tmp_path / "a.npz", **tensorflow1.variables(rng, "", 4, 5, 3), **{setting: value})
    with pytest.raises(fl.FormatError, match=f"{setting}: {message}"):
        formats.open(tmp_path / "a.npz").load(fl.LSTMWeights)


@pytest.mark.parametrize("kind", ["layer_norm_basic_lstm_cell", "coupled_input_forget_gate_lstm_cell"])
def test_other_cells(tmp_path, rng, kind):
    np.savez(tmp_path / "a.npz", **tensorflow1.variables(rng, f"rnn/{kind}/", 4, 5))
    with pytest.raises(fl.FormatError, match=f"rnn/{kind}: expected a BasicLSTMCell or LSTMCell, found {kind}"):
        formats.open(tmp_path / "a.npz").load(fl.LSTMWeights)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("names", ["tensorflow", "pytorch"])
def test_fuzz(tmp_path, rng, names, count):
    file = io.BytesIO()
    arrays = tensorflow1.variables(rng, "lstm_cell/", 3, 2, 1, True) | {"forget_bias": np.float32(1)}
    if names == "pytorch":
        arrays = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}
        arrays = {name: np.ones(shape, np.float32) for name, shape in arrays.items()}
    np.savez(file, **arrays)
    assert zipfile.ZipFile(file).namelist()
    files = (fuzz.zip_of(rng, file.getvalue()) for _ in range(count))
    assert fuzz.survives(tmp_path / "a.npz", files, seconds=1.0, megabytes=4) > count / 4
