"""Keras models, saved by Keras in each of its formats: the framework's numbers, or a refusal by name."""

import numpy as np
import pytest
from keras_models import (
    ACTIVATIONS,
    FILES,
    check,
    keras,
    layers,
    numpy,
    random_layer,
    randomized,
    saved,
    sequential,
)
from run import run

import fusedlstm as fl
from fusedlstm import formats
from fusedlstm.formats.keras import layer as live
from fusedlstm.formats.keras.layers import snake_case

h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras with NumPy 2


KINDS = {
    "lstm": lambda **kw: layers.LSTM(5, name="enc", **kw),
    "no bias": lambda **kw: layers.LSTM(5, use_bias=False, name="enc", **kw),
    "dropout, unrolled": lambda **kw: layers.LSTM(5, dropout=0.2, recurrent_dropout=0.1, unroll=True, name="enc", **kw),
    "bidirectional": lambda **kw: layers.Bidirectional(layers.LSTM(4, **kw), name="enc"),
    "bidirectional, custom": lambda **kw: layers.Bidirectional(
        layers.LSTM(4, **kw), backward_layer=layers.LSTM(4, go_backwards=True, name="back", **kw), name="enc"
    ),
    "bidirectional cell": lambda **kw: layers.Bidirectional(layers.RNN(layers.LSTMCell(4), **kw), name="enc"),
    "cell": lambda **kw: layers.RNN(layers.LSTMCell(4, name="own_name"), name="enc", **kw),
    "stack of cells": lambda **kw: layers.RNN(
        [layers.LSTMCell(4), layers.LSTMCell(3, use_bias=False), layers.LSTMCell(5)], name="enc", **kw
    ),
    "bidirectional stack": lambda **kw: layers.Bidirectional(
        layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3, use_bias=False)], **kw), name="enc"
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sequences", [True, False])
def test_matches_keras(kind, sequences, tmp_path):
    layer = KINDS[kind](return_sequences=sequences, return_state=sequences)
    x = layers.Input((7, 3))
    model = randomized(keras.Model(x, layer(x)))
    for file in FILES:
        (prefix,) = formats.open(saved(model, tmp_path, file)).expect(fl.LSTMWeights)
        lstm = formats.open(tmp_path / file).load(fl.LSTMWeights)
        assert prefix == "enc"
        assert (lstm.input_size, lstm.num_layers, lstm.bidirectional, lstm.batch_first) == (
            3,
            {"stack of cells": 3, "bidirectional stack": 2}.get(kind, 1),
            "bidirectional" in kind,
            True,
        )
        check(layer, lstm)
        if "unrolled" not in kind:
            check(layer, lstm, batch=1, time=1)
    check(layer, live.from_layer(layer))


def masks(rng, batch, time):
    """Of any pattern; one row wholly masked, one not at all."""
    mask = rng.random((batch, time)) < 0.6
    mask[:2] = [[False], [True]]
    return mask


def random_layers(count, seed, folder):
    """Layers in each kind of file and alive against Keras, with and without a mask."""
    rng, largest, done = np.random.default_rng(seed), 0.0, 0
    while done < count:
        layer, maskable = random_layer(rng)
        x = layers.Input((7, 3))
        model = randomized(keras.Model(x, layer(x)), int(rng.integers(1 << 30)), scale=0.4)
        probe = keras.tree.flatten(layer(np.random.default_rng(seed).normal(size=(4, 7, 3)).astype(np.float32)))
        if not np.max([np.abs(numpy(one)).max() for one in probe]) < 8:
            continue  # see `check`
        done += 1
        try:
            readings = [formats.open(saved(model, folder, file)).load(fl.LSTMWeights) for file in ("m.keras", "m.h5")]
            readings.append(live.from_layer(layer))
            for mask in (None, masks(rng, 4, 7) if maskable else None):
                start = readings[0].num_layers == 1 and rng.random() < 0.5
                largest = max(largest, *(check(layer, weights, 4, 7, seed, mask, start, 8) for weights in readings))
        except Exception as error:
            raise AssertionError(f"{layer.get_config()}") from error
    print(f"largest error of {count} Keras layers: {largest:.1e}")


def test_random_layers(tmp_path):
    random_layers(60, 0, tmp_path)


