"""LSTM, GRU and RNN: whole layers, and single steps of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.operators import Array
from ....weights import LSTMWeights
from ....weights.named import Named
from ....weights.state_dict import lstms
from .call import Call
from .registry import operator

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_OURS = "torch.ops.fusedlstm."
"""The same layers with the rows' lengths, as `packed` writes them."""


def _parameters(call: Call, tensors: Sequence[str], layers: int, biased: bool, both: bool) -> dict[str, Array]:
    """The weights by the names that they have in PyTorch's modules."""
    arrays = [call.array("params", one) for one in tensors]
    directions = layers * (2 if both else 1)
    per, left = divmod(len(arrays), directions) if directions else (0, 1)
    roles = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if biased else [])]
    if per == len(roles) + 1:
        roles.append("weight_hr")
    if left or per != len(roles):
        raise FormatError(
            f"params: expected {len(roles)} tensors for each of {directions} directions, found {len(arrays)}"
        )
    suffixes = [f"_l{layer}{way}" for layer in range(layers) for way in ("", "_reverse")[: 2 if both else 1]]
    return {f"{role}{suffix}": arrays[k * per + j] for k, suffix in enumerate(suffixes) for j, role in enumerate(roles)}


def _settings(call: Call) -> tuple[int, bool, bool]:
    """How many layers there are, whether they have biases, and whether there are two directions."""
    if call.flag("train") and call.number("dropout", 0.0):
        raise FormatError("train: expected a module in eval mode, found one that drops out between layers")
    layers = call.whole("num_layers")
    if not 0 < layers <= 1000:
        raise FormatError(f"num_layers: expected 1 to 1000, found {layers}")
    return layers, call.flag("has_biases"), call.flag("bidirectional")


def lstm_weights(arrays: dict[str, Array], batch_first: bool) -> LSTMWeights:
    """The LSTM of the arrays that a module has."""
    shapes = {name: array.shape for name, array in arrays.items()}
    found = lstms(Named(shapes, lambda name: arrays[name]), batch_first=batch_first)
    if "" not in found:
        raise FormatError(f"params: expected the weights of an LSTM, found shapes {list(shapes.values())[:8]}")
    try:
        return found[""]()
    except ValueError as error:
        raise FormatError(str(error)) from None


@operator("lstm.input", f"{_OURS}lstm.default")
def _lstm(call: Call) -> list[str]:
    layers, biased, both = _settings(call)
    first = call.flag("batch_first")
    weights = lstm_weights(_parameters(call, call.tensors("params"), layers, biased, both), first)
    x, states = call.tensor("input"), call.tensors("hx")
    if len(states) != 2:
        raise FormatError(f"hx: expected two states, found {len(states)}")
    return _alone(call, x, first, states, partial(_run_lstm, call, weights, first))


def _run_lstm(call: Call, weights: LSTMWeights, first: bool, x: str, states: Sequence[str]) -> list[str]:
    given = [x, *states, *_lengths(call)]
    return call.ops("fusedlstm.LSTM", given, 3, weights=weights, x_batch_first=int(first), y_batch_first=int(first))


def _lengths(call: Call) -> list[str]:
    return [call.tensor("lengths")] if call.has("lengths") else []


def _alone(call: Call, x: str, first: bool, states: Sequence[str], run: Any) -> list[str]:
    """Run on a batch; of a sequence alone, on a batch of one."""
    if call.rank(x) == 3:
        made: list[str] = run(x, states)
        return made
    if call.rank(x) != 2:
        raise FormatError(f"expected a sequence of 2 or 3 dimensions, found {call.shape(x)}")
    axis = 0 if first else 1
    y, *finals = run(call.unsqueeze(x, axis), [call.unsqueeze(one, 1) for one in states])
    return [call.squeeze(y, axis), *(call.squeeze(one, 1) for one in finals)]


@operator(
    *("gru.input", "rnn_tanh.input", "rnn_relu.input"),
    *(f"{_OURS}{kind}.default" for kind in ("gru", "rnn_tanh", "rnn_relu")),
)
def _plain(call: Call) -> list[str]:
    kind = call.kind.removeprefix(_OURS).partition(".")[0]
    layers, biased, both = _settings(call)
    first = call.flag("batch_first")
    arrays = _parameters(call, call.tensors("params"), layers, biased, both)
    return _alone(
        call,
        call.tensor("input"),
        first,
        call.tensors("hx") if call.kind.startswith(_OURS) else [call.tensor("hx")],
        partial(_run_plain, call, kind, arrays, layers, both, first),
    )


