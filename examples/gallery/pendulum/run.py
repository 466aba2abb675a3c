"""A robot arm's angle from its cheap sensors, live, in float32 and in 8 bits: python run.py [picture.png]"""

import json
import sys
import time
from pathlib import Path

import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
RATE = 200  # samples a second
data, told = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
sensors, truth = data["sensors"].astype(np.float32), data["truth"].astype(np.float32)  # two runs of 20 s
file = HERE / "arm.safetensors"  # a state dict of PyTorch: the names of its layers, and here what they are
rnn = fl.LSTM.load(file, "rnn", batch_first=True)
model = fl.Sequential(fl.Linear.load(file, "scale"), rnn, fl.Linear.load(file, "head"))


def live(model):
    """Angles (2, time) as they come out sample by sample, and the microseconds of each step."""
    angles, spent = np.empty(truth.shape[:2]), np.empty(truth.shape[:2])
    stream = model.stream()  # owns the state; nothing is allocated from here on
    for run, samples in enumerate(sensors):
        stream.reset()
        for t, sample in enumerate(samples):
            stream.input[...] = sample
            start = time.perf_counter_ns()
            stream.step()
            spent[run, t] = time.perf_counter_ns() - start
            sine, cosine, _ = stream.output.ravel()
            angles[run, t] = np.arctan2(sine, cosine)
    return angles, spent / 1e3


found, error, rms = {"float32": live(model), "int8": live(model.astype("int8"))}, {}, {}
for name, (angles, spent) in found.items():
    error[name] = np.degrees(np.angle(np.exp(1j * (angles - truth[..., 0]))))[:, RATE:]  # but for the first second
    rms[name] = np.sqrt(np.mean(error[name] ** 2))
    print(f"{name}: {np.median(spent):.2f} µs a sample, at most {spent.max():.0f}; {rms[name]:.3f}° off")
print(f"torch: {told['us_per_call']} µs, ONNX Runtime: {told['onnxruntime_us_per_call']} µs")
print(f"metric: {rms['float32']:.4g} (torch: {told['value']:.4g})")

import matplotlib.pyplot as plt

gyro = truth[0, 0, 0] + np.cumsum(sensors[0, :, 2]) / RATE  # angular velocity, added up
seconds = np.arange(truth.shape[1]) / RATE
figure, (top, bottom) = plt.subplots(2, figsize=(11, 5.6), height_ratios=[2, 1], sharex=True, layout="constrained")
top.plot(seconds, np.degrees(truth[0, :, 0]), "k", lw=2.5, label="true angle")
top.plot(seconds, np.degrees(gyro), color="#56B4E9", lw=1.2, label="gyroscope added up: it drifts")
top.plot(seconds, np.degrees(np.unwrap(found["int8"][0][0])), color="#D55E00", lw=1.1, label="LSTM in 8 bits")
top.set(ylabel="angle, degrees", title="A driven arm's angle from noisy sensors, 200 times a second", ylim=(-160, 170))
for name, colour in (("float32", "#0072B2"), ("int8", "#D55E00")):
    label = f"{name}: {rms[name]:.2f}° off, {np.median(found[name][1]):.1f} µs a sample"
    bottom.plot(seconds[RATE:], error[name][0], color=colour, lw=0.7, label=label)
bottom.set(ylabel="error, degrees", xlabel="time, s", ylim=(-14, 12))
top.legend(ncols=3, loc="lower left")
bottom.legend(ncols=3, loc="lower left")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=85)
