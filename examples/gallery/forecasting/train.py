"""Train a forecaster of electricity demand with Keras, and write it as TensorFlow Lite.

    KERAS_BACKEND=tensorflow python train.py        # needs keras, tensorflow, ai-edge-litert, torch, onnxruntime

From a week of a district's demand (means of three hours) it forecasts three days, five quantiles each. The districts
are made up here: their days and weeks differ, each has its weather and noise of its own. Those tested
on are not trained on.
"""

import io
import json
import os
from importlib.metadata import version
from pathlib import Path
from timeit import repeat

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
import torch
from ai_edge_litert.interpreter import Interpreter

HERE = Path(__file__).parent
PAST, AHEAD = 56, 24  # of three hours each
QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95], np.float32)


def districts(count, weeks, rng):
    """Demand in MW, (count, time), means of three hours: homes with evenings, offices with mornings, flat industry."""
    hours = np.arange(weeks * 168)
    hour, weekday = hours % 24, hours // 24 % 7
    evening, morning = np.exp(-(((hour - 19) / 2.6) ** 2)), np.exp(-(((hour - 10) / 3.5) ** 2))
    share = rng.dirichlet([1.2, 1.2, 1.2], count)[..., None]
    working = np.where(weekday < 5, 1, rng.uniform(0.35, 0.7, (count, 1)))
    shape = (
        share[:, 0] * (0.6 + evening) + share[:, 1] * (0.35 + morning * working) + share[:, 2] * (0.7 + 0.3 * working)
    )

    def wander(pace, size):  # noise that remembers: an autoregressive process
        x, noise = np.zeros((size, len(hours))), rng.normal(size=(size, len(hours)))
        for t in range(1, len(hours)):
            x[:, t] = pace * x[:, t - 1] + np.sqrt(1 - pace**2) * noise[:, t]
        return x

    weather = wander(0.985, count) * rng.uniform(0.03, 0.12, (count, 1))
    own = wander(0.8, count) * rng.uniform(0.01, 0.06, (count, 1))
    demand = rng.uniform(20, 400, (count, 1)) * shape * np.exp(weather + own)
    return demand.reshape(count, -1, 3).mean(-1)


def windows(demand, starts):
    """(rows, 56, 5) as the network sees it, relative to the week's mean, and the (rows, 24) to come."""
    x, y = [], []
    for t in starts:
        hours = 3 * np.arange(t, t + PAST)
        day, week = 2 * np.pi * hours / 24, 2 * np.pi * hours / 168
        clock = np.stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week)], -1)
        mean = demand[:, t : t + PAST].mean(1, keepdims=True)
        past = (demand[:, t : t + PAST] / mean - 1)[..., None]
        x.append(np.concatenate([past, np.broadcast_to(clock, (len(demand), PAST, 4))], -1))
        y.append(demand[:, t + PAST : t + PAST + AHEAD] / mean - 1)
    return np.concatenate(x).astype(np.float32), np.concatenate(y).astype(np.float32)


def network(batch):
    """The forecaster, for any number of rows or for `batch`."""
    return keras.Sequential([
        keras.Input((PAST, 5), batch_size=batch),
        keras.layers.LSTM(48),
        keras.layers.Dense(96, "relu"),
        keras.layers.Dense(AHEAD * len(QUANTILES)),
        keras.layers.Reshape((AHEAD, len(QUANTILES))),
    ])  # fmt: skip


def pinball(y, forecast):
    """The loss whose least value the true quantiles have."""
    error = y[..., None] - forecast
    return keras.ops.mean(keras.ops.maximum(QUANTILES * error, (QUANTILES - 1) * error))


def onnx_session():
    """Layers of the same sizes in ONNX Runtime: what their numbers are does not matter to the clock."""

    class Same(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.wide = torch.nn.LSTM(5, 48, batch_first=True), torch.nn.Linear(48, 96)
            self.out = torch.nn.Linear(96, AHEAD * len(QUANTILES))

        def forward(self, x):
            return self.out(torch.relu(self.wide(self.rnn(x)[0][:, -1])))

    file = io.BytesIO()
    torch.onnx.export(Same().eval(), (torch.zeros(40, PAST, 5),), file, input_names=["x"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file.getvalue(), options)


def main():
    keras.utils.set_random_seed(0)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    rng = np.random.default_rng(0)
    demand = districts(300, 8, rng)
    x, y = windows(demand, rng.choice(demand.shape[1] - PAST - AHEAD, 40, replace=False))
    model = network(None)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, 6 * (len(x) // 100))
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), pinball)
    model.fit(x, y, batch_size=100, epochs=6, verbose=2)

    forty = network(40)  # with a free batch the converter needs TensorFlow's own operators
    forty.set_weights(model.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(forty)
    (HERE / "demand.tflite").write_bytes(converter.convert())

    test = districts(40, 3, np.random.default_rng(1)).astype(np.float16)
    np.savez_compressed(HERE / "test_data.npz", demand=test, quantiles=QUANTILES)
    x, y = windows(test.astype(np.float32), [0, 24, 56, 80])
    lite = Interpreter(str(HERE / "demand.tflite"), num_threads=1)
    (given,), (taken,) = lite.get_input_details(), lite.get_output_details()
    lite.allocate_tensors()

    def litert(x):
        lite.set_tensor(given["index"], x)
        lite.invoke()
        return lite.get_tensor(taken["index"])

    forecast = np.concatenate([litert(x[k : k + 40]) for k in range(0, len(x), 40)])
    loss = float(pinball(y, forecast))
    session = onnx_session()
    calls = {"litert": lambda: litert(x[:40]), "onnx": lambda: session.run(None, {"x": x[:40]})}
    us = {name: round(min(repeat(call, number=2, repeat=40)) / 2 * 1e6, 1) for name, call in calls.items()}
    told = {
        "framework": f"litert {version('ai-edge-litert')}",
        "metric": "pinball loss, of the week's mean demand",
        "value": loss,
        "us_per_call": us["litert"],
        "us_of": "a call: 40 districts; ONNX Runtime: the same layers in a file that PyTorch wrote",
        "onnxruntime_us_per_call": us["onnx"],
        "machine": "AMD EPYC, one thread, shared",
    }
    (HERE / "framework.json").write_text(json.dumps(told, indent=1) + "\n")
    print(told)


if __name__ == "__main__":
    main()
