"""Keras weights in HDF5 without Keras: stored files, and the legacy layouts."""

import json

import numpy as np
import pytest
from hdf5_files import BIAS, DATA, KERNEL, RECURRENT, X, check, put
from run import run

import fusedlstm as fl
from fusedlstm import formats

h5py = pytest.importorskip("h5py")


@pytest.mark.parametrize(
    "stored, prefix, expected",
    [
        ("keras3.keras", "outer/enc", "keras3_expected.npz"),
        ("keras3.weights.h5", "outer/enc", "keras3_expected.npz"),
        ("keras2.h5", "outer/bi", "keras2_expected.npz"),
    ],
)
def test_stored_files(stored, prefix, expected):
    """Written by Keras 3.15.1 and tf_keras 2.21.0 (data/make_keras*.py), with their outputs."""
    expected = np.load(DATA / expected)
    assert list(formats.open(DATA / stored).expect(fl.LSTMWeights)) == [prefix]
    y, _ = run(formats.open(DATA / stored).load(fl.LSTMWeights), expected["x"])
    np.testing.assert_allclose(y, expected["y"], rtol=0, atol=1e-5)


# The legacy layout, named as tf_keras 2.21 and 2.13 name things (seen in files that they wrote).

LEGACY = ("kernel:0", "recurrent_kernel:0", "bias:0")


def legacy(path, groups, config=None, version="2.21.0"):
    """A legacy file; `groups` maps the path of a cell, below the weights, to a scale."""
    root = "model_weights/" if config else ""
    with h5py.File(path, "w") as file:
        if version:
            file.attrs["keras_version"] = version
        for group, scale in groups.items():
            put(file, root + group, scale, LEGACY)
        names = list({group.split("/")[0]: None for group in groups})
        file[root or "/"].attrs["layer_names"] = [name.encode() for name in names]
        if config:
            file.attrs["model_config"] = json.dumps(config).encode()
    return path


def layer(class_name, name, **config):
    return {"class_name": class_name, "config": {"name": name, **config}}


def lstm_layer(name, **changes):
    config = {"units": 2, "use_bias": True, "activation": "tanh", "recurrent_activation": "sigmoid"}
    return layer("LSTM", name, **(config | {"go_backwards": False, "time_major": False, "implementation": 2} | changes))


def model(*layers, name="sequential"):
    return layer("Sequential", name, layers=[layer("InputLayer", "input", batch_input_shape=[None, None, 3]), *layers])


def test_legacy_names(tmp_path):
    """Nested models are left out of Keras 2's paths, put into Keras 3's, and go_backwards twins are no Bidirectional."""
    groups = {
        "a/a/lstm_cell": 1.0,
        "b/sequential/b/lstm_cell_7": 2.0,
        "outer/enc/lstm_cell_1": 3.0,
        "outer/forward_x/lstm_cell_2": 4.0,
        "outer/backward_x/lstm_cell_3": 5.0,
        "other/other/mid/enc/lstm_cell": 6.0,
        "other/other/end/enc/lstm_cell": 6.5,
        "old/old": 7.0,  # Keras before 2.3 has no lstm_cell
        "oldest": 8.0,  # Keras 3.0 kept only the variables' own names
        "frames/frames/lstm_cell": 9.0,
        "gru/gru/gru_cell": 10.0,
    }
    outer = model(lstm_layer("enc"), lstm_layer("forward_x"), lstm_layer("backward_x"), name="outer")
    other = model(model(lstm_layer("enc"), name="mid"), model(lstm_layer("enc"), name="end"), name="other")
    frames = layer("TimeDistributed", "frames", layer=lstm_layer("inside"))
    config = model(lstm_layer("b"), lstm_layer("a"), outer, other, lstm_layer("old"), lstm_layer("oldest"), frames)
    path = legacy(tmp_path / "m.h5", groups, config)
    with h5py.File(path, "r+") as file:  # a GRU's shapes, so that nothing but the LSTMs is found
        for name, shape in zip(LEGACY, ((3, 6), (2, 6), (2, 6)), strict=True):
            del file[f"model_weights/gru/gru/gru_cell/{name}"]
            file[f"model_weights/gru/gru/gru_cell/{name}"] = np.zeros(shape, "f4")
    expected = {"a": 1, "b": 2, "old": 7, "oldest": 8, "frames": 9}
    expected |= {"outer/enc": 3, "outer/forward_x": 4, "outer/backward_x": 5, "other/mid/enc": 6, "other/end/enc": 6.5}
    assert set(formats.open(path).expect(fl.LSTMWeights)) == set(expected)
    for prefix, scale in expected.items():
        check(path, scale, prefix)


