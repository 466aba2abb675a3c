"""Models live along time: byte for byte the whole sequence, whatever the chunks; and what cannot be is refused by name."""

import copy
import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from along import Maker, goes_on, same_at_every_step, same_bits
from conftest import random_weights
from graphs import Builder, random

import fusedlstm as fl

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FAR = 2**62
f4 = np.float32


def lstm_node(build, x, hidden=5, features=4, **options):
    weights = [random(1, 4 * hidden, features), random(1, 4 * hidden, hidden), random(1, 8 * hidden)]
    return build("LSTM", x, *weights, hidden_size=hidden, outputs=3, **options)


def gru_node(build, x, op="GRU", hidden=5, features=4, **options):
    gates = 3 if op == "GRU" else 1
    weights = [random(1, gates * hidden, features), random(1, gates * hidden, hidden), random(1, 2 * gates * hidden)]
    return build(op, x, *weights, hidden_size=hidden, outputs=2, **options)


def conv_lstm_node(build, x, *more, **options):
    taps = (2,) if more else (2, 2)
    return build("fusedlstm.ConvLSTM", x, random(12, *taps, 1), random(12, *taps, 3), *more, outputs=3, **options)[0]


def bct(build, x):
    return build("Transpose", x, perm=(0, 2, 1))


# x is (batch, time, 4), named "x"; what comes back goes along time somewhere.
ALONE = {
    "relu": lambda b: b("Relu", "x"),
    "add a number for each feature": lambda b: b("Add", "x", random(4)),
    "constant first": lambda b: b("Sub", random(1, 1, 4), "x"),
    "where": lambda b: b("Where", b("Greater", "x", np.float32(0)), "x", b("Neg", "x")),
    "cast": lambda b: b("Cast", b("Greater", "x", np.float32(0)), to=np.dtype(np.float32)),
    "clip": lambda b: b("Clip", "x", np.float32(-0.5), np.float32(0.5)),
    "prelu": lambda b: b("PRelu", "x", random(4)),
    "matmul": lambda b: b("MatMul", "x", random(4, 6)),
    "matmul from the left": lambda b: b("MatMul", random(6, 4), bct(b, "x")),
    "einsum": lambda b: b("Einsum", "x", random(4, 6), equation="btf,fg->gtb"),
    "softmax over features": lambda b: b("Softmax", "x", axis=-1),
    "layer norm": lambda b: b("LayerNormalization", "x", random(4), random(4), axis=-1),
    "norm of each step": lambda b: b("LpNormalization", "x", axis=2),
    "batch norm": lambda b: b("BatchNormalization", bct(b, "x"), random(4), random(4), random(4), random(4) ** 2 + 1),
    "mean of features": lambda b: b("ReduceMean", "x", [2], keepdims=0),
    "largest feature": lambda b: b("ArgMax", "x", axis=2, keepdims=0),
    "best two": lambda b: b("TopK", "x", [2], axis=2, outputs=2)[0],
    "sum along features": lambda b: b("CumSum", "x", 2),
    "quantise": lambda b: b("DequantizeLinear", b("QuantizeLinear", "x", np.float32(0.1)), np.float32(0.1)),
    "gather features": lambda b: b("Gather", "x", [0, 3, 3], axis=2),
    "slice features": lambda b: b("Slice", "x", [1], [3], [2]),
    "split features": lambda b: b("Concat", *b("Split", "x", [1, 3], axis=2, outputs=2)[::-1], axis=2),
    "tile": lambda b: b("Tile", "x", [1, 1, 2]),
    "expand": lambda b: b("Expand", b("Unsqueeze", "x", [1]), [1, 3, 1, 4]),
    "rows and steps in one": lambda b: b(
        "Reshape", b("MatMul", b("Reshape", "x", [-1, 4]), random(4, 6)), [2, -1, 6]
    ),
    "gemm": lambda b: b("Reshape", b("Gemm", b("Reshape", "x", [-1, 4]), random(4, 6), random(6)), [2, -1, 6]),
    "pieces of features": lambda b: b("Transpose", b("Reshape", "x", [2, -1, 2, 2]), perm=(0, 3, 1, 2)),
    "time in front": lambda b: b("Transpose", "x", perm=(1, 0, 2)),
    "squeeze": lambda b: b("Squeeze", b("Unsqueeze", "x", [0, 2]), [0, 2]),
    "later": lambda b: b("Slice", "x", [3], [FAR], [1]),
    "earlier": lambda b: b("Slice", "x", [0], [-3], [1]),
    "every third": lambda b: b("Slice", "x", [1], [FAR], [1], [3]),
    "zeros in front": lambda b: b("Pad", "x", [0, 3, 0, 0, 0, 0], np.float32(7)),
    "edge in front": lambda b: b("Pad", "x", [0, 3, 1, 0, 0, 0], mode="edge"),
    "steps in front": lambda b: b("Concat", random(2, 2, 4), "x", axis=1),
    "conv": lambda b: b("Conv", bct(b, "x"), random(6, 4, 3)),
    "causal conv": lambda b: b("Conv", bct(b, "x"), random(6, 4, 3), random(6), pads=(4, 0), dilations=(2,)),
    "much in front": lambda b: b("Conv", bct(b, "x"), random(6, 4, 3), pads=(5, 0)),
    "strided conv": lambda b: b("Conv", bct(b, "x"), random(6, 4, 3), strides=(2,), pads=(2, 0)),
    "far apart": lambda b: b("Conv", bct(b, "x"), random(6, 4, 2), strides=(5,)),
    "groups": lambda b: b("Conv", bct(b, "x"), random(8, 2, 3), group=2, auto_pad="VALID"),
    "depthwise": lambda b: b("Conv", bct(b, "x"), random(4, 1, 3), group=4, pads=(2, 0)),
    "same conv of one tap": lambda b: b("Conv", bct(b, "x"), random(6, 4, 1), auto_pad="SAME_UPPER", strides=(2,)),
    "transposed conv of one tap": lambda b: b("ConvTranspose", bct(b, "x"), random(4, 6, 1), random(6)),
    "chomped transposed conv": lambda b: b(
        "Slice", b("ConvTranspose", bct(b, "x"), random(4, 3, 3), group=2, dilations=(2,)), [0], [-4], [2]
    ),
    "transposed conv, cut in front": lambda b: b("ConvTranspose", bct(b, "x"), random(4, 6, 3), pads=(2, 2)),
    "transposed conv beside time": lambda b: b(
        "ConvTranspose", b("Unsqueeze", "x", [1]), random(1, 2, 1, 3), strides=(1, 2)
    ),
    "transposed conv over both": lambda b: b(
        "Slice", b("ConvTranspose", b("Unsqueeze", "x", [1]), random(1, 2, 2, 3), strides=(1, 2)), [0], [-1], [2]
    ),
    "chomped conv": lambda b: b("Slice", b("Conv", bct(b, "x"), random(6, 4, 3), pads=(2, 2)), [0], [-2], [2]),
    "residual of a chomped conv": lambda b: b(
        "Slice", b("Add", bct(b, "x"), b("Conv", bct(b, "x"), random(4, 4, 3), pads=(1, 1))), [0], [-1], [2]
    ),
    "padded on both sides and cut": lambda b: b(
        "Slice", b("Conv", b("Pad", bct(b, "x"), [0, 0, 2, 0, 0, 2]), random(6, 4, 3)), [0], [-2], [2]
    ),
    "conv of pictures": lambda b: b("Conv", b("Unsqueeze", "x", [1]), random(3, 1, 2, 2), pads=(1, 1, 0, 1)),
    "time behind": lambda b: b("Conv", b("Unsqueeze", bct(b, "x"), [1]), random(3, 1, 2, 2), pads=(1, 1, 1, 0)),
    "conv of each step": lambda b: b(
        "Reshape", b("Conv", b("Reshape", "x", [-1, 2, 2]), random(3, 2, 2), pads=(1, 1)), [2, -1, 9]
    ),
    "largest": lambda b: b("MaxPool", bct(b, "x"), kernel_shape=(3,), pads=(2, 0)),
    "largest of two": lambda b: b("MaxPool", bct(b, "x"), kernel_shape=(2,), strides=(2,)),
    "average": lambda b: b("AveragePool", bct(b, "x"), kernel_shape=(3,), pads=(2, 0), count_include_pad=1),
    "power": lambda b: b("LpPool", bct(b, "x"), kernel_shape=(3,), strides=(2,)),
    "lstm": lambda b: lstm_node(b, b("Transpose", "x", perm=(1, 0, 2)))[0],
    "lstm, rows first": lambda b: lstm_node(b, "x", layout=1)[0],
    "lstm with a first state": lambda b: b(
        "LSTM", b("Transpose", "x", perm=(1, 0, 2)), random(1, 20, 4), random(1, 20, 5), random(1, 40), "",
        random(1, 2, 5), random(1, 2, 5), hidden_size=5, outputs=3,
    )[0],
    "gru": lambda b: gru_node(b, b("Transpose", "x", perm=(1, 0, 2)), linear_before_reset=1)[0],
    "gru, rows first": lambda b: gru_node(b, "x", layout=1)[0],
    "frames": lambda b: conv_lstm_node(b, b("Reshape", "x", [2, -1, 2, 2, 1])),
    "lines with a first state": lambda b: conv_lstm_node(
        b, b("Reshape", "x", [2, -1, 4, 1]), "", random(2, 4, 3), random(2, 4, 3), padding="same"
    ),
    "rnn": lambda b: gru_node(b, b("Transpose", "x", perm=(1, 0, 2)), "RNN")[0],
    "branches of different pasts": lambda b: b(
        "Concat",
        b("Conv", bct(b, "x"), random(3, 4, 5), pads=(4, 0)),
        b("MaxPool", bct(b, "x"), kernel_shape=(2,), pads=(1, 0)),
        bct(b, "x"),
        axis=1,
    ),
    "valid branches": lambda b: b(
        "Add",
        b("Conv", bct(b, "x"), random(4, 4, 5)),
        b("Slice", b("Conv", bct(b, "x"), random(4, 4, 3)), [1], [-1], [2]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_an_operator_alone(name):
    build = Builder(x=(2, None, 4))
    model = fl.Model(build.graph(ALONE[name](build)))
    same_bits(model, random(2, 41, 4), time=1)


def test_a_table_and_one_hot():
    build = Builder(x=(np.dtype(np.int64), (2, None)))
    made = build("Gather", random(9, 4), "x")
    hot = build("OneHot", "x", np.array(9), np.array([0, 1], f4))
    x = np.random.default_rng(0).integers(0, 9, (2, 30))
    stream = same_bits(fl.Model(build.graph(lstm_node(build, made, layout=1)[0], hot)), x)
    before = stream.state
    with pytest.raises(ValueError, match="Gather node"):
        stream.process(np.array([[1, 2], [3, 99]]))
    after = stream.state
    assert all(np.array_equal(after[name], before[name]) for name in before)


BATCHED = {
    name: make for name, make in ALONE.items() if name in ("lstm", "gru", "conv", "strided conv", "chomped conv")
}


@pytest.mark.parametrize("name", BATCHED)
def test_nan_in_one_row_stays_there(name):
    build = Builder(x=(2, None, 4))
    model = fl.Model(build.graph(BATCHED[name](build)))
    x = random(2, 30, 4)
    bad = x.copy()
    bad[1, 7] = np.nan
    clean, dirty = model.stream(2), model.stream(2)
    rows = next(axis for axis, size in enumerate(model(x).shape) if size == 2)
    for at in range(0, 30, 5):
        one, other = clean.process(x[:, at : at + 5]), dirty.process(bad[:, at : at + 5])
        assert one.take(0, rows).tobytes() == other.take(0, rows).tobytes()
    assert np.isnan(other.take(1, rows)).any() == (name in ("lstm", "gru"))


def layer(*layers, shape=(None, 3), dtype="float32"):
    start = x = keras.Input(shape, dtype=dtype)
    for one in layers:
        x = one(x)
    return fl.Model.from_keras(keras.Model(start, x))


L = keras.layers
REFUSED = {
    "both ways": (lambda: layer(L.Bidirectional(L.LSTM(3, return_sequences=True))), "LSTM node.*both directions"),
    "backwards": (lambda: layer(L.GRU(3, return_sequences=True, go_backwards=True)), "Slice node.*backwards"),
    "same": (lambda: layer(L.Conv1D(3, 3, padding="same")), "Conv node 'conv1d.*padded behind.*causal"),
    "same and strides": (lambda: layer(L.Conv1D(3, 3, strides=2, padding="same")), "depends on how long"),
    "spread too far": (lambda: layer(L.Conv1DTranspose(3, 4, strides=2)), "Conv1?DTranspose|ConvTranspose"),
    "two of three": (
        lambda: layer(L.UpSampling1D(2), L.Conv1D(3, 3, strides=3)), "Conv node.*one step of 3, where 2 come at once"
    ),
    "padded behind": (lambda: layer(L.ZeroPadding1D(1)), "Pad node 'zero_padding1d.*padded behind"),
    "the last step": (lambda: layer(L.LSTM(3)), r"LSTM node.*return_sequences=False.*every_step=True"),
    "pooling": (lambda: layer(L.GlobalAveragePooling1D()), "ReduceMean node.*needs the whole.*every_step=True"),
    "largest": (lambda: layer(L.GlobalMaxPooling1D()), "ReduceMax node.*over time needs the whole"),
    "softmax": (lambda: layer(L.Softmax(axis=1)), "Softmax node.*over time"),
    "attention": (lambda: _attention(), "MatMul node.*attention"),
    "masking": (lambda: layer(L.Masking(), L.LSTM(3, return_sequences=True)), "TopK|mask"),
    "window": (lambda: layer(L.LSTM(3), shape=(100, 3)), r"whose size is free, found \(\?, 100, 3\).*each window"),
    "window of words": (
        lambda: layer(L.Embedding(9, 4), L.LSTM(3), shape=(24,), dtype="int32"), r"free, found \(\?, 24\).*each window"
    ),
    "turned round": (lambda: _of(lambda b: b("Slice", "x", [-1], [-FAR], [1], [-1])), "Slice node.*turns the steps round"),
    "the last five": (lambda: _of(lambda b: b("Slice", "x", [-5], [FAR], [1])), "Slice node.*where the sequence ends"),
    "the first": (lambda: _of(lambda b: b("Gather", "x", np.array(0), axis=1)), "Gather node.*some steps"),
    "steps turned into features": (lambda: _of(lambda b: b("Relu", b("Reshape", "x", [-1]))), "share|steps and other"),
    "how long it is": (
        lambda: _of(lambda b: b("Mul", "x", b("Cast", b("Size", "x"), to=np.dtype(f4)))),
        "Mul node.*how long the sequence is",
    ),
    "a number for each step": (
        lambda: _of(lambda b: b("Add", b("Transpose", "x", perm=(0, 2, 1)), random(2, 4, 7))), "expected"
    ),
    "lengths": (
        lambda: fl.Sequential(fl.LSTM(random_weights(np.random.default_rng(0), 3, 4)), lengths=True),
        "LSTM node.*lengths or a mask.*stream of its own",
    ),
    "dynamic scale": (
        lambda: _of(lambda b: b("Cast", b("DynamicQuantizeLinear", "x", outputs=3)[0], to=np.dtype(f4))),
        "DynamicQuantizeLinear node.*whole sequence",
    ),
    "no time": (lambda: _of(lambda b: b("Relu", "x"), (2, 4)), "whose size is free"),
}  # fmt: skip


def _of(make, shape=(2, None, 4)):
    build = Builder(x=shape)
    return fl.Model(build.graph(make(build)))


def _attention():
    start = keras.Input((None, 3))
    return fl.Model.from_keras(keras.Model(start, L.Attention()([start, start])))


FASTER = {
    "upsampled, then every second": lambda x: L.Conv1D(2, 1, strides=2)(L.UpSampling1D(2)(x)),
    "upsampled, then every fourth": lambda x: L.Conv1D(2, 5, strides=4)(L.UpSampling1D(2)(x)),
    "upsampled, then causal": lambda x: L.LSTM(3, return_sequences=True)(
        L.Conv1D(2, 4, padding="causal")(L.UpSampling1D(3)(x))
    ),
    "decoded": lambda x: L.Cropping1D((0, 2))(L.Conv1DTranspose(4, 4, strides=2)(x)),
    "decoded from what was encoded": lambda x: L.Cropping1D((0, 3))(
        L.Conv1DTranspose(3, 7, strides=4)(L.LSTM(5, return_sequences=True)(L.Conv1D(6, 4, strides=4)(x)))
    ),
    "same": lambda x: L.Conv1DTranspose(4, 3, strides=2, padding="same")(x),
    "same, as long as its stride": lambda x: L.Conv1DTranspose(4, 3, strides=3, padding="same")(x),
    "same, shorter than its stride": lambda x: L.Conv1DTranspose(4, 2, strides=3, padding="same")(x),
    "pictures": lambda x: L.Conv2DTranspose(2, (3, 3), strides=(2, 2), padding="same")(L.Reshape((-1, 3, 1))(x)),
    "twice": lambda x: L.UpSampling1D(2)(L.Cropping1D((3, 2))(L.Conv1DTranspose(4, 5, strides=3)(x))),
    "shorter than its stride": lambda x: L.Conv1D(2, 2)(L.Conv1DTranspose(4, 2, strides=3, padding="valid")(x)),
    "beside": lambda x: L.Add()([L.UpSampling1D(2)(x), L.Cropping1D((0, 2))(L.Conv1DTranspose(3, 4, strides=2)(x))]),
    "a branch that is later": lambda x: L.Concatenate()(
        [L.Cropping1D((2, 0))(L.UpSampling1D(2)(x)), L.Conv1D(3, 3)(L.UpSampling1D(2)(x))]
    ),
    "pooled again": lambda x: L.AveragePooling1D(3, strides=3)(L.UpSampling1D(3)(L.Conv1D(4, 3)(x))),
    "with zeros in front": lambda x: L.MaxPooling1D(2, strides=2)(L.ZeroPadding1D((3, 0))(L.UpSampling1D(4)(x))),
}


@pytest.mark.parametrize("name", FASTER)
def test_steps_that_make_several(name):
    start = keras.Input((None, 3))
    model = fl.Model.from_keras(keras.Model(start, FASTER[name](start)))
    same_bits(model, random(2, 41, 3))
    same_bits(model, random(1, 23, 3), largest=20)
    pool, x = fl.StreamPool(model), random(3, 24, 3)
    ids, made = [pool.open() for _ in x], [[] for _ in x]
    for at in range(24):
        for parts, row in zip(made, pool.step(ids, x[:, at])):
            if row is not None:
                parts.append(row.reshape(-1, row.shape[-1]))
    for row, parts in zip(x, made):
        assert np.concatenate(parts).tobytes() == model(row[None]).tobytes()


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("sizes", [False, True])
def test_steps_that_are_resized(factor, sizes):
    build = Builder(x=(1, 4, None))
    if sizes:
        length = build("Mul", build("Gather", build("Shape", "x"), np.array([2])), np.array([factor]))
        given = ["", "", build("Concat", np.array([1, 4]), length, axis=0)]
    else:
        given = ["", np.array([1, 1, factor], f4)]
    nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    y = build("Resize", "x", *given, **nearest)
    same_bits(fl.Model(build.graph(build("Conv", y, random(3, 4, 5), pads=(4, 0)))), random(1, 4, 30), axes=(2,))
    linear = Builder(x=(1, 4, None))
    mixed = fl.Model(linear.graph(linear("Resize", "x", "", np.array([1, 1, factor], f4), mode="linear")))
    with pytest.raises(ValueError, match="Resize node.*mixes steps"):
        mixed.stream()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_by_name(name):
    make, words = REFUSED[name]
    model = make()
    with pytest.raises(ValueError, match=words):
        model.stream(2)


def test_the_last_step_at_every_step():
    model = layer(L.Conv1D(6, 3), L.LSTM(5), L.Dense(3, activation="softmax"))
    x = random(2, 20, 3)
    stream = model.stream(2, every_step=True)
    made = [stream.step(x[:, at]) for at in range(20)]
    assert made[:2] == [None, None]
    for at in range(2, 20):
        assert made[at].tobytes() == model(x[:, : at + 1]).tobytes()
    stream.reset()
    found = np.concatenate([stream.process(x[:, :7]), stream.process(x[:, 7:])], 1)
    assert found.tobytes() == np.stack(made[2:], 1).tobytes()


def last_of_two(first, other):
    """The last steps of two convolutions, beside each other."""
    build = Builder(x=(1, None, 4))
    x = bct(build, "x")
    ends = [
        build("Gather", build("Conv", x, random(3, 4, size), **more), [-1], axis=2) for size, more in (first, other)
    ]
    return fl.Model(build.graph(build("Tanh", build("Concat", *ends, axis=1))))


def test_last_steps_that_come_after_different_delays():
    x = random(1, 12, 4)
    for first, other in (((2, {}), (5, {})), ((5, {}), (2, {})), ((3, {"pads": (2, 0)}), (4, {}))):
        model = last_of_two(first, other)
        stream, most = model.stream(every_step=True), max(first[0], other[0])
        for at in range(12):
            made = stream.step(x[:, at])
            assert (made is None) == (at < most - 1)
            assert made is None or made.tobytes() == model(x[:, : at + 1]).tobytes()
        stream.reset()
        assert stream.process(x).shape[1] == 13 - most
    model = last_of_two((1, {"strides": (2,)}), (3, {"strides": (2,)}))
    stream = model.stream(every_step=True)
    made = [stream.step(x[:, at]) for at in range(12)]
    for at, one in enumerate(made):
        assert (one is None) == (at < 2 or at % 2 == 1)
        assert one is None or one.tobytes() == model(x[:, : at + 1]).tobytes()
    with pytest.raises(ValueError, match="Concat node.*at the same steps"):
        last_of_two((1, {"strides": (2,)}), (2, {"strides": (2,)})).stream(every_step=True)


@pytest.mark.parametrize("seed", range(30))
def test_random_models(seed):
    model, x = Maker(seed, keras).model()
    same_bits(goes_on(model), x, seed=seed, largest=[2, 9, 40][seed % 3])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_more_random_models(seed):
    model, x = Maker(seed, keras).model(8)
    same_bits(goes_on(model), x, seed=seed, largest=[2, 9, 40][seed % 3])


@pytest.mark.parametrize(
    "seed", [*range(3000, 3020), *(pytest.param(k, marks=pytest.mark.slow) for k in range(3020, 3120))]
)
def test_random_models_that_pool(seed):
    model, x = Maker(seed, keras).model(pooled=True)
    same_at_every_step(goes_on(model, every_step=True), x, seed=seed, largest=[2, 9, 40][seed % 3])


def amplifier(features=1):
    """Two causal convolutions, an LSTM, a dense layer."""
    return layer(
        L.Conv1D(6, 4, padding="causal", activation="tanh"),
        L.Conv1D(5, 3, dilation_rate=2, padding="causal"),
        L.LSTM(7, return_sequences=True),
        L.Dense(2),
        shape=(None, features),
    )


def test_axes_may_be_left_out():
    model, x = amplifier(3), random(1, 20, 3)
    whole = model(x)
    stream = model.stream()
    shapes = {(3,): (2,), (1, 3): (1, 2), (1, 1, 3): (1, 1, 2)}
    for at in range(20):
        given, made = list(shapes.items())[at % 3]
        y = stream.step(x[:, at].reshape(given))
        assert y.shape == made and y.tobytes() == whole[:, at].tobytes()
    stream.reset()
    assert stream.process(x[0]).tobytes() == whole.tobytes()
    assert stream.process(x[0]).shape == (20, 2)
    for wrong in (random(2, 3), random(4), random(1, 2, 3)):
        with pytest.raises(ValueError, match=r"input 'input_layer\w*': expected shape \(1, 1, 3\), found"):
            stream.step(wrong)
    with pytest.raises(TypeError, match="convert it with"):
        stream.step(np.zeros(3, np.int64))
    with pytest.raises(TypeError, match="found 2 arrays"):
        stream.step(x[0, 0], x[0, 0])
    with pytest.raises(ValueError, match="at least one, found"):
        stream.process(x[:, :0])


def test_blocks_of_one_size():
    for model, size in ((amplifier(3), 8), (layer(L.Conv1D(4, 3, strides=2), L.GRU(5, return_sequences=True)), 6)):
        x = random(1, 96, 3)
        for given in (x, x[0]):
            stream = model.stream()
            made = [stream.process(part) for part in np.split(given, 96 // size, -2)]
            assert np.concatenate(made, -2).tobytes() == model(x).tobytes()
            assert made[3].ndim == given.ndim
            with pytest.raises(ValueError, match="expected shape"):
                stream.process(given[..., :2])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", [("float16",), ("bfloat16", "bfloat16"), ("int8",), ("int8", "int8")])
def test_every_precision(seed, how):
    model, x = Maker(seed + 2000, keras).model()
    same_bits(model.astype(*how), x, seed=seed)


def test_steps_in_place_and_steps_that_give_nothing():
    model, x = layer(L.Conv1D(4, 3, strides=2), L.GRU(5, return_sequences=True)), random(1, 30, 3)
    whole, stream = model(x), model.stream()
    made = []
    for at in range(30):
        stream.input[...] = x[:, at]
        y = stream.step()
        assert (y is None) == (at < 2 or at % 2 == 1)
        made += [] if y is None else [y.copy()]
        assert y is None or y is stream.output
    assert np.concatenate(made, 1).tobytes() == whole.tobytes()
    stream.reset()
    assert [stream.step(x[0, at]) is None for at in range(4)] == [True, True, False, True]
    assert stream.process(x[:, 4:5]).shape == (1, 1, 5)
    assert stream.process(x[:, 5:6]).shape == (1, 0, 5)
    live = amplifier().stream()
    for at in range(20):
        live.input[...] = at
        assert live.step() is live.output
        before = live.output.copy()
    live.reset()
    wanted = np.concatenate([live.process(np.full((1, 1, 1), at, f4)) for at in range(20)], 1)
    assert wanted[:, -1:].tobytes() == before.tobytes()


def test_copies_and_states():
    model, x = layer(L.Conv1D(4, 3), L.LSTM(5, return_sequences=True), L.MaxPooling1D(2)), random(2, 40, 3)
    whole, stream = model(x), model.stream(2)
    assert "steps" in stream.state and repr(stream).startswith("TimeStream(")
    for cut in (1, 2, 5, 8, 13):
        stream.reset()
        head = stream.process(x[:, :cut])
        other = model.stream(2)
        other.state = stream.state
        for twin in (stream.copy(), copy.deepcopy(stream), other, stream):
            assert np.concatenate([head, twin.process(x[:, cut:])], 1).tobytes() == whole.tobytes()
    with pytest.raises(ValueError, match="state: expected conv1d"):
        stream.state = {}
    with pytest.raises(ValueError, match=r"state 'steps': expected 0 or more, found -1"):
        stream.state = {**stream.state, "steps": np.array(-1)}
    name = next(iter(stream.state))
    with pytest.raises(ValueError, match="expected shape"):
        stream.state = {**stream.state, name: np.zeros(3, f4)}
    before = stream.state
    stream.state = {**before, "steps": before["steps"] + 10**15}  # as many steps ago as one likes
    stream.process(x[:, :4])


def test_fixed_inputs_and_several_that_go_along_time():
    build = Builder(x=(None, None, 4), gain=(4,), y=(None, None, 3))
    both = build("Concat", build("Mul", "x", "gain"), "y", axis=2)
    made = build("Conv", bct(build, both), random(3, 7, 4), pads=(3, 0))
    model, gain = fl.Model(build.graph(bct(build, made))), random(4)
    x, y = random(1, 20, 4), random(1, 20, 3)
    stream = model.stream(fixed={"gain": gain})
    parts = [stream.step(y=y[:, at], x=x[:, at]) for at in range(20)]
    assert np.stack(parts, 1).tobytes() == model(x, gain, y).tobytes()
    with pytest.raises(ValueError, match="one number of steps"):
        stream.process(x, y[:, :7])
    with pytest.raises(ValueError, match=r"'gain'.*expected an axis of steps.*fixed"):
        model.stream()
    with pytest.raises(ValueError, match="all of them fixed"):
        model.stream(fixed={"gain": gain, "x": x, "y": y})


@pytest.mark.parametrize(
    "time, error, words",
    [
        ("1", TypeError, "number of an axis.*'1'"),
        (1.0, TypeError, "number of an axis"),
        (True, TypeError, "number of an axis"),
        ({"z": 1}, ValueError, "axes of x, found one of 'z'"),
    ],
)
def test_axes_that_are_none(time, error, words):
    with pytest.raises(error, match=words):
        _of(lambda build: build("Relu", "x"), (None, None, 4)).stream(time=time)


def test_which_axis_is_time():
    build = Builder(x=(None, None, 4))
    steps_first = fl.Model(build.graph(lstm_node(build, "x")[0]))
    same_bits(steps_first, random(20, 3, 4), axes=(0,))
    rows = fl.Sequential(
        fl.Conv1d(random(4, 3, 2)), fl.Transpose(1, 2), fl.LSTM(random_weights(np.random.default_rng(0), 4, 5))
    )
    same_bits(rows, random(2, 3, 30), axes=(2,))
    plain = fl.Sequential(fl.Linear(random(2, 4)), shape=(None, None, 4))
    assert plain.stream().process(random(1, 7, 4)).shape == (1, 7, 2)
    same_bits(plain, random(9, 2, 4), axes=(0,), time=0)
    build = Builder(x=(None, None, None))
    odd = fl.Model(build.graph(build("Conv", build("Unsqueeze", "x", [1]), random(1, 1, 2, 2))))
    with pytest.raises(ValueError, match=r"expected one axis that may be time, found 2; say which: stream\(time=1\)"):
        odd.stream(3)
    assert odd.stream(3, time=2).process(random(3, 3, 5)).shape == (3, 1, 2, 4)
    with pytest.raises(ValueError, match=r"time: expected an axis of 'x' whose size is free, \[0, 1\], found 2"):
        steps_first.stream(time=2)
    fixed_row = Builder(x=(None, 1, 4))
    same_bits(fl.Model(fixed_row.graph(lstm_node(fixed_row, "x")[0])), random(20, 1, 4), axes=(0,))
    unbatched = Builder(x=(None, 4))
    made = lstm_node(unbatched, unbatched("Unsqueeze", "x", [1]))[0]
    same_bits(fl.Model(unbatched.graph(made)), random(20, 4), axes=(0,), batch=1)


def test_what_comes_in_may_go_out_and_steps_may_be_repeated():
    start = keras.Input((None, 3))
    y = L.LSTM(4, return_sequences=True)(start)
    same_bits(fl.Model.from_keras(keras.Model(start, [start, y, y])), random(2, 20, 3))
    model, x = fl.Model.from_keras(keras.Model(start, L.UpSampling1D(2)(y))), random(1, 20, 3)
    stream = same_bits(model, x)
    stream.reset()
    assert stream.step(x[0, 0]).tobytes() == model(x)[:, :2].tobytes()
    made = stream.step(np.ascontiguousarray(x[:, 1]))
    assert made.tobytes() == model(x)[:, 2:4].tobytes() and made.shape == (1, 2, 4)


def test_pictures_in_time():
    start = keras.Input((None, 8, 8, 2))
    x = L.TimeDistributed(L.Conv2D(3, 3, activation="relu"))(start)
    x = L.TimeDistributed(L.MaxPooling2D(2))(x)
    x = L.LSTM(5, return_sequences=True)(L.TimeDistributed(L.Flatten())(x))
    model = fl.Model.from_keras(keras.Model(start, L.TimeDistributed(L.Dense(2, activation="softmax"))(x)))
    same_bits(model, random(2, 15, 8, 8, 2))
    same_bits(fl.Model.from_keras(keras.Model(start, L.Conv3D(3, (2, 3, 3))(start))), random(2, 15, 8, 8, 2))


def test_layers_of_several_sizes_and_learned_states():
    rng = np.random.default_rng(0)
    sizes = fl.LSTMWeights([*random_weights(rng, 3, 5).layers, *random_weights(rng, 5, 7).layers], residual=None)
    same_bits(fl.Sequential(fl.LSTM(sizes)), random(2, 30, 3))
    learned = random_weights(
        rng, 3, 3, layers=2, residual=[True, True], initial_state=([random(1, 3)] * 2, [random(1, 3)] * 2)
    )
    stream = same_bits(fl.Sequential(fl.LSTM(learned)), random(2, 30, 3))
    stream.reset()
    assert any(value.any() for name, value in stream.state.items() if name != "steps")


def test_states_of_the_file_come_first():
    build = Builder(x=(1, None, 4), h=(1, 1, 5), c=(1, 1, 5))
    weights = [random(1, 20, 4), random(1, 20, 5), random(1, 40)]
    build("LSTM", build("Transpose", "x", perm=(1, 0, 2)), *weights, "", "h", "c", hidden_size=5, outputs=3)
    y, h, c = build.nodes[-1].outputs
    model = fl.Model(build.graph(y, h, c))
    assert model.stream(states={"h": h, "c": c}).states == {"h": h, "c": c}
    with pytest.raises(ValueError, match="without states of its own"):
        model.stream(states={"h": h, "c": c}, every_step=True)
    with pytest.raises(ValueError, match="context: expected a model with states"):
        _of(lambda b: b("Relu", "x")).stream(2, context={"x": 3})


def test_one_thread_at_a_time():
    stream = amplifier(3).stream()
    wanted = [stream.step(random(1, 3, seed=at)) for at in range(200)]
    stream.reset()
    with stream._core:
        for call in (stream.step, lambda: stream.step(random(1, 3)), lambda: stream.process(random(1, 5, 3))):
            with pytest.raises(RuntimeError, match="another thread is using it, and nothing was done"):
                call()
    failed = []

    def spoil():
        for _ in range(100):
            try:
                stream.state  # noqa: B018
            except RuntimeError:
                failed.append(1)

    thread = threading.Thread(target=spoil)
    thread.start()
    made = []
    while len(made) < 200:
        try:
            made.append(stream.step(random(1, 3, seed=len(made))))
        except RuntimeError:
            continue
    thread.join()
    assert all(map(np.array_equal, made, wanted))


def test_a_step_makes_no_objects_that_stay():
    stream = amplifier().stream()
    for _ in range(50):
        stream.step()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(2000):
        stream.step()
    assert abs(sys.getallocatedblocks() - before) < 20


def test_steps_of_other_types_are_those_of_their_floats():
    stream, made = amplifier(3).stream(), []
    other = stream.copy()
    for at in range(60):
        x = random(1, 3, seed=at)
        ways = (x.astype(np.float64), x.tolist(), x[:, ::-1][:, ::-1], np.asfortranarray(x), x[0], x[:, None])
        y = stream.step(ways[at % len(ways)])
        assert y.dtype == np.float32
        assert np.array_equal(y.ravel(), other.step(x).ravel())
        assert all(y is not one for one in made)
        made.append(y)


def test_streams_are_gone_when_nobody_has_them():
    stream = amplifier().stream()
    for _ in range(50):
        stream.step()
    gone, kept = weakref.ref(stream), stream.output
    gc.disable()
    try:
        del stream
        assert gone() is None
    finally:
        gc.enable()
    assert np.isfinite(kept).all()


@pytest.mark.slow
def test_ten_million_steps():
    import resource

    stream = amplifier().stream()
    for _ in range(1000):
        stream.step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10_000_000):
        stream.step()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2048
    assert np.isfinite(stream.output).all()
