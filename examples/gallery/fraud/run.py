"""Card fraud, payment by payment, from an ONNX file with states, in a pool of cards: python run.py [picture.png]"""

import json
import sys
from pathlib import Path
from timeit import repeat

import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
data, told = np.load(HERE / "test_data.npz"), json.loads((HERE / "framework.json").read_text())
payments, fraud = data["payments"].astype(np.float32), data["fraud"]  # 500 cards, 60 payments each


def features(rows):
    """Logarithms of euros and of hours since the last payment, the hour as an angle, abroad or not, one of 8 shops."""
    euros, pause, hour, shop, abroad = np.moveaxis(rows, -1, 0)
    clock = 2 * np.pi * hour / 24
    plain = np.stack([np.log(euros + 1) - 3, np.log(pause + 0.05), np.sin(clock), np.cos(clock), abroad], -1)
    return np.concatenate([plain, np.eye(8)[shop.astype(int)]], -1).astype(np.float32)


model = fl.Model.load(HERE / "fraud.onnx")
pool = fl.StreamPool(model, capacity=len(payments))  # a state for each card, kept between its payments
cards = [pool.open() for _ in payments]
x = features(payments)
score = np.stack([pool.step(cards, x[:, t, None])[:, 0] for t in range(x.shape[1])], 1)
order = np.argsort(-score.ravel(), kind="stable")
hits = np.cumsum(stolen := fraud.ravel()[order])
precision, recall = hits / np.arange(1, len(hits) + 1), hits / hits[-1]
average = np.sum(precision * stolen) / hits[-1]
chosen = int(np.flatnonzero(precision >= 0.9)[-1])  # the threshold that catches most with nine alarms of ten right
threshold = score.ravel()[order[chosen]]
stream = model.stream()
us = min(repeat(lambda: stream.step(x[:1, :1]), number=100, repeat=30)) / 100 * 1e6
print(f"threshold {threshold:.2f}: {recall[chosen]:.0%} of the stolen payments are caught, 9 alarms of 10 are right")
print(f"{us:.1f} µs a payment (torch {told['us_per_call']}, ONNX Runtime {told['onnxruntime_us_per_call']})")
print(f"metric: {average:.4g} (torch: {told['value']:.4g})")

import matplotlib.pyplot as plt

card = int(np.flatnonzero((fraud.sum(1) >= 5) & (fraud[:, 25:45].sum(1) >= 5))[1])
number, euros = np.arange(1, x.shape[1] + 1), payments[card, :, 0]
figure, axes = plt.subplot_mosaic("aac;bbc", figsize=(12, 4.8), layout="constrained")
for whose, mine, colour in (("the owner's", ~fraud[card], "#56B4E9"), ("the thief's", fraud[card], "#D55E00")):
    axes["a"].bar(number[mine], euros[mine], color=colour, label=whose)
axes["a"].set(
    yscale="log", ylabel="euros", ylim=(0.5, 5e3), title="One card's payments, and what the LSTM says of each"
)
axes["a"].legend(frameon=False, loc="upper left", ncols=2)
axes["b"].bar(number, score[card], color="#009E73")
axes["b"].axhline(threshold, color="k", lw=0.8, ls=":")
axes["b"].set(ylabel="probability of fraud", xlabel="payment", ylim=(0, 1.05))
axes["c"].plot(recall, precision, color="#0072B2")
axes["c"].plot(recall[chosen], precision[chosen], "o", color="#D55E00", label=f"threshold {threshold:.2f}")
axes["c"].set(xlabel="recall", ylabel="precision", ylim=(0, 1.05), title=f"Average precision {average:.3f}")
axes["c"].legend(frameon=False)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else HERE / "picture.png", dpi=90)
