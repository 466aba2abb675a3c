"""Reductions and pooling: along other axes than time step by step, over time as running ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...graph import node
from ...operators.fused import RUNNING, nothing_yet
from ...operators.operator import axes_of, axis_of
from ..chunk import Chunk
from ..flow import Flow, Moved, Moving, goes
from .movement import latest
from .pointwise import beside


@goes("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _space(moving: Moving) -> Moved:
    flow, rank = moving.flow(), len(moving.shapes[0])
    if flow.axis < 2:
        return Moved([beside(moving, [1], "pooling")])
    names = {"GlobalAveragePool": "Mean", "GlobalMaxPool": "Max"}
    return _running(moving, names.get(moving.node.op) or f"L{moving.a['p']}", range(2, rank), 1)


@goes(
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
    *("ReduceSum", "ReduceSumSquare"),
)
def _reduce(moving: Moving) -> Moved:
    rank, given = len(moving.shapes[0]), moving.ints(1)
    if not given:
        axes: Sequence[int] = () if moving.a["noop_with_empty_axes"] else range(rank)
    else:
        axes = axes_of(given, rank)
    if moving.flow().axis in axes:
        return _running(moving, moving.node.op[len("Reduce") :], axes, moving.a["keepdims"])
    return Moved([_without(moving, moving.flow(), axes)])


@goes("ArgMax", "ArgMin")
def _arg(moving: Moving) -> Moved:
    axes = [axis_of(moving.a["axis"], len(moving.shapes[0]))]
    return Moved([_without(moving, beside(moving, axes, f"{moving.node.op} (pooling)"), axes)])


def _without(moving: Moving, flow: Flow, axes: Sequence[int]) -> Flow:
    """How it goes without axes that are not time."""
    return flow if moving.a["keepdims"] else flow.moved(flow.axis - sum(axis < flow.axis for axis in axes))


def _running(moving: Moving, reduction: str, axes: Sequence[int], keepdims: int) -> Moved:
    """Over all steps so far, which takes what the engine has of a row that it is in the middle of."""
    flow, why = moving.flow(), f"{moving.node.op} (pooling) over time needs the whole sequence"
    if reduction not in RUNNING:
        raise ValueError(why)
    made, (x, *_) = latest(moving, flow, why), moving.node.inputs
    dtype = moving.walk.graph.types[x].dtype
    if dtype.kind != "f":
        raise ValueError(f"{why}; a running one is of floats, found {dtype}")
    if any(axis < flow.axis and moving.shapes[0][axis] != 1 for axis in axes):
        raise ValueError(f"{why}; a running one may be over time and axes behind it, found one before it")
    first = nothing_yet(reduction, tuple(int(size) for size in moving.made[0]))
    states = [moving.walk.state(moving.node, one, value) for one, value in zip(("sums", "total", "count"), first)]
    attributes = {"reduction": reduction, "axes": tuple(axes), "keepdims": keepdims}

    def write(chunk: Chunk) -> None:
        kept = [chunk.fresh(f"{state.name}'") for state in states]
        inputs = [chunk.name(x), *map(chunk.state, states)]
        outputs = [moving.node.outputs[0], *kept]
        chunk.nodes.append(node("fusedlstm.Running", inputs, outputs, moving.node.name, **attributes))
        for state, here in zip(states, kept):
            chunk.keep(state, here)

    return Moved([made], write)


@goes("CumSum", "CumProd")
def _scan(moving: Moving) -> Moved:
    """Over time the total so far is kept, as wide as the engine has it."""
    flow, (axis, *_) = moving.flow(), moving.ints(1) or [0]
    if axis_of(axis, len(moving.shapes[0])) != flow.axis:
        return Moved([flow])
    if moving.a["reverse"]:
        raise ValueError("it goes backwards over time, and needs the end of the sequence first")
    flow, product, (x, *_) = flow.alone, moving.node.op == "CumProd", moving.node.inputs
    shape = [1 if k == flow.axis else size for k, size in enumerate(moving.shapes[0])]
    real = moving.walk.graph.types[x].dtype.kind == "f"
    first = np.full(shape, int(product), np.float64 if real else np.int64).view(np.int64)
    state = moving.walk.state(moving.node, "total", first)
    attributes = {"axis": flow.axis, "exclusive": moving.a["exclusive"], "product": int(product)}

    def write(chunk: Chunk) -> None:
        total, made = chunk.state(state), chunk.fresh(f"{state.name}'")
        outputs = [moving.node.outputs[0], made]
        chunk.nodes.append(node("fusedlstm.Scan", [chunk.name(x), total], outputs, moving.node.name, **attributes))
        chunk.keep(state, made)

    return Moved([flow], write)
