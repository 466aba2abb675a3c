"""Functional Keras models: branches, nested and shared parts, states, attention, operators, refusals."""

import numpy as np
import pytest
from keras_graphs import agree, check, flat, randomized, run
from keras_models import keras, layers

import fusedlstm as fl

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation", "ignore:.*HDF5 file via:UserWarning")
FILES = ("m.keras", "m.h5")
ops = keras.ops


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_branches_and_several_outputs(tmp_path):
    a, b = layers.Input((7, 4), name="sequence"), layers.Input((3,), name="static")
    h = layers.LSTM(5)(a)
    both = layers.Concatenate()([h, layers.Dense(4, activation="relu")(b)])
    model = randomized(keras.Model([a, b], [layers.Dense(2, name="price")(both), layers.Dense(1, name="risk")(h)]))
    check(model, tmp_path, FILES)
    ours = fl.Model.load(tmp_path / "m.keras")
    assert list(ours.inputs) == ["sequence", "static"]
    assert list(ours.outputs) == ["price", "risk"]
    with pytest.raises(ValueError, match="static"):
        ours(normal(2, 7, 4), normal(3, 3))


def test_dictionaries_of_inputs(tmp_path):
    inputs = {"one": layers.Input((4,), name="one"), "other": layers.Input((4,), name="other")}
    y = layers.Subtract()([layers.Dense(2)(inputs["one"]), layers.Dense(2)(inputs["other"])])
    model = randomized(keras.Model(inputs, {"y": y, "z": layers.Dense(1)(y)}))
    model.save(tmp_path / "m.keras")
    given = {name: normal(3, 4, seed=k) for k, name in enumerate(inputs)}
    ours = fl.Model.load(tmp_path / "m.keras")
    agree(run(ours, [given[name] for name in ours.inputs]), flat(model(given)))


def nested():
    inner = keras.Sequential(
        [layers.Input((7, 4)), layers.Dense(4, name="d"), layers.LSTM(3, name="enc")], name="inner"
    )
    x = layers.Input((7, 4))
    middle = keras.Model(x, [inner(x), layers.GlobalMaxPooling1D()(layers.Dense(3, name="d")(x))], name="middle")
    x, y = layers.Input((7, 4)), layers.Input((7, 4))
    shared = layers.Dense(4, name="d")
    first, second = middle(shared(x)), middle(shared(y))
    return keras.Model([x, y], [layers.Add()([*first, *second]), layers.LSTM(2, name="inner")(y), first[1]])


def test_nested_and_shared(tmp_path):
    keras.utils.clear_session()  # which counts layers that were made before
    check(randomized(nested()), tmp_path, ("m.keras",))
    names = list(fl.Model.load(tmp_path / "m.keras").outputs)
    assert names == ["add", "inner", "middle:1"]


def test_layers_called_twice(tmp_path):
    x = layers.Input((7, 4))
    lstm, dense = layers.LSTM(4, return_sequences=True, name="enc"), layers.Dense(4, name="d")
    y = lstm(dense(lstm(x)))
    model = randomized(keras.Model(x, [dense(y), y]))
    check(model, tmp_path, FILES)
    assert list(fl.Model.load(tmp_path / "m.keras").outputs) == ["d:1", "enc:1"]


def test_encoder_and_decoder(tmp_path):
    source, target = layers.Input((None, 4)), layers.Input((None,))
    _, h, c = layers.LSTM(5, return_state=True, name="encoder")(source)
    e = layers.Embedding(9, 3, name="words")(target)
    y, h2, c2 = layers.LSTM(5, return_sequences=True, return_state=True, name="decoder")(e, initial_state=[h, c])
    g = layers.GRU(5, return_sequences=True)(y, initial_state=h)
    b = layers.Bidirectional(layers.LSTM(5))(y, initial_state=[h, c, h2, c2])
    model = randomized(keras.Model([source, target], [layers.Dense(9, activation="softmax")(g), b, c2]))
    tokens = np.random.default_rng(0).integers(0, 9, (3, 6)).astype(np.float32)
    check(model, tmp_path, FILES, [normal(3, 7, 4), tokens])


MERGES = ("Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract", "Concatenate")


@pytest.mark.parametrize("kind", MERGES)
@pytest.mark.parametrize("masks", ["none", "one", "both"])
def test_merging_with_masks(kind, masks, tmp_path):
    a, b = layers.Input((7, 4)), layers.Input((7, 4))
    one, other = a if masks == "none" else layers.Masking()(a), layers.Masking()(b) if masks == "both" else b
    merged = getattr(layers, kind)()([one, other])
    model = randomized(keras.Model([a, b], [merged, layers.LSTM(3)(merged)]))
    given = [normal(4, 7, 4), normal(4, 7, 4, seed=2)]
    given[0][0, 4:] = given[0][1, 2] = given[1][0, 5:] = given[1][3, :2] = 0
    check(model, tmp_path, FILES, given)


