"""ConvLSTMs of Keras and Flax, live and from files, and the native form; what is refused."""

import json
import os
from dataclasses import replace

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import largest_error
from conv_cases import random_case, random_weights
from conv_files import changed, flax_cell, one_layer, randomized
from conv_reference import conv_lstm as oracle

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.cli import cli

keras = pytest.importorskip("keras")
layers = keras.layers
CLASSES = {1: layers.ConvLSTM1D, 2: layers.ConvLSTM2D}
TOLERANCE = 1e-5  # Keras's own float32 error; seen: 1.6e-6


def numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


def random_layer(rng, **more):
    """A ConvLSTM layer with any option, and x for it."""
    rank = int(rng.integers(1, 3))
    options = {
        "padding": str(rng.choice(["same", "valid"])),
        "data_format": str(rng.choice(["channels_last", "channels_first"])),
        "go_backwards": bool(rng.integers(2)),
        "use_bias": bool(rng.random() < 0.8),
        "unit_forget_bias": bool(rng.integers(2)),
    }
    if rng.random() < 0.6:
        options[str(rng.choice(["strides", "dilation_rate"]))] = tuple(int(n) for n in rng.integers(1, 4, rank))
    if rng.random() < 0.3:
        options["activation"] = str(rng.choice(["relu", "gelu", "softsign", "silu"]))
        options["recurrent_activation"] = str(rng.choice(["hard_sigmoid", "sigmoid"]))
    filters, kernel = int(rng.integers(1, 9)), tuple(int(n) for n in rng.integers(1, 5, rank))
    layer = CLASSES[rank](filters, kernel, return_sequences=True, return_state=True, **options, **more)
    channels, space = int(rng.integers(1, 6)), tuple(int(n) for n in rng.integers(10, 14, rank))
    shape = (2, 3, channels, *space) if options["data_format"] == "channels_first" else (2, 3, *space, channels)
    return layer, rng.standard_normal(shape).astype(np.float32)


def differ(lstm, layer, x, state=None):
    wanted = layer(x, initial_state=state and [keras.ops.convert_to_tensor(one) for one in state])
    y, *state_n = (numpy(one) for one in wanted)
    return largest_error(lstm(x, state), (y, tuple(state_n)))


@pytest.mark.parametrize("seed", range(25))
def test_keras_layers(seed):
    rng = np.random.default_rng(seed)
    layer, x = random_layer(rng)
    layer.build(x.shape)
    lstm = fl.ConvLSTM.from_keras(randomized(layer, rng))
    state = None
    if seed % 2:
        shape = tuple(layer.compute_output_shape(x.shape)[1])
        state = tuple(rng.uniform(-1, 1, shape).astype(np.float32) for _ in "hc")
    assert differ(lstm, layer, x, state) < TOLERANCE


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
@pytest.mark.parametrize("seed", range(4))
def test_keras_files(tmp_path, file, seed):
    rng = np.random.default_rng(100 + seed)
    layer, x = random_layer(rng, name="radar")
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs)[0])
    randomized(model, rng).save(tmp_path / file)
    for prefix in (None, "radar"):
        assert differ(fl.ConvLSTM.load(tmp_path / file, prefix), layer, x) < TOLERANCE


