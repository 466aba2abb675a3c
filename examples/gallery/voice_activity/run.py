"""Hear when somebody speaks, live: python run.py [picture.png [silero_vad.onnx [sound.wav]]]

The detector beside this file, or Silero's own (https://github.com/snakers4/silero-vad); sound: WAV, mono, 8 kHz.
"""

import json
import sys
import time
import wave
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fusedlstm as fl

HERE = Path(__file__).parent
given = dict(enumerate(sys.argv))
sound_file, torch = given.get(3, HERE / "street.wav"), json.loads((HERE / "framework.json").read_text())
with wave.open(str(sound_file)) as file:
    bits, rate, samples = 8 * file.getsampwidth(), file.getframerate(), file.readframes(file.getnframes())
sound = (np.frombuffer(samples, "<i2") / 32768 if bits == 16 else np.frombuffer(samples, "u1") / 128 - 1).astype("f4")
assert rate == 8000, f"{sound_file}: expected 8000 samples a second, found {rate}"
frames = sound[: len(sound) // 256 * 256].reshape(-1, 1, 256)  # 32 ms each

model = fl.Model.load(given.get(2, HERE / "detector.onnx"))
fixed = {"sr": rate} if "sr" in model.inputs else {}
stream = model.stream(fixed=fixed, context={"input": 32})  # owns the state, and the end of the frame before
speech, spent = np.empty(len(frames)), np.empty(len(frames))
for k, frame in enumerate(frames):
    start = time.perf_counter()
    speech[k] = stream.step(frame).item()
    spent[k] = time.perf_counter() - start

figure, (top, middle, bottom) = plt.subplots(3, figsize=(12, 5.5), sharex=True, layout="constrained")
top.plot(np.arange(len(sound)) / rate, sound, lw=0.3, color="0.4")
top.set(ylabel="sound", title="Speech in the noise of a street, heard frame by frame", ylim=(-1, 1))
middle.specgram(
    sound, NFFT=256, Fs=rate, noverlap=0, cmap=plt.get_cmap("magma", 10), vmin=-90, vmax=-35, interpolation="nearest"
)
middle.set(ylabel="frequency, Hz")
seconds = np.arange(len(speech)) * 256 / rate
bottom.step(seconds, speech, where="post", color="#0072B2", label="probability of speech")
bottom.axhline(0.5, color="0.6", lw=0.6)
bottom.set(xlabel="time, s", ylabel="probability", ylim=(0, 1.05), xlim=(0, seconds[-1]))
print(f"a frame of 32 ms: {1e6 * np.median(spent):.1f} µs", end=", ")
print(f"{0.032 / np.median(spent):,.0f} times real time (torch {torch['us_per_call']} µs,", end=" ")
print(f"ONNX Runtime {torch['onnxruntime_us_per_call']} µs)")
if 3 not in given:  # where it is known who speaks when
    true = np.array(list((HERE / "street.txt").read_text().strip())) == "1"
    bottom.fill_between(seconds, 0, 1.05 * true, step="post", alpha=0.3, color="#E69F00", lw=0, label="somebody speaks")
    no, yes = speech[~true], speech[true, None]  # a frame with speech above one without: the area under the ROC curve
    area = np.mean((yes > no) + 0.5 * (yes == no))
    print(f"metric: {area:.4f} (torch: {torch['value']:.4f})")
bottom.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
figure.savefig(given.get(1, HERE / "picture.png"), dpi=72)
