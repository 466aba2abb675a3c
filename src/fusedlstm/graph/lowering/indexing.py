"""What picks elements, or puts them, by index; running sums and the largest elements."""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ..graph import Node
from ..operators.lowers import lowers
from ..operators.operator import axis_of
from ..plan import Plan
from ..tensors import Tensor
from .elementwise import emit_map, narrow
from .movement import reshaped


@lowers("Gather")
def _gather(plan: Plan, node: Node) -> None:
    x, index = plan.read(node.inputs[0]), plan.value(node.inputs[1])
    axis = axis_of(node.attributes["axis"], len(x.shape))
    if index is not None and index.size == 1:
        if not x.shape[axis]:
            raise FormatError("expected indices within the tensor, found one that is out of range")
        part = x.sliced(axis, int(index.reshape(-1)[0]) % x.shape[axis], 1)
        plan.alias(node.outputs[0], reshaped(plan, part, plan.shape(node.outputs[0])))
        return
    indices, rank = plan.read(node.inputs[1]), len(x.shape)
    more = len(indices.shape)
    picked = [*range(axis), -1, *range(axis + more, rank - 1 + more)]
    plan.emit("take", x, indices, plan.write(node.outputs[0]), (tuple(range(axis, axis + more)), tuple(picked)))


@lowers("fusedlstm.Lookup")
def _lookup(plan: Plan, node: Node) -> None:
    plan.emit("lookup", plan.table(node), plan.read(node.inputs[1]), plan.write(node.outputs[0]))


