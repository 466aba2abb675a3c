"""Which digits were spoken: python run.py [picture.png]"""

import json
import sys
import time
import wave
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fusedlstm as fl

HERE, WINDOW, HOP, BANDS = Path(__file__).parent, 320, 160, 24
data, torch = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
model = fl.Model.load(HERE / "listener.pt2")


def features(sound, rate):
    """How loud each of BANDS pitches is over time, in steps of 2 decibels: (frames, bands)."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    edges = 700 * np.expm1(np.linspace(np.log1p(80 / 700), np.log1p(5200 / 700), BANDS + 2)) * 512 / rate
    rise = (np.arange(257)[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - np.arange(257)[:, None]) / (edges[2:] - edges[1:-1])
    return np.round(5 * np.log10(power @ np.clip(np.minimum(rise, fall), 0, None) + 1e-4)).astype(np.float32)


def greedy(scores):
    """The digits, and the steps where they begin: what is likeliest at each step, once where it is held (CTC)."""
    best = scores.argmax(-1)
    starts = np.flatnonzero((best > 0) & (best != np.concatenate([[0], best[:-1]])))
    return "".join(str(best[k] - 1) for k in starts), starts


x, times = data["x"].astype(np.float32), []
right = np.mean([greedy(scores)[0] == digits for scores, digits in zip(model(x), data["digits"])])
for _ in range(200):
    start = time.perf_counter()
    model(x[:1])
    times.append(time.perf_counter() - start)

with wave.open(str(HERE / "spoken.wav")) as file:
    rate, sound = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.uint8) / 128 - 1
heard = features(sound, rate)
(scores,), said = model(heard[None]), str(data["digits"][data["shown"]])
(digits, starts), end = greedy(scores), len(heard) * HOP / rate
figure, (top, bottom) = plt.subplots(2, figsize=(11, 5), sharex=True, layout="constrained")
image = top.imshow(2 * heard.T, origin="lower", aspect="auto", extent=(0, end, 0, BANDS), cmap="cividis")
figure.colorbar(image, ax=top, label="loudness, dB", pad=0.01)
top.set(ylabel="pitch, 24 mel bands", title=f"spoken: {' '.join(said)}        heard: {' '.join(digits)}")
image = bottom.imshow(np.exp(scores[:, 1:]).T, aspect="auto", extent=(0, end, 9.5, -0.5), cmap="Blues", vmax=1)
figure.colorbar(image, ax=bottom, label="probability", pad=0.01)
for digit, at in zip(digits, (starts + 2) * 2 * HOP / rate):
    bottom.text(at, int(digit), digit, color="#D55E00", weight="bold", fontsize=15, va="center")
bottom.set(yticks=range(10), ylabel="digit", xlabel="time, s")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=90)
print(f"{end:.1f} s of sound: {1e6 * np.median(times):.0f} µs", end=" ")
print(f"(torch {torch['us_per_call']}, ONNX Runtime {torch['onnxruntime_us_per_call']})")
print(f"metric: {right:.4f} (torch: {torch['value']:.4f})")
