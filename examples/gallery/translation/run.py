"""Dates as people write them, into ISO 8601: python run.py [picture.png]"""

import json
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
OUTPUT, SHOWN = "0123456789-^$", ["Mittwoch, der 3. Oktober 1990", "le 21 juillet 1969", "the 9th of Novembr 1989"]
torch, alphabet = (json.loads((HERE / name).read_text()) for name in ("framework.json", "alphabet.json"))
texts, wanted = zip(*(line.split("\t") for line in (HERE / "test.tsv").read_text().splitlines()))
encoder, decoder = fl.Model.load(HERE / "encoder.onnx"), fl.Model.load(HERE / "decoder.onnx")


def translate(texts, width=1):
    """The likeliest dates of each text, their chances, where the decoder looked: greedy, or by a beam of `width`."""
    numbers = np.array([[alphabet.find(letter) + 1 for letter in text.ljust(36, "\0")] for text in texts])
    memory, h, c = (part.repeat(width, 0) for part in encoder(numbers))  # what each letter says, and where to start
    letters, total = np.full((len(h), 1), OUTPUT.index("^")), np.tile([0.0] + [-np.inf] * (width - 1), len(texts))
    looks, states = np.zeros((len(h), 0, numbers.shape[1])), [np.zeros_like(h), h, c]
    for _ in range(10):
        scores, look, *states = decoder(letters[:, -1], memory, *states)
        forks = (total[:, None] + scores).reshape(len(texts), -1)
        best = np.argsort(-forks, 1)[:, :width]
        rows = (best // len(OUTPUT) + width * np.arange(len(texts))[:, None]).ravel()
        total = np.take_along_axis(forks, best, 1).ravel()
        letters = np.column_stack([letters[rows], best.ravel() % len(OUTPUT)])
        looks = np.concatenate([looks, look[:, None]], 1)[rows]
        states = [state[rows] for state in states]  # where a hypothesis forks, its row is taken twice
    dates = np.array(["".join(OUTPUT[k] for k in row[1:]) for row in letters])
    return [part.reshape(len(texts), width, *part.shape[1:]) for part in (dates, np.exp(total), looks)]


greedy, beam = (np.mean(translate(texts, width)[0][:, 0] == wanted) for width in (1, 4))
times = []
for text in texts[:200]:
    start = time.perf_counter()
    translate([text])
    times.append(time.perf_counter() - start)

figure, all_axes = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained", width_ratios=list(map(len, SHOWN)))
for axes, text, iso, chance, look in zip(all_axes, SHOWN, *translate(SHOWN, 4)):
    image = axes.imshow(look[0, :, : len(text)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(text)), text, family="monospace")
    axes.set_yticks(range(10), iso[0], family="monospace", weight="bold", color="#D55E00")
    axes.set_title(f"{iso[0]}: {chance[0]:.1%}\nnext of the beam: {iso[1]}, {chance[1]:.1%}", fontsize=10)
    axes.set_xlabel("read")
all_axes[0].set_ylabel("written, from top to bottom")
figure.colorbar(image, label="attention", pad=0.01)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=90)
print(f"{len(texts)} dates: {greedy:.1%} right, by a beam of 4 {beam:.1%}")
print(f"a date: {1e6 * np.median(times):.0f} µs", end=" ")
print(f"(torch {torch['us_per_call']}, ONNX Runtime {torch['onnxruntime_us_per_call']})")
print(f"metric: {greedy:.4f} (torch: {torch['value']:.4f})")
