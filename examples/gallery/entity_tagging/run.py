"""Find people, places, companies and dates in sentences: python run.py [picture.png]"""

import json
import sys
import time
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fusedlstm as fl

HERE, KINDS = Path(__file__).parent, ["other", "person", "place", "company", "date"]
COLOURS, TERMINAL = ["white", "#E69F00", "#56B4E9", "#009E73", "#CC79A7"], [0, 214, 75, 36, 175]
SENTENCES = """Marie Curie was born in Warsaw on 7 November 1867 and worked in Paris .
On Monday the head of Siemens , Roland Busch , met Angela Merkel in Munich .
According to Dr. Jane Goodall of Cambridge the forest will not come back by 2030 ."""
alphabet, test, torch = (json.loads((HERE / f"{name}.json").read_text()) for name in ("alphabet", "test", "framework"))
file, rnn = HERE / "tagger.pt", fl.LSTM.load(HERE / "tagger.pt", "rnn", batch_first=True)
model = fl.Sequential(fl.Embedding.load(file, "emb"), rnn, fl.Linear.load(file, "head"), "log_softmax", lengths=True)


def numbers(sentences):
    """The letters of each sentence, and how many there are: what is behind that is not read."""
    rows, lengths = [" ".join(words) for words in sentences], np.array([len(" ".join(words)) for words in sentences])
    return np.array([[alphabet.find(letter) + 1 for letter in row.ljust(max(lengths))] for row in rows]), lengths


def tag(sentences):
    """The kind of each word: the likeliest by the mean over its letters."""
    for scores, words in zip(model(*numbers(sentences)), sentences):
        starts = np.cumsum([0] + [len(word) + 1 for word in words])
        yield [int(scores[at : at + len(word)].mean(0).argmax()) for at, word in zip(starts, words)]


def entities(tagged):
    runs = ((row, groupby(range(len(kinds)), kinds.__getitem__)) for row, kinds in enumerate(tagged))
    return {(row, kind, *words) for row, run in runs for kind, words in run if kind}  # words of one kind


found, there, times, one = entities(tag(test["words"])), entities(test["kinds"]), [], numbers(test["words"][:1])
for _ in range(300):
    start = time.perf_counter()
    model(*one)
    times.append(time.perf_counter() - start)

figure, axes = plt.subplots(figsize=(11, 2.2), layout="constrained")
for y, words in enumerate(text.split() for text in SENTENCES.splitlines()):
    for x, word, kind in zip(np.cumsum([0] + [len(word) + 1.3 for word in words]), words, *tag([words])):
        print(f"\033[30;48;5;{TERMINAL[kind]}m{word}\033[0m" if kind else word, end=" ")
        axes.text(x, y, word, family="monospace", fontsize=12, bbox={"color": COLOURS[kind], "alpha": 0.7, "pad": 2})
    print()
axes.bar([0] * 4, 0, color=COLOURS[1:], alpha=0.7, label=KINDS[1:])
axes.legend(loc="upper center", ncols=4, frameon=False)
axes.set(xlim=(-1, 101), ylim=(2.6, -1.2), frame_on=False, xticks=[], yticks=[])
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=100)
print(f"a sentence of {one[1][0]} letters: {1e6 * np.median(times):.0f} µs", end=" ")
print(f"(torch {torch['us_per_call']}, ONNX Runtime {torch['onnxruntime_us_per_call']})")
print(f"metric: {2 * len(found & there) / (len(found) + len(there)):.4f} (torch: {torch['value']:.4f})")
