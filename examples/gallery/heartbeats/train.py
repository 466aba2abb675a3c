"""Train a classifier of heartbeats in a live ECG with Keras, and write it as RTNeural's JSON.

    KERAS_BACKEND=jax python train.py               # needs keras, jax, torch, onnx, onnxscript, onnxruntime

The electrocardiograms are made up here: each beat is five bumps (P, Q, R, S, T) that differ from heart to heart, the
rhythm breathes, the baseline wanders, muscles and mains add noise. Three kinds of beats: normal ones; atrial ones,
which come too early after an odd P; ventricular ones, which come too early, broad and without a P. Hearts tested on
are not trained on.
"""

import json
import os
from pathlib import Path
from timeit import repeat

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

HERE = Path(__file__).parent
RATE = 125  # samples a second
DELAY = 45  # samples after the peak at which the verdict is read: 0.36 s
KINDS = ["normal", "atrial", "ventricular"]


def ecg(seconds, rng):
    """One heart's signal in quarters of a mV (time,), and its beats: samples of the peaks, and kinds."""
    time = np.arange(seconds * RATE) / RATE
    heights = np.array([0.15, -0.1, 1.1, -0.2, 0.3]) * rng.uniform(0.7, 1.3, 5)  # P, Q, R, S, T
    places = np.array([-0.17, -0.03, 0.0, 0.03, 0.24]) + rng.normal(0, 0.005, 5)
    widths = np.array([0.025, 0.010, 0.011, 0.011, 0.045]) * rng.uniform(0.85, 1.15, 5)
    flip, broad = rng.choice([-1, 1]), rng.uniform(2.6, 4.0)
    pace = rng.uniform(0.65, 1.05)
    signal, peaks, kinds, at, pause = np.zeros(len(time)), [], [], 0.4, 1.0
    while True:
        kind = rng.choice(3, p=[0.76, 0.12, 0.12]) if peaks and not kinds[-1] else 0
        early = rng.uniform(0.55, 0.72) if kind else 1.0
        at += pace * early * pause * (1 + 0.04 * np.sin(2 * np.pi * 0.25 * at) + rng.normal(0, 0.02))
        if at > seconds - 0.6:
            break
        h, w, p = heights * rng.normal(1, 0.05, 5), widths.copy(), places.copy()
        if kind == 1:  # the atrium fires from elsewhere: P is small or upside down, and near
            h[0] *= -1
            p[0] += 0.04
        if kind == 2:  # the ventricle fires by itself: broad, no P, T the other way
            h = np.array([0, 0, 1.2 * flip, -0.5 * flip, -0.45 * flip]) * rng.normal(1, 0.1, 5)
            w, p = w * [1, 1, broad, broad, 1.3], p + np.array([0, 0, 0, 0.05, 0.06])
        signal += (h * np.exp(-(((time[:, None] - at - p) / w) ** 2) / 2)).sum(1)
        peaks.append(round(at * RATE))
        kinds.append(kind)
        pause = rng.uniform(1.2, 1.4) if kind == 2 else rng.uniform(1.0, 1.08) if kind == 1 else 1.0
    wander = 0.15 * np.sin(2 * np.pi * (rng.uniform(0.1, 0.4) * time + rng.random()))
    mains = 0.02 * np.sin(2 * np.pi * 50 * time)
    return (4 * (signal + wander + mains + rng.normal(0, 0.03, len(time)))).astype(np.float32), peaks, kinds


def rtneural(model):
    """The model in the form that RTNeural reads: its own script for Keras writes the same entries."""
    layers = []
    for layer in model.layers:
        kind = "dense" if isinstance(layer, keras.layers.Dense) else "lstm"
        weights = [np.round(w.astype(float), 7).tolist() for w in layer.get_weights()]
        activation = "softmax" if kind == "dense" else ""
        layers.append({"type": kind, "activation": activation, "shape": [None, None, layer.units], "weights": weights})
    return {"in_shape": [None, None, 1], "layers": layers}


