"""Whole models of Keras 2 (tf_keras): both kinds of files, and alive, against tf_keras."""

from pathlib import Path

import numpy as np
import pytest
from keras_graphs import agree, check, flat, inputs_for, randomized, run

import fusedlstm as fl

keras = pytest.importorskip("tf_keras")
tf = pytest.importorskip("tensorflow")
layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore")
FILES = ("m.keras", "m.h5")
SEQUENCE, IMAGE = (7, 4), (6, 5, 4)


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


CASES = {
    "LSTM": (SEQUENCE, lambda: layers.LSTM(5, return_sequences=True)),
    "LSTM hard": (SEQUENCE, lambda: layers.LSTM(5, recurrent_activation="hard_sigmoid")),
    "LSTM backwards": (SEQUENCE, lambda: layers.LSTM(5, go_backwards=True, return_sequences=True)),
    "GRU": (SEQUENCE, lambda: layers.GRU(5, return_sequences=True)),
    "GRU before": (SEQUENCE, lambda: layers.GRU(5, reset_after=False, recurrent_activation="hard_sigmoid")),
    "SimpleRNN": (SEQUENCE, lambda: layers.SimpleRNN(5, use_bias=False)),
    "RNN of cells": (SEQUENCE, lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3), layers.LSTMCell(4)])),
    "Bidirectional": (SEQUENCE, lambda: layers.Bidirectional(layers.LSTM(4, return_sequences=True))),
    "Bidirectional GRU": (SEQUENCE, lambda: layers.Bidirectional(layers.GRU(4), merge_mode="sum")),
    "Bidirectional two": (
        SEQUENCE,
        lambda: layers.Bidirectional(layers.LSTM(4), backward_layer=layers.LSTM(3, go_backwards=True)),
    ),
    "TimeDistributed": (SEQUENCE, lambda: layers.TimeDistributed(layers.Dense(3, activation="selu"))),
    "TimeDistributed Conv1D": ((3, 7, 4), lambda: layers.TimeDistributed(layers.Conv1D(3, 2, activation="relu"))),
    "hard_sigmoid": (SEQUENCE, lambda: layers.Dense(3, activation="hard_sigmoid")),
    "gelu": (SEQUENCE, lambda: layers.Activation("gelu")),
    "layer": (SEQUENCE, lambda: layers.Dense(3, activation=layers.LeakyReLU(0.1))),
    "LeakyReLU": (SEQUENCE, lambda: layers.LeakyReLU()),
    "ReLU": (SEQUENCE, lambda: layers.ReLU(max_value=0.8, negative_slope=0.2, threshold=0.3)),
    "ELU": (SEQUENCE, lambda: layers.ELU(0.5)),
    "PReLU": (SEQUENCE, lambda: layers.PReLU(shared_axes=[1])),
    "ThresholdedReLU": (SEQUENCE, lambda: layers.ThresholdedReLU(0.4)),
    "Conv1D": (SEQUENCE, lambda: layers.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="relu")),
    "Conv2D": (IMAGE, lambda: layers.Conv2D(3, 2, padding="same", strides=2)),
    "SeparableConv1D": (SEQUENCE, lambda: layers.SeparableConv1D(5, 3, depth_multiplier=2)),
    "DepthwiseConv1D": (SEQUENCE, lambda: layers.DepthwiseConv1D(3, depth_multiplier=2)),
    "DepthwiseConv2D": (IMAGE, lambda: layers.DepthwiseConv2D(3, padding="same")),
    "Conv1DTranspose": (SEQUENCE, lambda: layers.Conv1DTranspose(5, 3, strides=2, padding="same")),
    "Conv1DTranspose padded": (SEQUENCE, lambda: layers.Conv1DTranspose(5, 3, strides=2, output_padding=1)),
    "Conv1DTranspose same": (
        SEQUENCE,
        lambda: layers.Conv1DTranspose(5, 3, strides=2, output_padding=0, padding="same"),
    ),
    "BatchNormalization": (SEQUENCE, lambda: layers.BatchNormalization()),
    "LayerNormalization": (SEQUENCE, lambda: layers.LayerNormalization()),
    "LayerNormalization 1": (SEQUENCE, lambda: layers.LayerNormalization(axis=1)),
    "Normalization": (SEQUENCE, lambda: layers.Normalization()),
    "Normalization given": (SEQUENCE, lambda: layers.Normalization(mean=2.0, variance=3.0, axis=None)),
    "UnitNormalization": (SEQUENCE, lambda: layers.UnitNormalization()),
    "MaxPooling1D": (SEQUENCE, lambda: layers.MaxPooling1D(3, 2, padding="same")),
    "AveragePooling1D": (SEQUENCE, lambda: layers.AveragePooling1D(3, 2, padding="same")),
    "Resizing": (IMAGE, lambda: layers.Resizing(4, 9)),
    "UpSampling1D": (SEQUENCE, lambda: layers.UpSampling1D(2)),
    "GlobalMaxPooling1D": (SEQUENCE, lambda: layers.GlobalMaxPooling1D()),
    "Permute": (SEQUENCE, lambda: layers.Permute((2, 1))),
    "Softmax": (SEQUENCE, lambda: layers.Softmax(axis=1)),
}


