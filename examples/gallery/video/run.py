"""Tell how a shape moves in a short video: python run.py [picture.png]"""

import json
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
data, keras = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
videos, moves, names = data["videos"][..., None].astype(np.float32), data["moves"], data["names"]
model = fl.Model.load(HERE / "video.keras")

scores = model(videos)  # (160, 10, 20, 20, 1) -> (160, 8): all at once
found = scores.argmax(1)
right = (found == moves).mean()
spent = []
for video in videos[:100]:  # and one at a time
    start = time.perf_counter()
    model(video[None])
    spent.append(time.perf_counter() - start)

figure = plt.figure(figsize=(12, 5.6), layout="constrained")
left, side = figure.subfigures(1, 2, width_ratios=[1.6, 1])
rows = [np.flatnonzero((moves == k) & (found == k))[1] for k in range(len(names))]
rows[-1] = np.flatnonzero(found != moves)[0]  # one that was not told right
for which, line in zip(rows, left.subplots(len(rows), 11, gridspec_kw={"wspace": 0.02})):
    for axes, frame in zip(line, videos[which, ..., 0]):
        axes.imshow(frame, cmap="gray", vmin=0, vmax=15, interpolation="nearest")
        axes.axis("off")
    is_right = found[which] == moves[which]
    told = f"{names[found[which]]}, {scores[which].max():.0%}" + (
        "" if is_right else f"\n(it is: {names[moves[which]]})"
    )
    line[-1].text(0, 0.5, told, va="center", color="#0072B2" if is_right else "#D55E00", transform=line[-1].transAxes)
    line[-1].axis("off")
left.suptitle("Ten frames, and what the ConvLSTM says", x=0.02, ha="left")
counts = np.zeros((len(names), len(names)), int)
np.add.at(counts, (moves, found), 1)
axes = side.subplots()
axes.imshow(counts, cmap="Blues", vmax=1.3 * counts.max())
for (k, j), count in np.ndenumerate(counts):
    axes.text(j, k, count or "", ha="center", va="center", color="k" if k == j else "#D55E00", weight="bold")
axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
axes.set_yticks(range(len(names)), names)
axes.set(xlabel="told", ylabel="true", title=f"{right:.1%} of {len(moves)} test videos told right")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=85)
print(f"a video: {1e6 * np.median(spent):.0f} µs", end=" ")
print(f"(keras {keras['us_per_call']}, ONNX Runtime {keras['onnxruntime_us_per_call']})")
print(f"metric: {right:.4f} (keras: {keras['value']:.4f})")
