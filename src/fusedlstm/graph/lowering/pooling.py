"""Pooling over windows, the channels beside each other, and over all of space."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import FormatError
from ..graph import Node
from ..operators.convolution import geometry
from ..operators.lowers import lowers
from ..plan import Plan
from ..tensors import Tensor
from .convolution import channels_beside, channels_last
from .reductions import emit_reduce


def _windows(plan: Plan, node: Node, x: Tensor) -> tuple[Any, ...]:
    """How windows slide, what of the padding is counted, p, and the least number that there is."""
    a, dtype = node.attributes, plan.types[node.inputs[0]].dtype
    strides, dilations, before, after, _ = geometry(a, x.shape[2:], a["kernel_shape"])
    slides = tuple(zip(a["kernel_shape"], strides, dilations, before, (1,) * len(strides)))
    counted = tuple(zip(before, after)) if a.get("count_include_pad") else ((0, 0),) * len(strides)
    least = 0.0 if dtype.kind == "f" else float(np.iinfo(dtype).min)
    return slides, counted, float(a.get("p", 2)), least


_FEW = 8
"""Channels that are too few to go through them together."""


def _moved(tensor: Tensor) -> Tensor:
    return tensor.transposed(channels_last(len(tensor.shape)))


def _emit_pool(plan: Plan, kind: str, x: Tensor, name: str, how: tuple[Any, ...]) -> None:
    y = _moved(plan.write(name, order=channels_last(len(x.shape))))
    if x.shape[1] < _FEW:
        plan.emit("pool", kind, _moved(x), y, how)
        return
    target = y if y.strides[-1] == 1 else plan.scratch("f", y.shape)
    plan.emit("pool", kind, channels_beside(plan, x), target, how)
    if target is not y:
        plan.copy(target, y)


@lowers("MaxPool")
def _max(plan: Plan, node: Node) -> None:
    x, (values, places) = plan.read(node.inputs[0]), plan.wanted(node, 2)
    if plan.types[node.inputs[0]].dtype.name == "uint64":
        raise FormatError("arithmetic on uint64 is not supported")
    order, how = channels_last(len(x.shape)), _windows(plan, node, x)
    if not places and x.element == "f":
        _emit_pool(plan, "largest", x, values, how)
        return
    shape = plan.shape(values or places)
    y = _moved(plan.write(values, order=order) if values else plan.scratch(x.element, shape, order))
    at = _moved(plan.write(places, order=order)) if places else None
    plan.emit("largest", _moved(x), (y, at), how, bool(node.attributes["storage_order"]))


@lowers("AveragePool", "LpPool")
def _average(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    kind = "average" if node.op == "AveragePool" else "norm"
    _emit_pool(plan, kind, x, node.outputs[0], _windows(plan, node, x))


@lowers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global(plan: Plan, node: Node) -> None:
    x, y = plan.read(node.inputs[0]), plan.write(node.outputs[0])
    p = node.attributes.get("p", 2)
    if node.op == "GlobalLpPool" and p > 2:
        slides = tuple((max(size, 1), 1, 1, 0, 1) for size in x.shape[2:])
        plan.emit("pool", "norm", _moved(x), _moved(y), (slides, ((0, 0),) * len(slides), float(p), 0.0))
        return
    name = {"GlobalAveragePool": "Mean", "GlobalMaxPool": "Max"}.get(node.op, f"L{p}")
    if name in ("Mean", "Max") and math.prod(x.shape[2:]) == 1:
        plan.copy(x, y)
        return
    emit_reduce(plan, name, x, y, range(2, len(x.shape)))
