"""Keras models through TFLiteConverter, against Keras: loops, unrolled cells, lists of tensors, layers around them."""

import numpy as np
import pytest
from tflite_files import close, random

import fusedlstm as fl

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "tensorflow":
    pytest.skip("needs Keras with TensorFlow behind it", allow_module_level=True)
L = keras.layers


def converted(model, **options):
    """The file; with lists of tensors where plain operators do not do, which is where the batch is open."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if model.inputs[0].shape[0] is None:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        converter._experimental_lower_tensor_list_ops = False
    for name, value in options.items():
        setattr(converter, name, value)
    return converter.convert()


def sequential(shape, *layers, batch=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape, batch_size=batch), *layers])


def nodes(model, *ops):
    return [one.op for one in model.simplified.nodes if one.op in ops]


CASES = {
    "lstm": ((7, 3), lambda: [L.LSTM(4), L.Dense(2)], 1),
    "stacked": ((7, 3), lambda: [L.LSTM(4, return_sequences=True), L.LSTM(5), L.Dense(2, activation="softmax")], 2),
    "any length": ((None, 3), lambda: [L.LSTM(4, return_sequences=True), L.Dense(2)], 1),
    "unrolled": ((4, 3), lambda: [L.LSTM(4, return_sequences=True, unroll=True), L.LSTM(3, unroll=True)], 2),
    "backwards": ((7, 3), lambda: [L.LSTM(4, go_backwards=True, return_sequences=True)], 1),
    "backwards at any length": ((None, 3), lambda: [L.LSTM(4, go_backwards=True)], 1),
    "both at any length": ((None, 3), lambda: [L.Bidirectional(L.GRU(4, return_sequences=True))], 2),
    "relu": ((7, 3), lambda: [L.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid")], 1),
    "no bias": ((7, 3), lambda: [L.LSTM(4, use_bias=False, return_sequences=True)], 1),
    "bidirectional": (
        (7, 3),
        lambda: [L.Bidirectional(L.LSTM(4, return_sequences=True)), L.Bidirectional(L.LSTM(3))],
        3,
    ),
    "autoencoder": ((7, 3), lambda: [L.LSTM(4), L.RepeatVector(7), L.LSTM(3, return_sequences=True)], 2),
    "gru": ((7, 3), lambda: [L.GRU(4, return_sequences=True), L.GRU(3), L.Dense(2)], 2),
    "gru of any length": ((None, 3), lambda: [L.GRU(4, return_sequences=True)], 1),
    "gru backwards": ((6, 3), lambda: [L.GRU(4, go_backwards=True, return_sequences=True)], 1),
    "unrolled gru": ((4, 3), lambda: [L.GRU(4, unroll=True, return_sequences=True)], 1),
    "gru before": ((7, 3), lambda: [L.GRU(4, reset_after=False)], 1),
    "simple": ((7, 3), lambda: [L.SimpleRNN(4)], 1),
    "simple of any length": ((None, 3), lambda: [L.SimpleRNN(4, activation="relu", return_sequences=True)], 1),
    "softsign": ((7, 3), lambda: [L.LSTM(4, activation="softsign"), L.RepeatVector(3), L.GRU(3, activation="elu")], 2),
    "convolutions": (
        (16, 3),
        lambda: [
            *(L.Conv1D(4, 3, padding="same", activation="relu"), L.MaxPooling1D(2)),
            *(L.Conv1D(4, 3, dilation_rate=2, padding="causal"), L.BatchNormalization(), L.LSTM(4)),
            *(L.LayerNormalization(), L.Dense(1)),
        ],
        1,
    ),
    "images": (
        (8, 8, 2),
        lambda: [
            *(
                L.Conv2D(4, 3, strides=2, padding="same", activation="relu6"),
                L.DepthwiseConv2D(3),
                L.AveragePooling2D(2),
            ),
            *(L.Conv2DTranspose(3, 3, strides=2, padding="same"), L.GlobalAveragePooling2D(), L.Dense(2)),
        ],
        0,
    ),
}


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("name", CASES)
def test_layers(name, batch):
    shape, layers, cells = CASES[name]
    model = sequential(shape, *layers(), batch=batch)
    found = fl.Model.load(converted(model))
    recognised = nodes(found, "fusedlstm.LSTM", "GRU", "RNN", "Loop")
    assert len(recognised) in (
        cells,
        cells + (name == "bidirectional"),
    )  # two directions are one node where they can be
    assert "Loop" not in recognised
    for rows in (batch,) if batch else (1, 4):
        x = random(rows, *(5 if size is None else size for size in shape), seed=rows)
        close(found(x), model(x).numpy())


MASKED = {
    "lstm": lambda: L.LSTM(4),
    "sequence": lambda: L.LSTM(4, return_sequences=True),
    "gru": lambda: L.GRU(4, return_sequences=True, go_backwards=True),
    "simple": lambda: L.SimpleRNN(4, activation="relu"),
    "both ways": lambda: L.Bidirectional(L.LSTM(4, return_sequences=True)),
}


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("name", MASKED)
def test_tokens_and_masks(name, batch):
    """Valid steps in any pattern, and none at all."""
    tokens = np.array([[3, 1, 9, 2, 0, 0, 0], [1, 0, 4, 5, 0, 6, 8], [0, 0, 0, 7, 7, 1, 2], [0] * 7])
    for zero in (False, True):
        model = sequential((7,), L.Embedding(10, 3, mask_zero=zero), MASKED[name](), L.Dense(2), batch=batch)
        found = fl.Model.load(converted(model))
        assert not nodes(found, "Loop")
        x = tokens.astype(found.inputs[next(iter(found.inputs))].dtype)
        close(found(x), model(tokens).numpy())


def test_float16_weights():
    model = sequential((7, 3), L.LSTM(4, return_sequences=True), L.LSTM(5), L.Dense(2), batch=1)
    options = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations, converter.target_spec.supported_types = options["optimizations"], [tf.float16]
    found = fl.Model.load(converter.convert())
    for weight in model.weights:
        weight.assign(weight.numpy().astype(np.float16).astype(np.float32))
    x = random(1, 7, 3)
    close(found(x), model(x).numpy())


def test_dynamic_range_is_computed_in_floats():
    model = sequential((7, 30), L.LSTM(40, return_sequences=True), L.LSTM(50), L.Dense(40), batch=1)
    found = fl.Model.load(converted(model, optimizations=[tf.lite.Optimize.DEFAULT]))
    x = random(1, 7, 30)
    close(found(x), model(x).numpy(), 0.05)


def test_full_integers_are_refused():
    def samples():
        for seed in range(4):
            yield [random(1, 4, seed=seed)]

    model = sequential((4,), L.Dense(3), batch=1)
    options = {"optimizations": [tf.lite.Optimize.DEFAULT], "representative_dataset": samples}
    with pytest.raises(fl.FormatError, match="models that compute in integers are not supported"):
        fl.Model.load(converted(model, **options))
