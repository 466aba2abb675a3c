"""TensorFlow 1's LSTMCell in float64, from rnn_cell_impl's documentation: gates i, j, f, o; the forget bias at run time."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def variables(rng, scope, size, hidden, proj=0, peepholes=False, suffix=""):
    shapes = {"kernel": (size + (proj or hidden), 4 * hidden), "bias": (4 * hidden,)}
    if peepholes:
        shapes |= {f"w_{gate}_diag": (hidden,) for gate in "fio"}
    if proj:
        shapes["projection/kernel"] = (hidden, proj)
    return {
        f"{scope}{name}{suffix}": rng.uniform(-0.7, 0.7, shape).astype(np.float32) for name, shape in shapes.items()
    }


def run(arrays, x, forget_bias=1.0, cell_clip=None, proj_clip=None):
    """y, h and c of a cell whose variables are named without scope; x (batch, time, input)."""
    v = {name: array.astype(float) for name, array in arrays.items()}
    hidden = v["bias"].size // 4
    c = np.zeros((len(x), hidden))
    m = np.zeros((len(x), v["projection/kernel"].shape[1] if "projection/kernel" in v else hidden))
    y = []
    for x_t in x.astype(float).swapaxes(0, 1):
        i, j, f, o = np.split(np.concatenate([x_t, m], 1) @ v["kernel"] + v["bias"], 4, axis=1)
        f = sigmoid(f + forget_bias + v.get("w_f_diag", 0) * c)
        c = f * c + sigmoid(i + v.get("w_i_diag", 0) * c) * np.tanh(j)
        c = c if cell_clip is None else np.clip(c, -cell_clip, cell_clip)
        m = sigmoid(o + v.get("w_o_diag", 0) * c) * np.tanh(c)
        if "projection/kernel" in v:
            m = m @ v["projection/kernel"]
            m = m if proj_clip is None else np.clip(m, -proj_clip, proj_clip)
        y.append(m)
    return np.stack(y, 1), m, c