@pytest.mark.slow
def test_many_random_layers(tmp_path):
    random_layers(500, 1, tmp_path)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("role", ["activation", "recurrent_activation"])
def test_activations(name, role, tmp_path):
    """Each where it has a bend, too: the tails of hard_sigmoid, the slope of leaky_relu."""
    model = sequential(layers.LSTM(4, **{role: name}, return_sequences=True))
    for file in ("m.keras", "m.h5"):
        check(
            model.layers[0],
            formats.open(saved(model, tmp_path, file)).load(fl.LSTMWeights),
            time=1 if name == "exponential" else 3,
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LeakyReLU(),
        lambda: layers.LeakyReLU(0.05),
        lambda: layers.ELU(0.7),
        lambda: layers.ReLU(),
        lambda: layers.ReLU(max_value=0.4),
        lambda: layers.ReLU(negative_slope=0.2),
        lambda: layers.Activation("selu"),
        lambda: layers.Activation(layers.LeakyReLU(0.15)),
    ],
)
def test_layers_in_place_of_activations(make, tmp_path):
    model = sequential(layers.LSTM(4, activation=make(), return_sequences=True))
    for file in ("m.keras", "m.h5"):
        path = saved(model, tmp_path, file)
        check(model.layers[0], formats.open(path).load(fl.LSTMWeights))
    check(model.layers[0], fl.LSTM.from_keras(model.layers[0]).weights)


def test_hard_sigmoid_goes_by_version(tmp_path):
    """Keras 3: x / 6 + 0.5; before: 0.2 x + 0.5 (as tf_keras 2.21 has it); a file that does not say is refused."""
    model = sequential(layers.LSTM(2, recurrent_activation="hard_sigmoid", return_sequences=True))
    path = saved(model, tmp_path, "m.h5")
    for version, slope in {"3.15.1": 1 / 6, "2.2.4-tf": 0.2, "1.2.2": 0.2, "4.0": None, "x": None, None: None}.items():
        with h5py.File(path, "r+") as file:
            for where in (file, file["model_weights"]):
                where.attrs.pop("keras_version", None)
                where.attrs.update({} if version is None else {"keras_version": version})
        if slope is None:
            with pytest.raises(fl.FormatError, match=f"keras_version 1, 2 or 3 .* found '?{version}"):
                fl.LSTM.load(path)
        else:
            assert formats.open(path).load(fl.LSTMWeights).layers[0][0].cell.gate == fl.weights.Activation(
                "hard_sigmoid", slope, 0.5
            )


@pytest.mark.parametrize("kind", ["LSTM", "zeros", "Bidirectional"])
def test_masking_in_a_model(kind, tmp_path):
    """Steps that Masking finds: repeated by a plain layer, zero where zero_output_for_mask or Bidirectional says so."""
    layer = layers.LSTM(3, return_sequences=True, zero_output_for_mask=kind == "zeros", name="enc")
    layer = layers.Bidirectional(layer, name="enc") if kind == "Bidirectional" else layer
    model = sequential(layers.Masking(), layer)
    x = np.random.default_rng(0).normal(size=(3, 6, 3)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 0, 1, 0], [0] * 6], bool)
    x[~mask] = 0
    wanted = numpy(model(x))
    for file in ("m.keras", "m.h5", "m.weights.h5") if kind != "zeros" else ("m.keras", "m.h5"):
        weights = formats.open(saved(model, tmp_path, file)).load(fl.LSTMWeights)
        assert weights.padding == ("repeat" if kind == "LSTM" else "zero")
        np.testing.assert_allclose(run(weights, x, mask=mask)[0], wanted, rtol=0, atol=1e-5)
        np.testing.assert_allclose(run(weights, x[:1], lengths=[4])[0], wanted[:1], rtol=0, atol=1e-5)


def test_stateful(tmp_path):
    model = sequential(layers.LSTM(2, stateful=True, return_sequences=True), batch=2, time=5)
    for file in FILES:
        lstm = formats.open(saved(model, tmp_path, file)).load(fl.LSTMWeights)
        model.layers[0].reset_state()
        check(model.layers[0], lstm, batch=2, time=5)