def both(path, cells, **config):
    groups = {f"bi/bi/{cell}/lstm_cell": scale for cell, scale in cells.items()}
    return legacy(path, groups, model(layer("Bidirectional", "bi", layer=lstm_layer("lstm"), **config)))


def bidirectional(forward, backward):
    one, other = (fl.DirectionWeights(KERNEL.T * s, RECURRENT.T * s, BIAS * s) for s in (forward, backward))
    return fl.LSTMWeights([[one, other]])


def test_legacy_bidirectional(tmp_path):
    cells = {"backward_lstm": 2.0, "forward_lstm": 1.0}
    path = both(tmp_path / "m.h5", cells, merge_mode="concat")
    check(path, weights=bidirectional(1.0, 2.0), prefix="bi")
    backward = lstm_layer("mine", go_backwards=True)
    path = both(tmp_path / "m.h5", {"mine": 2.0, "forward_lstm": 1.0}, merge_mode="concat", backward_layer=backward)
    check(path, weights=bidirectional(1.0, 2.0))
    config = model(layer("Bidirectional", "forward_bi", layer=lstm_layer("lstm"), merge_mode="concat"))
    groups = {f"forward_bi/forward_bi/{cell}/lstm_cell": scale for cell, scale in cells.items()}
    check(legacy(tmp_path / "m.h5", groups, config), weights=bidirectional(1.0, 2.0), prefix="forward_bi")
    path = legacy(tmp_path / "m.h5", {f"bi/{cell}/lstm_cell_4": scale for cell, scale in cells.items()})
    check(path, weights=bidirectional(1.0, 2.0), prefix="bi")
    for message, path in {
        "merge_mode: expected concat, .* found 'max'": both(tmp_path / "1.h5", cells, merge_mode="max"),
        "expected one each of .* found ..$": both(tmp_path / "2.h5", {"forward_lstm": 1.0}, merge_mode="concat"),
        "expected one LSTM cell or one in each": legacy(tmp_path / "3.h5", {"bi/forward_lstm/lstm_cell": 1.0}),
    }.items():
        with pytest.raises(fl.FormatError, match=message):
            fl.LSTM.load(path)


def test_legacy_stack(tmp_path):
    """The configuration says which cell comes first, not the names or their numbers."""
    square = np.ones((2, 8), np.float32)
    groups = {"st/st/stacked_rnn_cells/lstm_cell_9": 1.0, "st/st/stacked_rnn_cells/a": 2.0}
    cells = [lstm_layer(name) | {"class_name": "LSTMCell"} for name in ("lstm_cell_9", "a")]
    stacked = layer("RNN", "st", cell=layer("StackedRNNCells", "stacked_rnn_cells", cells=cells))
    weights_only = legacy(tmp_path / "w.h5", {group.replace("/a", "/lstm_cell_1"): 1.0 for group in groups})
    path = legacy(tmp_path / "m.h5", groups, model(stacked))
    with h5py.File(path, "r+") as file:
        name = "model_weights/st/st/stacked_rnn_cells/a/kernel:0"
        del file[name]
        file[name] = square
    second = fl.DirectionWeights(square.T, 2 * RECURRENT.T, 2 * BIAS)
    check(path, weights=fl.LSTMWeights([[fl.DirectionWeights(KERNEL.T, RECURRENT.T, BIAS)], [second]]))
    with pytest.raises(fl.FormatError, match="stack of cells needs the model's configuration"):
        fl.LSTM.load(weights_only)


def test_legacy_time_major(tmp_path):
    path = legacy(tmp_path / "m.h5", {"a/a/lstm_cell": 1.0}, model(lstm_layer("a", time_major=True)))
    assert check(path).batch_first is False


