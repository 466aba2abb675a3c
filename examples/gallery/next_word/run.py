"""Suggest the next word while somebody writes: python run.py [picture.png]"""

import json
import re
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
SENTENCE = "If the argument is not given, the default value is used and a new list is returned."
data, keras = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
vocabulary, words = list(data["vocabulary"]), data["words"].astype(np.int64)
model = fl.Model.load(HERE / "next_word.keras")

# All test sentences in one batch: the scores of every next word, (sentences, words, vocabulary).
scores, wanted = model(words[:, :-1]), words[:, 1:]
scores[..., :2] = 0  # <start> and <other> are no suggestions
hit = (np.argsort(-scores, -1)[..., :3] == wanted[..., None]).any(-1)
accuracy = hit[wanted > 1].mean()

# One at a time, while somebody types: a stream keeps the state, each word is one step.
typed = re.findall(r"[a-z]+|[.,]", SENTENCE.lower())
numbers = np.array([[0]] + [[vocabulary.index(word) if word in vocabulary else 1] for word in typed])
stream, spent, times = model.stream(), [], []
for _ in range(50):
    start = time.perf_counter()
    model(words[:1, :-1])
    times.append(time.perf_counter() - start)
    stream.reset()
    start = time.perf_counter()
    live = np.array([stream.step(number).ravel() for number in numbers[:-1]])
    spent.append((time.perf_counter() - start) / len(live))
live[:, :2] = 0
best = np.argsort(-live, -1)[:, :5]

figure, axes = plt.subplots(figsize=(12, 4.2), layout="constrained")
share = np.take_along_axis(live, best, 1).T
image = axes.imshow(share, cmap="Blues", vmin=0, vmax=0.8, aspect="auto")
for (rank, column), value in np.ndenumerate(share):
    right = best[column, rank] == numbers[column + 1]
    style = {"color": "#D55E00", "weight": "bold"} if right else {"color": "white" if value > 0.45 else "black"}
    axes.text(column, rank, vocabulary[best[column, rank]], ha="center", va="center", fontsize=9, **style)
axes.set_xticks(range(len(typed)), typed, rotation=40, ha="right", weight="bold")
axes.set_yticks(range(5), ["1st", "2nd", "3rd", "4th", "5th"])
axes.set(xlabel="what was typed, word after word", ylabel="suggestion before it was typed")
axes.set_title(f"Orange: the word that came. In unseen text {accuracy:.0%} of words are one of the first three")
figure.colorbar(image, label="probability", pad=0.01)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=90)
print(f"a sentence of 16 words: {1e6 * np.median(times):.0f} µs", end=" ")
print(f"(keras {keras['us_per_call']}, ONNX Runtime {keras['onnxruntime_us_per_call']})")
print(f"a word of a stream: {1e6 * np.median(spent):.1f} µs")
print(f"metric: {accuracy:.4f} (keras: {keras['value']:.4f})")
