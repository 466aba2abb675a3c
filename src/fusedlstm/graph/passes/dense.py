"""Dense layers: a product with constant weights, its bias and its activation become one node."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...weights import Activation
from ..draft import Draft, DraftNode
from ..operators import Array

PLAIN = {
    "Exp": "exponential",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}


def activation_of(one: DraftNode | None) -> Activation | None:
    """The activation that a node applies to each element."""
    if one is None:
        return None
    a: Any = one.attributes
    if one.op in PLAIN:
        return Activation(PLAIN[one.op])
    if one.op in ("Elu", "LeakyRelu"):
        return Activation("elu" if one.op == "Elu" else "leaky_relu", a["alpha"])
    if one.op == "HardSigmoid":
        return Activation("hard_sigmoid", a["alpha"], a["beta"])
    if one.op == "Gelu":
        return Activation("gelu_tanh" if a["approximate"] == "tanh" else "gelu")
    if one.op == "Swish" and a["alpha"] == 1:
        return Activation("silu")
    return None


def rewrite(draft: Draft) -> None:
    """Products, then what follows them."""
    for one in draft.of("MatMul", "Gemm"):
        _product(draft, one)
    for one in draft.of("fusedlstm.Conv"):
        _pointwise(draft, one)
    for one in draft.of("fusedlstm.Dense"):
        if one.attributes["activation"] is None:
            _follow(draft, one)


def _floats(draft: Draft, one: DraftNode) -> bool:
    kind = draft.types.get(one.output)
    return kind is not None and kind.dtype.kind == "f"


def _product(draft: Draft, one: DraftNode) -> None:
    weights = draft.constant(one.inputs[1])
    if weights is None or weights.ndim != 2 or not _floats(draft, one) or one.inputs[0] in draft.constants:
        return
    inputs, a = [*one.inputs[:2]], one.attributes
    if one.op == "Gemm":
        bias = draft.constant(one.inputs[2]) if len(one.inputs) > 2 and one.inputs[2] else None
        if a["transA"] or (len(one.inputs) > 2 and one.inputs[2] and bias is None):
            return
        columns = weights.shape[0 if a["transB"] else 1]
        if bias is not None and bias.shape not in ((columns,), (1, columns), (1,), ()):
            return
        if a["transB"] or a["alpha"] != 1:
            weights = (weights.T if a["transB"] else weights) * weights.dtype.type(a["alpha"])
            inputs[1] = draft.add_constant(weights, one.inputs[1])
        if bias is not None:
            bias = np.broadcast_to(bias.reshape(-1) * bias.dtype.type(a["beta"]), (columns,))
            inputs.append(draft.add_constant(bias, one.inputs[2]))
    draft.add("fusedlstm.Dense", inputs, [one.output], one.name)
    draft.remove(one)


def _pointwise(draft: Draft, one: DraftNode) -> None:
    """A convolution of one tap between two transposes: Keras's way of a dense layer at each step."""
    weights, a = draft.constant(one.inputs[1]), one.attributes
    before = draft.made_by(one.inputs[0], "Transpose")
    after = draft.users.get(one.output, {})
    if weights is None or weights.shape[2:] != (1,) or a["group"] != 1 or any(a["pads"] or ()) or before is None:
        return
    if (a["strides"] or (1,)) != (1,) or one.output in draft.outputs or not after:
        return
    if any(user.op != "Transpose" or user.attributes["perm"] != (0, 2, 1) for user in [before, *after]):
        return
    columns = draft.add_constant(weights[:, :, 0].T, one.inputs[1])
    first, *others = [user.output for user in after]
    inputs = [before.inputs[0], columns, *one.inputs[2:]]
    draft.add("fusedlstm.Dense", inputs, [first], one.name, activation=a["activation"])
    for name in others:
        draft.forward(name, first)
    draft.remove(*after, one)


def _follow(draft: Draft, one: DraftNode) -> None:
    """A bias, a scale and an activation behind a dense layer."""
    while True:
        after = draft.taken_by(one.output)
        if after is None:
            return
        if after.op in ("Reshape", "Squeeze", "Unsqueeze"):
            after = _reshaped(draft, one, after)
            if after is None:
                return
        activation = activation_of(after)
        if activation is not None:
            _take(draft, one, after, one.inputs, activation)
            return
        changed = _affine(draft, one, after)
        if changed is None:
            return
        one = _take(draft, one, after, changed, None)


