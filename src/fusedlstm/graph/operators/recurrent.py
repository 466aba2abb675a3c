"""LSTM, GRU and RNN as ONNX has them (https://onnx.ai/onnx/operators/onnx__LSTM.html)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...weights import Activation, Cell, DirectionWeights, LSTMWeights, reorder_gates
from .operator import (
    Array,
    Attribute,
    Attributes,
    Call,
    Shape,
    TensorType,
    differ,
    flag,
    integer,
    number,
    operator,
    same_types,
    text,
)
from .steps import States, gru_step, over_time, rnn_step, run_lstm

# The engine's name of each activation, and the parameters that it takes.
_ACTIVATIONS = {
    "affine": ("affine", ("alpha", "beta")),
    "elu": ("elu", ("alpha",)),
    "hardsigmoid": ("hard_sigmoid", ("alpha", "beta")),
    "leakyrelu": ("leaky_relu", ("alpha",)),
    "relu": ("relu", ()),
    "scaledtanh": ("scaled_tanh", ("alpha", "beta")),
    "sigmoid": ("sigmoid", ()),
    "softplus": ("softplus", ()),
    "softsign": ("softsign", ()),
    "tanh": ("tanh", ()),
    "thresholdedrelu": ("thresholded_relu", ("alpha",)),
}
# The specification has no defaults for these, or one that runtimes do not share.
_NO_DEFAULT = ("affine", "scaledtanh", "thresholdedrelu")


def directions_of(a: Attributes) -> int:
    """How many directions an operator has."""
    return 2 if a["direction"] == "bidirectional" else 1


def activations_of(a: Attributes, usual: Sequence[str]) -> list[list[Activation]]:
    """The activations of each direction.

    Raises
    ------
    ValueError
        One that is not known, or parameters that say nothing definite.
    """
    count, directions = len(usual), directions_of(a)
    names = a["activations"] or list(usual) * directions
    left = {"alpha": list(a["activation_alpha"] or ()), "beta": list(a["activation_beta"] or ())}
    if len(names) != count * directions:
        raise ValueError(f"attribute activations: expected {count} for each direction, found {list(names)}")
    found = []
    for name in names:
        own, takes = _ACTIVATIONS.get(name.lower(), ("", ()))
        if not own:
            raise ValueError(f"attribute activations: expected one of {', '.join(_ACTIVATIONS)}, found {name!r}")
        values = {one: left[one].pop(0) for one in takes if left[one]}
        if name.lower() in _NO_DEFAULT and len(values) < len(takes):
            raise ValueError(f"attribute activation_alpha: expected a value for {name}, found none")
        found.append(Activation(own, **values))
    if any(left.values()):
        raise ValueError(f"attribute activation_alpha: expected as many as {list(names)} take, found more")
    return [found[d * count : (d + 1) * count] for d in range(directions)]


def _options(**more: Any) -> dict[str, Any]:
    return {
        "activations": Attribute("texts", None),
        "activation_alpha": Attribute("numbers", None),
        "activation_beta": Attribute("numbers", None),
        "clip": number(math.inf),
        "direction": text("forward", "reverse", "bidirectional"),
        "hidden_size": integer(None),
        "layout": flag(),
        **more,
    }


def _rule(call: Call, gates: int, states: int) -> list[TensorType]:
    a, (x, w, r) = call.attributes, call.shapes[:3]
    directions = directions_of(a)
    if len(x) != 3 or len(w) != 3 or len(r) != 3:
        raise ValueError(f"expected X, W and R of 3 dimensions, found {x}, {w} and {r}")
    hidden = r[2]
    time, batch = (x[1], x[0]) if a["layout"] else x[:2]
    if a["hidden_size"] is not None and differ(a["hidden_size"], hidden):
        raise ValueError(f"expected hidden_size {hidden} as R has it, found {a['hidden_size']}")
    sizes: list[tuple[int, Shape]] = [
        (1, (directions, gates * hidden, x[2])),
        (2, (directions, gates * hidden, hidden)),
    ]
    sizes.append((3, (directions, 2 * gates * hidden)))
    sizes.append((4, (batch,)))
    state = (batch, directions, hidden) if a["layout"] else (directions, batch, hidden)
    sizes += [(5 + k, state) for k in range(states)]
    sizes.append((7, (directions, 3 * hidden)))
    for index, wanted in sizes:
        found = call.shapes[index] if call.has(index) else wanted
        if len(found) != len(wanted) or any(map(differ, found, wanted)):
            raise ValueError(f"expected input {index} of shape {wanted}, found {found}")
    dtype = same_types(Call({}, (), [one for k, one in enumerate(call.dtypes) if k != 4 and one is not None], (), 0))
    y = (batch, time, directions, hidden) if a["layout"] else (time, directions, batch, hidden)
    return [TensorType(y, dtype), *[TensorType(state, dtype)] * states]


def lstm_weights(a: Attributes, w: Array, r: Array, b: Array | None = None, p: Array | None = None) -> LSTMWeights:
    """The LSTM that constant inputs describe.

    Raises
    ------
    ValueError
        Arrays that do not fit together, or activations that say nothing definite.
    """
    given, layer = [(w, 3), (r, 3), (b, 2), (p, 2)], []
    if any(one is not None and (one.ndim != rank or len(one) != directions_of(a)) for one, rank in given):
        raise ValueError(f"expected weights of {directions_of(a)} directions, found {w.shape} and {r.shape}")
    for d, (gate, candidate, output) in enumerate(activations_of(a, ("sigmoid", "tanh", "tanh"))):
        cell = Cell(
            gate, candidate, output, coupled="forget" if a["input_forget"] else "", gate_clip=a["clip"] or math.inf
        )
        peepholes = (
            {} if p is None else {f"peephole_{name}": one for name, one in zip("iof", np.split(p[d], 3)) if one.any()}
        )
        bias = None if b is None else reorder_gates(np.add(*np.split(b[d].astype(np.float64), 2)), "iofg")
        layer.append(
            DirectionWeights(reorder_gates(w[d], "iofg"), reorder_gates(r[d], "iofg"), bias, **peepholes, cell=cell)
        )
    return LSTMWeights([layer], reverse=a["direction"] == "reverse")


def _onnx_layout(a: Attributes, y: Array, states: Sequence[Array], dtype: Any) -> list[Array]:
    """From y (time, directions, batch, hidden) and states (directions, batch, hidden)."""
    if a["layout"]:
        y, states = y.transpose(2, 0, 1, 3), [one.swapaxes(0, 1) for one in states]
    return [one.astype(dtype) for one in (y, *states)]


@operator("LSTM", lambda call: _rule(call, 4, 2), (3, 8), (0, 3), **_options(input_forget=flag()))
def _lstm(
    a: Attributes,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    h: Array | None = None,
    c: Array | None = None,
    p: Array | None = None,
) -> list[Array]:
    weights = lstm_weights(a, w, r, b, p)
    if a["layout"]:
        x, (h, c) = x.swapaxes(0, 1), (None if one is None else one.swapaxes(0, 1) for one in (h, c))
    if h is None and c is not None:
        h = np.zeros_like(c)
    y, h_n, c_n = run_lstm(weights, x, h, c if c is not None or h is None else np.zeros_like(h), lengths)
    y = y.reshape(*y.shape[:2], directions_of(a), -1).swapaxes(1, 2)
    return _onnx_layout(a, y, (h_n, c_n), x.dtype)


def _one_state(a: Attributes, x: Array, directions: list[Any], lengths: Array | None, h: Array | None) -> list[Array]:
    """Run cells of one state, one for each direction."""
    if a["layout"]:
        x, h = x.swapaxes(0, 1), None if h is None else h.swapaxes(0, 1)
    outputs, finals = [], []
    for d, (step, hidden) in enumerate(directions):
        first: States = (np.zeros((x.shape[1], hidden)) if h is None else h[d].astype(np.float64),)
        y, (last,) = over_time(step, x.astype(np.float64), first, lengths, a["direction"] == "reverse" or d == 1)
        outputs.append(y)
        finals.append(last)
    return _onnx_layout(a, np.stack(outputs, 1), [np.stack(finals)], x.dtype)


def _wide(r: Array, b: Array | None, d: int, rows: int) -> tuple[Array, Array]:
    return r[d].astype(np.float64), np.zeros(rows) if b is None else b[d].astype(np.float64)


@operator("GRU", lambda call: _rule(call, 3, 1), (3, 6), (0, 2), **_options(linear_before_reset=flag()))
def _gru(
    a: Attributes,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    h: Array | None = None,
) -> list[Array]:
    hidden, clip = r.shape[-1], a["clip"] or math.inf
    cells = [
        (
            gru_step(w[d].astype(np.float64), *_wide(r, b, d, 6 * hidden), a["linear_before_reset"], clip, functions),
            hidden,
        )
        for d, functions in enumerate(activations_of(a, ("sigmoid", "tanh")))
    ]
    return _one_state(a, x, cells, lengths, h)


@operator("RNN", lambda call: _rule(call, 1, 1), (3, 6), (0, 2), **_options())
def _rnn(
    a: Attributes,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    h: Array | None = None,
) -> list[Array]:
    hidden, clip = r.shape[-1], a["clip"] or math.inf
    cells = [
        (rnn_step(w[d].astype(np.float64), *_wide(r, b, d, 2 * hidden), clip, functions), hidden)
        for d, functions in enumerate(activations_of(a, ("tanh",)))
    ]
    return _one_state(a, x, cells, lengths, h)
