"""Kinds of heartbeats in a live ECG, sample by sample, from RTNeural's JSON: python run.py [picture.png]"""

import json
import sys
from pathlib import Path
from timeit import repeat

import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
RATE, DELAY = 125, 45  # samples a second; after a beat's peak the verdict is read 0.36 s later
data, told = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
ecg, kinds = data["ecg"].astype(np.float32), data["kinds"]  # twelve hearts, 30 s each, in quarters of a mV
heart, peak, truth = data["beats"].T

file = HERE / "heartbeats.json"
layers = fl.load_tensors(file)  # the layers around the LSTM, as NumPy
head = fl.Linear(layers["layers.1.weights.0"].T, layers["layers.1.weights.1"])  # Keras keeps (in, out)
model = fl.Sequential(fl.LSTM.load(file, batch_first=True), head, "softmax")

stream = model.stream(batch_size=len(ecg))  # twelve patients side by side, each with a state of its own
probability = np.stack([stream.step(samples[:, None]).copy() for samples in ecg.T], 1)  # (hearts, time, kinds)
verdict = probability[heart, peak + DELAY].argmax(-1)

table = np.zeros((3, 3), int)
np.add.at(table, (truth, verdict), 1)
f1 = np.mean(2 * table.diagonal() / (table.sum(0) + table.sum(1)))
one = model.stream()
one.input[...] = 0.1
us = min(repeat(one.step, number=200, repeat=30)) / 200 * 1e6
print("true kind, down; found, across:", *kinds)
for kind, row in zip(kinds, table, strict=True):
    print(f"{kind:>12}", *(f"{count:6}" for count in row))
print(f"{us:.2f} µs a sample (Keras {told['us_per_call']}, ONNX Runtime {told['onnxruntime_us_per_call']})")
print(f"metric: {f1:.4g} (keras: {told['value']:.4g})")

import matplotlib.pyplot as plt

COLOURS = ["#0072B2", "#E69F00", "#D55E00"]
shown = int(np.argmax([min(np.sum((heart == h) & (truth == k)) for k in range(3)) for h in range(len(ecg))]))
seconds = np.arange(ecg.shape[1]) / RATE
figure, (top, bottom) = plt.subplots(2, figsize=(12, 5), height_ratios=[2, 1], sharex=True, layout="constrained")
top.plot(seconds, ecg[shown] / 4, "k", lw=0.9)
for p, k, v in zip(peak[heart == shown], truth[heart == shown], verdict[heart == shown], strict=True):
    top.axvspan(p / RATE - 0.22, p / RATE + 0.36, color=COLOURS[v], alpha=0.16 if v == 0 else 0.35, lw=0)
    top.text(p / RATE, 2.0, kinds[k][0].upper(), ha="center", color=COLOURS[k], clip_on=True)
top.set(ylabel="ECG, mV", xlim=(3, 17), ylim=(-1.9, 2.3))
top.set_title("Letters: what each beat is (Normal, Atrial, Ventricular). Shades: what the LSTM says 0.36 s later")
mine = heart == shown
told_now, below = probability[shown, peak[mine] + DELAY], 0
for kind in range(3):
    height = told_now[:, kind]
    bottom.bar((peak[mine] + DELAY) / RATE, height, 0.16, below, color=COLOURS[kind], label=kinds[kind])
    below = below + height
bottom.set(ylabel="verdict", xlabel="time, s", ylim=(0, 1.5), yticks=[0, 0.5, 1])
bottom.legend(frameon=False, ncols=3, loc="upper center")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=85)
