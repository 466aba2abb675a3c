"""Layer normalisation and softmax that exporters write in several nodes."""

from __future__ import annotations

import numpy as np

from ..draft import Draft, DraftNode
from ..operators.operator import axes_of
from .activations import replace


def rewrite(draft: Draft) -> None:
    """Say each in one node."""
    for one in draft.of("Div", "Mul"):
        _softmax(draft, one) or _standard(draft, one)
    for one in draft.of("LayerNormalization"):
        _gain(draft, one)
    for one in draft.of("LayerNormalization"):
        _shift(draft, one)


def _axes(draft: Draft, one: DraftNode) -> tuple[int, ...] | None:
    """The axes of a reduction that keeps them, as the last ones."""
    shape, given = draft.shape(one.inputs[0]), draft.ints(one, 1)
    if shape is None or not one.attributes["keepdims"]:
        return None
    axes = axes_of(given, len(shape)) if given else tuple(range(len(shape)))
    return tuple(sorted(axes))


def _softmax(draft: Draft, one: DraftNode) -> bool:
    """exp(x - max x) / sum of it, along one axis."""
    if one.op != "Div":
        return False
    e, total = draft.made_by(one.inputs[0], "Exp"), draft.made_by(one.inputs[1], "ReduceSum")
    if e is None or total is None or total.inputs[0] != e.output:
        return False
    axes = _axes(draft, total)
    if axes is None or len(axes) != 1:
        return False
    x = e.inputs[0]
    minus = draft.made_by(x, "Sub")
    high = draft.made_by(minus.inputs[1], "ReduceMax") if minus is not None else None
    if minus is not None and high is not None and high.inputs[0] == minus.inputs[0] and _axes(draft, high) == axes:
        x = minus.inputs[0]
    return replace(draft, one, "Softmax", x, axis=axes[0])


def _centred(draft: Draft, name: str) -> tuple[str, tuple[int, ...]] | None:
    """x and the axes, of x - mean(x)."""
    minus = draft.made_by(name, "Sub")
    mean = draft.made_by(minus.inputs[1], "ReduceMean") if minus is not None else None
    if minus is None or mean is None or mean.inputs[0] != minus.inputs[0]:
        return None
    axes = _axes(draft, mean)
    return None if axes is None else (minus.inputs[0], axes)


def _variance(draft: Draft, name: str) -> tuple[str, tuple[int, ...]] | None:
    """x and the axes, of the mean of (x - mean(x))²."""
    mean = draft.made_by(name, "ReduceMean")
    square = draft.made_by(mean.inputs[0], "Mul", "Pow") if mean is not None else None
    if mean is None or square is None:
        return None
    two = square.inputs[0] == square.inputs[1] if square.op == "Mul" else draft.scalar(square.inputs[1]) == 2
    centred = _centred(draft, square.inputs[0])
    return centred if two and centred is not None and _axes(draft, mean) == centred[1] else None


def _deviation(draft: Draft, name: str) -> tuple[str, tuple[int, ...], float] | None:
    """x, the axes and epsilon, of sqrt(variance + epsilon)."""
    root = draft.made_by(name, "Sqrt")
    plus = draft.parts(draft.made_by(root.inputs[0], "Add")) if root is not None else None
    if plus is None or plus[1].size != 1:
        return None
    found = _variance(draft, plus[0])
    return None if found is None else (*found, float(plus[1].reshape(()).item()))


def _inverse(draft: Draft, name: str) -> tuple[str, tuple[int, ...], float] | None:
    """The same of 1 / sqrt(variance + epsilon)."""
    one = draft.made_by(name, "Reciprocal", "Div", "Pow")
    if one is None:
        return None
    if one.op == "Pow":
        plus = draft.parts(draft.made_by(one.inputs[0], "Add"))
        if draft.scalar(one.inputs[1]) != -0.5 or plus is None or plus[1].size != 1:
            return None
        found = _variance(draft, plus[0])
        return None if found is None else (*found, float(plus[1].reshape(()).item()))
    if one.op == "Div" and draft.scalar(one.inputs[0]) != 1:
        return None
    return _deviation(draft, one.inputs[-1])


def _standard(draft: Draft, one: DraftNode) -> bool:
    """(x - mean) / sqrt(variance + epsilon) over the last axes, and the same with a product."""
    for x, y in (one.inputs, one.inputs[::-1])[: 1 if one.op == "Div" else 2]:
        centred = _centred(draft, x)
        found = None if centred is None else (_deviation if one.op == "Div" else _inverse)(draft, y)
        if found is None or found[:2] != centred:
            continue
        source, axes, epsilon = found
        shape = draft.shape(source)
        if shape is None or axes != tuple(range(len(shape) - len(axes), len(shape))):
            continue
        sizes = tuple(shape[axis] for axis in axes)
        if not all(type(size) is int for size in sizes):
            continue
        scale = draft.add_constant(np.ones(sizes, draft.types[source].dtype), one.output)
        return replace(draft, one, "LayerNormalization", source, scale, axis=-len(axes), epsilon=epsilon)
    return False


def _fits(draft: Draft, one: DraftNode, value: np.ndarray) -> bool:
    """Whether an array is a number for each normalised element."""
    shape, axes = draft.shape(one.inputs[0]), -one.attributes["axis"]
    if shape is None or value.ndim > len(shape):
        return False
    sizes = shape[len(shape) - axes :]
    lead = value.shape[: max(value.ndim - axes, 0)]
    return all(size == 1 for size in lead) and np.broadcast_shapes(value.shape[len(lead) :], sizes) == sizes


def _gain(draft: Draft, one: DraftNode) -> None:
    """A product with a constant behind it: the gain."""
    if one.attributes["axis"] >= 0 or len(one.inputs) > 2 or any(one.outputs[1:]):
        return
    after = draft.taken_by(one.output, "Mul")
    parts, scale = draft.parts(after), draft.constant(one.inputs[1])
    if after is None or parts is None or scale is None or not _fits(draft, one, parts[1]):
        return
    own = parts[1].reshape(parts[1].shape[max(parts[1].ndim - scale.ndim, 0) :])
    gain = draft.add_constant((scale * own).astype(scale.dtype), after.output)
    _move(draft, one, after, [one.inputs[0], gain])


def _shift(draft: Draft, one: DraftNode) -> None:
    """A sum with a constant behind it: the bias."""
    if one.attributes["axis"] >= 0 or len(one.inputs) > 2 or any(one.outputs[1:]):
        return
    after = draft.taken_by(one.output, "Add")
    parts, scale = draft.parts(after), draft.constant(one.inputs[1])
    if after is None or parts is None or scale is None or not _fits(draft, one, parts[1]):
        return
    own = parts[1].reshape(parts[1].shape[max(parts[1].ndim - scale.ndim, 0) :])
    bias = draft.add_constant(np.broadcast_to(own, scale.shape), after.output)
    _move(draft, one, after, [*one.inputs[:2], bias])


def _move(draft: Draft, one: DraftNode, after: DraftNode, inputs: list[str]) -> None:
    draft.add(one.op, inputs, [after.output], one.name, **one.attributes)
    draft.remove(after)
