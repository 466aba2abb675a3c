"""The oracle: an LSTM in float64 NumPy, written from the definition. Shares no code with the engine.

    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of  W x_t + R h_{t-1} + b
    c_t = f c_{t-1} + i g,    h_t = W_hr (o tanh(c_t))

(Hochreiter & Schmidhuber 1997; Gers et al. 2000; the form of torch.nn.LSTM's documentation.)
Written for one row of the batch at a time, so that lengths need no masks.
"""

import numpy as np


def sigmoid(z):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


def cell(one, x_t, h, c):
    """One step of one direction: x_t (input,), h (output,), c (hidden,)."""
    z = one.weight_ih.astype(float) @ x_t + one.weight_hh.astype(float) @ h
    if one.bias is not None:
        z = z + one.bias
    i, f, g, o = np.split(z, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    if one.weight_hr is not None:
        h = one.weight_hr.astype(float) @ h
    return h, c


def lstm(weights, x, state=None, lengths=None):
    """y, (h, c) as torch.nn.LSTM defines them, always batch first.

    x (batch, time, input); h, c (layers * directions, batch, ...); y is zero past a row's length.
    """
    x = np.asarray(x, dtype=float)
    batch, time, _ = x.shape
    directions = 2 if weights.bidirectional else 1
    hidden, out = weights.hidden_size, weights.layers[0][0].output_size
    if state is None:
        state = (np.zeros((weights.num_layers * directions, batch, size)) for size in (out, hidden))
    h_n, c_n = (np.array(s, dtype=float) for s in state)
    for k, layer in enumerate(weights.layers):
        y = np.zeros((batch, time, directions * out))
        for d, one in enumerate(layer):
            for b in range(batch):
                length = time if lengths is None else lengths[b]
                h, c = h_n[k * directions + d, b], c_n[k * directions + d, b]
                for t in range(length) if d == 0 else reversed(range(length)):
                    h, c = cell(one, x[b, t], h, c)
                    y[b, t, d * out : (d + 1) * out] = h
                h_n[k * directions + d, b], c_n[k * directions + d, b] = h, c
        x = y
    return x, (h_n, c_n)