def video_model():
    """A ConvLSTM beside an LSTM, another one in a nested model."""
    inner = keras.Sequential([keras.Input((3, 6, 5, 4)), layers.ConvLSTM2D(2, 3, name="second")], name="inner")
    return randomized(
        keras.Sequential(
            [
                keras.Input((3, 6, 5, 4)),
                layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True, name="first"),
                layers.BatchNormalization(),
                inner,
                layers.Reshape((4, 6)),
                layers.LSTM(5, name="words"),
            ]
        ),
        np.random.default_rng(0),
    )


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_each_class_loads_its_own(tmp_path, file):
    model, path = video_model(), tmp_path / file
    model.save(path)
    assert fl.LSTM.load(path).hidden_size == fl.LSTM.load(path, "words").hidden_size == 5
    with pytest.raises(fl.FormatError, match="expected one ConvLSTM, found 2; .* 'first', 'inner/second'"):
        fl.ConvLSTM.load(path)
    assert fl.ConvLSTM.load(path, "first").filters == 4
    assert {prefix: one.filters for prefix, one in fl.ConvLSTM.load_all(path).items()} == {
        "first": 4,
        "inner/second": 2,
    }
    lstm, x = fl.ConvLSTM.load(path, "inner/second"), np.random.default_rng(1).random((2, 3, 6, 5, 4), np.float32)
    np.testing.assert_allclose(lstm(x)[0][:, -1], numpy(model.get_layer("inner")(x)), atol=TOLERANCE)
    with pytest.raises(fl.FormatError, match=r"an LSTM called 'first', found a ConvLSTM \(use ConvLSTM.load\)"):
        fl.LSTM.load(path, "first")
    with pytest.raises(fl.FormatError, match=r"a ConvLSTM called 'words', found an LSTM \(use LSTM.load\)"):
        fl.ConvLSTM.load(path, "words")


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_info(tmp_path, file):
    video_model().save(tmp_path / file)
    shown = CliRunner().invoke(cli, ["info", "--json", str(tmp_path / file)], catch_exceptions=False).output
    about = json.loads(shown)
    assert [one["prefix"] for one in about["lstms"]] == ["words"]
    assert [(one["prefix"], one["parameters"]) for one in about["conv_lstms"]] == [
        ("first", 1168),
        ("inner/second", 440),
    ]
    text = CliRunner().invoke(cli, ["info", str(tmp_path / file)], catch_exceptions=False).output
    assert "words" in text and "first: ConvLSTM(4, 4, kernel_size=(3, 3), padding='same'), 1,168 parameters" in text
    one_layer().save(tmp_path / file)
    about = json.loads(CliRunner().invoke(cli, ["info", "--json", str(tmp_path / file)]).output)
    assert about["lstms"] == [] and about["conv_lstms"][0]["prefix"] == "radar"


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_lstm_load_says_where_to_go(tmp_path, file):
    path = tmp_path / file
    one_layer().save(path)
    with pytest.raises(fl.FormatError, match=r"expected an LSTM, found none .*; found ConvLSTM 'radar' \(use ConvLSTM"):
        fl.LSTM.load(path)
    with pytest.raises(TypeError, match=r"found keras.*ConvLSTM2D \(use ConvLSTM.from_keras\)"):
        fl.LSTM.from_keras(layers.ConvLSTM2D(2, 3))
    with pytest.raises(TypeError, match="expected a keras.layers.ConvLSTM1D or ConvLSTM2D, found keras.*LSTM"):
        fl.ConvLSTM.from_keras(layers.LSTM(2))
    with pytest.raises(TypeError, match="found builtins.int"):
        fl.ConvLSTM.from_keras(5)


@pytest.mark.parametrize("file", ["m.weights.h5", "legacy.h5"])
def test_weights_alone_are_refused(tmp_path, file):
    """They do not say the padding, of which both are common."""
    path, model = tmp_path / file, one_layer()
    if file == "legacy.h5":
        keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(
            pytest.importorskip("h5py").File(path, "w"), model
        )
    else:
        model.save_weights(path)
    with pytest.raises(
        fl.FormatError, match="expected a model configuration.* found weights alone; save the whole model"
    ):
        fl.ConvLSTM.load(path)
    with pytest.raises(fl.FormatError, match="use ConvLSTM.load"):
        fl.LSTM.load(path)


