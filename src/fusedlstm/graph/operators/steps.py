"""One step of LSTM, GRU and RNN cells in float64, for a batch, and the loops over time around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...weights import Activation, DirectionWeights, LSTMWeights
from .activations import elu, sigmoid, softplus
from .elementwise import erf
from .operator import Array

States = tuple[Array, ...]

_FUNCTIONS: dict[str, Callable[[Array, float, float], Array]] = {
    "affine": lambda x, a, b: a * x + b,
    "elu": lambda x, a, b: elu(x, a),
    "exponential": lambda x, a, b: np.exp(x),
    "gelu": lambda x, a, b: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x, a, b: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "hard_sigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "leaky_relu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "relu": lambda x, a, b: np.maximum(x, 0),
    "scaled_tanh": lambda x, a, b: a * np.tanh(b * x),
    "sigmoid": lambda x, a, b: sigmoid(x),
    "silu": lambda x, a, b: x * sigmoid(x),
    "softplus": lambda x, a, b: softplus(x),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "tanh": lambda x, a, b: np.tanh(x),
    "thresholded_relu": lambda x, a, b: np.where(x >= a, x, 0),
}


def activate(how: Activation, x: Array) -> Array:
    """Apply an activation."""
    assert how.alpha is not None and how.beta is not None
    return _FUNCTIONS[how.name](x, how.alpha, how.beta)


def _normal(z: Array, epsilon: float) -> Array:
    return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + epsilon)


def lstm_step(one: DirectionWeights, x: Array, h: Array, c: Array) -> States:
    """The new h and c of (batch, features) arrays; the order of operations is that of `fusedlstm.cell`."""
    how, hidden = one.cell, one.hidden_size
    own = {name: array.astype(np.float64) for name, array in one.arrays.items()}
    from_x, from_h = x @ own["weight_ih"].T, h @ own["weight_hh"].T
    if how.gate_norm == "sides":
        from_x = _normal(from_x, how.norm_epsilon) * own["norm_ih"]
        from_h = _normal(from_h, how.norm_epsilon) * own["norm_hh"]
    bias = own.get("bias", np.zeros(4 * hidden))
    sums = np.split(from_x + from_h + (0 if how.gate_norm == "gates" else bias), 4, -1)

    def gate(k: int, state: Array | None = None, peephole: str = "") -> Array:
        z = sums[k] if state is None or peephole not in own else sums[k] + own[peephole] * state
        if how.gate_norm == "gates":
            at = slice(k * hidden, (k + 1) * hidden)
            z = _normal(z, how.norm_epsilon) * own["norm_ih"][at] + bias[at]
        return np.clip(z, -how.gate_clip, how.gate_clip)

    i, f = (activate(how.gate, gate(k, c, name)) for k, name in enumerate(("peephole_i", "peephole_f")))
    if how.coupled:
        i, f = (i, 1 - i) if how.coupled == "forget" else (1 - f, f)
    new_c = np.clip(f * c + i * activate(how.candidate, gate(2)), -how.cell_clip, how.cell_clip)
    gain, shift = own.get("norm_c", 1.0), own.get("norm_c_bias", 0.0)
    if how.cell_norm == "carried":
        new_c = _normal(new_c, how.norm_epsilon) * gain + shift
    o = activate(how.gate, gate(3, new_c, "peephole_o"))
    seen = _normal(new_c, how.norm_epsilon) * gain + shift if how.cell_norm == "output" else new_c
    new_h = o * activate(how.output, seen)
    if one.weight_hr is not None:
        new_h = np.clip(new_h @ own["weight_hr"].T + own.get("bias_hr", 0), -how.projection_clip, how.projection_clip)
    return (
        how.hidden_zoneout * h + (1 - how.hidden_zoneout) * new_h,
        how.cell_zoneout * c + (1 - how.cell_zoneout) * new_c,
    )


def over_time(
    step: Callable[..., States], x: Array, states: States, lengths: Array | None, reverse: bool
) -> tuple[Array, States]:
    """Run a step along x (time, batch, features): y, zero past a row's length, and the last states."""
    time, batch = x.shape[:2]
    y = np.zeros((time, batch, states[0].shape[-1]))
    for t in reversed(range(time)) if reverse else range(time):
        new = step(x[t], *states)
        if lengths is None:
            states = new
        else:
            valid = (t < lengths)[:, None]
            states = tuple(np.where(valid, one, old) for one, old in zip(new, states))
        y[t] = states[0] if lengths is None else np.where(valid, states[0], 0)
    return y, states


