"""Random Keras models, branches and masks among them, against Keras."""

import numpy as np
import pytest
from keras_graphs import check, randomized
from keras_models import keras, layers

pytestmark = pytest.mark.filterwarnings("ignore")


class Maker:
    """Puts layers on a sequence at random."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def size(self, most=6):
        return int(self.rng.integers(1, most))

    def activation(self):
        return self.pick("relu", "tanh", "linear", "sigmoid", "elu", "gelu", "silu", "softmax", "hard_sigmoid")

    def recurrent(self, **options):
        kind = self.pick("LSTM", "LSTM", "GRU", "SimpleRNN")
        both = self.pick(True, False)
        more = {"reset_after": self.pick(True, False)} if kind == "GRU" else {}
        one = getattr(layers, kind)(self.size(), use_bias=self.pick(True, True, False), **more, **options)
        if both:
            return layers.Bidirectional(one, merge_mode=self.pick("concat", "sum", "ave", "mul"))
        return one

    def step(self, x):
        """One more layer on a sequence."""
        features = x.shape[-1]
        kind = self.rng.integers(14)
        if kind < 4:
            return self.recurrent(return_sequences=True)(x)
        if kind == 4:
            return layers.Dense(self.size(), activation=self.activation())(x)
        if kind == 5:
            padding = self.pick("same", "causal")
            return layers.Conv1D(self.size(), self.size(4), padding=padding, activation=self.activation())(x)
        if kind == 6:
            return self.pick(layers.BatchNormalization, layers.LayerNormalization, layers.UnitNormalization)()(x)
        if kind == 7:
            return layers.Dropout(0.3)(x)
        if kind == 8:
            return layers.TimeDistributed(layers.Dense(self.size(), activation=self.activation()))(x)
        if kind == 9:
            other = layers.Dense(features)(x)
            merge = self.pick(layers.Add, layers.Multiply, layers.Average, layers.Maximum, layers.Concatenate)
            return merge()([x, other])
        if kind == 10:
            return layers.Attention(use_scale=self.pick(True, False))([x, layers.Dense(features)(x)])
        if kind == 11:
            return layers.Add()([x, layers.SeparableConv1D(features, 3, padding="same")(x)])
        if kind == 12:
            return layers.Activation(self.activation())(x)
        return x * 0.5 + layers.Dense(features)(x)

    def end(self, x):
        """An output."""
        kind = self.rng.integers(5)
        if kind == 0:
            return layers.Dense(2)(self.recurrent()(x))
        if kind == 1:
            return layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(x))
        if kind == 2:
            return layers.GlobalMaxPooling1D()(x)
        if kind == 3:
            return layers.Dense(2)(layers.Flatten()(x))
        return layers.Dense(2, activation="tanh")(x)

    def model(self):
        """A model and what it is given."""
        time = 6
        if self.pick(True, False):
            first = layers.Input((time,), dtype="int32")
            x = layers.Embedding(9, self.size() + 1, mask_zero=self.pick(True, False))(first)
            given = self.rng.integers(0, 9, (3, time)).astype(np.int32)
            given[:, 0] = 1  # Keras divides by the number of valid steps
        else:
            first = layers.Input((time, 3))
            x = layers.Masking()(first) if self.pick(True, False) else first
            given = self.rng.normal(size=(3, time, 3)).astype(np.float32)
            given[0, 4:] = given[1, 2] = 0
        for _ in range(self.size(5)):
            x = self.step(x)
        outputs = [self.end(x) for _ in range(self.pick(1, 1, 2))]
        return randomized(keras.Model(first, outputs), int(self.rng.integers(1 << 30))), given


def models(count, seed, folder):
    largest = 0.0
    for k in range(count):
        model, given = Maker([seed, k]).model()
        try:
            largest = max(largest, check(model, folder, ("m.keras", "m.h5"), [given], tolerance=2e-5))
        except Exception as error:
            raise AssertionError(f"model {k}: {[type(one).__name__ for one in model.layers]}") from error
    print(f"largest error of {count} models: {largest:.1e}")


def test_random_models(tmp_path):
    models(25, 0, tmp_path)


@pytest.mark.slow
def test_many_random_models(tmp_path):
    models(500, 1, tmp_path)
