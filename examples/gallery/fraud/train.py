"""Train a detector of card fraud with PyTorch, and write it as ONNX with the new exporter (dynamo=True).

    python train.py                                 # needs torch, onnx, onnxscript, onnxruntime

The cards are made up here. Owners have habits: how much they spend, on what, when, at home or abroad. A thief tries
the card with small amounts online, then buys what can be sold, until the card is blocked. The network sees one
payment at a time and hands its state back, as a bank meets it: nothing but what went before. Cards tested on are not
trained on.
"""

import json
from pathlib import Path
from timeit import repeat

import numpy as np
import onnxruntime
import torch
from torch import nn

HERE = Path(__file__).parent
SHOPS = ["groceries", "restaurant", "fuel", "clothes", "travel", "online", "electronics", "jewellery"]
SOLD_AGAIN = np.array([0, 0.02, 0.05, 0.1, 0.05, 0.25, 0.33, 0.2])


def payments(count, steps, rng):
    """Of each card: euros, hours since the last payment, hour, shop, abroad or not; and whether it is fraud."""
    habit = rng.dirichlet([4, 2, 1.5, 1, 0.4, 1.5, 0.4, 0.1], count)
    level, pace = np.exp(rng.normal(3.2, 0.5, count)), rng.uniform(6, 40, count)
    usual = np.exp(np.array([0.2, 0.3, 0.6, 0.7, 1.8, 0.5, 1.6, 2.0]))
    rows = np.zeros((count, steps, 5), np.float32)
    fraud = np.zeros((count, steps), bool)
    for card in range(count):
        theft = rng.integers(8, steps - 3) if rng.random() < 0.35 else steps
        last = min(theft + rng.integers(3, 9), steps)
        away = rng.integers(steps) if rng.random() < 0.3 else steps  # a journey of the owner's
        clock, patient = rng.uniform(0, 24), rng.random() < 0.4
        for t in range(steps):
            stolen = theft <= t < last and (t == theft or rng.random() < 0.85)
            if stolen:
                pause, trying = rng.exponential(4.0 if patient else 0.4), t - theft < 2
                shop = 5 if trying else rng.choice(8, p=SOLD_AGAIN)
                euros = rng.uniform(0.5, 6) if trying else level[card] * usual[shop] * rng.uniform(0.8, 2.5)
                abroad = rng.random() < 0.4
            else:
                pause = rng.exponential(pace[card])
                if (clock + pause) % 24 < 7:  # people sleep
                    pause += 7
                shop = rng.choice(8, p=habit[card])
                euros = level[card] * usual[shop] * np.exp(rng.normal(0, 0.6))
                abroad = away <= t < away + 6 or rng.random() < 0.02
            clock += pause
            rows[card, t] = euros, pause, clock % 24, shop, abroad
            fraud[card, t] = stolen
    return rows, fraud


def features(rows):
    """What the network takes: (…, 13) float32."""
    euros, pause, hour, shop, abroad = np.moveaxis(rows, -1, 0)
    clock = 2 * np.pi * hour / 24
    plain = np.stack([np.log(euros + 1) - 3, np.log(pause + 0.05), np.sin(clock), np.cos(clock), abroad], -1)
    return np.concatenate([plain, np.eye(8)[shop.astype(int)]], -1).astype(np.float32)


class Detector(nn.Module):
    """The probability that each payment is fraud, and the state to go on from."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(13, 48, batch_first=True)
        self.head = nn.Linear(48, 1)

    def forward(self, payment, h, c):
        y, (h, c) = self.rnn(payment, (h, c))
        return torch.sigmoid(self.head(y)).squeeze(-1), h, c


def average_precision(score, fraud):
    """The area below the curve of precision over recall."""
    fraud = fraud[np.argsort(-score, kind="stable")]
    return float(np.sum(np.cumsum(fraud) / np.arange(1, len(fraud) + 1) * fraud) / fraud.sum())


def main():
    torch.manual_seed(0)
    rows, fraud = payments(2000, 60, np.random.default_rng(0))
    x, y = torch.from_numpy(features(rows)), torch.from_numpy(fraud).float()
    net, steps = Detector(), 600
    optimiser = torch.optim.Adam(net.parameters(), 6e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for step in range(steps):
        some = torch.randint(len(x), (64,))
        h = torch.zeros(1, 64, 48)
        loss = nn.functional.binary_cross_entropy(net(x[some], h, h)[0], y[some])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 200 == 199:
            print(f"step {step + 1}: loss {loss.item():.4f}")
    net.eval()

    one = (torch.zeros(2, 1, 13), torch.zeros(1, 2, 48), torch.zeros(1, 2, 48))
    batch = torch.export.Dim("cards")
    torch.onnx.export(
        net, one, HERE / "fraud.onnx", dynamo=True, external_data=False,
        input_names=["payment", "h", "c"], output_names=["fraud", "h_out", "c_out"],
        dynamic_shapes={"payment": {0: batch}, "h": {1: batch}, "c": {1: batch}},
    )  # fmt: skip

    rows, fraud = payments(500, 60, np.random.default_rng(1))
    np.savez_compressed(HERE / "test_data.npz", payments=rows.astype(np.float16), fraud=fraud, shops=SHOPS)
    rows = rows.astype(np.float16).astype(np.float32)
    h = torch.zeros(1, len(rows), 48)
    with torch.inference_mode():
        score = net(torch.from_numpy(features(rows)), h, h)[0].numpy()
    value = average_precision(score.ravel(), fraud.ravel())

    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(HERE / "fraud.onnx", options)
    given = (torch.from_numpy(features(rows[:1, :1])), torch.zeros(1, 1, 48), torch.zeros(1, 1, 48))
    feed = dict(zip(["payment", "h", "c"], (one.numpy() for one in given), strict=True))
    with torch.inference_mode():
        calls = {"torch": lambda: net(*given), "onnx": lambda: session.run(None, feed)}
        us = {name: round(min(repeat(call, number=100, repeat=60)) / 100 * 1e6, 1) for name, call in calls.items()}
    told = {
        "framework": f"torch {torch.__version__.partition('+')[0]}",
        "metric": "average precision",
        "value": value,
        "us_per_call": us["torch"],
        "onnxruntime_us_per_call": us["onnx"],
        "us_of": "one payment of one card, the state handed over",
        "machine": "AMD EPYC, one thread, shared",
    }
    (HERE / "framework.json").write_text(json.dumps(told, indent=1) + "\n")
    print(told)


if __name__ == "__main__":
    main()
