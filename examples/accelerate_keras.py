"""A model of Keras's, trained, and its predictions with its LSTMs run by fusedlstm: python accelerate_keras.py"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or jax, tensorflow

from time import perf_counter

import keras
import numpy as np

import fusedlstm.keras


def seconds(model, x):
    start = perf_counter()
    model.predict(x, verbose=0)
    return perf_counter() - start


def main():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 30, 4)).astype(np.float32)
    y = x.sum(axis=(1, 2)) > 0
    layers = keras.layers
    model = keras.Sequential([keras.Input((30, 4)), layers.Bidirectional(layers.LSTM(32)), layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    model.fit(x, y, epochs=1, verbose=0)
    wanted, before = model.predict(x, verbose=0), seconds(model, x)
    fusedlstm.keras.accelerate(model)
    difference = np.abs(model.predict(x, verbose=0) - wanted).max()
    after = seconds(model, x)
    print(fusedlstm.keras.report(model))
    print(f"{before:.2f} s for 256 sequences before, {after:.2f} s after; largest difference {difference:.0e}")


if __name__ == "__main__":
    main()