def _reshaped(draft: Draft, one: DraftNode, view: DraftNode) -> DraftNode | None:
    """Let a reshape that keeps the columns change places with the bias or the activation behind it."""
    after, before = draft.taken_by(view.output), draft.types.get(one.output)
    kind = draft.types.get(view.output)
    if after is None or before is None or kind is None or kind.shape[-1:] != before.shape[-1:]:
        return None
    if activation_of(after) is None:
        parts = draft.parts(after)
        if after.op not in ("Add", "Sub", "Mul", "Div") or parts is None or draft.types.get(after.output) != kind:
            return None
        if per_column(parts[1], kind.shape[-1], kind.shape) is None:
            return None
        row = draft.add_constant(parts[1].reshape(-1), after.output)
        inputs = [row if name in draft.constants else one.output for name in after.inputs]
    else:
        inputs = [one.output]
    inner = draft.add(after.op, inputs, draft.fresh(one.output), after.name, **after.attributes)
    draft.add(view.op, [inner.output, *view.inputs[1:]], [after.output], view.name, **view.attributes)
    draft.remove(after)
    return inner


def _affine(draft: Draft, one: DraftNode, after: DraftNode) -> list[str] | None:
    """The inputs of a dense layer that also adds or multiplies what `after` does."""
    parts, weights = draft.parts(after), draft.constant(one.inputs[1])
    if after.op == "BatchNormalization" and weights is not None and len(draft.types[one.output].shape) == 2:
        return _normalised(draft, one, after, weights)
    if parts is None or weights is None or after.op not in ("Add", "Sub", "Mul", "Div"):
        return None
    columns, kind = weights.shape[1], weights.dtype
    row = per_column(parts[1], columns, draft.types[one.output].shape)
    reverse = parts[0] != after.inputs[0]
    if row is None or draft.types.get(after.output) != draft.types[one.output] or (reverse and after.op == "Div"):
        return None
    bias = draft.constant(one.inputs[2]) if len(one.inputs) > 2 else np.zeros(columns, kind)
    if bias is None:
        return None
    if after.op == "Add":
        bias = bias + row
    elif after.op == "Sub":
        bias = row - bias if reverse else bias - row
        weights = -weights if reverse else weights
    else:
        factor = 1 / row.astype(np.float64) if after.op == "Div" else row.astype(np.float64)
        weights, bias = weights * factor, bias * factor
        if not np.isfinite(weights).all():
            return None
    same = weights is draft.constant(one.inputs[1])
    return [
        one.inputs[0],
        one.inputs[1] if same else draft.add_constant(weights.astype(kind), one.inputs[1]),
        draft.add_constant(bias.astype(kind), after.output),
    ]


def _normalised(draft: Draft, one: DraftNode, after: DraftNode, weights: Array) -> list[str] | None:
    found = channels(draft, after, weights.shape[1], 2)
    bias = draft.constant(one.inputs[2]) if len(one.inputs) > 2 else np.zeros(weights.shape[1])
    if found is None or bias is None:
        return None
    scale, shift = found
    return [
        one.inputs[0],
        draft.add_constant((weights * scale).astype(weights.dtype), one.inputs[1]),
        draft.add_constant((bias * scale + shift).astype(weights.dtype), after.output),
    ]


def channels(draft: Draft, after: DraftNode, count: int, rank: int) -> tuple[Array, Array] | None:
    """Scale and shift of each channel, of a node that does no more than that, in float64."""
    one, zero = np.ones(count), np.zeros(count)
    if after.op == "BatchNormalization":
        arrays = [draft.constant(name) for name in after.inputs[1:]]
        if any(value is None or value.shape != (count,) for value in arrays):
            return None
        gain, bias, mean, var = (np.asarray(value, np.float64) for value in arrays)
        scale = gain / np.sqrt(var + after.attributes["epsilon"])
        return (scale, bias - mean * scale) if np.isfinite(scale).all() else None
    parts = draft.parts(after)
    if parts is None or after.op not in ("Add", "Sub", "Mul", "Div"):
        return None
    value, reverse = parts[1].astype(np.float64), parts[0] != after.inputs[0]
    spread = (count, *(1,) * (rank - 2))  # a number for each channel
    if value.size > 1 and value.shape not in (spread, (1, *spread)):
        return None
    row = np.broadcast_to(value.reshape(-1), (count,))
    if after.op == "Add":
        return one, row
    if after.op == "Sub":
        return (-one, row) if reverse else (one, -row)
    if after.op == "Mul":
        return row, zero
    return None if reverse or not row.all() else (1 / row, zero)


def per_column(value: Array, columns: int, shape: Any) -> Array | None:
    """A constant as a row of numbers, one for each of the last axis."""
    if value.ndim > len(shape) or math.prod(value.shape[:-1]) != 1 or value.size not in (1, columns):
        return None
    return np.broadcast_to(value.reshape(-1), (columns,))


def _take(draft: Draft, one: DraftNode, after: DraftNode, inputs: list[str], activation: Any) -> DraftNode:
    made = draft.add("fusedlstm.Dense", inputs, [after.output], one.name, activation=activation)
    draft.remove(after)
    draft.remove(one)
    return made
