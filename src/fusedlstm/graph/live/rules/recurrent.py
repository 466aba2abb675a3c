"""Recurrent layers keep their states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....weights import LSTMWeights
from ...graph import node
from ...operators import Array
from ..chunk import Chunk, State
from ..flow import Flow, Moved, Moving, goes
from .movement import latest

_BACKWARDS = "it runs backwards, or in both directions, and needs the end of the sequence before its first output"


def _of_rows(moving: Moving, axes: Sequence[int | None], made: Sequence[int]) -> Moved | None:
    """Each row alone: `axes` are those of rows of x, the states and the lengths, `made` those of what comes out.

    None where rows are not what goes along.
    """
    first, walk = moving.flows[0], moving.walk
    if not walk.rows and (first is None or first.axis != axes[0] or not walk.merged(moving.node.inputs[0])):
        return None
    for flow, axis, name in zip(moving.flows, axes, moving.node.inputs):
        if axis is not None and name and (flow is None or first is None or flow.moved(0) != first.moved(0)):
            raise ValueError("it has states or lengths for a fixed number of rows, and steps are rows of it")
        if flow is not None and flow.axis != axis:
            raise ValueError("rows see each other")
    assert first is not None
    return Moved([first.moved(axis) for axis in made][: len(moving.node.outputs)])


def _along(moving: Moving, time: int, lengths: int) -> Flow:
    if lengths < len(moving.node.inputs) and moving.node.inputs[lengths]:
        raise ValueError("it has lengths or a mask, which a stream does not; let each row be a stream of its own")
    flow = moving.flow()
    if flow.axis != time:
        raise BatchError("expected time where the layer has it, found it where the layer has rows or features")
    return flow.alone.ended


class BatchError(ValueError):
    """What was taken for time is the axis of rows."""


def _first(moving: Moving, index: int, shape: tuple[int, ...]) -> Array:
    """A first state: the node's own, or zeros."""
    dtype = moving.walk.graph.types[moving.node.inputs[0]].dtype
    if index < len(moving.node.inputs) and moving.node.inputs[index]:
        value = moving.values[index]
        if value is None:
            raise ValueError("its first state is computed, and would be again for each chunk")
        return np.broadcast_to(value, shape).astype(dtype)
    return np.zeros(shape, dtype)


@goes("fusedlstm.LSTM")
def _lstm(moving: Moving) -> Moved:
    weights: LSTMWeights = moving.a["weights"]
    of_x, of_y = (0 if moving.a[f"{side}_batch_first"] else 1 for side in "xy")
    if alone := _of_rows(moving, (of_x, 1, 1, 0), (of_y, 1, 1)):
        return alone
    flow = _along(moving, 1 if moving.a["x_batch_first"] else 0, 3)
    if weights.bidirectional or weights.reverse:
        raise ValueError(_BACKWARDS)
    batch = moving.shapes[0][0 if moving.a["x_batch_first"] else 1]
    given = any(moving.node.inputs[1:3])
    names = (*moving.node.outputs, "", "")[:3]
    parts: list[tuple[LSTMWeights, list[State]]] = []
    sizes = {(one.output_size, one.hidden_size) for (one,) in weights.layers}
    split = [weights] if len(sizes) == 1 else _apart(weights)
    for part in split:
        (one,) = part.layers[0]
        states = []
        for k, (what, size) in enumerate((("h", one.output_size), ("c", one.hidden_size))):
            shape = (part.num_layers, batch, size)
            first = _first(moving, 1 + k, shape)
            if not given and part.initial_state is not None:
                rows = [np.broadcast_to(np.asarray(one)[0], shape[1:]) for one in part.initial_state[k]]
                first = np.stack(rows).astype(first.dtype)
            states.append(moving.walk.state(moving.node, what, first))
        parts.append((part, states))
    lasts = [latest(moving, flow) if name and name in moving.walk.graph.types else None for name in names[1:]]
    if len(parts) > 1 and any(lasts):
        raise ValueError("expected layers of one size where the last states are wanted, found others")
    y = flow.moved(1 if moving.a["y_batch_first"] else 0)

    def write(chunk: Chunk) -> None:
        x = chunk.name(moving.node.inputs[0])
        for k, (part, states) in enumerate(parts):
            last = k == len(parts) - 1
            made = [chunk.fresh(f"{state.name}'") for state in states]
            for name, here in zip(names[1:], made) if last else ():
                chunk.put(name, here)
            out = names[0] or chunk.fresh(moving.node.name)
            out = out if last else chunk.fresh(out)
            a: dict[str, Any] = {
                "weights": part,
                "x_batch_first": moving.a["x_batch_first"] if k == 0 else 1,
                "y_batch_first": moving.a["y_batch_first"] if last else 1,
            }
            chunk.nodes.append(
                node("fusedlstm.LSTM", [x, *map(chunk.state, states)], [out, *made], moving.node.name, **a)
            )
            for state, here in zip(states, made):
                chunk.keep(state, here)
            x = out

    return Moved([y, *lasts], write)