@pytest.mark.parametrize("axes, options", [(1, {}), (2, {}), ((1, 2), {}), (-1, {"normalize": True})])
def test_dot(axes, options, tmp_path):
    x, y = layers.Input((4, 4)), layers.Input((4, 4))
    model = keras.Model([x, y], layers.Dot(axes, **options)([x, y]))
    check(model, tmp_path, FILES)


def test_merging_of_other_ranks(tmp_path):
    x, y = layers.Input((7, 4)), layers.Input((4,))
    model = keras.Model([x, y], [layers.Add()([x, layers.Reshape((1, 4))(y)]), layers.Dot(1)([y, y])])
    check(model, tmp_path, FILES)


ATTENTION = {
    "Attention": lambda x, y: layers.Attention()([x, y]),
    "scale": lambda x, y: layers.Attention(use_scale=True)([x, y]),
    "key": lambda x, y: layers.Attention()([x, y, layers.Dense(4)(y)]),
    "concat": lambda x, y: layers.Attention(use_scale=True, score_mode="concat")([x, y]),
    "concat plain": lambda x, y: layers.Attention(score_mode="concat")([x, y]),
    "causal": lambda x, y: layers.Attention()([x, x], use_causal_mask=True),
    "scores": lambda x, y: layers.Attention()([x, y], return_attention_scores=True),
    "additive": lambda x, y: layers.AdditiveAttention()([x, y]),
    "additive plain": lambda x, y: layers.AdditiveAttention(use_scale=False)([x, y]),
    "heads": lambda x, y: layers.MultiHeadAttention(2, 3)(x, y),
    "heads key": lambda x, y: layers.MultiHeadAttention(3, 2, value_dim=4, use_bias=False)(x, y, layers.Dense(4)(y)),
    "heads causal": lambda x, y: layers.MultiHeadAttention(2, 3, dropout=0.1)(x, x, use_causal_mask=True),
    "heads scores": lambda x, y: layers.MultiHeadAttention(2, 3, output_shape=5)(x, y, return_attention_scores=True),
}


@pytest.mark.parametrize("case", ATTENTION)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("time", [(6, 7), (None, None)])
def test_attention(case, masked, time, tmp_path):
    a, b = layers.Input((time[0], 4)), layers.Input((time[1], 4))
    x, y = (layers.Masking()(a), layers.Masking()(b)) if masked else (a, b)
    found = ATTENTION[case](x, y)
    found = list(found) if isinstance(found, (tuple, list)) else [found]
    model = randomized(keras.Model([a, b], found))
    given = [normal(3, 6, 4), normal(3, 7, 4, seed=2)]
    given[0][0, 4:] = given[0][1, 1] = given[1][0, 5:] = given[1][2, :2] = 0
    check(model, tmp_path, FILES, given)


def test_a_transformer_block(tmp_path):
    """Keras takes the masks off what MultiHeadAttention is given: what comes after sees none."""
    tokens = layers.Input((8,), dtype="int32")
    x = layers.Embedding(12, 4, mask_zero=True)(tokens)
    y = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 2)(x, x)]))
    y = layers.LayerNormalization()(layers.Add()([y, layers.Dense(4)(layers.Dense(8, activation="gelu")(y))]))
    model = randomized(keras.Model(tokens, [layers.GlobalAveragePooling1D()(y), layers.LSTM(3)(y)]))
    given = np.random.default_rng(0).integers(1, 12, (3, 8)).astype(np.int32)
    given[0, 5:] = given[1, 2:] = 0
    check(model, tmp_path, FILES[:1], [given])


OPERATORS = {
    "arithmetic": lambda x, y: (2.0 - x * 3 + y / 2) ** 2,
    "division": lambda x, y: 1 / (x * x + 1) - y,
    "slices": lambda x, y: [x[:, 1:5:2], x[:, -1], x[..., 2:], x[:, 0, None], y[:, 3:4, -2]],
    "moves": lambda x, y: [
        ops.expand_dims(x, 1),
        ops.squeeze(ops.expand_dims(x, -1), -1),
        ops.transpose(x, (0, 2, 1)),
        ops.reshape(x, (-1, 4)),
        ops.swapaxes(x, 1, 2),
        ops.flip(x, 1),
        ops.tile(x, (1, 2, 1)),
        ops.repeat(x, 2, axis=1),
        ops.moveaxis(x, 1, 2),
    ],
    "together": lambda x, y: [
        ops.concatenate([x, y], axis=-1),
        ops.stack([x, y], axis=1),
        *ops.split(x, 2, axis=-1),
        *ops.split(x, [1, 4], axis=1),
    ],
    "reductions": lambda x, y: [
        ops.mean(x, axis=1),
        ops.sum(x, axis=-1, keepdims=True),
        ops.max(x, axis=(1, 2)),
        ops.min(y, axis=1),
        ops.prod(y, axis=1),
        ops.argmax(x, axis=-1),
    ],
    "functions": lambda x, y: [
        ops.exp(x),
        ops.tanh(x),
        ops.sigmoid(x),
        ops.sqrt(ops.abs(x)),
        ops.square(x),
        ops.log(ops.abs(x) + 1),
        ops.relu(x),
        ops.relu6(x),
        ops.gelu(x),
        ops.gelu(x, approximate=False),
        ops.silu(x),
        ops.elu(x),
        ops.leaky_relu(x, 0.1),
        ops.softmax(x, axis=1),
        ops.log_softmax(x),
        ops.softplus(x),
        ops.clip(x, -0.5, 0.5),
        -x,
        ops.rsqrt(ops.abs(x) + 1),
        ops.sin(x) + ops.cos(y),
    ],
    "choices": lambda x, y: [
        ops.where(x > y, x, y * 2),
        ops.maximum(x, y),
        ops.minimum(x, 0.2),
        ops.cast(ops.logical_and(x > 0, y <= 0), "float32"),
        ops.cast(ops.not_equal(x, y), "float32"),
        ops.where(ops.any(x > 1, axis=-1, keepdims=True), x, 0.0),
    ],
    "matrices": lambda x, y: [
        ops.matmul(x, ops.transpose(y, (0, 2, 1))),
        ops.einsum("abc,adc->abd", x, y),
        ops.zeros_like(x) + ops.ones_like(y),
        ops.take(x, [1, 0, 3], axis=1),
    ],
}


