"""Train a model that writes in the style of the King James Bible, letter by letter, and save it as PyTorch does.

    apt install bible-kjv && pip install torch onnxruntime onnx onnxscript
    python train.py                          # two minutes on two cores

The text is Debian's package bible-kjv-text (a translation of 1611, out of copyright). The Acts are held out.
"""

import json
import math
import os
import platform
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

HERE = Path(__file__).parent
HIDDEN, BATCH, LENGTH, STEPS = 72, 40, 80, 1100
HELD_OUT = 16_000  # letters


def verses(passage):
    text = subprocess.run(["bible", "-f", passage], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    return re.sub(r"^\S+ ", "", text, flags=re.MULTILINE).replace("[", "").replace("]", "")


class Writer(nn.Module):
    def __init__(self, letters):
        super().__init__()
        self.emb = nn.Embedding(letters, 16)
        self.rnn = nn.LSTM(16, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, letters)

    def forward(self, numbers, state=None):
        y, state = self.rnn(self.emb(numbers), state)
        return self.head(y), state


class OneStep(nn.Module):
    """The same with its state in the open: what ONNX Runtime needs to go on from it."""

    def __init__(self, writer):
        super().__init__()
        self.writer = writer

    def forward(self, number, h, c):
        y, (h, c) = self.writer(number, (h, c))
        return y, h, c


def train(numbers, letters):
    net = Writer(letters)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1.2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.2e-2, total_steps=STEPS)
    rows, state = numbers[: len(numbers) // BATCH * BATCH].view(BATCH, -1), None
    at = 0
    for step in range(STEPS):
        if at + LENGTH + 1 > rows.shape[1]:
            at, state = 0, None
        part = rows[:, at : at + LENGTH + 1]
        y, state = net(part[:, :-1], state)
        state, at = tuple(one.detach() for one in state), at + LENGTH
        loss = nn.functional.cross_entropy(y.flatten(0, 1), part[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: {loss.item() / math.log(2):.3f} bits a letter", flush=True)
    return net.eval()


def microseconds(call, calls=300):
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1e6 * float(np.median(times)), 1)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    text, held_out = verses("Gen1:1-John21:25") + verses("Rom1:1-Rev22:21"), verses("Acts1:1-28:31")[:HELD_OUT]
    alphabet = sorted(set(text) | set(held_out))
    numbers = torch.tensor([alphabet.index(letter) for letter in text])
    test = torch.tensor([[alphabet.index(letter) for letter in held_out]])
    net = train(numbers, len(alphabet))
    torch.save(net.state_dict(), HERE / "writer.pt")
    (HERE / "acts.txt").write_text(held_out)
    (HERE / "alphabet.json").write_text(json.dumps(alphabet) + "\n")

    with torch.no_grad():
        value = nn.functional.cross_entropy(net(test[:, :-1])[0][0], test[0, 1:]).item() / math.log(2)
        one, state = test[:, :1], tuple(torch.zeros(1, 1, HIDDEN) for _ in "hc")
        names = {"input_names": ["letter", "h", "c"], "output_names": ["scores", "h_out", "c_out"]}
        torch.onnx.export(OneStep(net), (one, *state), "step.onnx", dynamo=False, **names)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession("step.onnx", options)
        os.remove("step.onnx")
        given = dict(zip(names["input_names"], (one.numpy(), *(part.numpy() for part in state))))
        about = {
            "framework": f"torch {torch.__version__}",
            "metric": "bits per letter",
            "value": value,
            "us_per_call": microseconds(lambda: net(one, state)),
            "onnxruntime_us_per_call": microseconds(lambda: session.run(None, given)),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
        }
    (HERE / "framework.json").write_text(json.dumps(about, indent=2) + "\n")
    print(about)


if __name__ == "__main__":
    main()