@pytest.mark.parametrize("file", FILES)
def test_layers_are_counted_in_the_order_of_the_model_not_of_their_names(file, tmp_path):
    """Twelve LSTMs of one shape: storage names are lstm, lstm_1, ..., lstm_10, layer names run the other way."""
    names = [f"layer {chr(ord('z') - k)}" for k in range(12)]
    model = sequential(*(layers.LSTM(3, return_sequences=True, name=name) for name in names))
    path = saved(model, tmp_path, file)
    assert sorted(formats.open(path).expect(fl.LSTMWeights)) == sorted(names)
    for name in names:
        check(model.get_layer(name), formats.open(path).load(fl.LSTMWeights, prefix=name), time=2)
    with pytest.raises(fl.FormatError, match="expected one LSTM, found 12.*'layer z'"):
        fl.LSTM.load(path)
    with pytest.raises(fl.FormatError, match="expected an LSTM called 'layer', found"):
        fl.LSTM.load(path, prefix="layer")


@pytest.mark.parametrize("file", FILES)
def test_nested_models_and_other_layers(file, tmp_path):
    inner = keras.Sequential(
        [
            layers.Input((None, 3)),
            layers.LSTM(4, return_sequences=True, name="zwei"),
            layers.GRU(4, return_sequences=True),
            layers.LSTM(2, return_sequences=True, name="enc"),
        ],
        name="outer",
    )
    x = layers.Input((None, 3))
    middle = keras.Model(x, layers.Dense(2)(inner(layers.Conv1D(3, 2, padding="same")(x))), name="middle")
    x = layers.Input((None, 3))
    y = layers.SimpleRNN(2, return_sequences=True)(middle(layers.TimeDistributed(layers.Dense(3))(x)))
    frames = layers.Reshape((-1, 1, 2))(layers.LSTM(2, return_sequences=True, name="enc")(y))
    y = layers.TimeDistributed(layers.LSTM(3, name="inside"), name="frames")(frames)
    model = randomized(keras.Model(x, layers.ConvLSTM1D(2, 1)(layers.Reshape((-1, 3, 1))(y)[:, :, None, :, 0])))
    path = saved(model, tmp_path, file)
    found = {
        "middle/outer/zwei": inner.get_layer("zwei"),
        "middle/outer/enc": inner.get_layer("enc"),
        "enc": model.get_layer("enc"),
        "frames": model.get_layer("frames").layer,
    }
    assert set(formats.open(path).expect(fl.LSTMWeights)) == set(found)
    for prefix, layer in found.items():
        check(layer, formats.open(path).load(fl.LSTMWeights, prefix=prefix))


@pytest.mark.parametrize("name", ["a b", "ünï çødé", "lstm_1", "layers", "forward_x", "x" * 300, "vars", "bad\x1bname"])
def test_layer_names(name, tmp_path):
    model = sequential(layers.LSTM(2, name="first", return_sequences=True), layers.LSTM(2, name=name))
    for file in FILES:
        path = saved(model, tmp_path, file)
        assert sorted(formats.open(path).expect(fl.LSTMWeights)) == sorted(["first", name])
        check(model.get_layer(name), formats.open(path).load(fl.LSTMWeights, prefix=name))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.encoder = layers.LSTM(2, return_sequences=True, name="enc")
        self.rows = [layers.Bidirectional(layers.LSTM(2, return_sequences=True), name=f"row{k}") for k in range(2)]
        self.cell = layers.LSTMCell(3, name="lstm_cell")
        self.inner = keras.Sequential([layers.LSTM(4, use_bias=False, return_sequences=True, name="last")], name="seq")
        self.stack = layers.RNN([layers.LSTMCell(2), layers.LSTMCell(2)], name="stack", return_sequences=True)
        self.gru = layers.GRU(2)

    def call(self, x):
        x = self.rows[1](self.rows[0](self.encoder(x)))
        self.gru(x)
        h, _ = self.cell(x[:, 0], [x[:, 0, :3], x[:, 0, :3]])
        return self.inner(self.stack(x))[:, -1, :3] + h


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 2, 3), np.float32))
    return randomized(model)


