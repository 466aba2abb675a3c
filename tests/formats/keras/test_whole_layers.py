"""Each layer of Keras with its options, in a model of its own, against Keras."""

import numpy as np
import pytest
from keras_graphs import check, randomized
from keras_models import keras, layers

import fusedlstm as fl

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation", "ignore:.*HDF5 file via:UserWarning")
FILES = ("m.keras", "m.h5")

SEQUENCE = (7, 4)
IMAGE = (6, 5, 4)

ACTIVATIONS = (
    *(
        "celu",
        "elu",
        "exponential",
        "gelu",
        "glu",
        "hard_shrink",
        "hard_sigmoid",
        "hard_silu",
        "hard_swish",
        "hard_tanh",
    ),
    *("leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("soft_shrink", "softmax", "softplus", "softsign", "squareplus", "swish", "tanh", "tanh_shrink"),
)

CASES = {
    **{f"Activation {name}": (SEQUENCE, lambda name=name: layers.Activation(name)) for name in ACTIVATIONS},
    "ReLU": (SEQUENCE, lambda: layers.ReLU()),
    "ReLU 0.5, most": (SEQUENCE, lambda: layers.ReLU(max_value=0.5)),
    "ReLU slope": (SEQUENCE, lambda: layers.ReLU(negative_slope=0.2)),
    "ReLU all": (SEQUENCE, lambda: layers.ReLU(max_value=0.8, negative_slope=0.2, threshold=0.3)),
    "ReLU threshold": (SEQUENCE, lambda: layers.ReLU(threshold=0.3)),
    "LeakyReLU": (SEQUENCE, lambda: layers.LeakyReLU()),
    "LeakyReLU 0.05": (SEQUENCE, lambda: layers.LeakyReLU(negative_slope=0.05)),
    "PReLU": (SEQUENCE, lambda: layers.PReLU()),
    "PReLU shared": (SEQUENCE, lambda: layers.PReLU(shared_axes=[1])),
    "ELU": (SEQUENCE, lambda: layers.ELU(alpha=0.7)),
    "Softmax": (SEQUENCE, lambda: layers.Softmax()),
    "Softmax 1": (SEQUENCE, lambda: layers.Softmax(axis=1)),
    "Softmax 1, 2": (SEQUENCE, lambda: layers.Softmax(axis=(1, 2))),
    "Dense": (SEQUENCE, lambda: layers.Dense(3, activation="tanh")),
    "Dense flat": ((5,), lambda: layers.Dense(3, use_bias=False)),
    "Dense of a layer": (SEQUENCE, lambda: layers.Dense(3, activation=layers.LeakyReLU(0.1))),
    "EinsumDense": (SEQUENCE, lambda: layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d", activation="relu")),
    "EinsumDense dots": (SEQUENCE, lambda: layers.EinsumDense("...x,xy->...y", (3,))),
    "Dropout": (SEQUENCE, lambda: layers.Dropout(0.5)),
    "SpatialDropout1D": (SEQUENCE, lambda: layers.SpatialDropout1D(0.5)),
    "GaussianNoise": (SEQUENCE, lambda: layers.GaussianNoise(0.5)),
    "GaussianDropout": (SEQUENCE, lambda: layers.GaussianDropout(0.5)),
    "AlphaDropout": (SEQUENCE, lambda: layers.AlphaDropout(0.5)),
    "ActivityRegularization": (SEQUENCE, lambda: layers.ActivityRegularization(0.1)),
    **{
        f"Conv1D {options}": (SEQUENCE, lambda options=options: layers.Conv1D(5, 3, **options))
        for options in (
            {},
            {"padding": "same", "activation": "relu"},
            {"padding": "causal", "dilation_rate": 2},
            {"padding": "same", "strides": 2, "use_bias": False},
            {"strides": 2},
        )
    },
    "Conv1D groups": (SEQUENCE, lambda: layers.Conv1D(6, 2, groups=2, padding="same")),
    "Conv1D softmax": (SEQUENCE, lambda: layers.Conv1D(6, 2, activation="softmax")),
    "Conv2D": (IMAGE, lambda: layers.Conv2D(3, (3, 2), padding="same", strides=(2, 1), activation="relu")),
    "Conv2D dilated": (IMAGE, lambda: layers.Conv2D(3, 2, dilation_rate=(2, 1))),
    "Conv3D": ((3, 4, 5, 2), lambda: layers.Conv3D(3, 2, padding="same")),
    "SeparableConv1D": (SEQUENCE, lambda: layers.SeparableConv1D(5, 3, depth_multiplier=2, padding="same")),
    "SeparableConv2D": (IMAGE, lambda: layers.SeparableConv2D(5, 3, activation="relu", strides=2)),
    "DepthwiseConv1D": (SEQUENCE, lambda: layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same")),
    "DepthwiseConv2D": (IMAGE, lambda: layers.DepthwiseConv2D(3, use_bias=False, dilation_rate=1)),
    **{
        f"Conv1DTranspose {options}": (SEQUENCE, lambda options=options: layers.Conv1DTranspose(5, 3, **options))
        for options in (
            {},
            {"strides": 2},
            {"strides": 2, "padding": "same"},
            {"strides": 4, "padding": "same"},
            {"strides": 5},
            {"padding": "same", "dilation_rate": 2},
        )
    },
    "Conv2DTranspose": (IMAGE, lambda: layers.Conv2DTranspose(3, (3, 2), strides=(2, 1), padding="same")),
    **{
        f"{kind} {options}": (SEQUENCE, lambda kind=kind, options=options: getattr(layers, kind)(**options))
        for kind in ("MaxPooling1D", "AveragePooling1D")
        for options in (
            {"pool_size": 2},
            {"pool_size": 3, "strides": 2, "padding": "same"},
            {"pool_size": 3, "strides": 1},
        )
    },
    "MaxPooling2D": (IMAGE, lambda: layers.MaxPooling2D((2, 3), padding="same")),
    "AveragePooling2D": (IMAGE, lambda: layers.AveragePooling2D(2, strides=1, padding="same")),
    "MaxPooling3D": ((4, 5, 6, 2), lambda: layers.MaxPooling3D((1, 2, 2), padding="same")),
    **{
        f"{kind} {keep}": (shape, lambda kind=kind, keep=keep: getattr(layers, kind)(keepdims=keep))
        for kind, shape in (
            ("GlobalMaxPooling1D", SEQUENCE),
            ("GlobalAveragePooling1D", SEQUENCE),
            ("GlobalMaxPooling2D", IMAGE),
            ("GlobalAveragePooling2D", IMAGE),
        )
        for keep in (False, True)
    },
    "BatchNormalization": (SEQUENCE, lambda: layers.BatchNormalization()),
    "BatchNormalization 1": (SEQUENCE, lambda: layers.BatchNormalization(axis=1, epsilon=0.1, scale=False)),
    "BatchNormalization plain": (SEQUENCE, lambda: layers.BatchNormalization(scale=False, center=False)),
    "LayerNormalization": (SEQUENCE, lambda: layers.LayerNormalization()),
    "LayerNormalization 1, 2": (SEQUENCE, lambda: layers.LayerNormalization(axis=(1, 2), epsilon=0.1)),
    "LayerNormalization no scale": (SEQUENCE, lambda: layers.LayerNormalization(scale=False)),
    "LayerNormalization no center": (SEQUENCE, lambda: layers.LayerNormalization(center=False)),
    "RMSNormalization": (SEQUENCE, lambda: layers.RMSNormalization()),
    "GroupNormalization": (SEQUENCE, lambda: layers.GroupNormalization(2)),
    "GroupNormalization all": (SEQUENCE, lambda: layers.GroupNormalization(-1, center=False)),
    "UnitNormalization": (SEQUENCE, lambda: layers.UnitNormalization()),
    "UnitNormalization 1, 2": (SEQUENCE, lambda: layers.UnitNormalization(axis=(1, 2))),
    "Rescaling": (SEQUENCE, lambda: layers.Rescaling(1 / 255, offset=-1)),
    "Rescaling lists": (SEQUENCE, lambda: layers.Rescaling([1.0, 2.0, 3.0, 4.0], offset=-1.0)),
    "Normalization": (SEQUENCE, lambda: layers.Normalization()),
    "Normalization given": (SEQUENCE, lambda: layers.Normalization(mean=2.0, variance=3.0, axis=None)),
    "Normalization list": (SEQUENCE, lambda: layers.Normalization(mean=[0.0, 1, 2, 3], variance=[1.0, 2, 3, 4])),
    "Normalization invert": (SEQUENCE, lambda: layers.Normalization(mean=2.0, variance=3.0, axis=None, invert=True)),
    "Flatten": (IMAGE, lambda: layers.Flatten()),
    "Reshape": (SEQUENCE, lambda: layers.Reshape((2, 14))),
    "Reshape -1": (SEQUENCE, lambda: layers.Reshape((-1, 2))),
    "Permute": (IMAGE, lambda: layers.Permute((3, 1, 2))),
    "RepeatVector": ((5,), lambda: layers.RepeatVector(3)),
    "Cropping1D": (SEQUENCE, lambda: layers.Cropping1D((2, 1))),
    "Cropping1D 0": (SEQUENCE, lambda: layers.Cropping1D((2, 0))),
    "Cropping2D": (IMAGE, lambda: layers.Cropping2D(((1, 2), (0, 1)))),
    "ZeroPadding1D": (SEQUENCE, lambda: layers.ZeroPadding1D((2, 1))),
    "ZeroPadding2D": (IMAGE, lambda: layers.ZeroPadding2D(((1, 2), (0, 1)))),
    "Resizing": (IMAGE, lambda: layers.Resizing(4, 9)),
    "UpSampling1D": (SEQUENCE, lambda: layers.UpSampling1D(3)),
    "UpSampling2D": (IMAGE, lambda: layers.UpSampling2D((2, 3))),
    "UpSampling2D bilinear": (IMAGE, lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    "TimeDistributed Dense": (SEQUENCE, lambda: layers.TimeDistributed(layers.Dense(3, activation="relu"))),
    "TimeDistributed Conv1D": ((3, 7, 4), lambda: layers.TimeDistributed(layers.Conv1D(3, 2))),
    "TimeDistributed LSTM": ((3, 7, 4), lambda: layers.TimeDistributed(layers.LSTM(3))),
    "TimeDistributed Flatten": (IMAGE, lambda: layers.TimeDistributed(layers.Flatten())),
    "TimeDistributed model": (
        (3, 7, 4),
        lambda: layers.TimeDistributed(
            keras.Sequential([layers.Input((7, 4)), layers.Conv1D(3, 2, name="c"), layers.GlobalMaxPooling1D()])
        ),
    ),
    "Identity": (SEQUENCE, lambda: layers.Identity()),
    "RandomFlip": (IMAGE, lambda: layers.RandomFlip()),
    "RandomRotation": (IMAGE, lambda: layers.RandomRotation(0.2)),
    "RandomZoom": (IMAGE, lambda: layers.RandomZoom(0.2)),
    "RandomTranslation": (IMAGE, lambda: layers.RandomTranslation(0.2, 0.2)),
    "RandomContrast": (IMAGE, lambda: layers.RandomContrast(0.2)),
    **{
        f"{make.__name__} first": (shape, lambda make=make, more=more: make(*more, data_format="channels_first"))
        for make, shape, more in (
            (layers.Conv1D, SEQUENCE, (3, 2)),
            (layers.Conv2D, IMAGE, (3, 2)),
            (layers.MaxPooling1D, SEQUENCE, (2,)),
            (layers.GlobalAveragePooling1D, SEQUENCE, ()),
            (layers.Flatten, IMAGE, ()),
            (layers.ZeroPadding2D, IMAGE, (1,)),
        )
    },
    "SpatialDropout2D": (IMAGE, lambda: layers.SpatialDropout2D(0.5)),
    "GlobalMaxPooling3D": ((3, 4, 5, 2), lambda: layers.GlobalMaxPooling3D()),
    "GlobalAveragePooling3D": ((3, 4, 5, 2), lambda: layers.GlobalAveragePooling3D()),
    "AveragePooling3D": ((4, 5, 6, 2), lambda: layers.AveragePooling3D(2)),
    "Conv3DTranspose": ((3, 4, 5, 2), lambda: layers.Conv3DTranspose(3, 2, strides=2)),
    "Cropping3D": ((4, 5, 6, 2), lambda: layers.Cropping3D(1)),
    "ZeroPadding3D": ((3, 4, 5, 2), lambda: layers.ZeroPadding3D((1, 2, 0))),
    "UpSampling3D": ((3, 4, 5, 2), lambda: layers.UpSampling3D(2)),
    "Discretization": (SEQUENCE, lambda: layers.Discretization([-0.5, 0.0, 0.7])),
}


@pytest.mark.parametrize("case", CASES)
def test_layer(case, tmp_path):
    shape, make = CASES[case]
    model = randomized(keras.Sequential([layers.Input(shape), make()]))
    check(model, tmp_path, FILES, batches=((3, 7), (1, 7)))


FREE = [
    *("Dense", "Conv1D {'padding': 'same', 'activation': 'relu'}", "Conv1D {'padding': 'causal', 'dilation_rate': 2}"),
    *(
        "MaxPooling1D {'pool_size': 2}",
        "GlobalAveragePooling1D False",
        "BatchNormalization",
        "LayerNormalization",
        "Softmax 1",
    ),
    *("TimeDistributed Dense", "UpSampling1D", "ZeroPadding1D", "Cropping1D", "Conv1DTranspose {'strides': 2}"),
    *("SeparableConv1D", "Reshape -1", "UnitNormalization 1, 2"),
]


@pytest.mark.parametrize("case", FREE)
def test_time_is_free(case, tmp_path):
    model = randomized(keras.Sequential([layers.Input((None, 4)), CASES[case][1]()]))
    check(model, tmp_path, batches=((3, 7), (2, 12), (1, 4)))


RECURRENT = {
    "LSTM": lambda **kw: layers.LSTM(5, **kw),
    "LSTM hard": lambda **kw: layers.LSTM(5, activation="relu", recurrent_activation="hard_sigmoid", **kw),
    "LSTM no bias": lambda **kw: layers.LSTM(5, use_bias=False, **kw),
    "LSTM backwards": lambda **kw: layers.LSTM(5, go_backwards=True, **kw),
    "GRU": lambda **kw: layers.GRU(5, **kw),
    "GRU before": lambda **kw: layers.GRU(5, reset_after=False, **kw),
    "GRU hard": lambda **kw: layers.GRU(5, activation="softsign", recurrent_activation="hard_sigmoid", **kw),
    "GRU no bias": lambda **kw: layers.GRU(5, use_bias=False, go_backwards=True, **kw),
    "SimpleRNN": lambda **kw: layers.SimpleRNN(5, **kw),
    "SimpleRNN relu": lambda **kw: layers.SimpleRNN(5, activation="relu", use_bias=False, **kw),
    "RNN": lambda **kw: layers.RNN(layers.LSTMCell(5), **kw),
    "RNN of cells": lambda **kw: layers.RNN(
        [layers.LSTMCell(4), layers.GRUCell(3), layers.LSTMCell(2), layers.SimpleRNNCell(3)], **kw
    ),
    "Bidirectional LSTM": lambda **kw: layers.Bidirectional(layers.LSTM(4, **kw)),
    "Bidirectional GRU": lambda **kw: layers.Bidirectional(layers.GRU(4, **kw)),
    "Bidirectional RNN": lambda **kw: layers.Bidirectional(layers.SimpleRNN(4, **kw), merge_mode="sum"),
    "Bidirectional ave": lambda **kw: layers.Bidirectional(layers.LSTM(4, **kw), merge_mode="ave"),
    "Bidirectional mul": lambda **kw: layers.Bidirectional(layers.GRU(4, **kw), merge_mode="mul"),
    "Bidirectional none": lambda **kw: layers.Bidirectional(layers.LSTM(4, **kw), merge_mode=None),
    "Bidirectional two": lambda **kw: layers.Bidirectional(
        layers.LSTM(4, **kw), backward_layer=layers.LSTM(3, go_backwards=True, **kw)
    ),
    "Bidirectional cells": lambda **kw: layers.Bidirectional(
        layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3)], **kw)
    ),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", [{}, {"return_sequences": True}, {"return_state": True}], ids=str)
@pytest.mark.parametrize("case", RECURRENT)
def test_recurrent(case, options, masked, tmp_path):
    x = layers.Input((7, 4))
    inside = layers.Masking()(x) if masked else x
    model = randomized(keras.Model(x, RECURRENT[case](**options)(inside)), scale=0.3)
    rng = np.random.default_rng(1)
    given = rng.normal(size=(4, 7, 4)).astype(np.float32)
    if masked:
        given[~valid_steps()] = 0
    files = FILES
    check(model, tmp_path, files, [given])


def valid_steps():
    """Ends that are masked, starts, holes; a row wholly, a row not at all."""
    mask = np.ones((4, 7), bool)
    mask[0, 4:] = mask[1, :2] = mask[1, 4] = mask[2] = False
    return mask


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("sequences", [False, True])
def test_zeros_where_masked(kind, sequences, tmp_path):
    x = layers.Input((7, 4))
    layer = getattr(layers, kind)(3, zero_output_for_mask=True, return_sequences=sequences)
    model = randomized(keras.Model(x, layer(layers.Masking()(x))))
    given = np.random.default_rng(1).normal(size=(4, 7, 4)).astype(np.float32)
    given[~valid_steps()] = 0
    check(model, tmp_path, FILES, [given])


def test_embedding_with_a_mask(tmp_path):
    x = layers.Input((None,))
    y = layers.Embedding(9, 4, mask_zero=True)(x)
    y = layers.Dropout(0.2)(layers.LSTM(3, return_sequences=True)(y))
    y = layers.Dense(4)(layers.Bidirectional(layers.GRU(3, return_sequences=True))(y))
    model = randomized(keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(y))))
    given = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8], [0, 1, 0, 2, 0], [3, 0, 0, 0, 0]], np.float32)
    check(model, tmp_path, FILES, [given])
    (spec,) = fl.Model.load(tmp_path / "m.keras").inputs.values()
    assert spec.dtype == np.int64 and spec.shape == (None, None)


