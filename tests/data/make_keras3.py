"""Write the stored Keras 3 files: ``KERAS_BACKEND=jax python make_keras3.py`` (written with Keras 3.15.1)."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

here = Path(__file__).parent
rng = np.random.default_rng(7)

inner = keras.Sequential([layers.Input((None, 3)), layers.LSTM(4, return_sequences=True, name="enc")], name="outer")
model = keras.Sequential([layers.Input((None, 3)), inner])
for weight in model.weights:
    weight.assign(rng.normal(size=weight.shape, scale=0.7))

data = rng.normal(size=(2, 4, 3)).astype(np.float32)
model.save(here / "keras3.keras")
model.save_weights(here / "keras3.weights.h5")
np.savez_compressed(here / "keras3_expected.npz", x=data, y=np.asarray(model(data)))