@pytest.mark.parametrize("case", CASES)
def test_layer(case, tmp_path):
    shape, make = CASES[case]
    model = randomized(keras.Sequential([layers.Input(shape), make()]))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # which takes over statistics that are there
            layer.finalize_state()
    check(model, tmp_path, FILES)


def valid_steps():
    mask = np.ones((4, 7), bool)
    mask[0, 4:] = mask[1, :2] = mask[1, 4] = mask[2] = False
    return mask


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "Bidirectional", "backwards"])
def test_masks(kind, sequences, tmp_path):
    options = {"return_sequences": sequences}
    made = {
        "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(4, **options)),
        "backwards": lambda: layers.LSTM(4, go_backwards=True, **options),
    }
    layer = made[kind]() if kind in made else getattr(layers, kind)(4, **options)
    model = randomized(keras.Sequential([layers.Input((7, 4)), layers.Masking(), layer]))
    given = normal(4, 7, 4)
    given[~valid_steps()] = 0
    # tf_keras has no zeros where a whole row is masked: its backward direction runs on the cell of other rows.
    check(model, tmp_path, FILES, [given])


@pytest.mark.parametrize("kind", ["Add", "Multiply", "Average", "Maximum", "Subtract", "Concatenate"])
def test_merging_with_masks(kind, tmp_path):
    a, b = layers.Input((7, 4)), layers.Input((7, 4))
    merged = getattr(layers, kind)()([layers.Masking()(a), layers.Masking()(b)])
    model = randomized(keras.Model([a, b], [merged, layers.LSTM(3)(merged)]))
    given = [normal(4, 7, 4), normal(4, 7, 4, seed=2)]
    given[0][0, 4:] = given[0][1, 2] = given[1][0, 5:] = given[1][3, :2] = 0
    check(model, tmp_path, FILES, given)


def test_embedding_without_an_input_layer(tmp_path):
    model = keras.Sequential([layers.Embedding(9, 4, input_length=5, mask_zero=True), layers.LSTM(3), layers.Dense(2)])
    model.build((None, 5))
    given = np.random.default_rng(0).integers(0, 9, (3, 5)).astype(np.float32)
    randomized(model)
    wanted = flat(model(given))
    for file in FILES:
        model.save(tmp_path / file)
        agree([fl.Model.load(tmp_path / file)(given.astype(np.int32))], wanted)


def functional():
    x = layers.Input((5, 4))
    m = layers.Masking()(x)
    y = layers.MultiHeadAttention(2, 3, name="mha")(m, m)
    z = layers.Attention(use_scale=True)([m, y])
    w = layers.AdditiveAttention()([z, m])
    o = (w * 2.0 + 1.0)[:, 1:, ::2]
    o = tf.concat([o, tf.reduce_mean(o, axis=1, keepdims=True)], axis=1)
    o = 2.0 - tf.nn.relu(tf.expand_dims(o, -1))[:, -1]
    inner = keras.Sequential([layers.Input((4,)), layers.Dense(3, name="d")], name="inner")
    a, b = inner(x[:, 0]), inner(x[:, 1])
    plain = keras.Sequential([layers.Dense(2), layers.Dense(2)], name="plain")
    q = layers.LSTM(3, return_state=True)(x)
    r = layers.LSTM(3)(x, initial_state=q[1:])
    both = layers.Bidirectional(layers.GRU(3))(x, initial_state=[r, r])
    return keras.Model(x, [o, a, b, plain(b), r, both])


def test_functional(tmp_path):
    check(randomized(functional()), tmp_path, FILES)
    assert list(fl.Model.load(tmp_path / "m.h5").outputs)[1:4] == ["inner", "inner:1", "plain"]