@pytest.mark.parametrize("kind", ["whole model", "weights only", "bidirectional"])
def test_cudnn_lstm(kind, tmp_path):
    """Each gate's matrices as cuDNN and PyTorch have them, poured row by row into Keras's shape; the bias in halves.

    So tf_keras 2.21 converts them (_convert_rnn_weights); files that it wrote gave the numbers of the LSTM into which
    it loaded them.
    """
    torch = pytest.importorskip("torch")
    both = kind == "bidirectional"
    judge = torch.nn.LSTM(3, 2, batch_first=True, bidirectional=both)
    config = model(layer("CuDNNLSTM", "a", units=2, go_backwards=False))
    if both:
        config = model(layer("Bidirectional", "a", layer=layer("CuDNNLSTM", "c", units=2), merge_mode="concat"))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        root = file if kind == "weights only" else file.create_group("model_weights")
        root.attrs["layer_names"] = [b"a"]
        if root is not file:
            file.attrs["model_config"] = json.dumps(config)
        for way, suffix in (("/forward_c", ""), ("/backward_c", "_reverse")) if both else (("", ""),):
            for name, rows in (("kernel", 3), ("recurrent_kernel", 2)):
                weight = getattr(judge, f"weight_{'ih' if rows == 3 else 'hh'}_l0{suffix}").detach().numpy()
                gates = [gate.ravel().reshape(rows, 2) for gate in np.split(weight, 4)]
                root[f"a/a{way}/{name}:0"] = np.concatenate(gates, axis=1)
            bias = [getattr(judge, f"bias_{side}_l0{suffix}").detach().numpy() for side in ("ih", "hh")]
            root[f"a/a{way}/bias:0"] = np.concatenate(bias)
    with torch.no_grad():
        wanted = judge(torch.from_numpy(X))[0].numpy()
    np.testing.assert_allclose(
        run(formats.open(tmp_path / "m.h5").load(fl.LSTMWeights, "a"), X)[0], wanted, rtol=0, atol=1e-5
    )


REFUSED = {
    "activation: expected one of .*, found 'softmax'": lstm_layer("a", activation="softmax"),
    "go_backwards: expected true or false, found 'yes'": lstm_layer("a", go_backwards="yes"),
    r"bias: expected 8 values for each unit of a CuDNNLSTM, found \[\(8,\)\]": layer("CuDNNLSTM", "a", units=2),
    "units: expected 1 or more, found 'True'": layer("CuDNNLSTM", "a", units=True),
    "layer class: expected keras.layers.LSTM, found 'own>LSTM'": layer("own>LSTM", "a", units=2),
    r"kernel:0': expected shape \(3, 12\) for 3 units, found \(3, 8\)": lstm_layer("a", units=3),
    r"expected one each of \['kernel', 'recurrent_kernel'\], found": lstm_layer("a", use_bias=False),
}


@pytest.mark.parametrize("message", REFUSED)
def test_legacy_refused_by_name(message, tmp_path):
    config = model(REFUSED[message], lstm_layer("good"))
    path = legacy(tmp_path / "m.h5", {"a/a/lstm_cell": 1.0, "good/good/lstm_cell": 2.0}, config)
    with pytest.raises(fl.FormatError, match=message):
        fl.LSTM.load(path, prefix="a")
    check(path, 2.0, "good")


def test_legacy_missing_or_wrong_variables(tmp_path):
    path = legacy(tmp_path / "m.h5", {"a/a/lstm_cell": 1.0}, model(lstm_layer("a"), lstm_layer("b")))
    with pytest.raises(fl.FormatError, match="layer 'b': expected one each of"):
        fl.LSTM.load(path, prefix="b")
    with h5py.File(path, "r+") as file:
        file.move("model_weights/a/a/lstm_cell/bias:0", "model_weights/a/a/bias:0")
        file["model_weights/a/a/lstm_cell/bias:0"] = np.zeros(6, "f4")
    with pytest.raises(fl.FormatError, match=r"bias:0': expected shape \(8,\) for 2 units, found \(6,\)"):
        fl.LSTM.load(path, prefix="a")