def _run_plain(
    call: Call, kind: str, arrays: dict[str, Array], layers: int, both: bool, first: bool, x: str, states: Sequence[str]
) -> list[str]:
    """Layer after layer, time first."""
    (h,), ways, lengths = states, 2 if both else 1, (_lengths(call) or [""])[0]
    x = call.transpose(x, 1, 0, 2) if first else x
    finals = []
    for layer in range(layers):
        own = h if layers == 1 else call.slice(h, 0, layer * ways, (layer + 1) * ways)
        w, r, b = _stacked(kind, arrays, layer, ways)
        options = {} if kind == "gru" else {"activations": ["Tanh" if kind == "rnn_tanh" else "Relu"] * ways}
        y, last = call.ops(
            "GRU" if kind == "gru" else "RNN",
            [x, call.constant(w), call.constant(r), call.constant(b), lengths, own],
            2,
            hidden_size=r.shape[-1],
            direction="bidirectional" if both else "forward",
            **({"linear_before_reset": 1} if kind == "gru" else options),
        )
        finals.append(last)
        # (time, directions, batch, hidden) to (time, batch, directions * hidden)
        if both:
            parts = [call.squeeze(call.slice(y, 1, k, k + 1), 1) for k in range(2)]
            x = call.op("Concat", *parts, axis=-1)
        else:
            x = call.squeeze(y, 1)
    y = call.transpose(x, 1, 0, 2) if first else x
    return [y, finals[0] if len(finals) == 1 else call.op("Concat", *finals, axis=0)]


def _stacked(kind: str, arrays: dict[str, Array], layer: int, ways: int) -> list[Array]:
    """W, R and B of a layer as ONNX has them: a GRU's gates z, r, n, which are r, z, n in PyTorch."""
    found: list[list[Array]] = [[], [], []]
    for way in ("", "_reverse")[:ways]:
        suffix = f"_l{layer}{way}"
        w, r = arrays[f"weight_ih{suffix}"], arrays[f"weight_hh{suffix}"]
        rows = _GATES[kind] * r.shape[-1]
        zeros = np.zeros(rows, w.dtype)
        biases = [arrays.get(f"bias_{one}{suffix}", zeros) for one in ("ih", "hh")]
        if w.ndim != 2 or r.ndim != 2 or w.shape[0] != rows or r.shape[0] != rows:
            raise FormatError(f"params: expected {rows} rows, found shapes {w.shape} and {r.shape}")
        if any(one.shape != (rows,) for one in biases):
            raise FormatError(f"params: expected biases of {rows} numbers, found {[one.shape for one in biases]}")
        for place, array in zip(found, (w, r, np.concatenate([_turned(kind, one) for one in biases]))):
            place.append(array if place is found[2] else _turned(kind, array))
    try:
        return [np.stack(one) for one in found]
    except ValueError as error:
        raise FormatError(f"params: expected directions of one size ({error})") from None


def _turned(kind: str, array: Array) -> Array:
    if kind != "gru":
        return array
    r, z, n = np.split(array, 3)
    return np.concatenate([z, r, n])


# Single steps are written in pieces: passes put them together, several in a row as one layer.


def _projected(call: Call, x: str, which: str) -> str:
    """W x + b of all gates."""
    bias = [call.tensor(f"b_{which}")] if call.has(f"b_{which}") else []
    return call.op("Gemm", x, call.tensor(f"w_{which}"), *bias, transB=1)


def _gates(call: Call, x: str, count: int) -> list[str]:
    return call.ops("Split", [x], count, axis=1, num_outputs=count)


@operator("lstm_cell.default")
def _lstm_cell(call: Call) -> list[str]:
    states = call.tensors("hx")
    if len(states) != 2:
        raise FormatError(f"hx: expected two states, found {len(states)}")
    h, c = states
    both = call.op("Add", _projected(call, call.tensor("input"), "ih"), _projected(call, h, "hh"))
    i, f, g, o = _gates(call, both, 4)
    kept = call.op("Mul", call.op("Sigmoid", f), c)
    c = call.op("Add", kept, call.op("Mul", call.op("Sigmoid", i), call.op("Tanh", g)))
    return [call.op("Mul", call.op("Sigmoid", o), call.op("Tanh", c)), c]


@operator("gru_cell.default")
def _gru_cell(call: Call) -> str:
    h = call.tensor("hx")
    inside = _gates(call, _projected(call, call.tensor("input"), "ih"), 3)
    outside = _gates(call, _projected(call, h, "hh"), 3)
    r, z = (call.op("Sigmoid", call.op("Add", one, other)) for one, other in zip(inside[:2], outside))
    n = call.op("Tanh", call.op("Add", inside[2], call.op("Mul", r, outside[2])))
    rest = call.op("Mul", call.op("Sub", call.like(z, 1.0), z), n)
    return call.op("Add", rest, call.op("Mul", z, h))


@operator("rnn_tanh_cell.default", "rnn_relu_cell.default")
def _rnn_cell(call: Call) -> str:
    both = call.op("Add", _projected(call, call.tensor("input"), "ih"), _projected(call, call.tensor("hx"), "hh"))
    return call.op("Tanh" if "tanh" in call.kind else "Relu", both)
