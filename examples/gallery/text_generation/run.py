"""Write on from a few words, letter by letter: python run.py [picture.png]"""

import json
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
START, LENGTH, WIDTH = "And the king said unto ", 193, 72
file, alphabet = HERE / "writer.pt", json.loads((HERE / "alphabet.json").read_text())
rnn = fl.LSTM.load(file, "rnn", batch_first=True)
model = fl.Sequential(fl.Embedding.load(file, "emb"), rnn, fl.Linear.load(file, "head"), "log_softmax")
torch, held_out = json.loads((HERE / "framework.json").read_text()), (HERE / "acts.txt").read_text()
letters = np.array([[alphabet.index(letter) for letter in held_out]])
bits = -np.take_along_axis(model(letters[:, :-1]), letters[:, 1:, None], 2).mean() / np.log(2)

stream, spent = model.stream(), []
for letter in letters[0, :3000, None]:
    start = time.perf_counter()
    stream.step(letter)
    spent.append(time.perf_counter() - start)


def go_on(writer, letter):
    """One letter more, on a stream of its own: a stream, how likely each letter is next (logarithms), text, its own."""
    stream, scores, text, chances = writer[0].copy(), *writer[1:]
    return stream, stream.step(np.array([letter])).ravel(), text + alphabet[letter], [*chances, scores[letter]]


begun = model.stream(), np.zeros(len(alphabet)), "", []
for letter in START:
    begun = go_on(begun, alphabet.index(letter))
rng, texts = np.random.default_rng(1), {}
for temperature in (1.0, 0.7, 0.4):
    writer = begun
    for _ in range(LENGTH):
        writer = go_on(writer, np.argmax(writer[1] / temperature + rng.gumbel(size=len(alphabet))))  # draws one
    texts[f"temperature {temperature}"] = writer
beam = [begun]
for _ in range(LENGTH):  # of all texts that are one letter longer, the eight likeliest
    forks = [(sum(one[3]) + chance, k, at) for k, one in enumerate(beam) for at, chance in enumerate(one[1])]
    beam = [go_on(beam[k], letter) for _, k, letter in sorted(forks, reverse=True)[:8]]
texts["the likeliest that a beam of 8 finds"] = beam[0]

figure, all_axes = plt.subplots(4, figsize=(11, 5), layout="constrained", subplot_kw={"xticks": [], "yticks": []})
for axes, (title, (_, _, text, chances)) in zip(all_axes, texts.items()):
    image = axes.imshow(np.exp(chances).reshape(-1, WIDTH), cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
    for k, letter in enumerate(text):
        axes.text(k % WIDTH, k // WIDTH, letter, ha="center", va="center", family="monospace", fontsize=12)
    axes.set_title(f"{title}: {-np.mean(chances[len(START) :]) / np.log(2):.2f} bits a letter", loc="left")
figure.colorbar(image, ax=all_axes, label="probability of the letter", pad=0.01, boundaries=np.linspace(0, 1, 11))
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=72)
print(f"a letter: {1e6 * np.median(spent):.1f} µs", end=" ")
print(f"(torch {torch['us_per_call']}, ONNX Runtime {torch['onnxruntime_us_per_call']})")
print(f"metric: {bits:.4f} (torch: {torch['value']:.4f})")
