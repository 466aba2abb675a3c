"""Train a model that hears spoken digits, and save it as torch.export does.

    apt install espeak-ng && pip install torch onnxruntime onnx
    python train.py                          # six minutes on one core

espeak-ng speaks the digits, in many voices, speeds and pitches; noise is added here. The voices of the test are in none
of what was learnt from.
"""

import json
import os
import platform
import random
import subprocess
import time
import wave
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

HERE = Path(__file__).parent
RATE, WINDOW, HOP, BANDS = 11025, 320, 160, 24
FRAMES, HIDDEN, EPOCHS, BATCH = 240, 56, 36, 32
DIALECTS = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp"]
VOICES = (
    "m1 m2 m3 m4 m6 m7 f1 f2 f3 f4 adam Alex Alicia Andrea Annie antonio belinda benjamin boris caleb "
    "david Denis Diogo ed edward Gene grandma Henrique Hugo iven john kaukovalta Lee linda marcelo Marco "
    "Mario max Michael michel miguel Mike pablo paul pedro quincy rob sandro shelby steph travis victor"
)
NEW_VOICES = "m5 m8 f5 Andy Jacky robert norbert anika zac grandpa"


def spoken(voices, rng):
    """Some digits, and how one voice says them: samples at 11,025 Hz."""
    digits = [rng.randrange(10) for _ in range(rng.randint(3, 6))]
    text = " ".join(str(digit) + rng.choice(["", "", ","]) for digit in digits)
    voice = [
        f"{rng.choice(DIALECTS)}+{rng.choice(voices.split())}",
        "-s",
        str(rng.randint(150, 210)),
        "-p",
        str(rng.randint(25, 75)),
    ]
    data = subprocess.run(["espeak-ng", "--stdout", "-v", *voice, text], capture_output=True, check=True).stdout
    sound = np.frombuffer(data[44:], "<i2").astype(np.float32) / 32768
    sound = sound[: len(sound) // 2 * 2].reshape(-1, 2).mean(1)  # from 22,050 Hz
    return digits, sound[: FRAMES * HOP]


def noisy(sound, decibels, rng):
    """The sound somewhere in a window of FRAMES, so many decibels above noise that is white or pink, or between."""
    length = (FRAMES - 1) * HOP + WINDOW
    sound = np.pad(sound, (rng.integers(max(length - len(sound), 0) + 1), length))[:length]
    spectrum = np.fft.rfft(rng.normal(size=length)) / np.arange(1, length // 2 + 2) ** rng.uniform(0, 0.5)
    noise = np.fft.irfft(spectrum, length)
    loud = np.sqrt(np.mean(sound[np.abs(sound) > 0.01] ** 2))
    sound = sound + noise / noise.std() * loud * 10 ** (-decibels / 20)
    return (sound * 0.5 / np.abs(sound).max()).astype(np.float32)


def features(sound):
    """How loud each of BANDS pitches is over time, in steps of 2 decibels: (frames, bands) of int8."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    edges = 700 * np.expm1(np.linspace(np.log1p(80 / 700), np.log1p(5200 / 700), BANDS + 2)) * 512 / RATE
    rise = (np.arange(257)[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - np.arange(257)[:, None]) / (edges[2:] - edges[1:-1])
    return np.round(5 * np.log10(power @ np.clip(np.minimum(rise, fall), 0, None) + 1e-4)).astype(np.int8)


class Listener(nn.Module):
    """Logarithms of the chances of no digit, 0, 1, ... 9 at every second frame."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(BANDS, 40, 5, stride=2, padding=2)
        self.norm = nn.BatchNorm1d(40)
        self.rnn = nn.LSTM(40, HIDDEN, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * HIDDEN, 11)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv((x * 0.2).transpose(1, 2))))
        y, _ = self.rnn(x.transpose(1, 2))
        return torch.log_softmax(self.head(y), 2)


def greedy(scores):
    """Digits of each row: what is likeliest at each step, once where it is held."""
    best = scores.argmax(-1)
    return [[int(now) - 1 for now, before in zip(row, [0, *row[:-1]]) if now and now != before] for row in best]


def microseconds(call, calls=100):
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1e6 * float(np.median(times)), 1)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng, numbers = random.Random(0), np.random.default_rng(0)
    said = [spoken(VOICES, rng) for _ in range(1600)] * 4
    test = [spoken(NEW_VOICES, rng) for _ in range(80)]
    heard = np.stack([features(noisy(sound, numbers.uniform(3, 25), numbers)) for _, sound in said])
    print(f"{len(heard)} strings spoken", flush=True)

    net = Listener()
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.02)
    steps = EPOCHS * (len(said) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in numbers.permutation(len(said))[: steps // EPOCHS * BATCH].reshape(-1, BATCH):
            x = heard[rows].astype(np.float32)
            for row in x:  # some bands and some time are not heard
                band, at = numbers.integers(BANDS - 4), numbers.integers(FRAMES - 12)
                row[:, band : band + numbers.integers(5)] = row[at : at + numbers.integers(13)] = x.mean()
            targets = [torch.tensor(said[k][0]) + 1 for k in rows]
            y = net(torch.tensor(x))
            lengths = torch.tensor([len(row) for row in targets])
            loss = nn.functional.ctc_loss(
                y.transpose(0, 1), torch.cat(targets), torch.full((BATCH,), y.shape[1]), lengths
            )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total * EPOCHS / steps:.4f}", flush=True)

    net.eval()
    sounds = [noisy(sound, 4 + 2 * (k % 6), numbers) for k, (_, sound) in enumerate(test)]
    x = np.stack([features(sound) for sound in sounds])
    one = torch.tensor(x[:1], dtype=torch.float32)
    with torch.no_grad():
        found = greedy(net(torch.tensor(x, dtype=torch.float32)).numpy())
        program = torch.export.export(net, (one.repeat(2, 1, 1),), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(program, HERE / "listener.pt2")
        torch.onnx.export(net, (one,), "listener.onnx", dynamo=False, input_names=["x"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession("listener.onnx", options)
        os.remove("listener.onnx")
        about = {
            "framework": f"torch {torch.__version__}",
            "metric": "strings of digits right",
            "value": float(np.mean([row == digits for row, (digits, _) in zip(found, test)])),
            "us_per_call": microseconds(lambda: net(one)),
            "onnxruntime_us_per_call": microseconds(lambda: session.run(None, {"x": one.numpy()})),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
        }
    shown = next(k for k, (digits, _) in enumerate(test) if len(digits) == 6)
    strings = ["".join(map(str, digits)) for digits, _ in test]
    np.savez_compressed(HERE / "test_data.npz", x=x, digits=np.array(strings), shown=shown)
    with wave.open(str(HERE / "spoken.wav"), "wb") as file:  # the first of six digits, in 8 bits
        file.setparams((1, 1, RATE, 0, "NONE", ""))
        file.writeframes(np.round(sounds[shown] * 200 + 128).astype(np.uint8).tobytes())
    (HERE / "framework.json").write_text(json.dumps(about, indent=2) + "\n")
    print(about)


if __name__ == "__main__":
    main()
