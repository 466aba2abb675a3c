"""Electricity demand of forty districts, three days ahead, from a TensorFlow Lite file: python run.py [picture.png]"""

import json
import sys
from pathlib import Path
from timeit import repeat

import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
PAST, AHEAD = 56, 24  # a week and three days, in means of three hours
data, told = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
demand, quantiles = data["demand"].astype(np.float32), data["quantiles"]  # (40, 168) in MW
model = fl.Model.load(HERE / "demand.tflite")


def week(start):
    """What the network takes, (40, 56, 5), and the mean to which it is relative, (40, 1)."""
    past = demand[:, start : start + PAST]
    mean = past.mean(1, keepdims=True)
    hours = 3 * np.arange(start, start + PAST)
    day, of_week = 2 * np.pi * hours / 24, 2 * np.pi * hours / 168
    clock = np.stack([np.sin(day), np.cos(day), np.sin(of_week), np.cos(of_week)], -1)
    x = np.concatenate([(past / mean - 1)[..., None], np.broadcast_to(clock, (len(past), PAST, 4))], -1)
    return x.astype(np.float32), mean


losses, inside = [], []
for start in (0, 24, 56, 80):
    x, mean = week(start)
    forecast = model(x)  # all districts in one call: (40, 24, 5), relative to the mean
    came = (demand[:, start + PAST : start + PAST + AHEAD] / mean - 1)[..., None]
    losses.append(np.maximum(quantiles * (came - forecast), (quantiles - 1) * (came - forecast)))
    inside.append((came[..., 0] > forecast[..., 0]) & (came[..., 0] < forecast[..., -1]))
us = min(repeat(lambda: model(x), number=2, repeat=20)) / 2 * 1e6
print(f"the band from 5 % to 95 % holds {np.mean(inside):.1%} of what came")
print(f"{us:,.0f} µs a call of 40 (LiteRT {told['us_per_call']:,}, ONNX Runtime {told['onnxruntime_us_per_call']:,})")
print(f"metric: {np.mean(losses):.4g} (litert: {told['value']:.4g})")

import matplotlib.pyplot as plt

figure, grid = plt.subplots(2, 3, figsize=(12, 5.6), sharex=True, layout="constrained")
megawatts = (1 + forecast) * mean[..., None]
days = (np.arange(-PAST, AHEAD) + 0.5) / 8
for axes, district in zip(grid.flat, (0, 3, 8, 13, 21, 34), strict=True):
    low, lower, middle, higher, high = megawatts[district].T
    axes.fill_between(days[PAST:], low, high, color="#56B4E9", alpha=0.35, lw=0, label="forecast: 5 to 95 %")
    axes.fill_between(days[PAST:], lower, higher, color="#0072B2", alpha=0.45, lw=0, label="25 to 75 %")
    axes.plot(days[PAST:], middle, color="#0072B2", label="median")
    axes.plot(days[24:], demand[district, start + 24 : start + 80], "k.-", lw=0.7, ms=3, label="demand")
    axes.set_title(f"district {district + 1}", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
figure.supxlabel("days from the forecast", fontsize=10)
figure.supylabel("demand, MW", fontsize=10)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=75)
