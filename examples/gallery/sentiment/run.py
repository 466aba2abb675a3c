"""Does a sentence speak well or ill, and which words say so: python run.py [picture.png]"""

import json
import re
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

import fusedlstm as fl

HERE = Path(__file__).parent
SENTENCES = """A warm and funny film with a wonderful cast. / The plot is dull, and the jokes are worse.
The camera is great but the battery is terrible. / The camera is terrible but the battery is great.
I do not like it, it never works and the sound is poor. / The best phone I ever had, and easy to use!"""
data, keras = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
vocabulary, words = list(data["vocabulary"]), data["words"].astype(np.int32)
model = fl.Model.load(HERE / "sentiment.h5")

# Rows of any length in one batch: what is 0 is masked, at the end or between words.
scores = model(words)[:, 0]
accuracy = np.mean((scores > 0.5) == data["well"])
one, times = words[:1, : np.count_nonzero(words[0])], []
for _ in range(300):
    start = time.perf_counter()
    model(one)
    times.append(time.perf_counter() - start)

colours = LinearSegmentedColormap.from_list("ill to well", ["#D55E00", "white", "#56B4E9"])
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained", width_ratios=[2.6, 1])
for y, sentence in enumerate(re.split(r" / |\n", SENTENCES)):
    found = re.findall(r"[a-z]+(?:'[a-z]+)?|[!?]", sentence.lower())
    row = np.array([vocabulary.index(word) if word in vocabulary else 1 for word in found], np.int32)
    # A word's part: how far the score, as log-odds, falls when this word alone is masked; the last row has them all.
    score = model(np.where(np.eye(len(row) + 1, len(row), dtype=bool), 0, row))[:, 0]
    odds = np.log(score / (1 - score))
    left.text(-1, y, f"{score[-1]:.2f}", ha="right", va="center", weight="bold", family="monospace")
    for word, part, x in zip(found, odds[-1] - odds[:-1], np.cumsum([0] + [len(word) + 1.5 for word in found])):
        box = {"facecolor": colours(0.5 + part / 5), "edgecolor": "none", "boxstyle": "round,pad=0.25"}
        left.text(x, y, word, va="center", family="monospace", fontsize=9, bbox=box)
left.set(xlim=(-6, 72), ylim=(5.6, -0.6), title="score, and what each word adds to its log-odds")
left.set_axis_off()
scale = plt.cm.ScalarMappable(plt.Normalize(-2.5, 2.5), colours)
figure.colorbar(scale, ax=left, orientation="horizontal", label="log-odds", aspect=50, pad=0.02)
for well, colour, name in ((False, "#D55E00", "ill"), (True, "#56B4E9", "well")):
    right.hist(scores[data["well"] == well], np.linspace(0, 1, 21), color=colour, alpha=0.7, label=name)
right.axvline(0.5, color="black", lw=0.8, ls="--")
right.set(xlabel="score", ylabel="test sentences", title=f"right: {accuracy:.1%} of {len(words)}")
right.legend(title="people say it speaks")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=90)
print(f"a sentence of {one.size} words: {1e6 * np.median(times):.0f} µs", end=" ")
print(f"(tf_keras {keras['us_per_call']}, ONNX Runtime {keras['onnxruntime_us_per_call']})")
print(f"metric: {accuracy:.4f} (tf_keras: {keras['value']:.4f})")
