"""Constants and masks that calls are given, of Keras 3 and of Keras 2: each in its place, or refused, never dropped."""

import numpy as np
import pytest
from keras_graphs import check, randomized
from keras_models import keras

import fusedlstm as fl

tf = pytest.importorskip("tensorflow")
keras2 = pytest.importorskip("tf_keras")
pytestmark = pytest.mark.filterwarnings("ignore")
LIBRARIES = {"keras 3": keras, "keras 2": keras2}
BATCH, STEPS, FEATURES = 3, 7, 4


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def valid(*shape, seed=2):
    """Random booleans, in every row of which one is true."""
    found = np.random.default_rng(seed).random(shape or (BATCH, STEPS)) > 0.5
    found[..., 1] = True
    return found


def tensor(lib, value):
    return tf.constant(value) if lib is keras2 else lib.ops.convert_to_tensor(value)


def positive(lib, x):
    return tf.greater(x[:, :, 0], -0.3) if lib is keras2 else lib.ops.greater(x[:, :, 0], -0.3)


def made(lib, build):
    x = lib.layers.Input((STEPS, FEATURES), batch_size=BATCH)
    return randomized(lib.Model(x, build(lib, x)))


def encoder(lib, **options):
    return lib.Sequential([lib.layers.Input((STEPS, FEATURES)), lib.layers.LSTM(3, **options)])


def joined(lib):
    a, b = (lib.layers.Input((STEPS, FEATURES)) for _ in range(2))
    return lib.Model([a, b], lib.layers.Add()([lib.layers.LSTM(3)(a), lib.layers.GRU(3)(b)]))