def f1(verdicts, kinds):
    """The mean of the three kinds' F1."""
    hits = [2 * np.sum((verdicts == k) & (kinds == k)) / (np.sum(verdicts == k) + np.sum(kinds == k)) for k in range(3)]
    return float(np.mean(hits))


def main():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, y, weight = (
        np.zeros((640, 750, *more), kind) for more, kind in (((1,), np.float32), ((), int), ((), np.float32))
    )
    for row in range(len(x)):
        x[row, :, 0], peaks, kinds = ecg(6, rng)
        for peak, kind in zip(peaks[1:], kinds[1:], strict=True):
            y[row, peak + DELAY - 6 : peak + DELAY + 7] = kind
            weight[row, peak + DELAY - 6 : peak + DELAY + 7] = (1, 5, 3)[kind]
    model = keras.Sequential([
        keras.Input((None, 1)),
        keras.layers.LSTM(32, return_sequences=True),
        keras.layers.Dense(3, "softmax"),
    ])  # fmt: skip
    rate = keras.optimizers.schedules.CosineDecay(8e-3, 24 * 20)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "sparse_categorical_crossentropy")
    model.fit(x, y, sample_weight=weight, batch_size=32, epochs=24, verbose=2)

    (HERE / "heartbeats.json").write_text(json.dumps(rtneural(model)) + "\n")
    stored = keras.models.clone_model(model)
    stored.set_weights([np.round(w.astype(float), 7) for w in model.get_weights()])
    rng, signals, beats = np.random.default_rng(1), [], []
    for heart in range(12):
        signal, peaks, kinds = ecg(30, rng)
        signals.append(signal)
        beats += [(heart, peak, kind) for peak, kind in zip(peaks[1:], kinds[1:], strict=True)]
    signals, beats = np.stack(signals).astype(np.float16), np.array(beats, np.int32)
    np.savez_compressed(HERE / "test_data.npz", ecg=signals, beats=beats, kinds=KINDS)
    probabilities = stored.predict(signals.astype(np.float32)[..., None], verbose=0)
    value = f1(probabilities[beats[:, 0], beats[:, 1] + DELAY].argmax(-1), beats[:, 2])

    us = timed(stored)
    told = {
        "framework": f"keras {keras.__version__}",
        "metric": "F1, mean of the three kinds of beats",
        "value": value,
        "us_per_call": us["keras"],
        "onnxruntime_us_per_call": us["onnx"],
        "us_of": "a sample, the state kept; keras: on JAX; ONNX Runtime: the same layers in a file",
        "machine": "AMD EPYC, one thread, shared",
    }
    (HERE / "framework.json").write_text(json.dumps(told, indent=1) + "\n")
    print(told)


def timed(model):
    """Microseconds a sample with the state kept, in Keras and in ONNX Runtime."""
    import io

    import onnxruntime
    import torch

    live = keras.Sequential([
        keras.Input(batch_shape=(1, 1, 1)),
        keras.layers.LSTM(32, return_sequences=True, stateful=True),
        keras.layers.Dense(3, "softmax"),
    ])  # fmt: skip
    live.set_weights(model.get_weights())
    live.make_predict_function()
    sample, h = np.zeros((1, 1, 1), np.float32), np.zeros((1, 1, 32), np.float32)

    class Step(torch.nn.Module):  # of the same sizes: what its numbers are does not matter to the clock
        def __init__(self):
            super().__init__()
            self.rnn, self.head = torch.nn.LSTM(1, 32, batch_first=True), torch.nn.Linear(32, 3)

        def forward(self, x, h, c):
            y, (h, c) = self.rnn(x, (h, c))
            return self.head(y).softmax(-1), h, c

    file, given = io.BytesIO(), tuple(map(torch.from_numpy, (sample, h, h)))
    torch.onnx.export(Step().eval(), given, file, input_names=["x", "h", "c"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    feed = {"x": sample, "h": h, "c": h}
    calls = {"keras": lambda: live.predict_on_batch(sample), "onnx": lambda: session.run(None, feed)}
    return {name: round(min(repeat(call, number=50, repeat=40)) / 50 * 1e6, 1) for name, call in calls.items()}


if __name__ == "__main__":
    main()
