"""Train a detector of speech with PyTorch on speech of espeak-ng in noise, and export it to ONNX.

    python train.py                # needs torch, onnx, onnxruntime, scipy and the program espeak-ng

Its inputs and outputs are those of Silero's detector at 8 kHz: 256 new samples behind the last 32 of the frame before.
Noises are made here. The test has voices, sentences and noises that the training has not.
"""

import json
import subprocess
import wave
from io import BytesIO
from pathlib import Path
from timeit import repeat

import numpy as np
import onnxruntime
import torch
from scipy.signal import lfilter, resample_poly
from torch import nn

HERE = Path(__file__).parent
RATE, FRAME, CONTEXT, SIZE, STEPS = 8000, 256, 32, 40, 500
VOICES = ["en-us+m1", "en-us+m3", "en-gb+f2", "en-gb+m4", "en-us+f1", "de+m2", "fr+f3", "es+m5", "it+f1", "en-gb+m6"]
TEST_VOICES = ["en-gb-scotland+f4", "en-us+m7", "pt+m1", "en-gb+f5"]
WORDS = """time people water morning street music number letter window paper question answer river mountain winter
doctor teacher garden kitchen market station engine signal yellow orange purple seven eleven thousand travel listen
remember follow carry open quickly always never perhaps between under after before together again summer"""
TEST_WORDS = """hello can you hear me there is a lot of noise around today please speak a little louder the train leaves
at nine from platform four thank you very much good bye see you tomorrow"""


def spoken(voice, text, speed):
    """The samples of a sentence at 8 kHz, at most 1 in size."""
    told = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text], capture_output=True, check=True
    )
    with wave.open(BytesIO(told.stdout)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(len(told.stdout)), "<i2")
    sound = resample_poly(samples.astype(float), RATE, rate)
    return sound / np.abs(sound).max()


