"""Keras models for the tests, and the comparison of a loaded LSTM with the layer it came from."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

keras = pytest.importorskip("keras")
layers = keras.layers

FILES = ("m.keras", "m.weights.h5", "m.h5")
TOLERANCE = 1e-5


def randomized(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape, scale=0.6))
    return model


def sequential(*inside, features=3, name=None, time=None, batch=None):
    return randomized(keras.Sequential([layers.Input((time, features), batch_size=batch), *inside], name=name))


def numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


def saved(model, folder, file):
    path = folder / file
    (model.save_weights if file.endswith(".weights.h5") else model.save)(path)
    return path


def check(layer, lstm, batch=3, time=7, seed=1):
    """The outputs and, where the layer returns them, the states of a Keras layer."""
    x = np.random.default_rng(seed).normal(size=(batch, time, lstm.input_size)).astype(np.float32)
    wanted = layer(x)
    y, (h, c) = lstm(x)
    outputs, *states = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    if not layer.return_sequences:
        y = np.concatenate([h[-2], h[-1]], axis=-1) if lstm.bidirectional else y[:, -1]
    np.testing.assert_allclose(y, numpy(outputs), rtol=0, atol=TOLERANCE)
    flat = [numpy(state) for state in keras.tree.flatten(states)]
    if flat:
        np.testing.assert_allclose(h, np.stack(flat[0::2]), rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(c, np.stack(flat[1::2]), rtol=0, atol=TOLERANCE)