@pytest.mark.parametrize("case", OPERATORS)
def test_operators(case, tmp_path):
    x, y = layers.Input((6, 4)), layers.Input((6, 4))
    found = OPERATORS[case](layers.Dense(4)(x), y)
    model = randomized(keras.Model([x, y], found if isinstance(found, list) else [found]))
    check(model, tmp_path, ("m.keras",))
    model.save(tmp_path / "m.h5")  # which Keras itself cannot load
    given = [normal(2, 6, 4), normal(2, 6, 4, seed=2)]
    files = [run(fl.Model.load(tmp_path / name), given) for name in FILES]
    for one, other in zip(*files):
        np.testing.assert_array_equal(one, other)


def test_stateful_layers_have_states(tmp_path):
    model = keras.Sequential(
        [
            layers.Input((2, 3), batch_size=2),
            layers.LSTM(4, stateful=True, return_sequences=True, name="a"),
            layers.GRU(3, stateful=True, name="b"),
            layers.Dense(2, name="out"),
        ]
    )
    randomized(model)
    for file in FILES:
        model.save(tmp_path / file)
        for layer in model.layers[:2]:
            layer.reset_state()
        ours = fl.Model.load(tmp_path / file)
        assert list(ours.inputs)[1:] == ["a.h.in", "a.c.in", "b.h.in"]
        assert list(ours.outputs) == ["out", "a.h.out", "a.c.out", "b.h.out"]
        stream = ours.stream(batch_size=2)
        for step in range(3):
            x = normal(2, 2, 3, seed=step)
            agree([np.array(stream.step(x))], flat(model(x)))


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


class Own(layers.Layer):
    def call(self, x):
        return x * 2


@pytest.mark.filterwarnings("ignore")
def test_refused_by_name(tmp_path):
    x = layers.Input((7, 4))
    h = layers.LSTM(5, name="enc")(x)
    lambda_ = layers.Lambda(lambda x: x + 1, name="mine", output_shape=(5,))(h)
    own = Own(name="own")(lambda_)
    model = randomized(keras.Model(x, [layers.Dense(2, name="out")(own), layers.Dense(2, name="other")(h)]))
    for file in FILES:
        model.save(tmp_path / file)
        with pytest.raises(fl.FormatError, match="Lambda node 'mine': it runs Python code.*outputs="):
            fl.Model.load(tmp_path / file)
        ours = fl.Model.load(tmp_path / file, outputs=["enc", "other"])
        given = normal(2, 7, 4)
        agree(run(ours, [given]), flat(list(keras.Model(x, [h, model.outputs[1]])(given))))
        with pytest.raises(fl.FormatError, match=r"outputs: expected names of layers \(enc, .*found 'nothing'"):
            fl.Model.load(tmp_path / file, outputs=["nothing"])
    only = keras.Model(x, Own(name="own")(h))
    only.save(tmp_path / "own.keras")
    with pytest.raises(fl.FormatError, match="own.*expected a layer of Keras's own, found the class 'Own'"):
        fl.Model.load(tmp_path / "own.keras")


def test_a_decoder_with_given_states_does_not_see_its_mask(tmp_path):
    """Keras 3 looks for the masks of calls with one tensor alone."""
    first = layers.Input((5, 3))
    x = layers.Masking()(first)
    _, *states = layers.LSTM(4, return_state=True)(x)
    y = layers.LSTM(4, return_sequences=True)(x, initial_state=states)
    model = randomized(keras.Model(first, layers.GlobalAveragePooling1D()(y)))
    given = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    given[0, 3:] = given[1, 1] = 0
    check(model, tmp_path, inputs=[given])


def test_masks_of_some_along_time(tmp_path):
    first = layers.Input((5, 3))
    x = layers.Masking()(first)
    y = layers.Concatenate(axis=1)([x, layers.Conv1D(3, 1)(x)])
    model = randomized(keras.Model(first, layers.LSTM(4)(y)))
    given = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    given[0, 3:] = given[1, 1] = 0
    check(model, tmp_path, inputs=[given])