_MERGES: dict[str, Callable[[Sequence[Array]], Array]] = {
    "concat": lambda y: np.concatenate(y, -1),
    "sum": lambda y: sum(y),
    "mul": lambda y: np.prod(y, axis=0),
    "ave": lambda y: sum(y) / len(y),
}


def run_lstm(
    weights: LSTMWeights, x: Array, h_0: Array | None, c_0: Array | None, lengths: Array | None
) -> tuple[Array, Array, Array]:
    """y (time, batch, features) and h, c (layers * directions, batch, ...) of x (time, batch, features), in float64."""
    directions, batch = 2 if weights.bidirectional else 1, x.shape[1]
    x, finals = x.astype(np.float64), []
    for k, layer in enumerate(weights.layers):
        outputs = []
        for d, one in enumerate(layer):
            learned = weights.initial_state if h_0 is None and c_0 is None else None
            states = tuple(
                _first_state(given, None if learned is None else learned[n][k], k * directions, d, (batch, size))
                for n, (given, size) in enumerate(((h_0, one.output_size), (c_0, one.hidden_size)))
            )
            y, last = over_time(
                lambda *values, one=one: lstm_step(one, *values), x, states, lengths, weights.reverse or d == 1
            )
            outputs.append(y)
            finals.append(last)
        merged = _MERGES[weights.merge](outputs)
        if weights.residual and weights.residual[k]:
            valid = 1 if lengths is None else (np.arange(len(x))[:, None] < lengths)[..., None]
            merged = (merged + x) * valid
        x = merged
    if weights.padding == "repeat" and lengths is not None:
        order = reversed(range(len(x))) if weights.reverse else range(len(x))
        last_y = np.zeros(x.shape[1:])
        for t in order:
            last_y = x[t] = np.where((t < lengths)[:, None], x[t], last_y)
    if weights.flip_output:
        x = x[::-1]
    return x, np.stack([one[0] for one in finals]), np.stack([one[1] for one in finals])


def _first_state(given: Array | None, learned: Any, row: int, d: int, shape: tuple[int, int]) -> Array:
    """A state of one direction: the caller's, the model's own, or zeros."""
    if given is not None:
        return given[row + d].astype(np.float64)
    return np.zeros(shape) if learned is None else np.broadcast_to(np.asarray(learned)[d], shape).astype(np.float64)


def gru_step(w: Array, r: Array, b: Array, before_reset: bool, clip: float, functions: Any) -> Callable[..., States]:
    """ONNX's GRU: gates z, r, h in w (3H, input), r (3H, H) and b (6H)."""
    hidden = r.shape[1]
    (w_z, w_r, w_h), (r_z, r_r, r_h), bias = np.split(w, 3), np.split(r, 3), np.split(b, 6)
    gate, candidate = functions

    def step(x: Array, h: Array) -> States:
        z = activate(gate, np.clip(x @ w_z.T + h @ r_z.T + bias[0] + bias[3], -clip, clip))
        reset = activate(gate, np.clip(x @ w_r.T + h @ r_r.T + bias[1] + bias[4], -clip, clip))
        back = reset * (h @ r_h.T + bias[5]) if before_reset else (reset * h) @ r_h.T + bias[5]
        new = activate(candidate, np.clip(x @ w_h.T + back + bias[2], -clip, clip))
        return ((1 - z) * new + z * h,)

    assert w.shape[0] == 3 * hidden
    return step


def rnn_step(w: Array, r: Array, b: Array, clip: float, functions: Any) -> Callable[..., States]:
    """ONNX's RNN: w (H, input), r (H, H), b (2H)."""

    def step(x: Array, h: Array) -> States:
        return (activate(functions[0], np.clip(x @ w.T + h @ r.T + b[: len(w)] + b[len(w) :], -clip, clip)),)

    return step
