"""Cells that no framework here runs, each against its equations written down once more, apart from tests/reference.py.

All float64, one row at a time, gates i, f, g, o.
"""

import numpy as np
import pytest

import fusedlstm as fl

H, INPUT, TIME = 19, 6, 12
LIMIT = 3e-6  # 12 steps of float32 rounding, amplified by the normalisations


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def layer_norm(z, epsilon):
    """Ba, Kiros and Hinton (2016), eq. 4, without gain and bias."""
    return (z - np.mean(z)) / np.sqrt(np.mean((z - np.mean(z)) ** 2) + epsilon)


class Numbers:
    """Random float32 weights, by name, the same in float64."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def matrix(self, *shape):
        return (self.rng.uniform(-1, 1, shape) / np.sqrt(shape[-1])).astype(np.float32)

    def gain(self, size):
        return self.rng.uniform(0.5, 1.5, size).astype(np.float32)


def compare(one, step, rows=3):
    """Run the cell and `step(x, h, c) -> h, c` over the same sequences, from a state that is not zero."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((rows, TIME, INPUT)).astype(np.float32)
    h_0 = rng.uniform(-1, 1, (1, rows, one.output_size)).astype(np.float32)
    c_0 = rng.uniform(-1, 1, (1, rows, H)).astype(np.float32)
    y, (h_n, c_n) = fl.LSTM(fl.LSTMWeights([[one]]))(x, (h_0, c_0))
    for b in range(rows):
        h, c = h_0[0, b].astype(float), c_0[0, b].astype(float)
        for t in range(TIME):
            h, c = step(x[b, t].astype(float), h, c)
            assert np.abs(y[b, t] - h).max() <= LIMIT, t
        assert np.abs(h_n[0, b] - h).max() <= LIMIT and np.abs(c_n[0, b] - c).max() <= LIMIT


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("peephole", [False, True])
def test_tflite_layer_norm(isa, coupled, peephole):
    """TensorFlow Lite's UNIDIRECTIONAL_SEQUENCE_LSTM with layer norm: each gate's sum is normalised, times its
    coefficients, then the bias; with CIFG i = 1 - f; cell_clip limits c before the output peephole sees it; a projection
    with a bias and proj_clip."""
    numbers = Numbers(1)
    w, r, b = numbers.matrix(4 * H, INPUT), numbers.matrix(4 * H, 7), numbers.matrix(4 * H)
    gain, project, project_bias = numbers.gain(4 * H), numbers.matrix(7, H), numbers.matrix(7)
    p_i, p_f, p_o = (numbers.matrix(H) if peephole else None for _ in range(3))
    cell = fl.Cell(
        coupled="input" if coupled else "",
        cell_clip=0.7,
        projection_clip=0.5,
        gate_norm="gates",
        norm_epsilon=1e-8,
    )
    one = fl.DirectionWeights(w, r, b, project, project_bias, p_i, p_f, p_o, norm_ih=gain, cell=cell)

    def gate(k, x, h, peep, c):
        rows = slice(k * H, (k + 1) * H)
        z = w[rows] @ x + r[rows] @ h + (peep * c if peep is not None else 0)
        return layer_norm(z, 1e-8) * gain[rows] + b[rows]

    def step(x, h, c):
        f = sigmoid(gate(1, x, h, p_f, c))
        i = 1 - f if coupled else sigmoid(gate(0, x, h, p_i, c))
        c = np.clip(f * c + i * np.tanh(gate(2, x, h, None, c)), -0.7, 0.7)
        o = sigmoid(gate(3, x, h, p_o, c))
        return np.clip(project.astype(float) @ (o * np.tanh(c)) + project_bias, -0.5, 0.5), c

    compare(one, step)


def test_tensorflow_addons_layer_norm(isa):
    """LayerNormLSTMCell: both products normalised over all four gates, and the normalised c is the state; epsilon 1e-3."""
    numbers = Numbers(2)
    w, r, b = numbers.matrix(4 * H, INPUT), numbers.matrix(4 * H, H), numbers.matrix(4 * H)
    kernel_gain, recurrent_gain, state_gain, state_beta = (
        *(numbers.gain(4 * H) for _ in range(2)),
        numbers.gain(H),
        numbers.matrix(H),
    )
    cell = fl.Cell(gate_norm="sides", cell_norm="carried", norm_epsilon=1e-3)
    arrays = {"norm_ih": kernel_gain, "norm_hh": recurrent_gain, "norm_c": state_gain, "norm_c_bias": state_beta}

    def step(x, h, c):
        z = layer_norm(w @ x, 1e-3) * kernel_gain + layer_norm(r @ h, 1e-3) * recurrent_gain + b
        i, f, g, o = np.split(z, 4)
        c = layer_norm(sigmoid(f) * c + sigmoid(i) * np.tanh(g), 1e-3) * state_gain + state_beta
        return sigmoid(o) * np.tanh(c), c

    compare(fl.DirectionWeights(w, r, b, **arrays, cell=cell), step)


def test_haste_layer_norm_with_zoneout(isa):
    """LayerNormLSTM of Haste: the carried c is not normalised, only what h sees; zoneout of h as an average."""
    numbers = Numbers(3)
    w, r, b = numbers.matrix(4 * H, INPUT), numbers.matrix(4 * H, H), numbers.matrix(4 * H)
    gamma_x, gamma_h, gamma_c, beta_c = (*(numbers.gain(4 * H) for _ in range(2)), numbers.gain(H), numbers.matrix(H))
    cell = fl.Cell(gate_norm="sides", cell_norm="output", norm_epsilon=1e-5, hidden_zoneout=0.1)
    arrays = {"norm_ih": gamma_x, "norm_hh": gamma_h, "norm_c": gamma_c, "norm_c_bias": beta_c}

    def step(x, h, c):
        z = layer_norm(w @ x, 1e-5) * gamma_x + layer_norm(r @ h, 1e-5) * gamma_h + b
        i, f, g, o = np.split(z, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new = sigmoid(o) * np.tanh(layer_norm(c, 1e-5) * gamma_c + beta_c)
        return 0.1 * h + 0.9 * new, c

    compare(fl.DirectionWeights(w, r, b, **arrays, cell=cell), step)


def test_zoneout(isa):
    """Krueger et al. (2017), eq. 2 and 3, with the expected masks, as at inference: h sees the c that is not zoned out."""
    numbers = Numbers(4)
    w, r, b = numbers.matrix(4 * H, INPUT), numbers.matrix(4 * H, H), numbers.matrix(4 * H)
    z_c, z_h = 0.5, 0.05

    def step(x, h, c):
        i, f, g, o = np.split(w @ x + r @ h + b, 4)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return z_h * h + (1 - z_h) * sigmoid(o) * np.tanh(new_c), z_c * c + (1 - z_c) * new_c

    compare(fl.DirectionWeights(w, r, b, cell=fl.Cell(cell_zoneout=z_c, hidden_zoneout=z_h)), step)


def test_peepholes(isa):
    """Gers and Schmidhuber (2000): the input and forget gates see the old c, the output gate the new one."""
    numbers = Numbers(5)
    w, r, b = numbers.matrix(4 * H, INPUT), numbers.matrix(4 * H, H), numbers.matrix(4 * H)
    p_i, p_f, p_o = numbers.matrix(3, H)

    def step(x, h, c):
        i, f, g, o = np.split(w @ x + r @ h + b, 4)
        new_c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
        return sigmoid(o + p_o * new_c) * np.tanh(new_c), new_c

    compare(fl.DirectionWeights(w, r, b, peephole_i=p_i, peephole_f=p_f, peephole_o=p_o), step)