def nested():
    inner = keras.Sequential(
        [layers.Input((7, 4)), layers.Dense(4, name="d"), layers.LSTM(3, name="enc")], name="inner"
    )
    x = layers.Input((7, 4))
    middle = keras.Model(x, [inner(x), layers.GlobalMaxPooling1D()(layers.Dense(3, name="e")(x))], name="middle")
    x, y = layers.Input((7, 4)), layers.Input((7, 4))
    shared = layers.Dense(4, name="f")
    first, second = middle(shared(x)), middle(shared(y))
    frames = layers.TimeDistributed(keras.Sequential([layers.Input((4,)), layers.Dense(2, name="g")]))(y)
    return keras.Model([x, y], [layers.Add()([*first, *second]), first[1], frames])


def test_nested_and_shared(tmp_path):
    check(randomized(nested()), tmp_path, FILES)


OPERATORS = {
    "arithmetic": lambda x, y: [(2.0 - x * 3 + y / 2) ** 2, 1 / (x * x + 1) - y, -x, abs(y), x > y],
    "moves": lambda x, y: [
        tf.transpose(x, [0, 2, 1]),
        tf.reshape(x, (-1, 4)),
        tf.squeeze(tf.expand_dims(x, 1), 1),
        tf.stack([x, y], axis=1),
        *tf.split(x, 2, axis=-1),
        tf.tile(x, [1, 2, 1]),
        tf.reverse(x, [1]),
        tf.gather(x, [1, 0], axis=1),
        x[:, -1],
        x[:, 1:5:2, 0],
        x[:, tf.newaxis, 2:],
        x[:, ::-1],
    ],
    "reductions": lambda x, y: [
        tf.reduce_sum(x, axis=1),
        tf.reduce_max(x, axis=-1, keepdims=True),
        tf.math.reduce_min(x, [1, 2]),
        tf.argmax(x, -1),
    ],
    "functions": lambda x, y: [
        tf.exp(x),
        tf.tanh(x),
        tf.sigmoid(x),
        tf.sqrt(tf.abs(x)),
        tf.square(x),
        tf.math.log(tf.abs(x) + 1),
        tf.nn.softmax(x),
        tf.nn.leaky_relu(x),
        tf.nn.gelu(x),
        tf.clip_by_value(x, -0.5, 0.5),
        tf.maximum(x, y),
        tf.where(x > 0, x, y),
        tf.cast(x > y, "float32"),
        tf.matmul(x, y, transpose_b=True),
    ],
}


@pytest.mark.parametrize("case", OPERATORS)
def test_operators(case, tmp_path):
    x, y = layers.Input((6, 4)), layers.Input((6, 4))
    check(randomized(keras.Model([x, y], OPERATORS[case](layers.Dense(4)(x), y))), tmp_path, FILES)


def test_refused_by_name(tmp_path):
    x = layers.Input((7, 4))
    h = layers.LSTM(5, name="enc")(x)
    model = keras.Model(x, layers.Dense(2)(layers.Lambda(lambda x: x + 1, name="mine")(h)))
    for file in FILES:
        model.save(tmp_path / file)
        with pytest.raises(fl.FormatError, match="Lambda node 'mine': it runs Python code.*outputs="):
            fl.Model.load(tmp_path / file)
        given = normal(2, 7, 4)
        agree(run(fl.Model.load(tmp_path / file, outputs=["enc"]), [given]), flat(keras.Model(x, h)(given)))


def test_stateful(tmp_path):
    model = keras.Sequential([layers.LSTM(4, stateful=True, batch_input_shape=(2, 3, 4), name="a"), layers.Dense(2)])
    randomized(model)
    for file in FILES:
        model.save(tmp_path / file)
        model.reset_states()
        stream = fl.Model.load(tmp_path / file).stream(batch_size=2)
        for step in range(3):
            (x,) = inputs_for(model, np.random.default_rng(step))
            agree([np.array(stream.step(x))], flat(model(x)))


@pytest.mark.parametrize("name", ["race_driver.h5", "census_names.h5"])
def test_real_models(name):
    path = Path("/work/shared/models") / name
    if not path.exists():
        pytest.skip("the real models are not here")
    ours, theirs = fl.Model.load(path), keras.models.load_model(path, compile=False)
    (spec,) = ours.inputs.values()
    for batch in (1, 5):
        shape = (batch, *spec.shape[1:])
        x = np.random.default_rng(batch).integers(0, 900, shape) if spec.dtype.kind == "i" else normal(*shape)
        agree([ours(x)], flat(theirs(x.astype(np.float32))))