def _apart(weights: LSTMWeights) -> list[LSTMWeights]:
    """Each layer alone."""
    first = weights.initial_state
    return [
        LSTMWeights(
            [layer],
            residual=None if weights.residual is None else [weights.residual[k]],
            initial_state=first and ([first[0][k]], [first[1][k]]),
            dtype=weights.dtype,
            products=weights.products,
        )
        for k, layer in enumerate(weights.layers)
    ]


@goes("fusedlstm.ConvLSTM")
def _conv_lstm(moving: Moving) -> Moved:
    if alone := _of_rows(moving, (0, None, None, None, 0, 0), (0, 0, 0)):
        return alone
    flow = _along(moving, 1, len(moving.node.inputs))
    whole, *ends = moving.made  # of all steps, and of the last one
    shape = (moving.shapes[0][0], *whole[2:]) if whole else next(filter(None, ends))
    name = moving.node.name or next(filter(None, moving.node.outputs))
    states = [moving.walk.state(moving.node, one, _first(moving, 4 + k, shape)) for k, one in enumerate("hc")]
    names = (*moving.node.outputs, "", "")[1:3]
    lasts = [latest(moving, flow) if one and one in moving.walk.graph.types else None for one in names]

    def write(chunk: Chunk) -> None:
        made = [chunk.fresh(f"{state.name}'") for state in states]
        inputs = [chunk.name(one) if one else "" for one in (*moving.node.inputs, "")[:4]]
        outputs = [moving.node.outputs[0] or chunk.fresh(name), *made]
        chunk.nodes.append(
            node(moving.node.op, [*inputs, *map(chunk.state, states)], outputs, moving.node.name, **moving.a)
        )
        for one, state, here in zip(names, states, made):
            chunk.keep(state, here)
            if one:
                chunk.put(one, here)

    return Moved([flow, *lasts][: len(moving.node.outputs)], write)


@goes("GRU", "RNN")
def _gru(moving: Moving) -> Moved:
    a, layout = moving.a, moving.a["layout"]
    rows = 0 if layout else 1
    if alone := _of_rows(moving, (rows, None, None, None, 0, rows), (0 if layout else 2, rows)):
        return alone
    flow = _along(moving, 1 if layout else 0, 4)
    if a["direction"] != "forward":
        raise ValueError(_BACKWARDS)
    batch, hidden = moving.shapes[0][0 if layout else 1], moving.shapes[2][2]
    shape = (batch, 1, hidden) if layout else (1, batch, hidden)
    state = moving.walk.state(moving.node, "h", _first(moving, 5, shape))
    name = moving.node.outputs[1] if len(moving.node.outputs) > 1 else ""
    last = latest(moving, flow) if name and name in moving.walk.graph.types else None

    def write(chunk: Chunk) -> None:
        inputs = [chunk.name(one) if one else "" for one in (*moving.node.inputs, "", "", "")[:5]]
        made = chunk.fresh(f"{state.name}'")
        if name:
            chunk.put(name, made)
        outputs = [moving.node.outputs[0], made]
        chunk.nodes.append(node(moving.node.op, [*inputs, chunk.state(state)], outputs, moving.node.name, **a))
        chunk.keep(state, made)

    return Moved([flow, last][: len(moving.node.outputs)], write)