@pytest.mark.parametrize(("version", "slope"), [("2.15.0", 0.2), ("3.15.1", 1 / 6)])
def test_hard_sigmoid_by_version(tmp_path, version, slope):
    """The default of Keras 2's ConvLSTMs, which is another function there, in the layout that both share."""
    h5py = pytest.importorskip("h5py")
    path, model = tmp_path / "m.h5", one_layer(recurrent_activation="hard_sigmoid", return_sequences=True)
    model.save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = version
        for path_2 in ("radar/radar", "model_weights/radar/radar"):  # Keras 2 numbers its outputs
            group = file.get(path_2)
            for name in list(group or ()):
                group.move(name, f"{name}:0")
    weights = formats.open(path).load(fl.ConvLSTMWeights)
    assert (weights.gate.name, weights.gate.alpha, weights.gate.beta) == ("hard_sigmoid", slope, 0.5)
    x = np.random.default_rng(0).standard_normal((2, 2, 7, 6, 2)).astype(np.float32)
    same = np.abs(oracle(weights, x)[0] - numpy(model(x))).max() < TOLERANCE
    assert same == version.startswith("3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "causal"}, "padding: expected one of .*'same', 'valid'.*, found 'causal'"),
        ({"data_format": None}, "data_format: expected one of .* found 'None'"),
        ({"strides": [1]}, r"strides: expected 2 whole number\(s\) of 1 or more, found '\[1\]'"),
        ({"strides": [0, 1]}, "strides: expected 2 whole"),
        ({"dilation_rate": [1, "2"]}, "dilation_rate: expected 2 whole"),
        ({"dilation_rate": [1, 10**12]}, "dilation: expected 2 whole"),
        ({"kernel_size": 3}, "kernel_size: expected 2 whole"),
        ({"kernel_size": [3, 5]}, r"expected variables of the shapes \[\(3, 5, 2, 12\)"),
        ({"filters": 4}, "expected variables of the shapes"),
        ({"filters": True}, "expected filters and use_bias, found True"),
        ({"use_bias": False}, "expected variables of the shapes"),
        ({"go_backwards": "yes"}, "go_backwards: expected true or false"),
        ({"activation": "softmax"}, "activation: expected one of .* found 'softmax'"),
        ({"recurrent_activation": {"class_name": "function"}}, "recurrent_activation: expected a name, or one of"),
    ],
)
def test_configurations_that_are_refused(tmp_path, options, message):
    path = tmp_path / "m.keras"
    one_layer().save(path)
    changed(path, lambda item: item["config"].update(options))
    with pytest.raises(fl.FormatError, match=f"m.keras: {message}"):
        fl.ConvLSTM.load(path)


def test_three_axes_and_two_directions_are_refused_by_name(tmp_path):
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((2, 4, 4, 4, 1)), layers.ConvLSTM3D(2, 3)]).save(path)
    with pytest.raises(fl.FormatError, match="expected ConvLSTM1D or ConvLSTM2D, found 'ConvLSTM3D'"):
        fl.ConvLSTM.load(path)
    keras.Sequential([keras.Input((2, 4, 4, 1)), layers.Bidirectional(layers.ConvLSTM2D(2, 3))]).save(path)
    with pytest.raises(fl.FormatError, match="expected a ConvLSTM of one direction, found 'Bidirectional' around it"):
        fl.ConvLSTM.load(path)
    with pytest.raises(fl.FormatError, match="found 'ConvLSTM3D'"):
        fl.ConvLSTM.from_keras(layers.ConvLSTM3D(2, 3))
    with pytest.raises(ValueError, match="expected a built layer"):
        fl.ConvLSTM.from_keras(layers.ConvLSTM2D(2, 3))