@pytest.mark.parametrize("kind", ["StringLookup", "TextVectorization", "IntegerLookup"])
def test_what_looks_words_up(kind, tmp_path):
    text = kind != "IntegerLookup"
    x = layers.Input((1,) if text else (4,), dtype="string" if text else "int64", name="words")
    layer = getattr(layers, kind)(vocabulary=["a", "b"] if text else [3, 5], name="look")
    model = keras.Model(x, layers.LSTM(2)(layers.Embedding(9, 3)(layer(x))))
    model.save(tmp_path / "m.keras")
    expected = (
        "input 'words': expected numbers, found text; save the model without" if text else "'look': look its numbers up"
    )
    with pytest.raises(fl.FormatError, match=expected):
        fl.Model.load(tmp_path / "m.keras")


def test_masks_through_nested_models(tmp_path):
    inner = keras.Sequential(
        [layers.Input((7, 4)), layers.Dense(4), layers.LSTM(3, return_sequences=True)], name="inner"
    )
    x = layers.Input((7, 4))
    masked = layers.Masking()(x)
    model = randomized(keras.Model(x, [layers.LSTM(2)(inner(masked)), inner(masked)]))
    given = normal(4, 7, 4)
    given[0, 4:] = given[1, 2] = given[2, :3] = 0
    check(model, tmp_path, FILES, [given])


def test_calls_as_in_training_are_refused(tmp_path):
    x = layers.Input((7, 4))
    model = keras.Model(x, layers.LSTM(3)(layers.Dropout(0.5, name="mine")(x, training=True)))
    for file in FILES:
        model.save(tmp_path / file)
        with pytest.raises(fl.FormatError, match="'mine': training: expected a model at inference"):
            fl.Model.load(tmp_path / file)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.lstm = layers.LSTM(3)

    def call(self, x):
        return self.lstm(x) + 1


def test_subclassed(tmp_path):
    model = Own()
    model(normal(1, 2, 3))
    model.save(tmp_path / "m.keras")
    with pytest.raises(fl.FormatError, match="expected a Sequential or Functional model, found 'Own'|Custom>Own"):
        fl.Model.load(tmp_path / "m.keras")
    with pytest.raises(fl.FormatError, match="expected a Sequential or Functional model"):
        fl.Model.from_keras(model)
    with pytest.raises(TypeError, match="expected a Keras model, found builtins.int"):
        fl.Model.from_keras(3)
    model.save_weights(tmp_path / "w.h5")
    with pytest.raises(fl.FormatError, match="expected a whole model, found a Keras HDF5 file; its weights alone"):
        fl.Model.load(tmp_path / "w.h5")


def test_own_functions_are_no_tanh():
    def tanh(x):
        return x

    model = keras.Sequential([layers.Input((3, 2)), layers.LSTM(2, activation=tanh)])
    with pytest.raises((fl.FormatError, ValueError), match="activation"):
        fl.Model.from_keras(model)


@pytest.mark.parametrize("kind", ["Rescaling", "Normalization", "Identity", "Add"])
def test_masks_as_keras_2_has_them(tmp_path, kind):
    """Three layers do not carry them; merged ones are valid where all inputs with a mask are."""
    first = layers.Input((5, 3))
    x = layers.Masking()(first)
    made = {
        "Rescaling": lambda: layers.Rescaling(0.5, 0.1)(x),
        "Normalization": lambda: layers.Normalization(mean=0.3, variance=2.0)(x),
        "Identity": lambda: layers.Identity()(x),
        "Add": lambda: layers.Add()([x, layers.Conv1D(3, 1)(x)]),
    }[kind]()
    model = randomized(keras.Model(first, layers.LSTM(4)(made)))
    given = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    given[0, 3:] = given[1, 1] = 0
    check(model, tmp_path, inputs=[given])


def test_a_bidirectional_that_runs_backward_first(tmp_path):
    first = layers.Input((5, 3))
    y = layers.Bidirectional(layers.LSTM(4, go_backwards=True, return_sequences=True))(layers.Masking()(first))
    model = randomized(keras.Model(first, y))
    given = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    given[0, 3:] = given[1, 1] = 0
    check(model, tmp_path, inputs=[given])
