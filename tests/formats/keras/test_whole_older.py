"""Whole models of older Keras: TensorFlow's operators as layers (2.0 to 2.3), and Keras 1, which is refused."""

import json

import h5py
import numpy as np
import pytest
from keras_graphs import agree, flat, randomized, run

import fusedlstm as fl

keras = pytest.importorskip("tf_keras")
pytestmark = pytest.mark.filterwarnings("ignore")
SHAPE = (3, 6, 5, 2)


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def node(op, inputs, constants, **attributes):
    """A layer as TensorFlow 2.3 writes it: the layer is called otherwise than its node."""
    attributes = {"T": {"type": "DT_FLOAT"}, **attributes}
    node_def = {
        "name": op,
        "op": op,
        "input": [f"x{k}" for k in range(len(inputs) + len(constants))],
        "attr": attributes,
    }
    config = {"name": op, "trainable": True, "dtype": "float32", "node_def": node_def, "constants": constants}
    calls = [[[name, 0, 0, {}] for name in inputs]]
    return {"class_name": "TensorFlowOpLayer", "config": config, "name": f"tf_op_layer_{op}", "inbound_nodes": calls}


def of_op(op, constants, inputs=("first",), **attributes):
    """A convolution, the operator, and another convolution."""
    image = keras.layers.Input(SHAPE[1:], name="image")
    first = keras.layers.Conv2D(2, 1, name="first")(image)
    model = keras.Model(
        image, keras.layers.Conv2D(2, 1, name="last")(keras.layers.Activation("tanh", name="op")(first))
    )
    config = json.loads(model.to_json())["config"]
    config["layers"][2] = node(op, inputs, constants, **attributes)
    config["layers"][3]["inbound_nodes"] = [[[f"tf_op_layer_{op}", 0, 0, {}]]]
    return randomized(keras.Model.from_config(config))


OPS = {
    "Pad": {"1": [[0, 0], [1, 2], [3, 0], [0, 0]]},
    "AddV2": {"1": [0.5, -2.0]},
    "Sub": {"0": 2.0},
    "Mul": {"1": normal(6, 5, 2).tolist()},
    "RealDiv": {"1": 3.0},
    "Maximum": {"1": 0.25},
    "Square": {},
    "Sigmoid": {},
    "Relu": {},
    "Softmax": {},
}


@pytest.mark.parametrize("op", OPS)
def test_operators_as_layers(op, tmp_path):
    more = {"Tpaddings": {"type": "DT_INT32"}} if op == "Pad" else {}
    model, x = of_op(op, OPS[op], **more), normal(*SHAPE)
    model.save(tmp_path / "m.h5")
    agree(run(fl.Model.load(tmp_path / "m.h5"), [x]), flat(model(x)))


def test_operators_of_two_layers():
    model, x = of_op("Sub", {}, ("image", "first")), normal(*SHAPE)
    agree(run(fl.Model.from_keras(model), [x]), flat(model(x)))


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("Ceil", {}, "the operator 'Ceil' of TensorFlow 2.0 to 2.3 is not supported"),
        ("Relu", {"mode": {"s": "REFLECT"}}, "node_def: expected types, found .*'mode'"),
    ],
)
def test_other_operators_are_refused_by_name(op, attributes, message, tmp_path):
    of_op("Relu", {}).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        (layer,) = (one for one in config["config"]["layers"] if one["class_name"] == "TensorFlowOpLayer")
        layer["config"]["node_def"]["op"] = op
        layer["config"]["node_def"]["attr"].update(attributes)
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(fl.FormatError, match=f"'tf_op_layer_Relu': {message}"):
        fl.Model.load(tmp_path / "m.h5")


def keras1(path, kernel, recurrent, bias):
    """A whole model of Keras 1.1: twelve arrays of an LSTM, a configuration of other names."""
    options = {"output_dim": 4, "activation": "tanh", "inner_activation": "sigmoid", "return_sequences": True}
    lstm = {"class_name": "LSTM", "config": {"name": "lstm_1", "batch_input_shape": [None, 5, 3], **options}}
    arrays = {
        f"lstm_1_{role}_{gate}:0": part
        for role, whole in (("W", kernel), ("U", recurrent), ("b", bias))
        for gate, part in zip("ifco", np.split(whole, 4, -1))
    }
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "1.1.0"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": [lstm]})
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [b"lstm_1"]
        group = root.create_group("lstm_1")
        group.attrs["weight_names"] = [name.encode() for name in arrays]
        for name, array in arrays.items():
            group[name] = array


def test_keras_1_is_refused_whole_and_its_lstm_read(tmp_path):
    kernel, recurrent, bias = normal(3, 16), normal(4, 16, seed=2), normal(16, seed=3)
    keras1(tmp_path / "m.h5", kernel, recurrent, bias)
    with pytest.raises(fl.FormatError, match=r"found one of Keras 1.1.0, .* \(LSTM.load\), or save it again"):
        fl.Model.load(tmp_path / "m.h5")
    x, h, c, wanted = normal(2, 5, 3, seed=4), np.zeros((2, 4)), np.zeros((2, 4)), []
    for step in x.swapaxes(0, 1).astype(np.float64):
        i, f, g, o = np.split(step @ kernel + h @ recurrent + bias, 4, -1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        wanted.append(h)
    y, *_ = fl.LSTM.load(tmp_path / "m.h5")(x)
    np.testing.assert_allclose(y, np.stack(wanted, 1), rtol=0, atol=1e-5)
