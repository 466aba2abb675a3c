"""Normalisations and softmax: rows along the axes that they are over."""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ..graph import Node
from ..operators.lowers import lowers
from ..operators.operator import axes_of, axis_of
from ..plan import Plan
from ..tensors import Sizes, Tensor
from .elementwise import emit_map
from .reductions import emit_reduce, kept, rows


@lowers("Softmax", "LogSoftmax", "Hardmax")
def _softmax(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    axes = (axis_of(node.attributes["axis"], len(x.shape)),)
    plan.emit("softmax", node.op, rows(x, axes), rows(y, axes))


def _normalise(plan: Plan, x: Tensor, y: Tensor, along: int, *how: object) -> None:
    """x and y as rows; `how` is gain, bias, mean, inverse, epsilon, floor and centred."""
    plan.emit("normalise", x, y, along, tuple(how))


def _whole(plan: Plan, name: str, shape: Sizes) -> Tensor | None:
    """An input with a number for each element of a row."""
    if not name:
        return None
    value = plan.value(name)
    if value is None or value.shape == shape:
        return plan.dense(plan.read(name).broadcast(shape))
    return plan.constant(
        plan.packed.get(("row", name, shape), lambda: np.ascontiguousarray(np.broadcast_to(value, shape)), value)
    )


@lowers("LayerNormalization", "RMSNormalization")
def _layer(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    axis = axis_of(node.attributes["axis"], len(x.shape))
    axes = range(axis, len(x.shape))
    gain, bias = (_whole(plan, name, x.shape[axis:]) for name in (*node.inputs[1:], "")[:2])
    names = plan.wanted(node, 3)[1:]
    statistics = [kept(plan.write(name), axes) if name else None for name in names]
    y = plan.write(node.outputs[0], like=x)
    centred = node.op == "LayerNormalization"
    _normalise(plan, x, y, len(axes), gain, bias, *statistics, node.attributes["epsilon"], 0.0, centred)


def _of_channel(tensor: Tensor, rank: int, axis: int = 1) -> Tensor:
    """A number for each index of an axis, in a shape that broadcasts."""
    shape, strides = [1] * rank, [1] * rank
    shape[axis], strides[axis] = tensor.shape[0], tensor.strides[0]
    return tensor.view(tuple(shape), tuple(strides))


def _apply(plan: Plan, names: tuple[str, ...], y: Tensor, groups: int = 0) -> None:
    """y times a scale, plus a bias: of each channel, or y (batch, groups, channels of one, ...) of either."""
    both = []
    for one in map(plan.read, names):
        if groups and one.shape[0] != groups:
            view = one.view((groups, y.shape[2]), (one.strides[0] * y.shape[2], one.strides[0]))
            rest = (1,) * (len(y.shape) - 3)
            both.append(view.view((1, *view.shape, *rest), (1, *view.strides, *rest)))
        else:
            both.append(_of_channel(one, len(y.shape)))
    emit_map(plan, "MultiplyAdd", [y, *both], y)


@lowers("InstanceNormalization")
def _instance(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    _normalise(plan, x, y, len(x.shape) - 2, None, None, None, None, node.attributes["epsilon"], 0.0, True)
    _apply(plan, node.inputs[1:3], y)


@lowers("GroupNormalization")
def _group(plan: Plan, node: Node) -> None:
    x, groups = plan.read(node.inputs[0]), node.attributes["num_groups"]
    split = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    y = plan.write(node.outputs[0], like=x)
    from_x, to_y = x.reshaped(split), y.reshaped(split)
    assert from_x is not None and to_y is not None  # an axis can always be cut
    _normalise(plan, from_x, to_y, len(split) - 2, None, None, None, None, node.attributes["epsilon"], 0.0, True)
    _apply(plan, node.inputs[1:3], to_y, groups)


@lowers("MeanVarianceNormalization")
def _mean_variance(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    axes = axes_of(node.attributes["axes"], len(x.shape))
    _normalise(plan, rows(x, axes), rows(y, axes), len(axes), None, None, None, None, 0.0, 1e-9, True)


@lowers("BatchNormalization")
def _batch(plan: Plan, node: Node) -> None:
    x, epsilon = plan.read(node.inputs[0]), node.attributes["epsilon"]
    y = plan.write(node.outputs[0], like=x)
    rank = len(x.shape)
    axis = 1 if rank > 1 else 0
    values = [plan.value(name) for name in node.inputs[1:5]]

    def folded() -> tuple[np.ndarray, np.ndarray]:
        scale, bias, mean, var = (one.astype(np.float64) for one in values if one is not None)
        factor = scale / np.sqrt(var + epsilon)
        return factor.astype(np.float32), (bias - mean * factor).astype(np.float32)

    if all(value is not None for value in values):
        found = plan.packed.get(("batch", *node.inputs[1:5], epsilon), folded, *values)
        emit_map(plan, "MultiplyAdd", [x, *(_of_channel(plan.constant(one), rank, axis) for one in found)], y)
        return
    scale, bias, mean, var = map(plan.read, node.inputs[1:5])
    factor = plan.scratch("f", scale.shape)
    emit_map(plan, "Add", [var, plan.constant(np.float32(epsilon))], factor)
    emit_map(plan, "Sqrt", [factor], factor)
    emit_map(plan, "Div", [scale, factor], factor)
    emit_map(plan, "Sub", [x, _of_channel(mean, rank, axis)], y)
    emit_map(plan, "MultiplyAdd", [y, _of_channel(factor, rank, axis), _of_channel(bias, rank, axis)], y)


@lowers("LpNormalization")
def _lp(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    if node.attributes["p"] not in (1, 2):
        raise FormatError(f"expected p of 1 or 2, found {node.attributes['p']}")
    axis = axis_of(node.attributes["axis"], len(x.shape))
    norm = plan.scratch("f", tuple(1 if k == axis else size for k, size in enumerate(x.shape)))
    y = plan.write(node.outputs[0], like=x)
    emit_reduce(plan, f"L{node.attributes['p']}", x, norm, (axis,))
    emit_map(plan, "DivOrZero", [x, norm], y)


@lowers("LRN")
def _lrn(plan: Plan, node: Node) -> None:
    a, x = node.attributes, plan.read(node.inputs[0])
    y, squares = plan.write(node.outputs[0], like=x), plan.scratch("f", x.shape)
    sums = plan.scratch("f", x.shape)
    emit_map(plan, "Square", [x], squares)
    # Windows over the channels; what else there is, is space of windows of one, and the last axis a pool's channels.
    views = [one if len(one.shape) > 2 else one.view((*one.shape, 1), (*one.strides, 1)) for one in (squares, sums)]
    before = (a["size"] - 1) // 2
    slides = [(a["size"], 1, 1, before, 1)] + [(1, 1, 1, 0, 1)] * (len(views[0].shape) - 3)
    counted = [(before, a["size"] - 1 - before)] + [(0, 0)] * (len(slides) - 1)
    plan.emit("pool", "average", *views, (tuple(slides), tuple(counted), 0.0, 0.0))
    alpha, bias, beta = (plan.constant(np.float32(a[name])) for name in ("alpha", "bias", "beta"))
    emit_map(plan, "MultiplyAdd", [sums, alpha, bias], sums)
    emit_map(plan, "Pow", [sums, beta], sums)
    emit_map(plan, "Div", [x, sums], y)
