"""Go on with a fiddle tune, and write it as a MIDI file: python run.py [picture.png]"""

import json
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
TUNE, GIVEN, MORE, TEMPERATURE = 12, 24, 72, 0.7
picture = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "picture.png"
data, flax = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
tunes, lengths, vocabulary = data["tunes"].astype(np.int64), data["lengths"], data["vocabulary"].astype(int)
file = HERE / "music.msgpack"
arrays = fl.load_tensors(file)  # Flax's parameters: arrays by name, and here what they are for
lstm = fl.LSTM.load(file, "lstm/cell", batch_first=True, config={})  # {}: Flax's own activations
head = fl.Linear(arrays["params/head/kernel"].T, arrays["params/head/bias"])
model = fl.Sequential(fl.Embedding(arrays["params/emb/embedding"]), lstm, head, "log_softmax")

valid = np.arange(tunes.shape[1] - 1) < lengths[:, None]  # all the test's tunes in one batch
bits = -np.take_along_axis(model(tunes[:, :-1]), tunes[:, 1:, None], 2)[..., 0][valid].mean() / np.log(2)

# A tune of the test begins; then the model draws note after note. A stream keeps the state.
rng, stream = np.random.default_rng(3), model.stream()
notes, chances, spent = [0], [], []  # 0 stands before a tune
for wanted in [*tunes[TUNE, 1 : GIVEN + 1], *[None] * MORE]:
    start = time.perf_counter()
    scores = stream.step(np.array(notes[-1:])).ravel()
    spent.append(time.perf_counter() - start)
    chances.append(np.bincount(vocabulary[:, 0], np.exp(scores), 128))
    drawn = 1 + np.argmax(scores[1:] / TEMPERATURE + rng.gumbel(size=len(scores) - 1))  # any but the end
    notes.append(drawn if wanted is None else wanted)
pitch, length = vocabulary[notes[1:]].T  # as MIDI counts, 0 for a rest; in 96ths of a whole note
ends = np.cumsum(length)

# MIDI: 24 ticks a quarter; before each event the ticks since the last one. A rest is a note that is not heard.
track = b"".join(bytes([0, 0x90, key, 90 * (key > 0), ticks, 0x80, key, 0]) for key, ticks in zip(pitch, length))
track += bytes([0, 0xFF, 0x2F, 0])
header = b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 0, 24]) + b"MTrk" + len(track).to_bytes(4, "big")
picture.with_suffix(".mid").write_bytes(header + track)

figure, axes = plt.subplots(figsize=(12, 4.6), layout="constrained")
edges, heights = np.append(0, ends) / 24, np.arange(129) - 0.5
image = axes.pcolormesh(edges, heights, np.array(chances).T, cmap="Blues", vmin=0, vmax=0.7)
for part, colour, label in ((slice(GIVEN), "k", "given"), (slice(GIVEN, None), "#D55E00", "written by the LSTM")):
    wide = length[part] / 24
    axes.barh(pitch[part], wide - 0.04, 0.5, ends[part] / 24 - wide, color=colour, label=label)
heard = pitch[pitch > 0]
axes.set(xlabel="time, quarter notes", ylabel="pitch", ylim=(min(heard) - 3, max(heard) + 3), xlim=edges[[0, -1]])
axes.set_yticks([62, 69, 74, 81], ["D4", "A4", "D5", "A5"])
axes.set_title("A fiddle tune begins, the LSTM goes on", loc="left")
axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
figure.colorbar(image, label="probability of the pitch, before it sounds", pad=0.01)
figure.savefig(picture, dpi=90)
print(f"a note: {1e6 * np.median(spent):.1f} µs (flax {flax['us_per_call']}; {flax['onnxruntime']})")
print(f"metric: {bits:.4f} (flax: {flax['value']:.4f})")
