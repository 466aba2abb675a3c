"""What is wrong with a pump, by an autoencoder that knows healthy ones alone (.keras): python run.py [picture.png]"""

import json
import sys
from pathlib import Path
from timeit import repeat

import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
WINDOW, RECENT = 48, 12  # minutes that the network sees, and the last of them, whose errors count
data, told = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
sensors, fault = data["sensors"].astype(np.float32), data["fault"]  # three days, a sample a minute
model = fl.Model.load(HERE / "pump.keras")


def errors(sensors):
    """Each sensor's mean error over each window's last minutes."""
    x = np.lib.stride_tricks.sliding_window_view(sensors, WINDOW, 0).transpose(0, 2, 1)
    return np.mean(model(x)[:, -RECENT:] - x[:, -RECENT:], 1)


healthy, found = errors(data["calm"].astype(np.float32)), errors(sensors)
weights = np.linalg.inv(healthy.T @ healthy / len(healthy))  # sensors that err together, as with the load, count less
usual, score = (np.einsum("ti,ij,tj->t", e, weights, e) for e in (healthy, found))  # Mahalanobis distance, squared
threshold, faulty = np.quantile(usual, 0.999), fault[WINDOW - 1 :] > 0  # a false alarm in 1,000 healthy minutes
order = np.argsort(-score, kind="stable")
hits = np.cumsum(faulty[order])
precision, recall = hits / np.arange(1, len(hits) + 1), hits / hits[-1]
average = np.sum(precision * faulty[order]) / hits[-1]
alarms = np.sum(score > threshold) - 1
us = min(repeat(lambda: model(sensors[None, :WINDOW]), number=20, repeat=30)) / 20 * 1e6
print(f"threshold {threshold:.1f}: precision {precision[alarms]:.3f}, recall {recall[alarms]:.3f}")
print(f"{us:.0f} µs a window (Keras {told['us_per_call']}, ONNX Runtime {told['onnxruntime_us_per_call']})")
print(f"metric: {average:.4g} (keras: {told['value']:.4g})")

import matplotlib.pyplot as plt

NAMES, COLOURS = ["pressure", "flow", "current", "vibration"], ["#0072B2", "#56B4E9", "#009E73", "#CC79A7"]
figure, axes = plt.subplot_mosaic("aac;bbc", figsize=(13, 5.4), height_ratios=[3, 2], layout="constrained")
minutes = np.arange(1500)
for k in range(4):
    axes["a"].plot(minutes / 60, sensors[:1500, k] + 1.1 * k, color=COLOURS[k], lw=0.6, label=NAMES[k])
edges = np.flatnonzero(np.diff(fault[:1500])) + 1
for start, stop in zip(edges[::2], edges[1::2], strict=False):
    [axes[name].axvspan(start / 60, stop / 60, color="#E69F00", alpha=0.3, lw=0) for name in "ab"]
    axes["a"].text((start + stop) / 120, 4.75, data["faults"][fault[start] - 1], ha="center", fontsize=9)
axes["a"].set(ylabel="sensors, set apart", ylim=(-0.9, 5.1), xlim=(0, 25), title="A pump's sensors; faults are shaded")
axes["a"].legend(frameon=False, ncols=4, loc="lower right", fontsize=8)
axes["b"].semilogy(minutes[WINDOW - 1 :] / 60, score[: len(minutes) - WINDOW + 1], "k", lw=0.8)
axes["b"].axhline(threshold, color="#D55E00", lw=1, ls="--", label="threshold, from healthy hours")
axes["b"].set(ylabel="size of the errors", xlabel="time, hours", xlim=(0, 25), ylim=(0.05, 5e3))
axes["b"].legend(frameon=False, loc="upper left", fontsize=8)
axes["c"].plot(recall, precision, color="#0072B2", label=f"average precision {average:.3f}")
axes["c"].plot(recall[alarms], precision[alarms], "o", color="#D55E00", label="threshold")
axes["c"].set(xlabel="recall", ylabel="precision", ylim=(0, 1.05), title="Minute by minute, over three days")
axes["c"].legend(loc="lower left", frameon=False)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=90)