CONV_LSTM = {
    "1D": ((4, 6, 2), lambda **kw: layers.ConvLSTM1D(3, 3, **kw)),
    "1D same": ((4, 6, 2), lambda **kw: layers.ConvLSTM1D(3, 2, padding="same", strides=2, use_bias=False, **kw)),
    "2D": ((4, 6, 5, 2), lambda **kw: layers.ConvLSTM2D(3, (3, 2), padding="same", activation="relu", **kw)),
    "2D valid": ((4, 6, 5, 2), lambda **kw: layers.ConvLSTM2D(3, 2, recurrent_activation="hard_sigmoid", **kw)),
    "2D backwards": ((4, 6, 5, 2), lambda **kw: layers.ConvLSTM2D(3, 2, go_backwards=True, **kw)),
    "Bidirectional": (
        (4, 6, 5, 2),
        lambda **kw: layers.Bidirectional(layers.ConvLSTM2D(3, 2, padding="same", **kw), merge_mode="sum"),
    ),
}


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("case", CONV_LSTM)
def test_conv_lstm(case, sequences, tmp_path):
    shape, make = CONV_LSTM[case]
    check(randomized(keras.Sequential([layers.Input(shape), make(return_sequences=sequences)])), tmp_path, FILES)


def test_conv_lstm_of_any_number_of_steps(tmp_path):
    """As in Keras's example of next frames; and live, frame by frame."""
    x = keras.Input((None, 6, 7, 2))
    y = layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True, activation="relu")(x)
    y = layers.BatchNormalization()(y)
    y = layers.ConvLSTM2D(3, 1, padding="same", return_sequences=True)(y)
    y = layers.Conv3D(1, (1, 3, 3), activation="sigmoid", padding="same")(y)
    model = randomized(keras.Model(x, y))
    given = np.random.default_rng(0).normal(size=(2, 5, 6, 7, 2)).astype(np.float32)
    check(model, tmp_path, FILES, [given])
    loaded = fl.Model.load(tmp_path / "m.keras")
    stream, whole = loaded.stream(2), loaded(given)
    assert np.stack([stream.step(given[:, at]) for at in range(5)], 1).tobytes() == whole.tobytes()
    loaded.save(tmp_path / "m.safetensors")
    assert fl.Model.load(tmp_path / "m.safetensors")(given).tobytes() == whole.tobytes()


def test_conv_lstm_from_states(tmp_path):
    x, h, c = keras.Input((4, 6, 2)), keras.Input((6, 3)), keras.Input((6, 3))
    cell = layers.ConvLSTM1D(3, 3, padding="same", return_state=True, return_sequences=True, dropout=0.2)
    check(randomized(keras.Model([x, h, c], list(cell(x, initial_state=[h, c])))), tmp_path, FILES)


@pytest.mark.parametrize("mode, shape", [("multi_hot", (3,)), ("one_hot", (1,))])
def test_category_encoding(mode, shape, tmp_path):
    model = keras.Sequential([layers.Input(shape, dtype="int32"), layers.CategoryEncoding(5, mode), layers.Dense(2)])
    check(randomized(model), tmp_path, FILES)
