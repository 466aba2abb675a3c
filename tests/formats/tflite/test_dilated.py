"""Dilated convolutions over a free length, which TensorFlow writes in blocks: one node again, and alive."""

import numpy as np
import pytest
from along import same_bits
from graphs import random

import fusedlstm as fl

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("tf_keras")
L = keras.layers


def converted(*layers, shape=(None, 4)):
    return tf.lite.TFLiteConverter.from_keras_model(keras.Sequential([keras.Input(shape), *layers])).convert()


def of_tflite(file, x):
    runner = tf.lite.Interpreter(model_content=file)
    given, made = runner.get_input_details()[0]["index"], runner.get_output_details()[0]["index"]
    runner.resize_tensor_input(given, x.shape)
    runner.allocate_tensors()
    runner.set_tensor(given, x)
    runner.invoke()
    return runner.get_tensor(made)


def agrees(file, *shapes):
    model = fl.Model.load(file)
    for shape in shapes:
        x = random(*shape)
        np.testing.assert_allclose(model(x), of_tflite(file, x), rtol=1e-5, atol=1e-6)
    return model


def convolutions(model):
    nodes = model.simplified.nodes
    assert {one.op for one in nodes} <= {"fusedlstm.Conv", "Pad", "Transpose", "Unsqueeze", "Squeeze", "Relu", "Add"}
    return [tuple(one.attributes["dilations"]) for one in nodes if one.op == "fusedlstm.Conv"]


LINES = {
    "causal": (lambda: L.Conv1D(3, 3, dilation_rate=2, padding="causal", activation="relu"), [(1, 2)]),
    "valid": (lambda: L.Conv1D(3, 3, dilation_rate=5), [(1, 5)]),
    "of a separable layer": (lambda: L.SeparableConv1D(3, 3, dilation_rate=2, padding="causal"), [(1, 2), (1, 1)]),
}


@pytest.mark.parametrize("name", LINES)
def test_lines(name):
    make, dilations = LINES[name]
    model = agrees(converted(make()), *((2, n, 4) for n in range(24, 30)))
    assert convolutions(model) == dilations
    same_bits(model, random(2, 41, 4))


def test_both_sides_padded():
    model = agrees(converted(L.Conv1D(3, 3, dilation_rate=3, padding="same")), *((2, n, 4) for n in range(24, 30)))
    assert convolutions(model) == [(1, 3)]
    with pytest.raises(ValueError, match="padded behind"):
        model.stream()


PICTURES = {
    "valid": (lambda: L.Conv2D(3, 3, dilation_rate=(2, 3)), (None, 13, 4)),
    "same": (lambda: L.Conv2D(3, (3, 2), dilation_rate=2, padding="same", activation="relu"), (None, None, 4)),
    "each channel": (lambda: L.DepthwiseConv2D(3, dilation_rate=2, padding="same"), (None, None, 4)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name):
    make, shape = PICTURES[name]
    model = agrees(converted(make(), shape=shape), (1, 17, 13, 4), (2, 18, 13, 4), (1, 19, 13, 4))
    assert len(convolutions(model)) == 1
    if name == "valid":
        same_bits(model, random(2, 31, 13, 4), time=1)


def test_a_wavenet():
    x = start = keras.Input((None, 2))
    for rate in (1, 2, 4, 8):
        y = L.Conv1D(6, 2, dilation_rate=rate, padding="causal")(x)
        y = L.Multiply()([L.Activation("tanh")(y), L.Activation("sigmoid")(y)])
        x = L.Add()([L.Conv1D(6, 1)(x), L.Conv1D(6, 1)(y)])
    file = tf.lite.TFLiteConverter.from_keras_model(keras.Model(start, L.Dense(3)(x))).convert()
    same_bits(agrees(file, (1, 40, 2), (2, 33, 2)), random(2, 41, 2))


@pytest.mark.parametrize(("pads", "crops"), [((3, 4), (1, 2)), ((0, 2), (1, 0)), ((5, 0), (0, 4)), ((1, 1), (3, 2))])
def test_what_is_put_around_and_cut_off(pads, crops):
    """Any numbers; 3 divides the whole. TensorFlow itself says what they make."""
    kernel = random(1, 3, 4, 5)

    @tf.function(input_signature=[tf.TensorSpec((None, None, 4), tf.float32)])
    def run(x):
        around, off = (tf.stack([[tf.shape(x)[0] * 0 + a, b]]) for a, b in (pads, crops))  # not known before it runs
        y = tf.expand_dims(tf.space_to_batch(x, [3], around), 1)
        y = tf.squeeze(tf.nn.conv2d(y, kernel, 1, "VALID"), [1])
        return tf.batch_to_space(y, [3], off)

    file = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()], run).convert()
    count = 30 - sum(pads)
    model = agrees(file, (2, count, 4), (1, count + 3, 4))
    np.testing.assert_allclose(model(random(1, count, 4)), run(random(1, count, 4)).numpy(), rtol=1e-5, atol=1e-6)
    (made,) = (one for one in model.simplified.nodes if one.op == "fusedlstm.Conv")
    assert made.attributes["dilations"] == (1, 3)


def test_layer_normalisation_of_each_step():
    """Keras 2 writes it with a one and a zero for each row."""
    model = agrees(converted(L.LayerNormalization(), L.Dense(3)), (2, 9, 4), (1, 20, 4))
    assert "ConstantOfShape" not in [one.op for one in model.simplified.nodes]
    same_bits(model, random(2, 41, 4))
