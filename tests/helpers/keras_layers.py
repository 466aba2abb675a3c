"""Random recurrent layers of Keras beside what takes their place, on one backend in one process.

python keras_layers.py torch|jax|tensorflow|tf_keras FIRST COUNT
"""

import os
import sys

if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "tensorflow" if sys.argv[1] == "tf_keras" else sys.argv[1]
else:
    os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np


def flat(made):
    """Arrays, copied: buffers may be donated to the next call."""
    if isinstance(made, (list, tuple)):
        return [one for part in made for one in flat(part)]
    return [np.array(made.detach() if hasattr(made, "detach") else made)]


def recurrent(model):
    return [one for one in model._flatten_layers() if hasattr(one, "cell")]


def random_model(keras, seed):
    """A model around one recurrent layer, and an input."""
    rng = np.random.default_rng(seed)
    layers = keras.layers

    def whole(least, most):
        return int(rng.integers(least, most + 1))

    def perhaps(share=0.5):
        return bool(rng.random() < share)

    units, features, time, batch = whole(1, 12), whole(1, 9), whole(1, 9), whole(1, 5)
    kind = str(rng.choice(["LSTM", "Bidirectional", "cell", "cells", "conv"]))
    options = {"return_sequences": perhaps(), "return_state": perhaps(), "stateful": perhaps(0.2)}
    options["go_backwards"] = perhaps(0.3)
    inside = {"activation": str(rng.choice(["tanh", "relu", "sigmoid"])), "use_bias": perhaps(0.8)}
    inside["recurrent_activation"] = str(rng.choice(["sigmoid", "hard_sigmoid"]))
    shape = (time, features)
    if kind == "LSTM":
        layer = layers.LSTM(units, **inside, **options)
    elif kind == "Bidirectional":
        options.pop("go_backwards")
        if options["return_state"]:
            options["stateful"] = False  # Keras 3.15 cannot build both: its mask of the states is a generator times 2
        mode = str(rng.choice(["concat", "sum", "ave", "mul"]))
        layer = layers.Bidirectional(layers.LSTM(units, **inside, **options), merge_mode=mode)
    elif kind == "cell":
        layer = layers.RNN(layers.LSTMCell(units, **inside), **options)
    elif kind == "cells":
        options["stateful"] = False
        layer = layers.RNN(
            [layers.LSTMCell(units, **inside), layers.LSTMCell(units + 2 * perhaps(), **inside)], **options
        )
    elif perhaps():
        shape = (time, whole(3, 8), features)
        layer = layers.ConvLSTM1D(units, 3, padding=str(rng.choice(["same", "valid"])), **options)
    else:
        shape = (time, 5, 4, features)
        layer = layers.ConvLSTM2D(units, (3, 2), padding="same", **options)
    masked = kind != "conv" and perhaps()
    given = keras.Input(shape, batch_size=batch)
    model = keras.Model(given, layer(layers.Masking()(given) if masked else given))
    for weight in model.weights:
        if "seed" not in weight.name:
            weight.assign(rng.normal(size=weight.shape, scale=0.5).astype(np.float32))
    x = rng.normal(size=(batch, *shape)).astype(np.float32)
    if masked:
        x[rng.random((batch, time)) < 0.3] = 0
    return model, x


def check(keras, seed):
    """The largest difference over calls, a second call, and predict."""
    import fusedlstm.keras as door

    model, x = random_model(keras, seed)

    def run():
        found = []
        for call in (model, model, lambda one: model.predict(one, verbose=0, batch_size=len(x))):
            if call is not model:
                for layer in recurrent(model):
                    if layer.stateful:
                        layer.reset_states() if hasattr(layer, "reset_states") else layer.reset_state()
            found.append(flat(call(x)))
        return found

    def renewed():
        for layer in recurrent(model):
            if layer.stateful:
                layer.reset_states() if hasattr(layer, "reset_states") else layer.reset_state()
        return run()

    wanted = renewed()
    assert door.accelerate(model) is model
    found = renewed()
    report = door.report(model)
    assert len(report.swapped) == len(report) > 0 and not any(one.why for one in report), report
    door.restore(model)
    assert not door.report(model).swapped
    largest = 0.0
    for ours, theirs in zip(found, wanted, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.shape == other.shape, (seed, one.shape, other.shape)
            scale = max(1.0, np.abs(other).max(initial=0))
            difference = float(np.abs(one - other).max(initial=0)) / scale
            assert difference <= 1e-5, (seed, difference)
            largest = max(largest, difference)
    return largest


if __name__ == "__main__":
    if sys.argv[1] == "tf_keras":
        import tf_keras as keras
    else:
        import keras
    first, count = int(sys.argv[2]), int(sys.argv[3])
    print(max(check(keras, seed) for seed in range(first, first + count)))
