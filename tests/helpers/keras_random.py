"""Random Keras models, of Keras 2 or 3: every kind of layer, branches, masks, states, nested and shared models."""

import numpy as np

ACTIVATIONS = ("relu", "tanh", "linear", "sigmoid", "elu", "gelu", "swish", "softmax", "hard_sigmoid", "softsign")
ACTIVATIONS += ("softplus", "selu", "exponential")
GATES = ("sigmoid", "sigmoid", "sigmoid", "hard_sigmoid")
STATES = ("tanh", "tanh", "tanh", "relu", "sigmoid", "softsign", "elu")


class Maker:
    """Puts layers on tensors at random.

    Parameters
    ----------
    keras : module
        Keras 3 or tf_keras.
    seed : sequence of int
        What is made.
    batch : int, optional
        Of the inputs; None: free.
    masks : bool
        Whether there may be masks.
    """

    def __init__(self, keras, seed, batch=None, masks=True):
        self.keras, self.layers, self.rng = keras, keras.layers, np.random.default_rng(seed)
        self.three = keras.__version__.startswith("3")
        self.batch, self.masks = batch, masks
        self.given = []  # inputs, arrays
        self.inputs = []

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def chance(self, share):
        return self.rng.random() < share

    def size(self, most=6):
        return int(self.rng.integers(1, most))

    def activation(self):
        return self.pick(*ACTIVATIONS)

    # -- inputs -----------------------------------------------------------------------------------------------------

    def input(self, kind):
        """A tensor of a kind, from an input of its own."""
        rows = self.batch or 3
        time = 6
        free = self.chance(0.3)
        shapes = {
            "tokens": (None if free else time,),
            "sequence": (None if free else time, self.size()),
            "vector": (self.size(8),),
            "image": (self.size(5) + 3, self.size(5) + 3, self.size(4)),
            "film": (self.size(3) + 1, 5, 4, self.size(3)),
        }
        dtype = "int32" if kind == "tokens" else "float32"
        one = self.keras.Input(shapes[kind], batch_size=self.batch, dtype=dtype)
        shape = (rows, *(time if size is None else size for size in shapes[kind]))
        if kind == "tokens":
            value = self.rng.integers(0, 9, shape).astype(np.int32)
            value[:, 0] = 1  # Keras divides by the number of valid steps
            if self.chance(0.5):  # as after pad_sequences
                for row in value:
                    row[self.rng.integers(1, time + 1) :] = 0
        else:
            value = self.rng.normal(size=shape).astype(np.float32)
            if kind == "sequence":
                value[0, 4:] = 0
                value[-1, 2] = 0
        self.inputs.append(one)
        self.given.append(value)
        return one

    def sequence(self):
        if self.chance(0.4):
            mask = self.masks and self.chance(0.5)
            x = self.layers.Embedding(9, self.size() + 1, mask_zero=mask)(self.input("tokens"))
            return self.layers.SpatialDropout1D(0.2)(x) if self.chance(0.2) else x
        x = self.input("sequence")
        return self.layers.Masking()(x) if self.masks and self.chance(0.35) else x

    # -- recurrent layers -------------------------------------------------------------------------------------------

    def cell(self, units):
        kind = self.pick("LSTM", "GRU", "SimpleRNN")
        return getattr(self.layers, f"{kind}Cell")(units, **self.recurrent_options(kind))

    def recurrent_options(self, kind):
        options = {"use_bias": self.pick(True, True, False), "activation": self.pick(*STATES)}
        if kind == "GRU":
            options["reset_after"] = self.pick(True, False)
        if kind != "SimpleRNN":
            options["recurrent_activation"] = self.pick(*GATES)
        if kind == "LSTM" and self.chance(0.2):
            options["unit_forget_bias"] = False
        return options

    def recurrent(self, x, **options):
        """A layer, and whether it is bidirectional."""
        units = self.size()
        if self.chance(0.2):
            options["go_backwards"] = True
        if x.shape[1] is not None and self.chance(0.15):
            options["unroll"] = True
        if self.chance(0.15):
            cells = [self.cell(self.size()) for _ in range(self.size(3))]
            return self.layers.RNN(cells if len(cells) > 1 else cells[0], **options)
        kind = self.pick("LSTM", "LSTM", "GRU", "SimpleRNN")
        one = getattr(self.layers, kind)(units, **self.recurrent_options(kind), **options)
        if self.chance(0.35):
            return self.layers.Bidirectional(one, merge_mode=self.pick("concat", "concat", "sum", "ave", "mul"))
        return one

    def states(self, x):
        """An encoder whose states a decoder starts from."""
        units, kind = self.size(), self.pick("LSTM", "GRU")
        layer = getattr(self.layers, kind)
        encoder = layer(units, return_state=True, return_sequences=self.chance(0.5), **self.recurrent_options(kind))
        _, *states = encoder(x)
        decoder = layer(units, return_sequences=True, **self.recurrent_options(kind))
        other = self.sequence() if self.chance(0.3) and len(self.inputs) < 3 else x
        return decoder(other, initial_state=states)

    # -- one more layer ---------------------------------------------------------------------------------------------

    def dense(self, x, units=None):
        return self.layers.Dense(units or self.size(), activation=self.activation(), use_bias=self.chance(0.8))(x)

    def simple(self, x):
        """A layer that keeps the shape, whatever it is."""
        layers = self.layers
        made = [
            lambda: layers.Activation(self.activation()),
            lambda: layers.ReLU(max_value=self.pick(None, 6.0), negative_slope=self.pick(0.0, 0.2)),
            lambda: layers.LeakyReLU(),
            lambda: layers.ELU(),
            lambda: layers.PReLU(shared_axes=list(range(1, len(x.shape) - 1)) or None),
            lambda: layers.Softmax(),
            lambda: layers.Dropout(0.3),
            lambda: layers.GaussianNoise(0.3),
            lambda: layers.BatchNormalization(epsilon=self.pick(1e-3, 1e-2), scale=self.chance(0.8)),
            lambda: layers.LayerNormalization(center=self.chance(0.8), epsilon=1e-2),
            lambda: layers.UnitNormalization(),
            lambda: layers.Rescaling(0.5, offset=0.1),
            lambda: layers.Normalization(mean=0.3, variance=2.0),
        ]
        one = self.pick(*made)()
        if type(one).__name__ == "Softmax" and getattr(x, "_keras_mask", None) is not None:
            one = layers.ReLU()
        return one(x)

    def merged(self, x, other):
        layers = self.layers
        kind = self.rng.integers(7)
        if kind == 6:
            return layers.Concatenate(axis=self.pick(-1, -1, 1) if x.shape[1] is not None else -1)([x, other])
        kinds = (layers.Add, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Subtract)
        return kinds[kind]()([x, other])

    def on_sequence(self, x):
        layers, features, time = self.layers, x.shape[-1], x.shape[1]
        kind = self.rng.integers(20)
        if kind < 6:
            return self.recurrent(x, return_sequences=True)(x)
        if kind == 6:
            return self.dense(x)
        if kind == 7:
            padding = self.pick("same", "causal", "valid")
            more = self.pick({"strides": self.size(3)}, {"dilation_rate": self.size(3)})
            return layers.Conv1D(self.size(), self.size(3), padding=padding, activation=self.activation(), **more)(x)
        if kind == 8:
            return layers.SeparableConv1D(features, 3, padding="same", depth_multiplier=self.size(3))(x)
        if kind == 9:
            return layers.TimeDistributed(layers.Dense(self.size(), activation=self.activation()))(x)
        if kind == 10:
            return self.merged(x, self.dense(x, features))
        if kind == 11:
            return self.merged(x, layers.LSTM(features, return_sequences=True)(x))
        if kind == 12:
            query = layers.Dense(features)(x)
            one = layers.Attention(use_scale=self.chance(0.5), score_mode=self.pick("dot", "concat"))
            return (one if self.chance(0.6) else layers.AdditiveAttention(use_scale=self.chance(0.5)))([query, x])
        if kind == 13:
            one = layers.MultiHeadAttention(self.size(4), self.size(4), use_bias=self.chance(0.5))
            return one(x, x, use_causal_mask=self.chance(0.4))
        if kind == 14 and time is not None and time > 3:
            pool = self.pick(layers.MaxPooling1D, layers.AveragePooling1D)
            return pool(2, strides=self.pick(None, 1), padding=self.pick("same", "valid"))(x)
        if kind == 15:
            if time is not None and time > 3 and self.chance(0.5):
                return layers.Cropping1D((1, self.pick(0, 1)))(x)
            return self.pick(layers.ZeroPadding1D((1, 2)), layers.UpSampling1D(2))(x)
        if kind == 16:
            return self.states(x)
        if kind == 17:
            return self.shared(x)
        if kind == 18 and self.three:
            return layers.EinsumDense("abc,cd->abd", output_shape=(None, self.size()), bias_axes="d")(x)
        if kind == 19:
            return self.operators(x)
        return self.simple(x)

    def operators(self, x):
        """Python's operators and the functions of a framework."""
        kind = self.rng.integers(5)
        if kind == 0:
            return x * 0.5 + self.layers.Dense(x.shape[-1])(x)
        if kind == 1:
            return 1.0 - x
        if kind == 2 and (x.shape[1] or 0) > 2:
            return x[:, 1:]
        if kind == 3 and x.shape[1] is not None:
            return x - self.layers.Dense(x.shape[-1])(x[:, -1:])
        return x / 2.0

    def shared(self, x):
        """One layer or a whole model, called twice."""
        features = x.shape[-1]
        if self.chance(0.5):
            one = self.layers.LSTM(features, return_sequences=True)
            return self.merged(one(x), one(self.layers.Dense(features)(x)))
        inside = self.keras.Input(x.shape[1:], batch_size=self.batch)
        made = self.dense(self.layers.GRU(features, return_sequences=True)(inside), features)
        model = self.keras.Model(inside, made)
        return self.merged(model(x), model(self.simple(x)))

    def on_vector(self, x):
        kind = self.rng.integers(5)
        if kind == 0:
            return self.merged(x, self.dense(x, x.shape[-1]))
        if kind == 1:
            return self.simple(x)
        if kind == 2:
            return self.layers.Concatenate()([x, self.dense(x)])
        return self.dense(x)

    def on_image(self, x):
        layers = self.layers
        kind = self.rng.integers(10)
        padding = self.pick("same", "valid") if min(x.shape[1:3]) > 3 else "same"
        how = {"padding": padding, "activation": self.activation()}
        if kind < 2:
            more = self.pick({"strides": self.size(3)}, {"dilation_rate": self.size(3)} if padding == "same" else {})
            return layers.Conv2D(self.size(), self.pick(1, 2, 3), **how, **more)(x)
        if kind == 2:
            return layers.DepthwiseConv2D(2, depth_multiplier=self.size(3), **how)(x)
        if kind == 3:
            return layers.SeparableConv2D(self.size(), 2, **how)(x)
        if kind == 4:
            return layers.Conv2DTranspose(self.size(), self.pick(2, 3), strides=self.size(3), **how)(x)
        if kind == 5:
            pool = self.pick(layers.MaxPooling2D, layers.AveragePooling2D)
            return pool(2, strides=self.pick(None, 1), padding=padding)(x)
        if kind == 6:
            return self.pick(layers.ZeroPadding2D(((1, 0), (2, 1))), layers.UpSampling2D(2))(x)
        if kind == 7:
            return self.merged(x, layers.Conv2D(x.shape[-1], 3, padding="same")(x))
        return self.simple(x)

    # -- from one kind to another -----------------------------------------------------------------------------------

    def vector(self, x):
        """(batch, features) of a sequence or an image."""
        layers = self.layers
        if len(x.shape) == 4:
            return self.pick(layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.Flatten)()(x)
        if len(x.shape) == 2:
            return x
        kind = self.rng.integers(6)
        if kind < 3:
            return self.recurrent(x)(x)
        if kind == 3:
            return self.pick(layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D)()(x)
        if kind == 4 or x.shape[1] is None:
            return x[:, -1]
        return layers.Flatten()(x)

    def repeated(self, x):
        """A sequence of a vector."""
        layers = self.layers
        if self.chance(0.6):
            return layers.RepeatVector(self.size() + 1)(x)
        return layers.Reshape((x.shape[-1], 1))(x) if self.chance(0.5) else layers.Reshape((1, x.shape[-1]))(x)

    def images_to_sequence(self, x):
        rows, columns, channels = x.shape[1:]
        if self.chance(0.5):
            return self.layers.TimeDistributed(self.layers.Flatten())(x)
        return self.layers.Reshape((rows * columns, channels))(self.layers.Permute((2, 1, 3))(x))

    def film(self):
        """A ConvLSTM over frames."""
        x, layers = self.input("film"), self.layers
        options = {"padding": self.pick("same", "valid"), "return_sequences": self.chance(0.5)}
        x = layers.ConvLSTM2D(self.size(4), 2, **options)(x)
        if options["return_sequences"]:
            x = layers.TimeDistributed(layers.Conv2D(self.size(), 2, activation=self.activation()))(x)
            return layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
        return x

    # -- a whole model ----------------------------------------------------------------------------------------------

    def branch(self):
        kind = self.rng.integers(10)
        if kind < 6:
            x = self.sequence()
        elif kind == 6:
            x = self.film()
        elif kind == 7:
            x = self.input("vector")
        else:
            x = self.input("image")
        for _ in range(self.size(5)):
            if len(x.shape) == 2:
                x = self.on_vector(x) if self.chance(0.6) else self.repeated(x)
            elif len(x.shape) == 3:
                x = self.on_sequence(x) if self.chance(0.9) else self.vector(x)
            else:
                x = self.on_image(x) if self.chance(0.8) else self.images_to_sequence(x)
        return x

    def end(self, x):
        """An output."""
        kind = self.rng.integers(3)
        if kind == 0 and len(x.shape) == 3:
            return self.dense(x, 2)
        return self.dense(self.vector(x), 3) if kind else self.dense(x, 2)

    def model(self):
        """A model and the inputs to try it with."""
        x = self.branch()
        if self.chance(0.2):
            x = self.merged_vectors(x, self.branch())
        outputs = [self.end(x) for _ in range(self.pick(1, 1, 1, 2))]
        model = self.keras.Model(self.inputs if len(self.inputs) > 1 else self.inputs[0], outputs)
        return randomized(model, self.rng), self.given

    def merged_vectors(self, x, other):
        x, other = self.vector(x), self.vector(other)
        if self.chance(0.2):
            return self.layers.Dot(axes=-1)([self.layers.Dense(4)(x), self.layers.Dense(4)(other)])
        return self.layers.Concatenate()([x, other])


def randomized(model, rng, scale=0.4):
    """Random weights; variances stay positive."""
    for weight in model.weights:
        if "seed" in weight.name or "count" in weight.name:
            continue
        value = rng.normal(size=weight.shape, scale=scale)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else value)
    return model


def models(keras, count, seed, **options):
    """Random models with their inputs and number; what Keras itself refuses to put together is left out."""
    for k in range(count):
        try:
            yield k, *Maker(keras, [seed, k], **options).model()
        except (ValueError, TypeError, NotImplementedError):
            continue