@pytest.mark.parametrize("file", ["m.keras", "m.weights.h5"])
def test_subclassed_model(file, tmp_path):
    """No configuration says what is in it: LSTMs are known by their variables and called by the names stored there."""
    model = subclassed()
    path = saved(model, tmp_path, file)
    contents = formats.open(path, {})
    assert set(contents.expect(fl.LSTMWeights)) == {"enc", "row0", "row1", "lstm_cell", "seq/last", "stack"}
    check(model.encoder, contents.load(fl.LSTMWeights, prefix="enc"))
    check(model.rows[1], contents.load(fl.LSTMWeights, prefix="row1"))
    check(model.inner.layers[0], contents.load(fl.LSTMWeights, prefix="seq/last"))
    check(model.stack, contents.load(fl.LSTMWeights, prefix="stack"))
    check(layers.RNN(model.cell), contents.load(fl.LSTMWeights, prefix="lstm_cell"))


def test_weights_without_names_go_by_their_path(tmp_path):
    model = subclassed()
    path = saved(model, tmp_path, "m.weights.h5")
    with h5py.File(path, "r+") as file:  # as Keras 3.0 writes it
        file.visititems(lambda _, group: group.attrs.pop("name", None) and None)
    found = formats.open(path).expect(fl.LSTMWeights)
    wanted = {"encoder", "layers/bidirectional", "layers/bidirectional_1", "inner/layers/lstm"}
    assert set(found) == wanted | {"cell", "layers/rnn"}
    check(model.rows[1], formats.open(path).load(fl.LSTMWeights, prefix="layers/bidirectional_1"))


class Wrapped(layers.Layer):
    """A layer of the user's own around an LSTM."""

    def __init__(self, **kw):
        super().__init__(**kw)
        self.rnn = layers.LSTM(2, return_sequences=True, name="rnn")

    def build(self, shape):
        self.rnn.build(shape)

    def call(self, x):
        return self.rnn(x)


def test_inside_a_layer_of_the_users_own(tmp_path):
    model = sequential(Wrapped(name="wrapped"))
    for file in FILES:
        contents = formats.open(saved(model, tmp_path, file), {})
        check(model.layers[0].rnn, contents.load(fl.LSTMWeights, prefix="wrapped/rnn"))


@keras.saving.register_keras_serializable(package="own")
class LSTM(layers.LSTM):
    """Not Keras's LSTM, though it is called so."""


class Other(layers.LSTM):
    pass


def backwards(**kw):
    return layers.LSTM(2, go_backwards=True, **kw)


REFUSED = {
    "activation: expected one of .*, found 'log_softmax'": lambda: layers.LSTM(2, activation="log_softmax", name="bad"),
    "recurrent_activation: expected one of .*, found 'hard_silu'": lambda: layers.LSTM(
        2, recurrent_activation="hard_silu", name="bad"
    ),
    "activation: expected .*, found .*(lambda|value)": lambda: layers.LSTM(2, activation=lambda x: x, name="bad"),
    "activation: expected a name, or one of Keras's layers .*, found 'Softmax'": lambda: layers.LSTM(
        2, activation=layers.Softmax(), name="bad"
    ),
    "activation: expected max_value or negative_slope alone of ReLU": lambda: layers.LSTM(
        2, activation=layers.ReLU(threshold=0.5), name="bad"
    ),
    "merge_mode: expected 'concat' for a stack of cells in each direction, found 'sum'": lambda: layers.Bidirectional(
        layers.RNN([layers.LSTMCell(2), layers.LSTMCell(2)]), merge_mode="sum", name="bad"
    ),
    "go_backwards: expected False of the forward layer in a Bidirectional": lambda: layers.Bidirectional(
        backwards(), backward_layer=layers.LSTM(2), name="bad"
    ),
    "activation: expected one of .*, found 'squareplus'": lambda: layers.Bidirectional(
        layers.LSTM(2), backward_layer=backwards(activation="squareplus"), name="bad"
    ),
    "layer 'bad': expected a Bidirectional of one size, found two; load its directions one by one": lambda: (
        layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(3, go_backwards=True), name="bad")
    ),
    "expected the same kind of layer in both directions": lambda: layers.Bidirectional(
        layers.LSTM(2), backward_layer=layers.RNN([layers.LSTMCell(2)], go_backwards=True), name="bad"
    ),
    "expected 2 cells backward too, found 1": lambda: layers.Bidirectional(
        layers.RNN([layers.LSTMCell(2), layers.LSTMCell(2)]),
        backward_layer=layers.RNN([layers.LSTMCell(2)], go_backwards=True),
        name="bad",
    ),
    "layer class: expected keras.layers.LSTM, found .*LSTM'": lambda: LSTM(2, name="bad"),
    "layer class: expected keras.layers.LSTM, found 'Other'": lambda: Other(2, name="bad"),
    "expected keras.layers.LSTM, found '(own>)?LSTM'": lambda: layers.Bidirectional(LSTM(2), name="bad"),
    "cell class: expected keras.layers.LSTMCell, found 'GRUCell'": lambda: layers.RNN(
        [layers.GRUCell(2), layers.LSTMCell(2)], name="bad"
    ),
}


