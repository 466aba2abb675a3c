"""Attention and the turning of its queries and keys: https://onnx.ai/onnx/operators/onnx__Attention.html."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .operator import BOOL, Array, Attributes, Call, TensorType, differ, flag, integer, number, operator


def _heads(x: Array, count: int | None) -> Array:
    """(batch, heads, steps, features) of a tensor that may have heads side by side."""
    if x.ndim == 4:
        return x
    if not count:
        raise ValueError("expected a number of heads for inputs of 3 dimensions, found none")
    return x.reshape(*x.shape[:2], count, -1).swapaxes(1, 2)


def _sizes(shape: Any, count: int | None) -> tuple[Any, Any, Any, Any]:
    if len(shape) == 4:
        return tuple(shape)
    if len(shape) != 3 or not count:
        raise ValueError(f"expected 4 dimensions, or 3 and a number of heads, found {shape}")
    return shape[0], count, shape[1], shape[2] // count


def _rule(call: Call) -> list[TensorType]:
    a, dtype = call.attributes, call.dtypes[0]
    batch, heads, steps, width = _sizes(call.shapes[0], a["q_num_heads"])
    _, own, keys, key_width = _sizes(call.shapes[1], a["kv_num_heads"])
    _, _, values, value_width = _sizes(call.shapes[2], a["kv_num_heads"])
    if differ(width, key_width) or differ(keys, values) or (type(heads) is int and type(own) is int and heads % own):
        raise ValueError(f"expected queries, keys and values that fit together, found {call.shapes[:3]}")
    total = keys + call.shapes[4][2] if call.has(4) else keys
    flat = len(call.shapes[0]) == 3
    y = (batch, steps, heads * value_width) if flat else (batch, heads, steps, value_width)
    return [
        TensorType(y, dtype),
        TensorType((batch, own, total, width), call.dtypes[1]),
        TensorType((batch, own, total, value_width), call.dtypes[2]),
        TensorType((batch, heads, steps, total), dtype),
    ]


def seen_keys(a: Attributes, steps: int, total: int, offset: Array) -> Array:
    """Which keys each query may see (batch or 1, 1, steps, total)."""
    at, key = offset.reshape(-1, 1, 1, 1) + np.arange(steps)[:, None], np.arange(total)
    seen = np.ones((len(at), 1, steps, total), np.bool_)
    if a["is_causal"]:
        seen &= key <= at
    if a["left_window_size"] >= 0:
        seen &= key >= at - a["left_window_size"]
    if a["right_window_size"] >= 0:
        seen &= key <= at + a["right_window_size"]
    return seen


@operator(
    "Attention",
    _rule,
    (3, 7),
    (1, 4),
    is_causal=flag(),
    kv_num_heads=integer(None, least=1),
    left_window_size=integer(-1, least=-1),
    q_num_heads=integer(None, least=1),
    qk_matmul_output_mode=integer(0, least=0),
    right_window_size=integer(-1, least=-1),
    scale=number(None),
    softcap=number(0.0),
    softmax_precision=integer(None),
)
def _attention(
    a: Attributes,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    valid: Array | None = None,
) -> list[Array]:
    flat, dtype = q.ndim == 3, q.dtype
    q, k, v = _heads(q, a["q_num_heads"]), _heads(k, a["kv_num_heads"]), _heads(v, a["kv_num_heads"])
    offset = np.zeros(1, np.int64)
    if past_key is not None:
        offset += past_key.shape[2]
        k, v = np.concatenate([past_key, k], 2), np.concatenate([past_value, v], 2)
    elif valid is not None:
        offset = valid.astype(np.int64) - q.shape[2]
    steps, total, group = q.shape[2], k.shape[2], q.shape[1] // k.shape[1]
    keys, values = (np.repeat(one.astype(np.float64), group, 1) for one in (k, v))
    scale = 1 / math.sqrt(q.shape[3]) if a["scale"] is None else a["scale"]
    scores = (q.astype(np.float64) @ keys.swapaxes(2, 3)) * scale
    stages = [scores]
    if a["softcap"]:
        scores = a["softcap"] * np.tanh(scores / a["softcap"])
    stages.append(scores)
    seen = seen_keys(a, steps, total, offset)
    if valid is not None:
        seen = seen & (np.arange(total) < valid.reshape(-1, 1, 1, 1))
    if mask is not None:
        short = total - mask.shape[-1]
        grow = [(0, 0)] * (mask.ndim - 1) + [(0, max(short, 0))]
        if mask.dtype == BOOL:
            seen = seen & np.pad(mask, grow, constant_values=False)[..., :total]
        else:
            scores = scores + np.pad(mask.astype(np.float64), grow, constant_values=-np.inf)[..., :total]
    scores = np.where(seen, scores, -np.inf)
    stages.append(scores)
    high = scores.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(np.isfinite(high), high, 0))
    sums = e.sum(-1, keepdims=True)
    shares = e / np.where(sums == 0, 1, sums)
    stages.append(shares)
    y = shares @ values
    if flat:
        y = y.swapaxes(1, 2).reshape(y.shape[0], steps, -1)
    return [y.astype(dtype), k, v, stages[a["qk_matmul_output_mode"]].astype(dtype)]


def _rotary_rule(call: Call) -> list[TensorType]:
    if len(call.shapes[0]) not in (3, 4):
        raise ValueError(f"expected 3 or 4 dimensions, found {call.shapes[0]}")
    return [TensorType(call.shapes[0], call.dtypes[0])]


@operator(
    "RotaryEmbedding",
    _rotary_rule,
    (3, 4),
    interleaved=flag(),
    num_heads=integer(0, least=0),
    rotary_embedding_dim=integer(0, least=0),
)
def _rotary(a: Attributes, x: Array, cos: Array, sin: Array, places: Array | None = None) -> Array:
    heads = _heads(x, a["num_heads"]).astype(np.float64)
    if places is not None:
        cos, sin = cos[places], sin[places]
    cos, sin = cos[:, None], sin[:, None]  # the same for every head
    width = a["rotary_embedding_dim"] or heads.shape[-1]
    turned, rest = heads[..., :width], heads[..., width:]
    one, two = (turned[..., ::2], turned[..., 1::2]) if a["interleaved"] else np.split(turned, 2, -1)
    parts = [cos * one - sin * two, sin * one + cos * two]
    new = np.stack(parts, -1).reshape(turned.shape) if a["interleaved"] else np.concatenate(parts, -1)
    found = np.concatenate([new, rest], -1)
    return (found if x.ndim == 4 else found.swapaxes(1, 2).reshape(x.shape)).astype(x.dtype)
