"""Matrix products: with weights that are packed once, or of two tensors that are both computed."""

from __future__ import annotations

import math

import numpy as np

from ...errors import FormatError
from ..graph import Node
from ..operators.lowers import lowers
from ..operators.matrix import einsum_labels
from ..plan import Plan
from ..tensors import Sizes, Tensor
from .elementwise import emit_map, narrow


@lowers("fusedlstm.Dense")
def _dense(plan: Plan, node: Node) -> None:
    names = (*node.inputs, "")[:3]
    weights, bias = plan.value(names[1]), plan.value(names[2]) if names[2] else None
    if weights is None or (names[2] and bias is None):
        raise FormatError("weights that are computed are not supported")
    y = plan.write(node.outputs[0])
    if not weights.size:  # sums of nothing
        plan.copy(plan.constant(np.zeros(1, np.float32) if bias is None else bias).broadcast(y.shape), y)
        if node.attributes["activation"] is not None:
            plan.emit("activate", node.attributes["activation"], y, y)
        return
    made = plan.weights(node, ("dense", names[1], names[2]), lambda: (weights.T, bias), weights, bias)
    plan.emit("product", made, plan.read(names[0]), y, None, node.attributes["activation"])


def multiply(plan: Plan, x: Tensor, w: Tensor, y: Tensor) -> None:
    """y = x w for matrices and batches of them that broadcast to y's."""
    if len(w.shape) == 2 and len(x.shape) > 2:  # one right side for all: one product of many rows
        rows = [one.reshaped((math.prod(one.shape[:-1]), one.shape[-1])) for one in (x, y)]
        if rows[0] is not None and rows[1] is not None:
            plan.emit("matmul", rows[0], w, rows[1])
            return
    batch = y.shape[:-2]
    plan.emit("matmul", x.broadcast((*batch, *x.shape[-2:])), w.broadcast((*batch, *w.shape[-2:])), y)


@lowers("MatMul")
def _matmul(plan: Plan, node: Node) -> None:
    x, w = map(plan.read, node.inputs)
    weights, y = plan.value(node.inputs[1]), plan.write(node.outputs[0])
    if weights is not None and weights.ndim == 2 and x.element == "f" and len(x.shape) > 1 and weights.size:
        made = plan.weights(node, ("dense", node.inputs[1], ""), lambda: (weights.T, None), weights, None)
        plan.emit("product", made, x, y, None, None)
        return
    if len(x.shape) == 1:
        x = x.view((1, *x.shape), (0, *x.strides))
        y = y.view((*y.shape[:-1], 1, *y.shape[-1:]), (*y.strides[:-1], 0, *y.strides[-1:])) if len(w.shape) > 1 else y
    if len(w.shape) == 1:
        w = w.view((*w.shape, 1), (*w.strides, 0))
        y = y.view((*y.shape, 1), (*y.strides, 0)) if len(y.shape) else y.view((1, 1), (0, 0))
    multiply(plan, x, w, y)
    narrow(plan, node.outputs[0], y)


@lowers("Gemm")
def _gemm(plan: Plan, node: Node) -> None:
    a, names = node.attributes, (*node.inputs, "")[:3]
    x, w = map(plan.read, names[:2])
    weights, y = plan.value(names[1]), plan.write(node.outputs[0])
    x = x.transposed((1, 0)) if a["transA"] else x
    if weights is not None and x.element == "f" and weights.size:
        turned = a["transB"]
        rows = weights if turned else weights.T
        made = plan.weights(node, ("dense", names[1], turned), lambda: (rows, None), weights)
        plan.emit("product", made, x, y, None, None)
    else:
        plan.emit("matmul", x, w.transposed((1, 0)) if a["transB"] else w, y)
    if a["alpha"] != 1:
        emit_map(plan, "Mul", [y, _number(plan, a["alpha"], y)], y)
    if names[2]:
        c = plan.read(names[2])
        if a["beta"] != 1:
            scaled = plan.scratch(c.element, c.shape)
            emit_map(plan, "Mul", [c, _number(plan, a["beta"], c)], scaled)
            c = scaled
        emit_map(plan, "Add", [y, c], y)
    narrow(plan, node.outputs[0], y)


def _number(plan: Plan, value: float, like: Tensor) -> Tensor:
    if like.element == "i" and value != int(value):
        raise FormatError(f"whole numbers times {value:g} are not supported")
    return plan.constant(np.array(value, np.float32 if like.element == "f" else np.int64))


