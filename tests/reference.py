"""The oracle: an LSTM in float64 NumPy, written from the definition. Shares no code with the engine.

    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of  W x_t + R h_{t-1} + b
    c_t = f c_{t-1} + i g,    h_t = W_hr (o tanh(c_t))

(Hochreiter & Schmidhuber 1997; Gers et al. 2000; the form of torch.nn.LSTM's documentation), and the variants that
fusedlstm.cell lists, each where its source has it: peepholes (Gers & Schmidhuber 2000), projection (Sak et al. 2014),
layer normalisation (Ba et al. 2016), zoneout (Krueger et al. 2017), ONNX's, Keras's and TFLite's options.
Written for one row of the batch at a time, so that lengths and masks need no tricks.
"""

import math

import numpy as np


def sigmoid(z):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


erf = np.vectorize(math.erf, otypes=[float])

# name -> f(x, alpha, beta): https://onnx.ai/onnx/operators/onnx__LSTM.html and keras.activations
ACTIVATIONS = {
    "affine": lambda x, a, b: a * x + b,
    "clipped_relu": lambda x, a, b: np.clip(x, 0, a),
    "elu": lambda x, a, b: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))),
    "exponential": lambda x, a, b: np.exp(x),
    "gelu": lambda x, a, b: x * 0.5 * (1 + erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x, a, b: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "hard_sigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "leaky_relu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "mish": lambda x, a, b: x * np.tanh(np.logaddexp(0, x)),
    "relu": lambda x, a, b: np.maximum(x, 0),
    "scaled_tanh": lambda x, a, b: a * np.tanh(b * x),
    "selu": lambda x, a, b: b * np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))),
    "sigmoid": lambda x, a, b: sigmoid(x),
    "silu": lambda x, a, b: x * sigmoid(x),
    "softplus": lambda x, a, b: np.logaddexp(0, x),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "tanh": lambda x, a, b: np.tanh(x),
    "thresholded_relu": lambda x, a, b: np.where(x >= a, x, 0),
}


def apply(activation, x):
    return ACTIVATIONS[activation.name](x, activation.alpha, activation.beta)


def normalise(z, epsilon):
    return (z - z.mean()) / np.sqrt(z.var() + epsilon)


def cell(one, x_t, h, c):
    """One step of one direction: x_t (input,), h (output,), c (hidden,)."""
    how = one.cell

    def array(name, missing=0.0):
        value = getattr(one, name)
        return missing if value is None else value.astype(float)

    def gate(z, name):
        """Normalise and clip one gate's pre-activation."""
        at = slice("ifgo".index(name) * c.size, ("ifgo".index(name) + 1) * c.size)
        if how.gate_norm == "gates":
            z = normalise(z, how.norm_epsilon) * array("norm_ih")[at] + (0.0 if one.bias is None else array("bias")[at])
        return np.clip(z, -how.gate_clip, how.gate_clip)

    from_x, from_h = array("weight_ih") @ x_t, array("weight_hh") @ h
    if how.gate_norm == "sides":
        from_x = normalise(from_x, how.norm_epsilon) * array("norm_ih")
        from_h = normalise(from_h, how.norm_epsilon) * array("norm_hh")
    z = from_x + from_h + (0.0 if how.gate_norm == "gates" else array("bias"))
    z_i, z_f, z_g, z_o = np.split(z, 4)
    i = apply(how.gate, gate(z_i + array("peephole_i") * c, "i"))
    f = apply(how.gate, gate(z_f + array("peephole_f") * c, "f"))
    if how.coupled == "forget":
        f = 1 - i
    elif how.coupled == "input":
        i = 1 - f
    new_c = np.clip(f * c + i * apply(how.candidate, gate(z_g, "g")), -how.cell_clip, how.cell_clip)
    if how.cell_norm == "carried":
        new_c = normalise(new_c, how.norm_epsilon) * array("norm_c") + array("norm_c_bias")
    o = apply(how.gate, gate(z_o + array("peephole_o") * new_c, "o"))
    seen = new_c
    if how.cell_norm == "output":
        seen = normalise(new_c, how.norm_epsilon) * array("norm_c") + array("norm_c_bias")
    new_h = o * apply(how.output, seen)
    if one.weight_hr is not None:
        new_h = np.clip(array("weight_hr") @ new_h + array("bias_hr"), -how.projection_clip, how.projection_clip)
    return (
        how.hidden_zoneout * h + (1 - how.hidden_zoneout) * new_h,
        how.cell_zoneout * c + (1 - how.cell_zoneout) * new_c,
    )


def lstm(weights, x, state=None, lengths=None, mask=None):
    """y, (h, c) as torch.nn.LSTM defines them, always batch first.

    x (batch, time, input); h, c (layers * directions, batch, ...), or lists of (directions, batch, ...) for layers that
    differ in size; y is zero (or as weights.padding says) past a row's length and where mask (batch, time) is False;
    a pair where weights.merge is "none".
    """
    x = np.asarray(x, dtype=float)
    batch, time, _ = x.shape
    directions = 2 if weights.bidirectional else 1
    if state is None:
        state = weights.initial_state and tuple(
            [np.repeat(one[:, None], batch, axis=1) for one in part] for part in weights.initial_state
        )
    if state is None:
        state = tuple(
            [np.zeros((directions, batch, getattr(layer[0], size))) for layer in weights.layers]
            for size in ("output_size", "hidden_size")
        )
    if isinstance(state[0], np.ndarray):  # all layers in one array
        state = tuple(np.split(part, weights.num_layers) for part in state)
    h_n, c_n = ([np.array(one, dtype=float) for one in part] for part in state)
    if mask is None:
        mask = (
            np.arange(time) < np.full(batch, time)[:, None]
            if lengths is None
            else np.arange(time) < np.asarray(lengths)[:, None]
        )
    for k, layer in enumerate(weights.layers):
        y = [np.zeros((batch, time, one.output_size)) for one in layer]
        for d, one in enumerate(layer):
            for b in range(batch):
                h, c = h_n[k][d, b], c_n[k][d, b]
                for t in range(time) if d == 0 and not weights.reverse else reversed(range(time)):
                    if mask[b, t]:
                        h, c = cell(one, x[b, t], h, c)
                        y[d][b, t] = h
                h_n[k][d, b], c_n[k][d, b] = h, c
        merge = {
            "concat": lambda y: np.concatenate(y, axis=-1),
            "sum": sum,
            "mul": lambda y: y[0] * y[-1] if len(y) == 2 else y[0],
            "ave": lambda y: sum(y) / len(y),
            "none": lambda y: tuple(y) if len(y) == 2 else y[0],
        }
        y = merge[weights.merge](y)
        x = np.where(mask[..., None], y + x, 0) if weights.residual and weights.residual[k] else y
    if weights.padding == "repeat":  # one direction
        for b in range(batch):
            last = np.zeros(x.shape[-1])
            for t in reversed(range(time)) if weights.reverse else range(time):
                last = x[b, t] = x[b, t] if mask[b, t] else last
    if weights.flip_output:
        x = x[:, ::-1]
    if len({one.shape for one in h_n}) == len({one.shape for one in c_n}) == 1:
        h_n, c_n = np.concatenate(h_n), np.concatenate(c_n)
    return x, (h_n, c_n)
