"""Keras's weights without a configuration: assumed where one default was ever meant, else stated with config=."""

import json
import warnings

import numpy as np
import pytest
from hdf5_files import BIAS, KERNEL, RECURRENT, X, put
from keras_models import check, keras, layers, randomized, saved, sequential
from reference import lstm as oracle
from run import run

import fusedlstm as fl
from fusedlstm import formats

h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras with NumPy 2

LEGACY = ("kernel:0", "recurrent_kernel:0", "bias:0")


def weights_only(path, version, cell="a/a/lstm_cell"):
    with h5py.File(path, "w") as file:
        put(file, cell, names=LEGACY)
        file.attrs["layer_names"] = [b"a"]
        if version:
            file.attrs["keras_version"] = version
    return path


def expected(**cell):
    one = fl.DirectionWeights(KERNEL.T, RECURRENT.T, BIAS, cell=fl.Cell(**cell))
    return oracle(fl.LSTMWeights([[one]]), X)[0]


HARD = fl.Activation("hard_sigmoid", 0.2, 0.5)


@pytest.mark.parametrize("version", ["2.3.0", "2.3.0-tf", "2.4.3", "2.12.0", "2.21.0", "3.0.5", "3.15.1", "10.0"])
def test_assumed_since_2_3(version, tmp_path):
    path = weights_only(tmp_path / "w.h5", version)
    message = (
        r"w.h5: LSTM: taken with Keras's defaults \(activation tanh, recurrent_activation sigmoid, .*config=\"model.j"
    )
    with pytest.warns(fl.AssumptionWarning, match=message):
        lstm = fl.LSTM.load(path)
    np.testing.assert_allclose(run(lstm.weights, X)[0], expected(), rtol=0, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", fl.AssumptionWarning)
        lstm = fl.LSTM.load(path, config={})
        lstm(X)
    np.testing.assert_allclose(run(lstm.weights, X)[0], expected(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("version", ["1.2.2", "2.0.8", "2.2.4-tf", "2.2.5", "2.x", "", None])
def test_refused_before(version, tmp_path):
    """hard_sigmoid was the default, in TensorFlow's 2.2.4-tf of 1.x alone: the version cannot decide."""
    path = weights_only(tmp_path / "w.h5", version)
    with pytest.raises(
        fl.FormatError, match="recurrent_activation may be hard_sigmoid or sigmoid; state it with config="
    ):
        fl.LSTM.load(path)
    with pytest.raises(fl.FormatError, match="config: expected recurrent_activation as well"):
        fl.LSTM.load(path, config={"activation": "tanh"})
    config = {"recurrent_activation": "hard_sigmoid", "keras_version": version or "2.2"}
    weights = formats.open(path, config).load(fl.LSTMWeights)
    np.testing.assert_allclose(run(weights, X)[0], expected(gate=HARD), rtol=0, atol=1e-5)
    weights = formats.open(path, {"recurrent_activation": "sigmoid", "activation": "relu"}).load(fl.LSTMWeights)
    relu = fl.Activation("relu")
    np.testing.assert_allclose(run(weights, X)[0], expected(candidate=relu, output=relu), rtol=0, atol=1e-5)


def odd_model():
    """Of which nothing is the default, and nothing but a configuration says so."""
    stack = layers.RNN([layers.LSTMCell(3, activation="relu"), layers.LSTMCell(2)], return_sequences=True, name="stack")
    both = layers.Bidirectional(layers.LSTM(3, activation="elu", return_sequences=True), merge_mode="ave", name="both")
    back = layers.LSTM(2, go_backwards=True, recurrent_activation="softsign", return_sequences=True, name="back")
    return sequential(stack, both, back)


@pytest.mark.parametrize("file", ["m.weights.h5", "w.h5"])
def test_the_models_configuration(file, tmp_path):
    """As to_json() gives it, as a file has it, as a whole model's file has it, or live."""
    model = odd_model()
    if file == "m.weights.h5":
        path = saved(model, tmp_path, file)
    else:  # the legacy layout, weights only
        whole = saved(model, tmp_path, "whole.h5")
        path = tmp_path / file
        with h5py.File(whole) as source, h5py.File(path, "w") as target:
            for name in source["model_weights"]:
                source["model_weights"].copy(name, target)
            for name, value in source["model_weights"].attrs.items():
                target.attrs[name] = value
    saved(model, tmp_path, "other.keras")
    saved(model, tmp_path, "other.h5")
    (tmp_path / "model.json").write_text(model.to_json())
    (tmp_path / "twice.json").write_text(json.dumps(model.to_json()))
    stated = [tmp_path / name for name in ("model.json", "twice.json", "other.keras", "other.h5")]
    for config in (*stated, json.loads(model.to_json()), model.get_config(), str(stated[0])):
        with warnings.catch_warnings():
            warnings.simplefilter("error", fl.AssumptionWarning)
            found = fl.LSTM.load_all(path, config=config)
        assert list(found) == ["stack", "both", "back"]
        for name, lstm in found.items():
            check(model.get_layer(name), lstm.weights)


def test_names_come_from_the_configuration(tmp_path):
    """Weights of an early Keras 3 have none."""
    model = odd_model()
    path = saved(model, tmp_path, "m.weights.h5")
    with h5py.File(path, "r+") as file:
        file.visititems(lambda _, group: group.attrs.pop("name", None) and None)
    (tmp_path / "model.json").write_text(model.to_json())
    check(model.get_layer("both"), fl.LSTM.load(path, "both", config=tmp_path / "model.json").weights)


def test_hard_sigmoid_goes_by_the_version_that_is_stated(tmp_path):
    """tf_keras and Keras 3 write the same file, and mean two functions."""
    layer = layers.LSTM(3, recurrent_activation="hard_sigmoid", return_sequences=True, name="a")
    model = sequential(layer)
    path = saved(model, tmp_path, "m.weights.h5")
    with pytest.raises(fl.FormatError, match="expected keras_version 1, 2 or 3 beside 'hard_sigmoid'"):
        fl.LSTM.load(path, config={"recurrent_activation": "hard_sigmoid"})
    check(layer, fl.LSTM.load(path, config={"recurrent_activation": "hard_sigmoid", "keras_version": "3.1"}).weights)
    (tmp_path / "model.json").write_text(model.to_json())
    check(layer, fl.LSTM.load(path, config=tmp_path / "model.json").weights)
    old = json.loads((tmp_path / "model.json").read_text()) | {"keras_version": "2.15.0"}
    gate = fl.LSTM.load(path, config=old).weights.layers[0][0].cell.gate
    assert gate == HARD


def test_a_bidirectional(tmp_path):
    layer = layers.Bidirectional(layers.LSTM(3, activation="relu", return_sequences=True), merge_mode="mul", name="b")
    path = saved(sequential(layer), tmp_path, "m.weights.h5")
    check(layer, fl.LSTM.load(path, config={"activation": "relu", "merge_mode": "mul"}).weights)
    check(layer, fl.LSTM.load(path, config=keras.saving.serialize_keras_object(layer)).weights)


WRONG = {
    ("activaton", "relu"): "config: expected any of activation, .*, found 'activaton'",
    ("inner_activation", "sigmoid"): r"found 'inner_activation' \(now recurrent_activation\)",
    ("activation", "softmax"): "activation: expected one of .*, found 'softmax'",
    ("units", 7): "expected shape .* for 7 units",
    ("use_bias", False): "expected 2 variables without a bias, found 3",
    ("class_name", "Dense"): "config: expected a model or an LSTM, found 'Dense'",
    ("go_backwards", "yes"): "go_backwards: expected true or false, found 'yes'",
}


@pytest.mark.parametrize("option", WRONG)
def test_stated_wrongly(option, tmp_path):
    path = saved(sequential(layers.LSTM(3)), tmp_path, "m.weights.h5")
    config = dict([option]) | ({"config": {}} if option[0] == "class_name" else {})
    with pytest.raises(fl.FormatError, match=WRONG[option]):
        fl.LSTM.load(path, config=config)


def test_files_that_state_nothing(tmp_path):
    path = saved(sequential(layers.LSTM(3)), tmp_path, "m.weights.h5")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(fl.FormatError, match="config: expected a model's configuration or a layer's options"):
        fl.LSTM.load(path, config=tmp_path / "list.json")
    with pytest.raises(
        fl.FormatError, match="config .*m.weights.h5: expected a model's configuration, found weights alone"
    ):
        fl.LSTM.load(path, config=path)
    with pytest.raises(FileNotFoundError):
        fl.LSTM.load(path, config=tmp_path / "none.json")


def test_a_file_that_says_it_itself(tmp_path):
    """May be repeated, not contradicted."""
    model = sequential(layers.LSTM(3, activation="relu", return_sequences=True, name="a"))
    (tmp_path / "model.json").write_text(model.to_json())
    for file in ("m.keras", "m.h5"):
        path = saved(model, tmp_path, file)
        check(model.layers[0], fl.LSTM.load(path, config={"activation": "relu"}).weights)
        with pytest.raises(fl.FormatError, match="config, activation: expected 'relu', as the file says, found 'tanh'"):
            fl.LSTM.load(path, config={"activation": "tanh"})
        with pytest.raises(fl.FormatError, match="config: expected a layer's options, as the file describes its model"):
            fl.LSTM.load(path, config=tmp_path / "model.json")


def test_conv_lstms(tmp_path):
    """They are refused without a configuration; with one they are as they were."""
    layer = layers.ConvLSTM1D(2, 3, padding="same", activation="relu", return_sequences=True, name="conv")
    x = layers.Input((4, 6, 1))
    model = randomized(keras.Model(x, layer(x)))
    path = saved(model, tmp_path, "m.weights.h5")
    (tmp_path / "model.json").write_text(model.to_json())
    with pytest.raises(fl.FormatError, match="found weights alone; save the whole model .* or state it with config="):
        fl.ConvLSTM.load(path)
    with pytest.raises(fl.FormatError, match="config: expected recurrent_activation of this ConvLSTM as well"):
        fl.ConvLSTM.load(path, config={"padding": "same"})
    data = np.random.default_rng(0).normal(size=(2, 4, 6, 1)).astype(np.float32)
    wanted = np.asarray(keras.ops.convert_to_numpy(layer(data)))
    options = {"padding": "same", "activation": "relu", "recurrent_activation": "sigmoid"}
    for config in (tmp_path / "model.json", options, layer.get_config()):
        np.testing.assert_allclose(fl.ConvLSTM.load(path, config=config)(data)[0], wanted, rtol=0, atol=1e-5)