@lowers("Einsum")
def _einsum(plan: Plan, node: Node) -> None:
    """One tensor after the other is multiplied in; labels that nothing needs any more are summed over."""
    tensors = [plan.read(name) for name in node.inputs]
    labels, output = einsum_labels(node.attributes["equation"], [len(one.shape) for one in tensors])
    parts = [_diagonal(one, own) for one, own in zip(tensors, labels)]
    sizes: dict[str, int] = {}
    for tensor, own in parts:
        for label, size in zip(own, tensor.shape):
            sizes[label] = max(size, sizes.get(label, size)) if size else 0
    y = plan.write(node.outputs[0])
    current, own = parts[0]
    if len(parts) == 1:
        if set(own) == set(output):
            plan.copy(_along(current, own, output, sizes), y)
            return
        parts.append((plan.constant(np.ones((), np.float32 if current.element == "f" else np.int64)), []))
    for k, (other, others) in enumerate(parts[1:], 2):
        last = k == len(parts)
        later = {*output, *(label for _, more in parts[k:] for label in more)}
        kept = output if last else [label for label in dict.fromkeys([*own, *others]) if label in later]
        made = y if last else plan.scratch(y.element, tuple(sizes[label] for label in kept))
        _contract(plan, (current, own), (other, others), (made, list(kept)), sizes)
        current, own = made, list(kept)
    narrow(plan, node.outputs[0], y)


def _diagonal(tensor: Tensor, labels: list[str]) -> tuple[Tensor, list[str]]:
    """A label that stands twice is walked along both axes at once."""
    own = list(dict.fromkeys(labels))
    strides = [sum(step for step, other in zip(tensor.strides, labels) if other == label) for label in own]
    shape = [tensor.shape[labels.index(label)] for label in own]
    return tensor.view(tuple(shape), tuple(strides)), own


def _along(tensor: Tensor, own: list[str], wanted: list[str], sizes: dict[str, int]) -> Tensor:
    """The axes in another order; those that it does not have, or has once, are repeated."""
    strides = []
    for label in wanted:
        at = own.index(label) if label in own else -1
        strides.append(0 if at < 0 or tensor.shape[at] != sizes[label] else tensor.strides[at])
    return tensor.view(tuple(sizes[label] for label in wanted), tuple(strides))


Labelled = tuple[Tensor, list[str]]


def _contract(plan: Plan, left: Labelled, right: Labelled, result: Labelled, sizes: dict[str, int]) -> None:
    (x, of_x), (w, of_w), (y, of_y) = left, right, result
    summed = [label for label in dict.fromkeys([*of_x, *of_w]) if label not in of_y]
    columns = [label for label in of_y if label in of_w and label not in of_x]
    rows = [label for label in of_y if label in of_x and label not in of_w]
    batch = [label for label in of_y if label not in rows and label not in columns]

    def matrix(tensor: Tensor, own: list[str], first: list[str], second: list[str]) -> Tensor | None:
        """(batch..., first, second), each of the two as one axis."""
        found = _along(tensor, own, [*batch, *first, *second], sizes)
        shape: Sizes = (*found.shape[: len(batch)], *(math.prod(sizes[k] for k in some) for some in (first, second)))
        return found.reshaped(shape)

    def read(tensor: Tensor, own: list[str], first: list[str], second: list[str]) -> Tensor:
        made = matrix(tensor, own, first, second)
        if made is None:
            order = [label for label in (*batch, *first, *second) if label in own]
            dense = plan.scratch(tensor.element, tuple(tensor.shape[own.index(label)] for label in order))
            plan.copy(tensor.transposed([own.index(label) for label in order]), dense)
            made = matrix(dense, order, first, second)
        if made is None:  # repeated along a part of what is one axis
            whole = _along(tensor, own, [*batch, *first, *second], sizes)
            copied = plan.scratch(tensor.element, whole.shape)
            plan.copy(whole, copied)
            made = matrix(copied, [*batch, *first, *second], first, second)
        assert made is not None
        return made

    target = matrix(y, of_y, rows, columns)
    made = target or plan.scratch(y.element, tuple(sizes[label] for label in (*batch, *rows, *columns)))
    into = target or matrix(made, [*batch, *rows, *columns], rows, columns)
    plan.emit("matmul", read(x, of_x, rows, summed), read(w, of_w, summed, columns), into)
    if target is None:
        plan.copy(_along(made, [*batch, *rows, *columns], of_y, sizes), y)
