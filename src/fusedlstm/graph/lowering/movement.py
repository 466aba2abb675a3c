"""Moves of data: addresses wherever they can be, else copies."""

from __future__ import annotations

from ..graph import Node
from ..operators.lowers import lowers
from ..operators.movement import split_sizes
from ..operators.operator import axis_of
from ..plan import Plan
from ..tensors import Tensor, same_place


def reshaped(plan: Plan, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x in another shape; copied first where strides cannot say it."""
    found = x.reshaped(shape)
    if found is None:
        found = plan.dense(x).reshaped(shape)
    assert found is not None
    return found


@lowers("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout")
def _reshape(plan: Plan, node: Node) -> None:
    plan.alias(node.outputs[0], reshaped(plan, plan.read(node.inputs[0]), plan.shape(node.outputs[0])))


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
        places = range(x.shape[axis])[slice(start, end, step)]
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
            plan.alias(name, x.sliced(axis, start, size))  # type: ignore[arg-type]
        start += size  # type: ignore[operator]


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


@lowers("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd")
def _reduce(plan: Plan, node: Node) -> None:
    x, shape = plan.read(node.inputs[0]), plan.shape(node.outputs[0])
    if x.size == plan.types[node.outputs[0]].shape.__len__() * 0 + _count(shape):
        plan.alias(node.outputs[0], reshaped(plan, x, shape))
        return
    raise NotImplementedError


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n
