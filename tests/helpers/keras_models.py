"""Keras models for the tests, and the comparison of a loaded LSTM with the layer it came from."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
from run import run

keras = pytest.importorskip("keras")
layers = keras.layers

FILES = ("m.keras", "m.weights.h5", "m.h5")
TOLERANCE = 1e-5

ACTIVATIONS = (
    *("elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu", "linear", "relu", "sigmoid", "silu", "softplus"),
    *("softsign", "swish", "tanh", "celu", "mish", "relu6", "selu"),
)


def randomized(model, seed=0, scale=0.6):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape, scale=scale))
    return model


def sequential(*inside, features=3, name=None, time=None, batch=None):
    return randomized(keras.Sequential([layers.Input((time, features), batch_size=batch), *inside], name=name))


def numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


def saved(model, folder, file):
    path = folder / file
    (model.save_weights if file.endswith(".weights.h5") else model.save)(path)
    return path


def check(layer, weights, batch=3, time=7, seed=1, mask=None, from_state=False, limit=None):
    """Outputs and, where the layer returns them, states as the Keras layer has them; returns the largest error.

    Nothing is compared (0.0) where Keras's own numbers exceed a limit: unbounded activations run away with any rounding.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, time, weights.input_size)).astype(np.float32)
    given, state = {} if mask is None else {"mask": keras.ops.convert_to_tensor(mask)}, None
    if from_state:  # of one cell in each direction: Keras takes h and c of the first, then of the second
        state = rng.normal(size=(2, 1 + weights.bidirectional, batch, weights.hidden_size)).astype(np.float32)
        given["initial_state"] = [keras.ops.convert_to_tensor(one) for pair in zip(*state) for one in pair]
    wanted = list(map(numpy, keras.tree.flatten(layer(x, **given))))
    if limit and not np.max([np.abs(one).max() for one in wanted]) < limit:
        return 0.0
    y, (h, c) = run(weights, x, state if state is None else tuple(state), mask=mask)
    h, c = ([np.split(s, weights.num_layers) if isinstance(s, np.ndarray) else s][0] for s in (h, c))
    if not layer.return_sequences:
        valid = 1 if mask is None else mask.any(axis=1)[:, None]  # a row that is masked throughout has no output
        y = merged(weights.merge, [way * valid for way in h[-1]]) if weights.bidirectional else y[:, -1]
    found = list(y) if isinstance(y, tuple) else [y]
    if len(wanted) > len(found):  # Keras returns each direction's states, h and c of each cell
        ways = range(len(h[0]))
        found += [state for way in ways for k in range(len(h)) for state in (h[k][way], c[k][way])]
    assert len(found) == len(wanted)
    largest, scale = 0.0, max(1.0, *(np.abs(one).max(initial=0) for one in (*c, *wanted)))  # of unbounded activations
    for ours, theirs in zip(found, wanted):
        assert np.isfinite(theirs).all()
        np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=TOLERANCE)
        largest = max(largest, np.abs(ours / scale - theirs / scale).max(initial=0))
    return largest


def merged(mode, ways):
    both = {"concat": lambda a, b: np.concatenate([a, b], -1), "sum": np.add, "mul": np.multiply}
    both |= {"ave": lambda a, b: (a + b) / 2, "none": lambda a, b: (a, b)}
    return both[mode](*ways)


def random_layer(rng):
    """A recurrent layer with options of all kinds, and whether Keras can run it with a mask."""

    def pick(*choices):
        return choices[rng.integers(len(choices))]

    def activations():
        return {"activation": pick("tanh", *ACTIVATIONS), "recurrent_activation": pick("sigmoid", *ACTIVATIONS)}

    both = {"return_sequences": pick(True, True, False), "return_state": pick(True, False)}
    both |= {"unroll": pick(False, False, True), "zero_output_for_mask": pick(True, False)}
    units = [int(n) for n in rng.integers(1, 7, rng.integers(2, 4))]  # Keras 3.15 does not run a stack of one cell
    kind = pick("LSTM", "LSTM", "cell", "stack")

    def one(**more):
        cell = {"use_bias": pick(True, True, False), "unit_forget_bias": pick(True, False), "dropout": pick(0.0, 0.3)}
        cell |= {"recurrent_dropout": pick(0.0, 0.2), "implementation": pick(1, 2)}
        if kind == "LSTM":
            return layers.LSTM(units[0], **cell, **activations(), **both, **more)
        stack = [layers.LSTMCell(n, **cell, **activations()) for n in units[: 1 if kind == "cell" else None]]
        return layers.RNN(stack if kind == "stack" else stack[0], **both, **more)

    if pick(True, False):
        merge = "concat" if kind == "stack" else pick("concat", "sum", "mul", "ave", None)
        backward = one(go_backwards=True) if pick(True, False) else None
        return layers.Bidirectional(one(), merge_mode=merge, backward_layer=backward), not both["unroll"]
    backwards = pick(True, False)
    # Keras 3.15 cannot mask an unrolled layer that goes backwards.
    return one(go_backwards=backwards), not (backwards and both["unroll"])
