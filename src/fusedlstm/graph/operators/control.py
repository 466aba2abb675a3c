"""Graphs inside nodes. Loop and Scan have a meaning so that passes can be checked against it; they are never run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .operator import (
    MANY,
    REQUIRED,
    Array,
    Attribute,
    Attributes,
    Call,
    TensorType,
    UnknownError,
    integer,
    integers,
    operator,
)

Run = Callable[[Any, Sequence[Array]], list[Array]]
_GRAPH = Attribute("a graph", REQUIRED)


def _unknown(call: Call) -> list[TensorType]:
    raise UnknownError


@operator("If", _unknown, 1, (1, MANY), (0,), graphs=True, then_branch=_GRAPH, else_branch=_GRAPH)
def _if(a: Attributes, run: Run, condition: Array) -> list[Array]:
    return run(a["then_branch" if condition.reshape(()) else "else_branch"], [])


@operator("Loop", _unknown, (0, MANY), (0, MANY), (0, 1), graphs=True, body=_GRAPH)
def _loop(a: Attributes, run: Run, most: Array | None = None, go: Array | None = None, *state: Array) -> list[Array]:
    carried, collected = list(state), []
    turn, going = 0, go is None or bool(go.reshape(()))
    while going and (most is None or turn < int(most.reshape(()))):
        found = run(a["body"], [np.array(turn, np.int64), np.array(going), *carried])
        going, carried = bool(found[0].reshape(())), found[1 : 1 + len(state)]
        collected.append(found[1 + len(state) :])
        turn += 1
    return [*carried, *(np.stack(one) for one in zip(*collected))]


@operator(
    "Scan",
    _unknown,
    (1, MANY),
    (1, MANY),
    graphs=True,
    body=_GRAPH,
    num_scan_inputs=integer(least=1),
    scan_input_axes=integers(),
    scan_input_directions=integers(),
    scan_output_axes=integers(),
    scan_output_directions=integers(),
)
def _scan(a: Attributes, run: Run, *inputs: Array) -> list[Array]:
    count = len(inputs) - a["num_scan_inputs"]
    state, scanned = list(inputs[:count]), inputs[count:]
    axes, turned = a["scan_input_axes"] or (0,) * len(scanned), a["scan_input_directions"] or (0,) * len(scanned)
    moved = [
        np.flip(np.moveaxis(x, axis, 0), 0) if turn else np.moveaxis(x, axis, 0)
        for x, axis, turn in zip(scanned, axes, turned)
    ]
    collected = []
    for parts in zip(*moved):
        found = run(a["body"], [*state, *parts])
        state = found[:count]
        collected.append(found[count:])
    stacked = [np.stack(one) for one in zip(*collected)]
    axes, turned = a["scan_output_axes"] or (0,) * len(stacked), a["scan_output_directions"] or (0,) * len(stacked)
    return state + [np.moveaxis(np.flip(y, 0) if turn else y, 0, axis) for y, axis, turn in zip(stacked, axes, turned)]