@pytest.mark.filterwarnings("ignore:.*lambda")
@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_computed_here_is_refused_by_name(message, tmp_path):
    """And the LSTM beside it, of the same class and stored under the next number, still loads."""
    x = layers.Input((None, 3))
    good = layers.LSTM(2, name="good")
    model = randomized(keras.Model(x, [REFUSED[message]()(x), good(x)]))
    for file in ("m.keras", "m.h5"):
        path = saved(model, tmp_path, file)
        assert sorted(formats.open(path).expect(fl.LSTMWeights)) == ["bad", "good"]
        with pytest.raises(fl.FormatError, match=f"{file}.*{message}"):
            fl.LSTM.load(path, prefix="bad")
        check(good, formats.open(path).load(fl.LSTMWeights, prefix="good"))


@pytest.mark.parametrize("file", FILES)
def test_other_recurrent_layers_are_no_lstm(file, tmp_path):
    model = sequential(
        layers.GRU(4, return_sequences=True),
        layers.GRU(4, reset_after=False, return_sequences=True),
        layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True)),
        layers.RNN([layers.GRUCell(4), layers.SimpleRNNCell(4)], return_sequences=True),
        layers.Dense(16),
        layers.Dense(4),
    )
    with pytest.raises(fl.FormatError, match="expected an LSTM, found none"):
        fl.LSTM.load(saved(model, tmp_path, file))


def test_stacks_without_a_configuration(tmp_path):
    """Where cells of several kinds are stacked, the LSTM cells among them are not taken for the whole."""
    for cells in ([layers.GRUCell(2), layers.LSTMCell(2)], [layers.LSTMCell(2), layers.SimpleRNNCell(2)]):
        path = saved(sequential(layers.RNN(cells, name="mixed")), tmp_path, "m.weights.h5")
        with pytest.raises(fl.FormatError, match="expected one LSTM cell, a stack of them"):
            fl.LSTM.load(path)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16"])
def test_stored_types(dtype, tmp_path):
    layer = layers.LSTM(4, dtype=dtype, return_sequences=True, recurrent_initializer="glorot_uniform")
    model = sequential(layer)
    twin = sequential(layers.LSTM(4, return_sequences=True))
    for one, other in zip(twin.weights, model.weights, strict=True):
        one.assign(keras.ops.cast(other.value, "float32"))
    for file in ("m.keras", "m.weights.h5") if dtype == "bfloat16" else FILES:
        check(twin.layers[0], formats.open(saved(model, tmp_path, file)).load(fl.LSTMWeights))
    check(twin.layers[0], live.from_layer(layer))


def test_from_keras_refuses():
    with pytest.raises(TypeError, match=r"expected a keras.layers.LSTM .* found .*gru.GRU"):
        fl.LSTM.from_keras(layers.GRU(2))
    with pytest.raises(TypeError, match="found .*Other"):
        fl.LSTM.from_keras(Other(2))
    with pytest.raises(TypeError, match="found builtins.int"):
        fl.LSTM.from_keras(3)
    with pytest.raises(ValueError, match="expected a built layer"):
        fl.LSTM.from_keras(layers.LSTM(2))
    with pytest.raises(ValueError, match="activation: expected one of .*, found 'log_softmax'"):
        fl.LSTM.from_keras(layers.LSTM(2, activation="log_softmax"))

    def tanh(x):
        return x

    with pytest.raises(ValueError, match="expected activations of Keras's own, found <function .*tanh"):
        fl.LSTM.from_keras(sequential(layers.LSTM(2, activation=tanh)).layers[0])


def test_snake_case_is_kerass():
    names = "LSTM LSTMCell RNN StackedRNNCells TimeDistributed MyLSTM2D My_Layer ABCDef aBC Conv1DTranspose own>LSTM"
    for name in names.split():
        assert snake_case(name) == keras.src.utils.naming.to_snake_case(name)
