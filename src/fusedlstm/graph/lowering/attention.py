"""Attention and the turning of its queries and keys, from the steps of their parts."""

from __future__ import annotations

import math

import numpy as np

from ...weights import Activation
from ..graph import Node
from ..operators.attention import seen_keys
from ..operators.lowers import lowers
from ..plan import Plan
from ..tensors import Tensor
from .elementwise import emit_map
from .reductions import emit_reduce


def _heads(x: Tensor, count: int | None) -> Tensor:
    """(batch, heads, steps, features) of a tensor that may have heads side by side."""
    if len(x.shape) == 4:
        return x
    batch, steps, features = x.shape
    assert count
    (b, s, f), width = x.strides, features // count
    return x.view((batch, count, steps, width), (b, f * width, s, f))


def _groups(x: Tensor, groups: int) -> Tensor:
    """(batch, groups, heads of one, steps, features)."""
    (batch, heads, steps, width), (b, h, s, f) = x.shape, x.strides
    each = heads // groups
    return x.view((batch, groups, each, steps, width), (b, h * each, h, s, f))


def _number(plan: Plan, value: float) -> Tensor:
    return plan.constant(np.array(value, np.float32))


def _with_past(plan: Plan, own: Tensor, past: str, present: str) -> Tensor:
    """Keys or values with those before them; an output of the node if it is wanted."""
    if not past:
        if present:
            plan.alias(present, own)
        return own
    before = plan.read(past)
    batch, heads, steps, width = own.shape
    shape = (batch, heads, before.shape[2] + steps, width)
    whole = plan.write(present) if present else plan.scratch("f", shape)
    plan.copy(before, whole.sliced(2, 0, before.shape[2]))
    plan.copy(own, whole.sliced(2, before.shape[2], steps))
    return whole


def _mask(plan: Plan, mask: Tensor, total: int) -> Tensor:
    """As long as there are keys: what is past its end is not seen."""
    length = mask.shape[-1]
    if length >= total:
        return mask.sliced(len(mask.shape) - 1, 0, total)
    whole = plan.scratch(mask.element, (*mask.shape[:-1], total))
    unseen = plan.constant(np.array(False)) if mask.element == "b" else _number(plan, -math.inf)
    plan.copy(mask, whole.sliced(len(mask.shape) - 1, 0, length))
    rest = whole.sliced(len(mask.shape) - 1, length, total - length)
    plan.copy(unseen.broadcast(rest.shape), rest)
    return whole


def _seen(plan: Plan, node: Node, valid: Tensor | None, sizes: tuple[int, int, int]) -> Tensor | None:
    """Which keys each query may see by their places, True: (batch or 1, 1, steps, total); None: all."""
    steps, total, offset = sizes
    a = node.attributes
    if valid is None:
        seen = seen_keys(a, steps, total, np.array([offset]))
        return None if seen.all() else plan.constant(seen)
    batch = valid.shape[0]
    length = valid.view((batch, 1, 1, 1), (valid.strides[0], 0, 0, 0))
    keys = plan.constant(np.arange(total))
    seen = plan.scratch("b", (batch, 1, steps, total))
    emit_map(plan, "Less", [keys, length], seen)
    at = plan.scratch("i", (batch, 1, steps, 1))
    emit_map(plan, "Add", [length, plan.constant(np.arange(steps).reshape(1, 1, steps, 1) - steps)], at)

    def limit(operation: str, distance: int) -> None:
        bound, within = plan.scratch("i", at.shape), plan.scratch("b", seen.shape)
        emit_map(plan, "Add", [at, plan.constant(np.array(distance))], bound)
        emit_map(plan, operation, [keys, bound], within)
        emit_map(plan, "And", [seen, within], seen)

    if a["is_causal"]:
        limit("LessOrEqual", 0)
    if a["left_window_size"] >= 0:
        limit("GreaterOrEqual", -a["left_window_size"])
    if a["right_window_size"] >= 0:
        limit("LessOrEqual", a["right_window_size"])
    return seen


