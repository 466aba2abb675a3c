"""Streams along time, held against the model on the whole sequence."""

import numpy as np
import pytest

import fusedlstm as fl


def chunks_of(rng, count, largest=9):
    """Where each chunk begins, and how long it is."""
    at = 0
    while at < count:
        size = min(int(rng.integers(1, largest + 1)), count - at)
        yield at, size
        at += size


def flat(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def joined(parts, like):
    """Chunks of one output, put together on the axis where their sizes add up; byte for byte the whole."""
    for axis in range(like.ndim):
        if sum(part.shape[axis] for part in parts) == like.shape[axis]:
            rest = {part.shape[:axis] + part.shape[axis + 1 :] for part in parts}
            if rest == {like.shape[:axis] + like.shape[axis + 1 :]}:
                return np.concatenate(parts, axis)
    raise AssertionError(f"{[part.shape for part in parts]} are no parts of {like.shape}")


def same_bits(model, *inputs, axes=None, seed=0, largest=9, **options):
    """Whether a stream gives the bits of the whole, in random chunks and step by step; the stream."""
    axes = axes or (1,) * len(inputs)
    whole = flat(model(*inputs))
    rng = np.random.default_rng(seed)
    batch = options.pop("batch", inputs[0].shape[1 - axes[0] if axes[0] < 2 else 0])
    stream = model.stream(batch, **options)
    count = inputs[0].shape[axes[0]]

    def part(at, size):
        return [x.take(range(at, at + size), axis) for x, axis in zip(inputs, axes)]

    for turn in range(2):
        stream.reset()
        plan = chunks_of(rng, count, largest) if turn == 0 else ((at, 1) for at in range(count))
        made = [flat(stream.process(*part(at, size))) for at, size in plan]
        for k, wanted in enumerate(whole):
            found = joined([one[k] for one in made], wanted)
            assert found.dtype == wanted.dtype
            assert found.tobytes() == wanted.tobytes(), f"output {k}: {np.abs(found - wanted).max()}"
    return stream


def goes_on(model, **options):
    """Skips what takes one step of three where two come at once, and the like."""
    try:
        model.stream(**options)
    except ValueError as error:
        if (
            "come at once" not in str(error)
            and "come equally often" not in str(error)
            and "at the same steps" not in str(error)
        ):
            raise
        pytest.skip(str(error))
    return model


def same_at_every_step(model, x, axis=1, seed=0, counts=None, largest=9):
    """Whether a stream gives at every step the bits of the whole until there; `counts`: the steps that are looked at."""
    rng = np.random.default_rng(seed)
    stream, count = model.stream(x.shape[0 if axis else 1], every_step=True), x.shape[axis]
    counts = {*rng.integers(1, count + 1, 12).tolist(), count} if counts is None else {*counts}
    steps = []
    for n in range(1, count + 1):
        made = stream.step(x.take([n - 1], axis))
        steps.append(made)
        if made is None or n not in counts:
            continue
        for k, (found, wanted) in enumerate(zip(flat(made), flat(model(x.take(range(n), axis))))):
            assert found.dtype == wanted.dtype
            assert found.tobytes() == wanted.tobytes(), (
                f"output {k} at {n}: {np.abs(found.reshape(-1) - wanted.ravel())}"
            )
    stream.reset()
    steps = [flat(one) for one in steps if one is not None]
    places = [stream._along.axis(name) for name in stream._walk.outputs]
    parts = [flat(stream.process(x.take(range(at, at + n), axis))) for at, n in chunks_of(rng, count, largest)]
    for k, place in enumerate(places):
        found, wanted = (np.concatenate([one[k] for one in several], place) for several in (parts, steps))
        assert found.tobytes() == wanted.tobytes()
    return stream


class Maker:
    """Keras models of layers that go along time, put together at random."""

    def __init__(self, seed, keras):
        self.rng, self.keras, self.layers = np.random.default_rng(seed), keras, keras.layers

    def pick(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def size(self, most):
        return int(self.rng.integers(1, most))

    def layer(self, x):
        """One more layer, or a few that belong together."""
        L, pick, size = self.layers, self.pick, self.size
        kernel, filters, apart = size(5), size(20), size(4)
        activation = pick(None, "relu", "tanh", "sigmoid", "softmax")
        kinds = {
            "conv": lambda: L.Conv1D(
                filters, kernel, padding=pick("causal", "valid"), dilation_rate=apart, activation=activation
            )(x),
            "strided": lambda: L.Conv1D(filters, kernel, strides=2, padding=pick("causal", "valid"))(x),
            "depthwise": lambda: L.DepthwiseConv1D(kernel, depth_multiplier=size(3))(x),
            "separable": lambda: L.SeparableConv1D(filters, kernel)(x),
            "lstm": lambda: L.LSTM(filters, return_sequences=True)(x),
            "gru": lambda: L.GRU(filters, return_sequences=True, reset_after=pick(True, False))(x),
            "rnn": lambda: L.SimpleRNN(filters, return_sequences=True)(x),
            "largest": lambda: L.MaxPooling1D(kernel, strides=size(4))(x),
            "average": lambda: L.AveragePooling1D(kernel, strides=size(3))(x),
            "batch": lambda: L.BatchNormalization()(x),
            "norm": lambda: L.LayerNormalization()(x),
            "dense": lambda: L.Dense(filters, activation=activation)(x),
            "each": lambda: L.TimeDistributed(L.Dense(filters, activation=pick("relu", None)))(x),
            "pad": lambda: L.ZeroPadding1D((kernel, 0))(x),
            "crop": lambda: L.Cropping1D((kernel, size(3) - 1))(x),
            "beside": lambda: pick(L.Add(), L.Concatenate(), L.Multiply())(
                [x, L.Conv1D(x.shape[-1], kernel, padding="causal", dilation_rate=apart)(x)]
            ),
            "late": lambda: L.Concatenate()([L.Conv1D(filters, kernel)(x), L.Cropping1D((kernel - 1, 0))(x)]),
            "early": lambda: L.Concatenate()([L.Conv1D(filters, kernel)(x), L.Cropping1D((0, kernel - 1))(x)]),
            "repeated": lambda: L.UpSampling1D(apart)(x),
            "decoded": lambda: L.Cropping1D((0, max(kernel - apart, 0)))(
                L.Conv1DTranspose(filters, kernel, strides=apart)(x)
            ),
            "activation": lambda: L.Activation(pick("elu", "gelu", "silu", "hard_sigmoid"))(x),
        }
        return kinds[pick(*kinds)]()

    def pool(self, x):
        """What becomes of all steps."""
        L, pick = self.layers, self.pick
        kinds = {
            "mean": lambda x: L.GlobalAveragePooling1D()(x),
            "largest": lambda x: L.GlobalMaxPooling1D()(x),
            "last": lambda x: pick(L.LSTM, L.GRU)(self.size(9))(x),
        }
        made = [kinds[pick(*kinds)](x) for _ in range(self.size(4))]
        x = L.Concatenate()(made) if len(made) > 1 else made[0]
        return L.Dense(self.size(5), activation=pick(None, "softmax"))(x) if pick(True, False) else x

    def model(self, most=5, pooled=False):
        """A model and a sequence for it."""
        if self.pick(True, False, False, False):
            start = self.keras.Input((None,), dtype="int32")
            x = self.layers.Embedding(9, self.size(6))(start)
        else:
            start = x = self.keras.Input((None, self.size(8)))
        first = x
        for _ in range(self.size(most + 1)):
            x = self.layer(x)
        x = self.pool(x) if pooled else x
        outputs = [x] if x is not first else [self.layers.ReLU()(x)]
        made = self.keras.Model(start, outputs if len(outputs) > 1 else outputs[0])
        for weight in made.weights:
            low, high = (0.5, 2) if "variance" in weight.path else (-0.7, 0.7)
            weight.assign(self.rng.uniform(low, high, weight.shape))
        batch, time = self.size(4), int(self.rng.integers(50, 130))
        if start.shape[1:] == (None,):
            return fl.Model.from_keras(made), self.rng.integers(0, 9, (batch, time))
        x = self.rng.standard_normal((batch, time, start.shape[-1])).astype(np.float32)
        return fl.Model.from_keras(made), x