@pytest.mark.parametrize("seed", range(5))
def test_flax(seed, tmp_path):
    rng = np.random.default_rng(seed)
    cell, params, x = flax_cell(rng, rank=1 + seed % 2, bias=seed % 4 > 0)
    carry = tuple(rng.uniform(-1, 1, (*x[:, 0].shape[:-1], 5)).astype(np.float32) for _ in "ch")
    c, h = carry
    y = []
    for t in range(x.shape[1]):
        (c, h), out = cell.apply(params, (c, h), x[:, t])
        y.append(np.asarray(out))
    wanted = np.stack(y, 1), (np.asarray(h), np.asarray(c))
    lstm = fl.ConvLSTM.from_flax(params)
    assert largest_error(lstm(x, (carry[1], carry[0])), wanted) < TOLERANCE
    path = tmp_path / "m.msgpack"
    path.write_bytes(
        pytest.importorskip("flax.serialization").to_bytes({"params": {"enc": {"cell": params["params"]}}})
    )
    for prefix in (None, "enc/cell"):
        assert fl.ConvLSTM.load(path, prefix)(x)[0].tobytes() == lstm(x)[0].tobytes()
    with pytest.raises(
        fl.FormatError, match=r"expected an LSTM, found none.*ConvLSTM 'enc/cell' \(use ConvLSTM.load\)"
    ):
        fl.LSTM.load(path)


def edited(**changes):
    """A cell's parameters by hand, with some replaced."""
    kernels = {"ih": np.zeros((3, 3, 3, 20)), "hh": np.zeros((3, 3, 5, 20))}
    cell = {name: {"kernel": kernel, "bias": np.zeros(20)} for name, kernel in kernels.items()}
    for path, value in changes.items():
        layer, name = path.split("_")
        cell[layer][name] = value
    return {"params": cell}


def test_flax_safetensors(tmp_path):
    from safetensors.numpy import save_file

    tree = edited(hh_bias=np.arange(20.0))["params"]
    flat = {f"enc.cell.{layer}.{name}": array for layer, part in tree.items() for name, array in part.items()}
    save_file(flat, tmp_path / "m.safetensors")
    weights = fl.ConvLSTM.load(tmp_path / "m.safetensors", "enc/cell").weights
    # i, g, f, o become i, f, g, o, and 1 is added to f
    assert weights.bias.tolist() == [*range(5), *range(11, 16), *range(5, 10), *range(15, 20)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ih_kernel": np.zeros((3, 3, 2, 16))}, r"ih/kernel: expected shape \(3, 3, 2, 20\), found \(3, 3, 2, 16\)"),
        ({"hh_kernel": np.zeros((3, 3, 5, 24))}, r"hh/kernel: expected shape \(3, 3, 5, 20\), found \(3, 3, 5, 24\)"),
        ({"hh_kernel": np.zeros((3, 3, 3, 5, 20))}, "expected a kernel over 1 or 2 axes, found shape"),
        ({"hh_kernel": np.zeros(20)}, "expected a kernel over 1 or 2 axes, found shape"),
        ({"hh_bias": np.zeros(16)}, r"hh/bias: expected shape \(20,\), found \(16,\)"),
        ({"ih_kernel": np.zeros((3, 3, 2, 20), int)}, "expected an array of floats, found int64"),
        ({"ih_gain": np.zeros(3)}, "expected only kernel, bias, found 'gain'"),
    ],
)
def test_flax_trees_that_do_not_fit(changes, message):
    assert fl.ConvLSTM.from_flax(edited()).filters == 5
    with pytest.raises(fl.FormatError, match=message):
        fl.ConvLSTM.from_flax(edited(**changes))


def test_flax_trees_of_something_else():
    with pytest.raises(TypeError, match="params: expected a nested dict"):
        fl.ConvLSTM.from_flax([1, 2])
    with pytest.raises(fl.FormatError, match="expected a ConvLSTM, found none"):
        fl.ConvLSTM.from_flax({"dense": {"kernel": np.zeros((2, 2))}})


