"""Recurrent layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import _core
from ..._packing import pack
from ...errors import FormatError
from ...weights import PLAIN, Cell, LSTMWeights
from ..graph import Node
from ..operators import Array
from ..operators.fused import conv_lstm_shapes
from ..operators.lowers import lowers
from ..operators.recurrent import activations_of
from ..plan import Plan
from ..precision import Precision
from ..tensors import Tensor


@lowers("fusedlstm.LSTM")
def _lstm(plan: Plan, node: Node) -> None:
    weights: LSTMWeights = node.attributes["weights"]
    precision = plan.packed.precision
    key = ("lstm", id(weights), *precision.of(node))
    core = plan.packed.get(key, lambda: (pack(precision.lstm(node, weights)), weights))[0]
    names = (*node.inputs, "", "", "")[:4]
    x = _features_beside(plan, plan.read(names[0]))
    x = x if node.attributes["x_batch_first"] else x.transposed((1, 0, 2))
    cells = [one for layer in weights.layers for one in layer]  # layers may be of several sizes, if no state is wanted
    rows = [sum(one.output_size for one in cells), sum(one.hidden_size for one in cells)]
    y: Tensor | None = None
    made, copies = [], []
    for k, (name, count) in enumerate(zip(plan.wanted(node, 3), (0, *rows))):
        if k == 0 and not name:
            continue
        target = plan.write(name) if name else plan.scratch("f", (count, x.shape[0]))
        if not (target.contiguous if k else target.strides[-1] == 1 or target.shape[-1] == 1):
            copies.append((plan.scratch("f", target.shape), target))
            target = copies[-1][0]
        if k:
            made.append(target)
        else:
            y = target if node.attributes["y_batch_first"] else target.transposed((1, 0, 2))
    if weights.flip_output and y is not None:
        y = y.sliced(1, y.shape[1] - 1, y.shape[1], -1)
    if weights.padding == "repeat" and names[3]:
        raise FormatError("padding='repeat' beside lengths is not supported")
    given: list[Any] = [plan.dense(plan.read(name)) if name else None for name in names[1:]]
    plan.emit("lstm", core, (x, *given), (y, *made))
    for one in copies:
        plan.copy(*one)


@lowers("fusedlstm.ConvLSTM")
def _conv_lstm(plan: Plan, node: Node) -> None:
    """Over two axes throughout: one axis is a line, of height 1."""
    x, *weights = node.inputs[:4]
    w, r, b = arrays = [plan.value(name) if name else None for name in (*weights, "")[:3]]
    if w is None or r is None or (b is None and any(weights[2:])):
        raise FormatError("weights that are computed are not supported")
    a, rank = node.attributes, len(plan.shape(x)) - 3
    ones = (1,) * (2 - rank)
    cell = Cell(a["gate"], a["candidate"], a["output"])

    def frames(one: Tensor) -> Tensor:
        at = len(one.shape) - 2
        return one.view((*one.shape[:at], *ones, *one.shape[at:]), (*one.strides[:at], *ones, *one.strides[at:]))

    def pack() -> _core.ConvLstm:
        kernel, recurrent = (np.ascontiguousarray(one, np.float32) for one in (w, r))
        return _core.ConvLstm(
            kernel.reshape(len(kernel), *ones, *kernel.shape[1:]),
            recurrent.reshape(len(recurrent), *ones, *recurrent.shape[1:]),
            None if b is None else np.ascontiguousarray(b, np.float32),
            (*ones, *(a["strides"] or (1,) * rank)),
            (*ones, *(a["dilations"] or (1,) * rank)),
            a["padding"] == "same",
            None if cell == PLAIN else cell,
        )

    key = ("conv_lstm", *weights, a["strides"], a["dilations"], a["padding"], a["gate"], a["candidate"], a["output"])
    core = plan.packed.get(key, pack, *arrays)
    y, state = conv_lstm_shapes(a, *map(plan.shape, node.inputs[:3]))
    targets: list[Tensor] = []
    copies = []
    for k, (name, shape) in enumerate(zip(plan.wanted(node, 3), (y, state, state))):
        target = plan.write(name) if name else plan.scratch("f", shape)
        if k and not target.contiguous:
            copies.append((plan.scratch("f", shape), target))
            target = copies[-1][0]
        targets.append(frames(target))
    states = [plan.dense(plan.read(name)) if name else None for name in (*node.inputs, "", "", "")[4:6]]
    plan.emit("conv_lstm", core, (frames(plan.read(x)), *(one and frames(one) for one in states)), tuple(targets))
    for one in copies:
        plan.copy(*one)


@lowers("LSTM")
def _with_computed_weights(plan: Plan, node: Node) -> None:
    raise FormatError("weights that are computed are not supported")


@lowers("GRU", "RNN")
def _gru(plan: Plan, node: Node) -> None:
    """With the axes that ONNX has; what moves them afterwards is a view."""
    x, w, r, b, lengths, h_0 = (*node.inputs, "", "", "")[:6]
    a = node.attributes
    precision = plan.packed.precision
    options = (a["direction"], a.get("linear_before_reset"), a["activations"], a["clip"])
    key = ("gru", w, r, b, *options, *precision.of(node))
    arrays = [plan.value(name) if name else None for name in (w, r, b)]
    layer = plan.packed.get(key, lambda: _pack(node, arrays, precision), *arrays)

    def turned(one: Tensor) -> Tensor:
        return one.transposed((1, 0, 2)) if a["layout"] else one

    first = turned(_features_beside(plan, plan.read(x)))
    y_name, h_name = plan.wanted(node, 2)
    y: Tensor | None = None
    copies: list[tuple[Tensor, Tensor]] = []

    def target(name: str, order: tuple[int, ...]) -> Tensor:
        found = plan.write(name, order)
        if found.strides[-1] == 1 or found.shape[-1] == 1:
            return found
        copies.append((plan.scratch("f", found.shape, order), found))
        return copies[-1][0]

    if y_name:  # the directions of a step beside each other
        y = target(y_name, (0, 1, 2, 3) if a["layout"] else (0, 2, 1, 3))
        y = y.transposed((1, 2, 0, 3)) if a["layout"] else y
    hidden, directions = plan.shape(r)[2], plan.shape(r)[0]
    h_n = turned(target(h_name, (0, 1, 2))) if h_name else plan.scratch("f", (directions, first.shape[1], hidden))
    state = turned(_features_beside(plan, plan.read(h_0))) if h_0 else None
    plan.emit("gru", layer, (first, state, plan.dense(plan.read(lengths)) if lengths else None), (y, h_n))
    for one in copies:
        plan.copy(*one)


def _pack(node: Node, arrays: list[Array | None], precision: Precision) -> _core.Gru:
    a, kind = node.attributes, node.op.lower()
    w, r, b = arrays
    if w is None or r is None or (b is None and len(node.inputs) > 3 and node.inputs[3]):
        raise FormatError("weights that are computed are not supported")
    usual = ("sigmoid", "tanh") if kind == "gru" else ("tanh",)
    directions = []
    for d, functions in enumerate(activations_of(a, usual)):
        half = len(r[d])
        biases = (None, None) if b is None else (b[d, :half], b[d, half:])
        matrices = (precision.rows(node, one) for one in (w[d], r[d]))
        held = (None if one is None else np.ascontiguousarray(one, np.float32) for one in biases)
        directions.append((*matrices, *held, functions[0], functions[-1]))
    if a.get("linear_before_reset"):
        kind = "gru_linear"
    return _core.Gru(kind, directions, a["direction"] == "reverse", a["clip"] or math.inf, *precision.of(node))


def _features_beside(plan: Plan, x: Tensor) -> Tensor:
    return x if x.strides[-1] == 1 or x.shape[-1] == 1 else plan.dense(x)