C, M = normal(BATCH, STEPS, FEATURES), valid()
MERGES = ("Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract", "Concatenate")
CASES = {
    **{kind: lambda lib, x, kind=kind: getattr(lib.layers, kind)()([x, C]) for kind in MERGES},
    **{
        f"{kind} masked": lambda lib, x, kind=kind: lib.layers.LSTM(3)(
            getattr(lib.layers, kind)()([lib.layers.Masking(0.5)(x), tensor(lib, C)])
        )
        for kind in MERGES
    },
    "Dot": lambda lib, x: lib.layers.Dot(2)([x, C]),
    "Attention": lambda lib, x: lib.layers.Attention()([x, C]),
    "Attention masks": lambda lib, x: lib.layers.Attention()([x, x], mask=[tensor(lib, M), tensor(lib, valid(seed=3))]),
    "Attention mask of values": lambda lib, x: lib.layers.AdditiveAttention()([x, x], mask=[None, tensor(lib, M)]),
    "heads": lambda lib, x: lib.layers.MultiHeadAttention(2, 3)(x, tensor(lib, C)),
    "heads of a constant": lambda lib, x: lib.layers.MultiHeadAttention(2, 3)(tensor(lib, C), x),
    "heads attention_mask": lambda lib, x: lib.layers.MultiHeadAttention(2, 3)(
        x, x, attention_mask=np.tri(STEPS, dtype=bool)
    ),
    "heads attention_mask 3": lambda lib, x: lib.layers.MultiHeadAttention(2, 3)(
        x, x, attention_mask=valid(BATCH, STEPS, STEPS)
    ),
    "GRU state": lambda lib, x: lib.layers.GRU(3)(x, initial_state=tensor(lib, normal(BATCH, 3))),
    "LSTM states": lambda lib, x: lib.layers.LSTM(3)(x, initial_state=[tensor(lib, normal(BATCH, 3, seed=k)) for k in range(2)]),
    "Bidirectional states": lambda lib, x: lib.layers.Bidirectional(lib.layers.LSTM(3))(
        x, initial_state=[tensor(lib, normal(BATCH, 3, seed=k)) for k in range(4)]
    ),
    **{f"{kind} mask": lambda lib, x, kind=kind: getattr(lib.layers, kind)(3)(x, mask=tensor(lib, M)) for kind in ("LSTM", "GRU", "SimpleRNN")},
    "RNN mask": lambda lib, x: lib.layers.RNN([lib.layers.LSTMCell(3), lib.layers.GRUCell(2)])(x, mask=tensor(lib, M)),
    "mask goes on": lambda lib, x: lib.layers.GRU(2)(lib.layers.LSTM(3, return_sequences=True)(x, mask=tensor(lib, M))),
    "Bidirectional mask": lambda lib, x: lib.layers.Bidirectional(lib.layers.LSTM(3, return_sequences=True))(x, mask=tensor(lib, M)),
    "GlobalAveragePooling1D": lambda lib, x: lib.layers.GlobalAveragePooling1D()(x, mask=tensor(lib, M)),
    "Softmax": lambda lib, x: lib.layers.Softmax()(x, mask=tensor(lib, valid(BATCH, STEPS, FEATURES))),
    "Softmax over two": lambda lib, x: lib.layers.Softmax((1, 2))(x, mask=tensor(lib, valid(BATCH, STEPS, FEATURES))),
    "nested, mask": lambda lib, x: encoder(lib)(x, mask=positive(lib, x)),
    "nested, constant mask": lambda lib, x: encoder(lib)(x, mask=tensor(lib, M)),
    "nested, mask goes on": lambda lib, x: lib.layers.GRU(2)(encoder(lib, return_sequences=True)(x, mask=positive(lib, x))),
    "nested, one of two": lambda lib, x: joined(lib)(
        [lib.layers.Dense(FEATURES)(x), lib.layers.Dense(FEATURES)(x)], mask=[positive(lib, x), None]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("lib", LIBRARIES)
def test_constants_and_masks(lib, name, tmp_path):
    check(made(LIBRARIES[lib], CASES[name]), tmp_path, inputs=[normal(BATCH, STEPS, FEATURES, seed=5)])


def heads(**options):
    return lambda lib, x: lib.layers.MultiHeadAttention(2, 3)(x, x, **{key: make(lib, x) for key, make in options.items()})  # fmt: skip


KERAS3 = {
    "stack": lambda lib, x: lib.ops.stack([x, C], axis=-1),
    "concatenate": lambda lib, x: lib.ops.concatenate([x, C[..., :1]], axis=-1),
    "einsum": lambda lib, x: lib.ops.einsum("btf,btg->bfg", x, C),
    "key_mask": heads(key_mask=positive),
    "query_mask": heads(query_mask=positive),
    "value_mask": heads(value_mask=lambda lib, x: tensor(lib, M)),
    "masks and scores": heads(
        value_mask=positive, key_mask=lambda lib, x: tensor(lib, M), return_attention_scores=lambda lib, x: True
    ),
    "pad": lambda lib, x: lib.ops.pad(x, ((0, 0), (1, 2), (0, 3)), constant_values=2.0),
    "pad reflect": lambda lib, x: lib.ops.pad(x, ((0, 0), (1, 2), (3, 0)), mode="reflect"),
    "mask by position": lambda lib, x: lib.layers.GRU(STEPS)(x, None, tensor(lib, M)),
    "state by position": lambda lib, x: lib.layers.GRU(3)(x, tensor(lib, normal(BATCH, 3))),
}
KERAS2 = {
    "concat": lambda lib, x: tf.concat([x, C[..., :1]], axis=-1),
    "pad": lambda lib, x: tf.pad(x, [[0, 0], [1, 2], [0, 3]], constant_values=-1.5),
    "pad reflect": lambda lib, x: tf.pad(x, [[0, 0], [1, 2], [3, 0]], "REFLECT"),
    "constant first": lambda lib, x: lib.layers.Dot(2)([tf.constant(C), x]),
}


@pytest.mark.parametrize("name", KERAS3)
def test_constants_of_keras_3(name, tmp_path):
    check(made(keras, KERAS3[name]), tmp_path, inputs=[normal(BATCH, STEPS, FEATURES, seed=5)])


@pytest.mark.parametrize("name", KERAS2)
def test_constants_of_keras_2(name, tmp_path):
    check(made(keras2, KERAS2[name]), tmp_path, inputs=[normal(BATCH, STEPS, FEATURES, seed=5)])


def frames(lib, x):
    return lib.layers.Reshape((STEPS, 2, 2, 1))(x)


def image(lib, x):
    return lib.layers.Reshape((STEPS, FEATURES, 1))(x)


def twice(lib, x):
    x = lib.layers.Dense(FEATURES)(x)
    return lib.layers.Add()([encoder(lib)(x, mask=positive(lib, x)), lib.layers.LSTM(3)(x)])


REFUSED = {
    "ConvLSTM2D": (lambda lib, x: lib.layers.ConvLSTM2D(2, 1)(frames(lib, x), mask=tensor(lib, M)), "mask"),
    # Keras leaves the mask on the tensor, and the other layer heeds it or not as they happen to be run.
    "nested beside another": (twice, "mask: expected an input that the masked model alone takes"),
    "dropout of a cell": (
        lambda lib, x: lib.layers.RNN(lib.layers.LSTMCell(3, dropout=0.5))(x, training=True),
        "training: expected a model at inference",
    ),
    "dropout of one of two cells": (
        lambda lib, x: lib.layers.RNN([lib.layers.LSTMCell(3), lib.layers.GRUCell(3, recurrent_dropout=0.5)])(
            x, training=True
        ),
        "training: expected a model at inference",
    ),
    "RandomFlip": (
        lambda lib, x: lib.layers.RandomFlip()(image(lib, x), training=True),
        "training: expected a model at inference",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("lib", LIBRARIES)
def test_refused(lib, name):
    build, message = REFUSED[name]
    with pytest.raises(fl.FormatError, match=message):
        fl.Model.from_keras(made(LIBRARIES[lib], build))(C)


def test_cells_that_drop_nothing_may_be_told_to_train(tmp_path):
    check(made(keras, lambda lib, x: lib.layers.RNN(lib.layers.LSTMCell(3))(x, training=True)), tmp_path, inputs=[C])


def test_arguments_of_operators_that_are_not_known_are_refused():
    model = made(keras2, lambda lib, x: tf.gather(x, valid().astype("int64")[:, :2], axis=1, batch_dims=1))
    with pytest.raises(fl.FormatError, match="batch_dims: expected no such argument"):
        fl.Model.from_keras(model)(C)


def test_weights_of_steps_are_no_mask():
    model = made(keras2, lambda lib, x: lib.layers.GlobalAveragePooling1D()(x, mask=tf.constant(np.abs(C[..., 0]))))
    with pytest.raises(fl.FormatError, match="mask: expected booleans"):
        fl.Model.from_keras(model)(C)


def embedded():
    t = keras.Input((STEPS,), batch_size=BATCH, dtype="int32")
    return t, keras.layers.Embedding(5, FEATURES, mask_zero=True)(t)


def inner():
    return keras.Sequential([keras.Input((STEPS, FEATURES)), keras.layers.LSTM(FEATURES, return_sequences=True)])


def test_a_mask_of_values_beside_that_of_the_keys():
    t, e = embedded()
    for given in ((e, e, e), (e, e)):
        y = keras.layers.MultiHeadAttention(2, 3)(*given, value_mask=np.ones((BATCH, STEPS), bool))
        model, x = randomized(keras.Model(t, y)), np.random.default_rng(0).integers(0, 5, (BATCH, STEPS))
        wanted = keras.ops.convert_to_numpy(model(x))
        np.testing.assert_allclose(fl.Model.from_keras(model)(x), wanted, atol=2e-5)


def behind(x, what):
    y = inner()(x, mask=M)
    if what == "value":
        return keras.layers.MultiHeadAttention(2, 3)(keras.layers.Dense(FEATURES)(y), x)
    if what == "key":
        return keras.layers.MultiHeadAttention(2, 3)(y, y, key=x)
    return keras.layers.LSTM(4)(keras.layers.Add()([y, x]))


@pytest.mark.parametrize("what", ["value", "key", "sum"])
@pytest.mark.parametrize("own", [False, True])
def test_a_mask_that_stays_on_what_another_layer_takes_is_refused(what, own):
    t, x = embedded() if own else (None, keras.Input((STEPS, FEATURES), batch_size=BATCH))
    model = keras.Model(x if t is None else t, behind(x, what))
    with pytest.raises(fl.FormatError, match="that the masked model alone takes"):
        fl.Model.from_keras(model)


def test_one_row_of_a_mask_for_all_is_refused():
    x = keras.Input((STEPS, FEATURES))
    with pytest.raises(fl.FormatError, match="mask: expected a row for each of the input's, found one for all"):
        fl.Model.from_keras(keras.Model(x, keras.layers.LSTM(3)(x, mask=M[:1])))


def test_numbers_beside_truths_stay_numbers():
    x = keras.Input((STEPS, FEATURES), batch_size=BATCH)
    given = normal(BATCH, STEPS, FEATURES, seed=3)
    for build in (lambda: keras.ops.where(x > 0, x > 1, 5), lambda: keras.ops.equal(x > 0, 2)):
        model = keras.Model(x, build())
        wanted, found = keras.ops.convert_to_numpy(model(given)), fl.Model.from_keras(model)(given)
        assert np.array_equal(found, wanted) and found.dtype.kind == wanted.dtype.kind


@pytest.mark.parametrize("dtype, found", [("int32", [1, 2, 3]), ("float16", [1.75, 2.25, 3]), (None, [1.75, 2.25, 3])])
def test_arrays_of_configurations_have_their_type(dtype, found):
    from fusedlstm.formats.keras.model.constants import array_of

    assert array_of([1.75, 2.25, 3], dtype).tolist() == found
    for wrong in ("complex64", "string", ["x"]):
        with pytest.raises(fl.FormatError, match="expected an array of numbers"):
            array_of([1.0], wrong)