@pytest.mark.parametrize("seed", range(6))
def test_native_form(tmp_path, seed):
    rng = np.random.default_rng(seed)
    weights, x, state = random_case(rng)
    path = tmp_path / "m.safetensors"
    fl.ConvLSTM(weights).save(path)
    again = fl.ConvLSTM.load(path)
    for name in weights.__dataclass_fields__:
        assert np.array_equal(getattr(weights, name), getattr(again.weights, name)), name
    assert largest_error(again(x, state), oracle(weights, x, state)) < 2e-6
    with pytest.raises(fl.FormatError, match=r"found none in this safetensors file; found ConvLSTM '' \(use ConvLSTM"):
        fl.LSTM.load(path)


def test_activations_in_the_native_form(tmp_path):
    """All of them are stored, whether or not the engine runs them."""
    from fusedlstm.formats.native import safetensors
    from fusedlstm.weights import Activation

    weights = random_weights(np.random.default_rng(0), 2, 3, (3,))
    weights = replace(weights, gate=Activation("hard_sigmoid", 1 / 6, 0.5), output=Activation("relu"))
    safetensors.save(weights, tmp_path / "m.safetensors")
    again = formats.open(tmp_path / "m.safetensors").load(fl.ConvLSTMWeights)
    assert (again.gate, again.candidate, again.output) == (weights.gate, weights.candidate, weights.output)


def native(tmp_path, options=None, text=None, **tensors):
    from safetensors.numpy import save_file

    weights = random_weights(np.random.default_rng(0), 2, 3, (3, 3))
    stored = {"version": 1, "strides": [1, 1], "dilation": [1, 1], "padding": "same", "channels_first": False}
    stored |= {"reverse": False, "flip_output": False}
    stored |= {"gate": ["sigmoid", 0, 0], "candidate": ["tanh", 0, 0], "output": ["tanh", 0, 0]} | (options or {})
    arrays = {"kernel": weights.weight_ih, "recurrent_kernel": weights.weight_hh, "bias": weights.bias} | tensors
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
    save_file(arrays, tmp_path / "m.safetensors", {"fusedlstm_conv_lstm": text or json.dumps(stored)})
    return tmp_path / "m.safetensors"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "[]"}, "expected a JSON object with a version"),
        ({"text": "{"}, ""),
        ({"text": "[" * 9999}, ""),
        ({"text": " " * 20_000}, "expected a JSON object"),
        ({"options": {"version": 2}}, r"expected version 1, found another \(written later\?\)"),
        ({"options": {"peepholes": True}}, "expected strides, .* found .*peepholes"),
        ({"options": {"padding": "circular"}}, "padding: expected 'same' or 'valid', found 'circular'"),
        ({"options": {"strides": None}}, "strides: expected a list"),
        ({"options": {"strides": [1]}}, "strides: expected 2 whole"),
        ({"options": {"strides": [1, 1e300]}}, "strides: expected 2 whole"),
        ({"options": {"reverse": 1}}, "reverse: expected true or false"),
        ({"options": {"gate": "sigmoid"}}, "gate: expected a name, alpha and beta"),
        ({"options": {"gate": ["sine", 0, 0]}}, "activation: expected one of"),
        ({"bias": np.zeros(5, np.float32)}, r"bias: expected shape \(12,\), found \(5,\)"),
        ({"kernel": None}, "tensors: expected kernel, recurrent_kernel, bias, found"),
        ({"kernel_2": np.zeros(5, np.float32)}, "tensors: expected .* found .*kernel_2"),
    ],
)
def test_native_forms_that_are_refused(tmp_path, arguments, message):
    with pytest.raises(fl.FormatError, match=f"m.safetensors: .*{message}"):
        fl.ConvLSTM.load(native(tmp_path, **arguments))


def test_the_native_form_of_this_test_is_valid(tmp_path):
    assert fl.ConvLSTM.load(native(tmp_path)).filters == 3


def test_files_without_conv_lstms(tmp_path):
    np.savez(tmp_path / "m.npz", weight=np.zeros(3))
    with pytest.raises(fl.FormatError, match="m.npz: expected a ConvLSTM, found none in this"):
        fl.ConvLSTM.load(tmp_path / "m.npz")
