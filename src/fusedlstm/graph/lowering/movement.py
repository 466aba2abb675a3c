"""Moves of data: addresses wherever they can be, else copies."""

from __future__ import annotations

import numpy as np

from ..graph import Node
from ..operators.lowers import lowers
from ..operators.movement import paddings, split_sizes
from ..operators.operator import axis_of
from ..operators.slices import places_of
from ..plan import Plan
from ..tensors import Tensor, order_of, same_place


def reshaped(plan: Plan, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x in another shape; copied first where strides cannot say it."""
    found = x.reshaped(shape)
    if found is None:
        found = plan.dense(x).reshaped(shape)
    assert found is not None
    return found


@lowers("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout")
def _reshape(plan: Plan, node: Node) -> None:
    if node.outputs[0]:
        plan.alias(node.outputs[0], reshaped(plan, plan.read(node.inputs[0]), plan.shape(node.outputs[0])))
    for name in filter(None, plan.wanted(node, 2)[1:]):  # Dropout's mask: nothing is dropped
        plan.alias(name, plan.constant(np.ones((1,) * len(plan.shape(name)), np.bool_)).broadcast(plan.shape(name)))


@lowers("Transpose")
def _transpose(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    plan.alias(node.outputs[0], x.transposed(node.attributes["perm"] or range(len(x.shape))[::-1]))


@lowers("Expand")
def _expand(plan: Plan, node: Node) -> None:
    plan.alias(node.outputs[0], plan.read(node.inputs[0]).broadcast(plan.shape(node.outputs[0])))


@lowers("Slice")
def _slice(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    starts, ends, axes, steps = (
        [] if value is None else value.reshape(-1).tolist()
        for value in (plan.value(name) if name else None for name in (*node.inputs[1:], "", "")[:4])
    )
    axes = axes or list(range(len(starts)))
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(starts)):
        axis = axis_of(axis, len(x.shape))
        places = places_of(x.shape[axis], start, end, step)
        x = x.sliced(axis, places.start, len(places), step)
    plan.alias(node.outputs[0], x)


@lowers("Split")
def _split(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    axis, start = axis_of(node.attributes["axis"], len(x.shape)), 0
    given = plan.value(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else None
    count = node.attributes["num_outputs"] or len(node.outputs)
    sizes = split_sizes(x.shape[axis], None if given is None else tuple(given.tolist()), count)
    for name, size in zip(node.outputs, sizes):
        if name:
            plan.alias(name, x.sliced(axis, start, size))
        start += size


@lowers("Concat")
def _concat(plan: Plan, node: Node) -> None:
    y = plan.target(node.outputs[0])
    axis, start = axis_of(node.attributes["axis"], len(y.shape)), 0
    for name in node.inputs:
        x = plan.read(name)
        part = y.sliced(axis, start, x.shape[axis])
        if not same_place(x, part) and x.size:
            plan.copy(x, part)
        start += x.shape[axis]


_EDGES = {"constant": "zeros", "reflect": "reflect", "edge": "nearest", "wrap": "wrap"}


@lowers("Pad")
def _pad(plan: Plan, node: Node) -> None:
    x, names = plan.read(node.inputs[0]), (*node.inputs, "", "")
    given = [plan.value(name) if name else None for name in (names[1], names[3])]
    pads, axes = (None if one is None else tuple(one.reshape(-1).tolist()) for one in given)
    assert pads is not None
    both = paddings(pads, axes, len(x.shape))
    for axis, (before, after) in enumerate(both):  # what is less than nothing is cut off first
        if before < 0 or after < 0:
            start = max(-before, 0)
            x = x.sliced(axis, start, x.shape[axis] - start - max(-after, 0))
    if x.shape == plan.shape(node.outputs[0]):
        plan.alias(node.outputs[0], x)
        return
    plan.expect_places(*plan.shape(node.outputs[0]))
    y = plan.write(node.outputs[0], order=order_of(x))
    fill = plan.read(names[2]) if names[2] and node.attributes["mode"] == "constant" else None
    plan.emit("pad", (x, y), tuple(max(before, 0) for before, _ in both), _EDGES[node.attributes["mode"]], fill)


@lowers("Tile")
def _tile(plan: Plan, node: Node) -> None:
    x, shape = plan.read(node.inputs[0]), plan.shape(node.outputs[0])
    if all(size in (1, made) for size, made in zip(x.shape, shape)):
        plan.alias(node.outputs[0], x.broadcast(shape))
        return
    plan.expect_places(*plan.shape(node.outputs[0]))
    y = plan.write(node.outputs[0], order=order_of(x))
    plan.emit("pad", (x, y), (0,) * len(shape), "wrap", None)


@lowers("DepthToSpace", "SpaceToDepth")
def _blocks(plan: Plan, node: Node) -> None:
    x, y, b = plan.read(node.inputs[0]), plan.write(node.outputs[0]), node.attributes["blocksize"]
    dcr = node.attributes["mode"] == "DCR"
    deep, wide = (x, y) if node.op == "DepthToSpace" else (y, x)
    n, c, h, w = deep.shape
    split = deep.reshaped((n, b, b, c // b**2, h, w) if dcr else (n, c // b**2, b, b, h, w))
    spread = wide.reshaped((n, c // b**2, h, b, w, b))
    assert split is not None and spread is not None  # axes can always be cut
    deep, wide = split.transposed((0, 3, 4, 1, 5, 2) if dcr else (0, 1, 4, 2, 5, 3)), spread
    plan.copy(*((deep, wide) if node.op == "DepthToSpace" else (wide, deep)))


@lowers("ReverseSequence")
def _reverse(plan: Plan, node: Node) -> None:
    x, lengths = map(plan.read, node.inputs)
    y = plan.write(node.outputs[0], like=x)
    order = [node.attributes["batch_axis"], node.attributes["time_axis"], *range(2, len(x.shape))]
    plan.emit("turn", x.transposed(order), y.transposed(order), lengths)
