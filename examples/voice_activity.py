"""Speech in a sound file, live: a picture of its probability over time, and when somebody spoke.

    python examples/voice_activity.py silero_vad.onnx speech.wav speech.png

The model is Silero's (https://github.com/snakers4/silero-vad, MIT); the file is a WAV of 16 bits, mono, 16 or 8 kHz.
"""

import sys
import time
import wave

import matplotlib.pyplot as plt
import numpy as np

import fusedlstm as fl

model_file, sound_file, picture = sys.argv[1:]
with wave.open(sound_file) as file:
    rate = file.getframerate()
    sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
frame = 512 * rate // 16000  # 32 ms
sound = sound[: len(sound) // frame * frame]

stream = fl.Model.load(model_file).stream(fixed={"sr": rate}, context={"input": frame // 8})
start = time.perf_counter()
speech = np.concatenate([stream.step(part)[0] for part in sound.reshape(-1, 1, frame)])
spent = time.perf_counter() - start

seconds = np.arange(len(speech)) * frame / rate
figure, (top, bottom) = plt.subplots(2, figsize=(10, 4), sharex=True)
top.plot(np.arange(len(sound)) / rate, sound, lw=0.4, color="0.3")
top.set_ylabel("sound")
bottom.step(seconds, speech, where="post", color="tab:blue")
bottom.fill_between(seconds, speech > 0.5, step="post", alpha=0.2, color="tab:orange", label="speech")
bottom.set(xlabel="time (s)", ylabel="probability", ylim=(0, 1.05))
bottom.legend(loc="upper right")
figure.savefig(picture, dpi=120, bbox_inches="tight")
print(f"{len(sound) / rate:.1f} s of sound, {spent / len(speech) * 1e6:.0f} µs a frame of 32 ms: {picture}")
