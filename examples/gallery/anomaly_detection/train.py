"""Train an autoencoder of a pump's sensors with Keras, and write it as a .keras file.

    KERAS_BACKEND=jax python train.py               # needs keras, jax, torch, onnx, onnxruntime

The pump is simulated here: pressure, flow, current and vibration follow a speed that changes with demand. Trained on
healthy hours alone, the autoencoder learns how the four hang together; what breaks that (a leak, a worn bearing, a
clogged filter, a stuck sensor) it cannot put together again.
"""

import json
import os
from pathlib import Path
from timeit import repeat

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

HERE = Path(__file__).parent
WINDOW, RECENT = 48, 12  # minutes that the network sees, and the last of them, whose errors count
FAULTS = ["leak", "worn bearing", "clogged filter", "stuck sensor"]


def pump(minutes, rng, faults=0):
    """Four sensors (minutes, 4), a sample a minute and scaled to about 1, and the fault at each minute (0: none)."""
    demand, level = np.empty(minutes), rng.normal()
    for t in range(minutes):
        level += 0.02 * (-level) + rng.normal(0, 0.08)
        demand[t] = 0.75 + 0.2 * np.sin(2 * np.pi * t / 360) + 0.12 * level
    speed = np.convolve(np.clip(demand, 0.4, 1.2), np.ones(10) / 10, "same")
    warm = np.convolve(speed, np.exp(-np.arange(60) / 20) / 20)[:minutes]
    pressure, flow, current, shaking = speed**2, speed.copy(), 0.3 + 0.7 * speed**2, 0.2 + 0.5 * speed
    which = np.zeros(minutes, int)
    for number in range(faults):
        kind = number % 4
        start = int((number + 0.45) * minutes / faults + rng.integers(-40, 40))
        part = slice(start, start + rng.integers(70, 130))
        grow = np.minimum(np.arange(part.stop - part.start) / 10, 1)
        which[part] = kind + 1
        if kind == 0:
            pressure[part] *= 1 - 0.3 * grow
            flow[part] *= 1 + 0.1 * grow
        elif kind == 1:
            shaking[part] += 0.16 * grow
            current[part] += 0.05 * grow
        elif kind == 2:
            flow[part] *= 1 - 0.22 * grow
            pressure[part] *= 1 + 0.12 * grow
        else:
            flow[part] = flow[start]
    sensors = np.stack([pressure, flow, current + 0.1 * (warm - speed), shaking], -1)
    return (sensors + rng.normal(0, [0.03, 0.03, 0.02, 0.03], sensors.shape)).astype(np.float32), which


def windows(sensors, every):
    return np.lib.stride_tricks.sliding_window_view(sensors, WINDOW, 0)[::every].transpose(0, 2, 1)


def errors(model, sensors):
    """Each sensor's mean error over each window's last minutes; it is near 0 where the sensors agree."""
    x = windows(sensors, 1)
    return np.mean(model.predict(x, batch_size=512, verbose=0)[:, -RECENT:] - x[:, -RECENT:], 1)


def average_precision(score, faulty):
    """The area below the curve of precision over recall."""
    faulty = faulty[np.argsort(-score, kind="stable")]
    return float(np.sum(np.cumsum(faulty) / np.arange(1, len(faulty) + 1) * faulty) / faulty.sum())


def main():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    healthy = np.concatenate([windows(pump(2880, rng)[0], 4) for _ in range(8)])
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((WINDOW, 4)),
        layers.LSTM(32, return_sequences=True),
        layers.LSTM(12),
        layers.RepeatVector(WINDOW),
        layers.LSTM(32, return_sequences=True),
        layers.TimeDistributed(layers.Dense(4)),
    ])  # fmt: skip
    rate = keras.optimizers.schedules.CosineDecay(6e-3, 10 * (len(healthy) // 64))
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "mse")
    model.fit(healthy, healthy, batch_size=64, epochs=10, verbose=2)
    model.save(HERE / "pump.keras")

    sensors, fault = pump(4320, np.random.default_rng(1), faults=12)
    calm, _ = pump(2880, np.random.default_rng(2))  # healthy as well, for the scale of errors and the threshold
    sensors, calm = sensors.astype(np.float16), calm.astype(np.float16)
    np.savez_compressed(HERE / "test_data.npz", sensors=sensors, fault=fault.astype(np.int8), calm=calm, faults=FAULTS)
    sensors, calm = sensors.astype(np.float32), calm.astype(np.float32)
    healthy, found = errors(model, calm), errors(model, sensors)
    weights = np.linalg.inv(
        healthy.T @ healthy / len(healthy)
    )  # sensors that err together, as with the load, count less
    score = np.einsum("ti,ij,tj->t", found, weights, found)  # the squared distance of Mahalanobis
    value = average_precision(score, fault[WINDOW - 1 :] > 0)

    us = timed(model, sensors[None, :WINDOW])
    told = {
        "framework": f"keras {keras.__version__}",
        "metric": "average precision",
        "value": value,
        "us_per_call": us["keras"],
        "onnxruntime_us_per_call": us["onnx"],
        "us_of": "one window of 48 minutes; keras: jitted on JAX; ONNX Runtime: the same layers in a file of PyTorch",
        "machine": "AMD EPYC, one thread, shared",
    }
    (HERE / "framework.json").write_text(json.dumps(told, indent=1) + "\n")
    print(told)


def timed(model, x):
    """Microseconds a window in Keras, and in ONNX Runtime with layers of the same sizes."""
    import io

    import jax
    import onnxruntime
    import torch

    class Same(torch.nn.Module):  # what its numbers are does not matter to the clock
        def __init__(self):
            super().__init__()
            sizes = ((4, 32), (32, 12), (12, 32))
            self.rnns = torch.nn.ModuleList(torch.nn.LSTM(*size, batch_first=True) for size in sizes)
            self.out = torch.nn.Linear(32, 4)

        def forward(self, x):
            code = self.rnns[1](self.rnns[0](x)[0])[0][:, -1:]
            return self.out(self.rnns[2](code.expand(-1, WINDOW, -1))[0])

    file = io.BytesIO()
    torch.onnx.export(Same().eval(), (torch.from_numpy(x.copy()),), file, input_names=["x"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    jitted = jax.jit(lambda x: model(x, training=False))
    calls = {"keras": lambda: jitted(x).block_until_ready(), "onnx": lambda: session.run(None, {"x": x})}
    return {name: round(min(repeat(call, number=20, repeat=40)) / 20 * 1e6, 1) for name, call in calls.items()}


if __name__ == "__main__":
    main()