@lowers("Attention")
def _attention(plan: Plan, node: Node) -> None:
    a = node.attributes
    q_name, k_name, v_name, mask_name, past_key, past_value, valid_name = (*node.inputs, *[""] * 4)[:7]
    y_name, new_key, new_value, stage_name = plan.wanted(node, 4)
    q = _heads(plan.read(q_name), a["q_num_heads"])
    k, v = (_heads(plan.read(name), a["kv_num_heads"]) for name in (k_name, v_name))
    k = _with_past(plan, k, past_key, new_key)
    v = _with_past(plan, v, past_value, new_value)
    (batch, heads, steps, width), total, groups = q.shape, k.shape[2], k.shape[1]
    offset = plan.shape(past_key)[2] if past_key else 0

    scaled = plan.scratch("f", q.shape)
    emit_map(plan, "Mul", [q, _number(plan, 1 / math.sqrt(width) if a["scale"] is None else a["scale"])], scaled)
    scores = plan.scratch("f", (batch, heads, steps, total))
    keys = _groups(k, groups).transposed((0, 1, 2, 4, 3))
    shared = (batch, groups, heads // groups)
    plan.emit("matmul", _groups(scaled, groups), keys.broadcast((*shared, *keys.shape[3:])), _groups(scores, groups))

    def stage(number: int) -> None:
        if stage_name and a["qk_matmul_output_mode"] == number:
            plan.copy(scores, plan.write(stage_name))

    stage(0)
    if a["softcap"]:
        plan.emit("activate", Activation("scaled_tanh", a["softcap"], 1 / a["softcap"]), scores, scores)
    stage(1)
    valid = plan.read(valid_name) if valid_name and not past_key else None
    seen = _seen(plan, node, valid, (steps, total, offset))
    mask = _mask(plan, plan.read(mask_name), total) if mask_name else None
    if mask is not None and mask.element == "f":
        emit_map(plan, "Add", [scores, mask], scores)
    for one in (seen, mask):
        if one is not None and one.element == "b":
            emit_map(plan, "Where", [one, scores, _number(plan, -math.inf)], scores)
    stage(2)
    nothing: Tensor | None = None
    if seen is not None or mask is not None:  # queries that see no key
        high, nothing = (plan.scratch(element, (batch, heads, steps, 1)) for element in "fb")
        emit_reduce(plan, "Max", scores, high, (3,))
        emit_map(plan, "Equal", [high, _number(plan, -math.inf)], nothing)
    plan.emit("softmax", "Softmax", scores, scores)
    if nothing is not None:
        emit_map(plan, "Where", [nothing, _number(plan, 0), scores], scores)
    stage(3)
    if y_name:
        y = _groups(_heads(plan.write(y_name), a["q_num_heads"]), groups)
        values = _groups(v, groups)
        plan.emit("matmul", _groups(scores, groups), values.broadcast((*shared, *values.shape[3:])), y)


@lowers("RotaryEmbedding")
def _rotary(plan: Plan, node: Node) -> None:
    a = node.attributes
    given, y = plan.read(node.inputs[0]), plan.write(node.outputs[0])
    x, y = (_heads(one, a["num_heads"]) for one in (given, y))
    batch, _, steps, features = x.shape
    width = a["rotary_embedding_dim"] or features
    half = width // 2
    angles = [plan.read(name) for name in node.inputs[1:3]]
    if len(node.inputs) > 3 and node.inputs[3]:
        places, made = plan.read(node.inputs[3]), []
        for one in angles:
            made.append(plan.scratch("f", (batch, steps, half)))
            plan.emit("take", one, places, made[-1], ((0, 1), (-1, 2)))
        angles = made
    cos, sin = (one.view((one.shape[0], 1, *one.shape[1:]), (one.strides[0], 0, *one.strides[1:])) for one in angles)
    step, second = (2, 1) if a["interleaved"] else (1, half)
    (one, two), (first, last) = ([part.sliced(3, start, half, step) for start in (0, second)] for part in (x, y))
    other = plan.scratch("f", one.shape)
    emit_map(plan, "Mul", [two, sin], other)
    emit_map(plan, "Mul", [one, cos], first)
    emit_map(plan, "Sub", [first, other], first)
    emit_map(plan, "Mul", [two, cos], other)
    emit_map(plan, "Mul", [one, sin], last)
    emit_map(plan, "Add", [last, other], last)
    if width < features:
        plan.copy(x.sliced(3, width, features - width), y.sliced(3, width, features - width))
