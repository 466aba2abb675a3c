"""Attention as one operator: products, a softmax between them, and masks."""

from __future__ import annotations

import math

import numpy as np

from ....errors import FormatError
from .call import BOOL, Call
from .registry import operator

_FUSED = ("_scaled_dot_product_flash_attention_for_cpu.default", "_scaled_dot_product_efficient_attention.default")


@operator("scaled_dot_product_attention.default", *_FUSED)
def _attention(call: Call) -> list[str | None]:
    if call.number("dropout_p", 0.0):
        raise FormatError("dropout_p: expected a module in eval mode, found one that drops out")
    q, k, v = (call.tensor(name) for name in ("query", "key", "value"))
    rank, features = call.rank(q), call.shape(q)[-1]
    if rank < 2 or call.rank(k) != rank or call.rank(v) != rank or type(features) is not int:
        raise FormatError(f"expected query, key and value of as many dimensions, found {call.shape(q)}")
    if call.flag("enable_gqa", False):
        k, v = (_shared(call, q, one) for one in (k, v))
    scale = call.number("scale") if call.has("scale") else 1 / math.sqrt(features)
    q = call.op("Mul", q, call.like(q, scale))
    scores = call.op("MatMul", q, call.transpose(k, *range(rank - 2), rank - 1, rank - 2))
    mask = call.optional("attn_mask") or call.optional("attn_bias")
    if call.flag("is_causal", False):
        if mask:
            raise FormatError("attn_mask: expected none beside is_causal, found one")
        mask = _causal(call, q, k)
    if not mask:
        weights = call.op("Softmax", scores, axis=-1)
    elif call.kind_of(mask) == BOOL:
        scores = call.op("Where", mask, scores, call.like(scores, -math.inf))
        weights = _softmax(call, scores)
    else:
        weights = _softmax(call, call.op("Add", scores, mask))
    return [call.op("MatMul", weights, v), None, None, None]


def _softmax(call: Call, scores: str) -> str:
    """Zeros for a query that may look at nothing."""
    highest = call.op("ReduceMax", scores, call.int_list(-1))
    nothing = call.op("IsInf", highest, detect_positive=0)
    return call.op("Where", nothing, call.like(scores, 0.0), call.op("Softmax", scores, axis=-1))


def _causal(call: Call, q: str, k: str) -> str:
    """Which keys a query may look at: those until its own place."""
    sizes = [call.op("Shape", one, start=call.rank(one) - 2, end=call.rank(one) - 1) for one in (q, k)]
    ones = call.op("ConstantOfShape", call.op("Concat", *sizes, axis=0), value=np.ones(1, np.int32))
    return call.cast(call.op("Trilu", ones, upper=0), BOOL)


def _shared(call: Call, q: str, x: str) -> str:
    """Each head of keys for as many heads of queries as there are."""
    heads, own = call.shape(q)[-3], call.shape(x)[-3]
    if type(heads) is not int or type(own) is not int or not own or heads % own:
        raise FormatError(f"enable_gqa: expected heads that divide those of the query, found {own} and {heads}")
    if heads == own:
        return x
    index = call.constant(np.repeat(np.arange(own, dtype=np.int64), heads // own))
    return call.op("Gather", x, index, axis=call.rank(x) - 3)
