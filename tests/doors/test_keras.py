"""fusedlstm.keras beside Keras; the other backends run in processes of their own (slow)."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras_layers import check, flat

import fusedlstm as fl
import fusedlstm.keras as door

keras = pytest.importorskip("keras")
layers = keras.layers
HELPER = Path(__file__).parents[1] / "helpers" / "keras_layers.py"
X = np.linspace(-1, 1, 2 * 5 * 3).astype(np.float32).reshape(2, 5, 3)


def model_of(*inside):
    return keras.Sequential([keras.Input((5, 3)), *inside])


@pytest.mark.parametrize("seed", range(10))
def test_a_random_layer(seed):
    check(keras, seed)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow", "tf_keras"])
def test_many_random_layers(backend):
    command = [sys.executable, str(HELPER), backend, "100", "100"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_report_says_what_and_why():
    model = model_of(
        layers.LSTM(4, return_sequences=True, name="one"),
        layers.Bidirectional(layers.LSTM(2, return_sequences=True, name="inner"), name="both"),
        layers.GRU(3, return_sequences=True, name="gru"),
        layers.LSTM(3, activation=lambda x: x * 0.5, return_sequences=True, name="own"),
        layers.LSTM(3, dtype="mixed_bfloat16", name="mixed"),
    )
    assert not door.report(model).swapped
    door.accelerate(model, dtype="int8")
    report = door.report(model)
    assert len(report) == 6 and len(report.swapped) == 3
    why = {one.name.rpartition("/")[2]: one.why for one in report}
    assert "not supported" in why["gru"] and "activation" in why["own"] and "bfloat16" in why["mixed"]
    assert "one: LSTM: runs in fusedlstm in int8" in repr(report)
    with pytest.raises(ValueError, match="dtype: expected one of"):
        door.accelerate(model, dtype="int4")
    for function in (door.accelerate, door.restore, door.report):
        with pytest.raises(TypeError, match="expected a Keras model or layer, found int"):
            function(3)
    unbuilt = door.accelerate(keras.Sequential([layers.LSTM(2)]))
    assert "no weights yet" in door.report(unbuilt)[0].why


def test_saving_knows_nothing_of_it(tmp_path):
    model = door.accelerate(model_of(layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert not door.report(again).swapped
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-6)
    whole = fl.Model.load(tmp_path / "m.keras")
    np.testing.assert_allclose(whole(X), model.predict(X, verbose=0), atol=1e-6)


def test_training_is_keras_s():
    """Weights after training are the same to the bit, and the next prediction has them."""

    def trained(change):
        keras.utils.set_random_seed(3)
        model = change(model_of(layers.LSTM(4, dropout=0.2, name="rnn"), layers.Dense(1)))
        model.predict(X, verbose=0)
        model.compile("sgd", "mse")
        model.fit(X, np.ones((2, 1), np.float32), epochs=2, verbose=0)
        assert not door.report(model).swapped or door.report(model)[0].why in ("in training", "")
        return model

    ours, theirs = trained(door.accelerate), trained(lambda model: model)
    for one, other in zip(ours.get_weights(), theirs.get_weights()):
        assert np.array_equal(one, other)
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-6)
    assert not door.report(ours)[0].why
    assert abs(ours.evaluate(X, np.ones((2, 1)), verbose=0) - theirs.evaluate(X, np.ones((2, 1)), verbose=0)) < 1e-5


def test_changed_weights_are_noticed():
    model = door.accelerate(model_of(layers.LSTM(4, return_sequences=True), layers.LSTM(2)))
    before = model.predict(X, verbose=0)
    model.set_weights([2 * one for one in model.get_weights()])
    after = model.predict(X, verbose=0)
    assert np.abs(after - before).max() > 1e-3
    called = flat(model(X))[0]
    door.restore(model)
    np.testing.assert_allclose(after, model.predict(X, verbose=0), atol=1e-6)
    np.testing.assert_allclose(called, after, atol=1e-6)


@pytest.mark.skipif(os.environ["KERAS_BACKEND"] != "torch", reason="takes gradients as PyTorch does")
def test_changed_options_are_noticed():
    model = model_of(layers.LSTM(4, return_sequences=True))
    (layer,) = model.layers
    before, own = flat(door.accelerate(model)(X)), layer.cell.activation
    layer.go_backwards = True
    backwards = flat(model(X))
    assert "changed since" in door.report(model)[0].why
    layer.go_backwards, layer.cell.activation = False, keras.activations.relu
    relu = flat(model(X))
    layer.cell.activation = own
    np.testing.assert_array_equal(flat(model(X))[0], before[0])
    door.restore(model)
    layer.cell.activation = keras.activations.relu
    np.testing.assert_array_equal(flat(model(X))[0], relu[0])
    layer.go_backwards, layer.cell.activation = True, own
    np.testing.assert_array_equal(flat(model(X))[0], backwards[0])


def test_gradients_are_keras_s():
    import torch

    def gradients(model):
        x = torch.tensor(X, requires_grad=True)
        for weight in model.weights:
            weight.value.grad = None
        model(x).square().sum().backward()
        return [x.grad, *(weight.value.grad for weight in model.trainable_weights)]

    model = model_of(layers.Bidirectional(layers.LSTM(4)), layers.Dense(2))
    wanted = gradients(model)
    found = gradients(door.accelerate(model))
    assert not any(one.why for one in door.report(model))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-6)


def test_initial_states_and_masks_by_hand():
    layer = layers.LSTM(4, return_sequences=True, return_state=True)
    layer.build((2, 5, 3))
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
    states = [np.full((2, 4), one, np.float32) for one in (0.5, -0.5)]
    tensors = [keras.ops.convert_to_tensor(one) for one in states]
    wanted = flat(layer(X, initial_state=tensors, mask=keras.ops.convert_to_tensor(mask)))
    door.accelerate(layer)
    found = flat(layer(X, initial_state=tensors, mask=keras.ops.convert_to_tensor(mask)))
    assert not door.report(layer)[0].why
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
