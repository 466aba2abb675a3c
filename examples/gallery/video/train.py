"""Train a classifier of short videos with Keras, and save it as a .keras file.

    python train.py                # needs keras, torch (its backend here), onnx, onnxscript and onnxruntime

The videos are made here: shapes on a flickering ground, which move, turn or change their size, 10 frames of 20 x 20.
"""

import json
import os
from pathlib import Path
from timeit import repeat

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import onnxruntime
import torch
from keras import layers

HERE = Path(__file__).parent
MOVES = ["left", "right", "up", "down", "clockwise", "anticlockwise", "grows", "shrinks"]
FRAMES, SIZE, EPOCHS, BATCH = 10, 20, 6, 32


def videos(count, rng):
    """Videos (count, frames, height, width, 1), 16 greys, and the number of each one's move."""

    def between(low, high):
        return rng.uniform(low, high, (count, 1, 1, 1)).astype(np.float32)

    def sign(positive, negative):
        return (1.0 * (move == positive) - (move == negative)).astype(np.float32)[:, None, None, None]

    move = rng.integers(len(MOVES), size=count)
    t = np.linspace(-1, 1, FRAMES, dtype=np.float32)[:, None, None]
    across = between(7.5, 11.5) + t * between(2, 5) * sign(1, 0)
    down = between(7.5, 11.5) + t * between(2, 5) * sign(3, 2)
    angle = between(0, 2 * np.pi) + t * between(0.6, 1.3) * sign(4, 5)
    size = between(0.8, 1.1) * np.exp(t * between(0.25, 0.5) * sign(6, 7))
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    y, x = y - down, x - across
    u = (np.cos(angle) * x + np.sin(angle) * y) / size / between(4.5, 6.5)
    v = (np.cos(angle) * y - np.sin(angle) * x) / size / between(1.5, 2.8)
    bar, ellipse = np.maximum(np.abs(u), np.abs(v)), np.hypot(u, v)
    wedge = np.maximum(np.abs(u), np.abs(v) / np.maximum(0.7 - 0.6 * u, 0.05))
    kind = between(0, 3)
    inside = np.where(kind < 1, bar, np.where(kind < 2, ellipse, wedge)) < 1
    contrast = between(0.06, 0.35) * np.where(between(0, 1) < 0.7, 1, -0.6)
    frames = 0.4 + contrast * inside + rng.normal(0, 0.07, (count, FRAMES, SIZE, SIZE))
    return np.clip(np.round(15 * frames), 0, 15).astype(np.uint8)[..., None], move


def main():
    keras.utils.set_random_seed(0)
    torch.set_num_threads(1)  # more make such small layers slower
    x, move = videos(4000, np.random.default_rng(0))
    test, wanted = videos(160, np.random.default_rng(1))
    inputs = keras.Input((FRAMES, SIZE, SIZE, 1), name="video")
    y = layers.Rescaling(1 / 4, -1.5)(inputs)
    y = layers.TimeDistributed(layers.Conv2D(8, 3, 2, "same", activation="relu"), name="edges")(y)
    y = layers.ConvLSTM2D(10, 3, padding="same", name="motion")(y)
    y = layers.Flatten()(layers.MaxPooling2D(2)(y))
    model = keras.Model(inputs, layers.Dense(len(MOVES), "softmax", name="move")(layers.Dropout(0.3)(y)))
    rate = keras.optimizers.schedules.CosineDecay(6e-3, EPOCHS * len(x) // BATCH)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, move, BATCH, EPOCHS, verbose=2, validation_data=(test, wanted), validation_batch_size=160)
    value = float((model.predict(test, 160, verbose=0).argmax(1) == wanted).mean())
    model = keras.Model(model.inputs, model.outputs)  # without the optimiser's state
    model.save(HERE / "video.keras")
    np.savez_compressed(HERE / "test_data.npz", videos=test[..., 0], moves=wanted.astype(np.int64), names=MOVES)

    one = torch.tensor(test[:1], dtype=torch.float32)
    model(one)  # before it is exported it has to have run
    model.export("video.onnx", "onnx", verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession("video.onnx", options)
    os.remove("video.onnx")
    feed = {session.get_inputs()[0].name: one.numpy()}
    with torch.inference_mode():
        calls = {"keras": lambda: model(one), "onnx": lambda: session.run(None, feed)}
        us = {name: round(min(repeat(call, number=10, repeat=30)) * 1e5, 1) for name, call in calls.items()}
    about = {
        "framework": f"keras {keras.__version__}",
        "metric": "videos told right",
        "value": value,
        "us_per_call": us["keras"],
        "onnxruntime_us_per_call": us["onnx"],
        "us_of": "a video of 10 frames; Keras on PyTorch",
        "machine": "AMD EPYC, one thread, shared",
    }
    (HERE / "framework.json").write_text(json.dumps(about, indent=2) + "\n")
    print(about)


if __name__ == "__main__":
    main()