def _with(axis: int, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of the rank of what they pick from, along one axis of it."""
    return tuple(range(rank)), tuple(-1 if k == axis else k for k in range(rank))


def _coordinates(rank: int, whole: int, count: int, batch: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of `count` coordinates each along their last axis, into a tensor of rank `whole`."""
    rest = tuple(range(rank - 1, rank - 1 + whole - batch - count))
    return (*range(rank - 1), -1), (*range(batch), *(-1,) * count, *rest)


@lowers("GatherElements")
def _gather_elements(plan: Plan, node: Node) -> None:
    x, indices = map(plan.read, node.inputs)
    axis = axis_of(node.attributes["axis"], len(x.shape))
    _within(indices, x, axis)
    plan.emit("take", x, indices, plan.write(node.outputs[0], like=indices), _with(axis, len(x.shape)))


def _within(indices: Tensor, x: Tensor, axis: int) -> None:
    for k, (own, size) in enumerate(zip(indices.shape, x.shape)):
        if k != axis and own > size:
            raise FormatError(f"expected indices for {x.shape}, found them of shape {indices.shape}")


@lowers("GatherND")
def _gather_nd(plan: Plan, node: Node) -> None:
    x, indices = map(plan.read, node.inputs)
    batch = node.attributes["batch_dims"]
    if any(own > size for own, size in zip(indices.shape[:batch], x.shape)):
        raise FormatError(f"expected batches of {x.shape}, found indices of shape {indices.shape}")
    picking = _coordinates(len(indices.shape), len(x.shape), indices.shape[-1], batch)
    plan.emit("take", x, indices, plan.write(node.outputs[0]), picking)


def _put(plan: Plan, node: Node, picking: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, indices, updates = map(plan.read, node.inputs)
    y = plan.write(node.outputs[0], like=x)
    plan.copy(x, y)
    plan.emit("put", indices, updates, y, picking, node.attributes["reduction"])
    if node.attributes["reduction"] != "none":
        narrow(plan, node.outputs[0], y)


@lowers("ScatterElements")
def _scatter_elements(plan: Plan, node: Node) -> None:
    x, indices, updates = map(plan.read, node.inputs)
    axis = axis_of(node.attributes["axis"], len(x.shape))
    _within(indices, x, axis)
    if indices.shape != updates.shape:
        raise FormatError(f"expected updates for indices of shape {indices.shape}, found {updates.shape}")
    _put(plan, node, _with(axis, len(x.shape)))


@lowers("ScatterND")
def _scatter_nd(plan: Plan, node: Node) -> None:
    x, indices, updates = map(plan.read, node.inputs)
    count = indices.shape[-1]
    if count > len(x.shape) or updates.shape != (*indices.shape[:-1], *x.shape[count:]):
        raise FormatError(f"expected updates that fit {x.shape}, found {updates.shape} for indices of {indices.shape}")
    _put(plan, node, _coordinates(len(indices.shape), len(x.shape), count))


@lowers("OneHot")
def _one_hot(plan: Plan, node: Node) -> None:
    indices, _, values = map(plan.read, node.inputs)
    y = plan.write(node.outputs[0])
    axis = axis_of(node.attributes["axis"], len(y.shape))
    if indices.element != "i":
        whole = plan.scratch("i", indices.shape)
        plan.emit("map", "ToWhole", [indices], whole, [])
        indices = whole
    off, on = (values.sliced(0, k, 1) for k in (0, 1))
    plan.copy(off.broadcast(y.shape), y)
    others = tuple(k for k in range(len(y.shape)) if k != axis)
    picked = tuple(-1 if k == axis else others.index(k) for k in range(len(y.shape)))
    updates = on.view(indices.shape, (0,) * len(indices.shape))
    plan.emit("put", indices, updates, y, (tuple(range(len(others))), picked), "skip")


@lowers("CumSum", "CumProd")
def _running(plan: Plan, node: Node) -> None:
    x, axis = plan.read(node.inputs[0]), plan.value(node.inputs[1])
    if axis is None:
        raise FormatError("an axis that is computed is not supported")
    y = plan.write(node.outputs[0], like=x)
    choices = (node.op == "CumProd", bool(node.attributes["exclusive"]), bool(node.attributes["reverse"]))
    plan.emit("scan", x, y, (axis_of(int(axis.reshape(())), len(x.shape)), *choices), None)
    narrow(plan, node.outputs[0], y)


@lowers("fusedlstm.Scan")
def _scan(plan: Plan, node: Node) -> None:
    (x, before), (made, kept), a = map(plan.read, node.inputs), plan.wanted(node, 2), node.attributes
    y = plan.write(made, like=x) if made else plan.scratch(x.element, x.shape)
    after = plan.write(kept) if kept else plan.scratch("i", before.shape)
    choices = (axis_of(a["axis"], len(x.shape)), bool(a["product"]), bool(a["exclusive"]), False)
    plan.emit("scan", x, y, choices, (before, after))
    if made:
        narrow(plan, made, y)


@lowers("TopK")
def _top(plan: Plan, node: Node) -> None:
    x, (values, indices) = plan.read(node.inputs[0]), plan.wanted(node, 2)
    axis = axis_of(node.attributes["axis"], len(x.shape))
    shape = plan.types[values or indices].shape
    first = plan.write(values, like=x) if values else plan.scratch(x.element, shape)
    second = plan.write(indices, like=x) if indices else plan.scratch("i", shape)
    plan.emit("top", x, first, second, axis, bool(node.attributes["largest"]))


@lowers("TensorScatter")
def _tensor_scatter(plan: Plan, node: Node) -> None:
    past, update = map(plan.read, node.inputs[:2])
    start = plan.read(node.inputs[2]) if len(node.inputs) > 2 else None
    axis = axis_of(node.attributes["axis"], len(past.shape))
    y = plan.write(node.outputs[0], like=past)
    plan.copy(past, y)
    batch, count = past.shape[0], update.shape[axis]
    places = plan.constant(np.arange(count))
    if start is not None:
        sums = plan.scratch("i", (batch, count))
        emit_map(plan, "Add", [start.view((batch, 1), (start.strides[0], 1)), places], sums)
        places = sums
    if node.attributes["mode"] == "circular":
        turned = plan.scratch("i", (batch, count))
        emit_map(plan, "Mod", [places, plan.constant(np.array(past.shape[axis]))], turned)
        places = turned
    picking = (0, axis), _with(axis, len(past.shape))[1]
    plan.emit("put", places.broadcast((batch, count)), update, y, picking, "none")