def noise(rng, kind, count):
    """Noise of a root mean square of 1."""
    white = rng.normal(0, 1, count)
    t = np.arange(count) / RATE
    if kind == "white":
        made = white
    elif kind == "rumble":
        made = lfilter([1], [1, -rng.uniform(0.7, 0.98)], white)
    elif kind == "wind":  # around a frequency
        r, tone = rng.uniform(0.7, 0.95), rng.uniform(0, 2)
        made = lfilter([1], [1, -2 * r * np.cos(tone), r * r], white)
    elif kind == "hum":
        tone = rng.uniform(50, 400)
        made = sum(np.sin(2 * np.pi * k * tone * t + rng.uniform(0, 6)) / k for k in range(1, 6)) + 0.2 * white
    elif kind == "melody":  # tones that change, as a ring tone or a siren
        steps = rng.uniform(200, 1500, count // 1500 + 2).repeat(1500)[:count]
        made = np.sin(2 * np.pi * np.cumsum(steps) / RATE) + 0.1 * white
    elif kind == "clicks":  # a keyboard
        struck = (rng.random(count) < 8 / RATE) * rng.uniform(5, 20, count)
        made = lfilter([1], [1, -1.2, 0.8], struck * rng.normal(0, 1, count)) + 0.05 * white
    else:  # "street": passing cars, louder and less so; in the test alone
        loud = 0.4 + np.sin(2 * np.pi * t / 7) ** 2
        made = loud * lfilter([1, 0.3], [1, -1.6, 0.68], white) + 0.2 * np.sin(2 * np.pi * 440 * t) * (t % 6 < 0.7)
    if kind != "street":  # none of it stays as loud as it is
        times = np.cumsum(rng.uniform(0.1, 2.5, count // 800))
        made = made * np.interp(t, times, rng.uniform(0.1, 1, len(times)) ** 2)
    return made / np.sqrt(np.mean(made**2) + 1e-12)


def scene(rng, sentences, kinds, seconds):
    """Sound with sentences in it, and which frames of it hold speech."""
    count = seconds * RATE // FRAME * FRAME
    clean, at = np.zeros(count), int(rng.uniform(0.3, 2) * RATE)
    while at < count:
        part = sentences[rng.integers(len(sentences))][: count - at] * rng.uniform(0.5, 1)
        clean[at : at + len(part)] = part
        at += len(part) + int(rng.uniform(0.5, 2.5) * RATE)
    loud = np.convolve(np.abs(clean), np.ones(800) / 800, "same")  # 0.1 s
    speech = (loud > 0.01).reshape(-1, FRAME).mean(1) > 0.5
    level = np.sqrt(np.mean(clean[np.repeat(speech, FRAME)] ** 2)) * 10 ** (-rng.uniform(-3, 20) / 20)
    sound = clean + level * noise(rng, kinds[rng.integers(len(kinds))], count)
    return sound / np.abs(sound).max() * rng.uniform(0.2, 0.95), speech


class Detector(nn.Module):
    """A spectrum by a convolution, two learned ones over it, an LSTM, a probability."""

    def __init__(self):
        super().__init__()
        k, n = np.arange(64)[:, None], np.arange(128)
        wave = 2 * np.pi * k * n / 128
        basis = np.hanning(128) * np.concatenate([np.cos(wave), np.sin(wave)]) / 8
        self.register_buffer("basis", torch.tensor(basis[:, None], dtype=torch.float32))
        self.first, self.second = nn.Conv1d(64, 32, 2, stride=2), nn.Conv1d(32, 32, 3)
        self.rnn, self.head = nn.LSTM(32, SIZE), nn.Linear(SIZE, 1)

    def spectrum(self, x):  # (frames, 288) -> (frames, 64, 6)
        real, imaginary = nn.functional.conv1d(x[:, None], self.basis, stride=32).chunk(2, 1)
        return torch.log(real.square() + imaginary.square() + 1e-5) / 4

    def features(self, spectrum):
        return torch.relu(self.second(torch.relu(self.first(spectrum)))).squeeze(2)

    def forward(self, input, state):
        y, (h, c) = self.rnn(self.features(self.spectrum(input))[None], (state[:1], state[1:]))
        return torch.sigmoid(self.head(y[0])), torch.cat([h, c])


def frames_of(sound):
    """(frames, 288): each with the end of the one before it in front."""
    padded = np.concatenate([np.zeros(CONTEXT), sound]).astype(np.float32)
    return np.lib.stride_tricks.sliding_window_view(padded, FRAME + CONTEXT)[::FRAME]


def area(probability, speech):
    """Under the ROC curve: how often a frame with speech has the higher probability than one without."""
    yes, no = np.sort(probability[speech]), np.sort(probability[~speech])
    return float((np.searchsorted(no, yes, "left") + np.searchsorted(no, yes, "right")).mean() / 2 / len(no))


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)  # more make such small layers slower
    rng = np.random.default_rng(0)

    def say(voices, words, k):
        text = " ".join(rng.choice(words.split(), rng.integers(1, 7)))
        return spoken(voices[k % len(voices)], text, rng.integers(130, 200))

    sentences = [say(VOICES, WORDS, k) for k in range(150)]
    kinds = ["white", "rumble", "rumble", "wind", "wind", "hum", "melody", "clicks"]
    scenes = [scene(rng, sentences, kinds, 8) for _ in range(240)]
    wanted = torch.tensor(np.stack([speech for _, speech in scenes]), dtype=torch.float32)
    print(f"{len(scenes)} scenes, {wanted.mean():.0%} of the frames are speech", flush=True)

    net, batch = Detector(), 16
    with torch.no_grad():
        x = torch.stack([net.spectrum(torch.tensor(frames_of(sound))) for sound, _ in scenes])
    optimiser = torch.optim.Adam(net.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
    for step in range(STEPS):
        rows = torch.randint(len(x), (batch,))
        seen = net.features(x[rows].flatten(0, 1)).unflatten(0, (batch, -1))
        scores = net.head(net.rnn(seen.transpose(0, 1))[0]).squeeze(2)
        loss = nn.functional.binary_cross_entropy_with_logits(scores, wanted[rows].T)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)
    net.eval()

    sentences = [say(TEST_VOICES, TEST_WORDS, k) for k in range(12)]
    sound, speech = scene(np.random.default_rng(5), sentences, ["street"], 24)
    samples = np.round(sound * 127 + 128).astype(np.uint8)
    with wave.open(str(HERE / "street.wav"), "wb") as file:
        file.setparams((1, 1, RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    (HERE / "street.txt").write_text("".join("01"[frame] for frame in speech.astype(int)) + "\n")
    state, found = torch.zeros(2, 1, SIZE), []
    with torch.no_grad():
        for frame in torch.tensor(frames_of((samples.astype(np.float32) - 128) / 128)):
            probability, state = net(frame[None], state)
            found.append(probability.item())
        value = area(np.array(found), speech)
        given = (frame[None], state)
        torch_us = min(repeat(lambda: net(*given), number=100, repeat=30)) * 1e4
        names = {"input_names": ["input", "state"], "output_names": ["output", "stateN"]}
        torch.onnx.export(net, given, HERE / "detector.onnx", dynamo=False, **names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(HERE / "detector.onnx", options)
    feed = {"input": given[0].numpy(), "state": given[1].numpy()}
    onnx_us = min(repeat(lambda: session.run(None, feed), number=100, repeat=30)) * 1e4
    about = {
        "framework": f"torch {torch.__version__.partition('+')[0]}",
        "metric": "area under the ROC curve, frames of 32 ms",
        "value": value,
        "us_per_call": round(torch_us, 1),
        "onnxruntime_us_per_call": round(onnx_us, 1),
        "us_of": "a frame of 32 ms, the state handed over",
        "machine": "AMD EPYC, one thread, shared",
    }
    (HERE / "framework.json").write_text(json.dumps(about, indent=2) + "\n")
    print(about)


if __name__ == "__main__":
    main()
