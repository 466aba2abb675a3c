"""Write the stored legacy file, with TensorFlow's Keras 2: ``python make_keras2.py`` (written with tf_keras 2.21.0)."""

from pathlib import Path

import numpy as np
import tf_keras as keras
from tf_keras import layers

here = Path(__file__).parent
rng = np.random.default_rng(8)

both_ways = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="bi")
inner = keras.Sequential([layers.Input((None, 3)), both_ways], name="outer")
model = keras.Sequential([layers.Input((None, 3)), inner])
for weight in model.weights:
    weight.assign(rng.normal(size=weight.shape, scale=0.7))

data = rng.normal(size=(2, 4, 3)).astype(np.float32)
model.save(here / "keras2.h5", include_optimizer=False)
np.savez_compressed(here / "keras2_expected.npz", x=data, y=np.asarray(model(data)))
