"""Attention, with the masks of what asks and of what is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import FormatError
from .call import BOOL, FLOAT32, INT64, Call, Tensor
from .registry import Made, layer

_FAR = -1e9
"""What masked scores are set to before the softmax."""


def _causal(call: Call, scores: str) -> str:
    """Which of (..., asking, asked) steps are no later than the one that asks."""
    asking, asked = call.shape(scores)[-2:]
    if type(asking) is int and type(asked) is int:
        return call.constant(np.tri(asking, asked, dtype=np.bool_))
    ones = call.cast(call.op("Equal", scores, scores), INT64)
    return call.cast(call.op("Trilu", ones, upper=0), BOOL)


def _weights(call: Call, scores: str, masks: Sequence[str], zero: bool = False) -> str:
    """The softmax of scores where all masks are true; where none is, `zero` says so, or all count."""
    valid = ""
    for one in masks:
        valid = call.op("And", valid, one) if valid else one
    if valid:
        scores = call.op("Where", valid, scores, call.scalar(_FAR, scores))
    found = call.op("Softmax", scores, axis=-1)
    return call.op("Where", valid, found, call.scalar(0.0, found)) if valid and zero else found


@layer("Attention", "AdditiveAttention")
def _attention(call: Call) -> Made:
    if len(call.inputs) not in (2, 3):
        raise FormatError(f"expected two inputs or three, found {len(call.inputs)}")
    query, value, *more = (call.cast(one.name, FLOAT32) for one in call.inputs)
    key = more[0] if more else value
    for one in (query, value, key):
        call.expect_rank(one, 3)
    additive = call.kind == "AdditiveAttention"
    scores = _added(call, query, key) if additive else _scores(call, query, key)
    masks = [*call.masks(), "", ""]
    valid = [call.unsqueeze(call.cast(masks[1], BOOL), 1)] if masks[1] else []
    if _said(call, "use_causal_mask") or call.flag("causal", False):
        valid.append(_causal(call, scores))
    weights = _weights(call, scores, valid)
    y = call.op("MatMul", weights, value)
    if masks[0]:
        y = call.op("Where", call.unsqueeze(call.cast(masks[0], BOOL), 2), y, call.scalar(0.0, y))
    out = [Tensor(y, masks[0])]
    return [*out, Tensor(weights)] if _said(call, "return_attention_scores") else out


def _said(call: Call, key: str) -> bool:
    """A choice that the call is given."""
    found = call.arguments.get(key)
    if found is not None and not isinstance(found, bool):
        raise FormatError(f"{key}: expected true or false, found {str(found)[:80]!r}")
    return bool(found)


def _read(call: Call, *names: str) -> list[str]:
    return call.once(lambda: [call.constant(one) for one in call.held.weights.read(*names)] if names else [])


def _scores(call: Call, query: str, key: str) -> str:
    """Dot products, or sums behind a tanh."""
    scaled = call.flag("use_scale", False)
    mode = call.choice("score_mode", "dot", "concat", default="dot")
    constants = _read(call, *["scale"] * scaled, *["concat_score_weight"] * (mode == "concat"))
    if mode == "dot":
        scores = call.op("MatMul", query, call.transpose(key, 0, 2, 1))
        return call.op("Mul", scores, constants[0]) if scaled else scores
    both = call.op("Add", call.unsqueeze(query, 2), call.unsqueeze(key, 1))
    both = call.op("Mul", both, constants[0]) if scaled else both
    total = call.op("ReduceSum", call.op("Tanh", both), call.ints(3), keepdims=0)
    return call.op("Mul", total, constants[-1])


def _added(call: Call, query: str, key: str) -> str:
    scaled = call.flag("use_scale", True)
    constants = _read(call, *["scale"] * scaled)
    both = call.op("Tanh", call.op("Add", call.unsqueeze(query, 2), call.unsqueeze(key, 1)))
    both = call.op("Mul", both, constants[0]) if scaled else both
    return call.op("ReduceSum", both, call.ints(3), keepdims=0)


@layer("MultiHeadAttention")
def _multi_head(call: Call) -> Made:
    query, value, key = _asked(call)
    for one in (query, value, key):
        call.expect_rank(one.name, 3)
    for option, usual in (("use_gate", False), ("sliding_window", None)):
        call.only(option, usual)
    _only_time(call)
    heads, size = call.whole("num_heads"), call.whole("key_dim")
    of_value = call.config.get("value_dim")
    of_value = size if of_value is None else call.whole("value_dim")
    parts = [("query", heads, size), ("key", heads, size), ("value", heads, of_value)]
    projected = [_projected(call, call.cast(one.name, FLOAT32), *part) for one, part in zip((query, key, value), parts)]
    q, k, v = (call.transpose(one, 0, 2, 1, 3) for one in projected)
    scores = call.op("MatMul", q, call.transpose(k, 0, 1, 3, 2))
    # Keras 3 goes two ways: by its Softmax, which leaves zeros where everything is masked, or by one fused operator.
    by_softmax = _said(call, "return_attention_scores") or call.number("dropout", 0.0) > 0
    masks = _head_masks(call, query, value, key, scores)
    weights = _weights(call, scores, masks, zero=call.keras3 and by_softmax)
    together = call.transpose(call.op("MatMul", weights, v), 0, 2, 1, 3)
    y = _output(call, call.reshape(together, 0, 0, heads * of_value), heads * of_value)
    out = [Tensor(y, query.mask)]
    return [*out, Tensor(weights)] if _said(call, "return_attention_scores") else out


def _asked(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """What asks, what is asked, and by what it is found."""
    given: list[Any] = [call.arguments.get(name) for name in ("query", "value", "key")]
    query, value, key = next(iter(call.positional), given[0]), given[1], given[1] if given[2] is None else given[2]
    if not all(isinstance(one, Tensor) for one in (query, value, key)):
        raise FormatError("expected query and value, found something else")
    return query, value, key


def _only_time(call: Call) -> None:
    axes = call.config.get("attention_axes")
    if axes not in (None, [1], (1,), 1):
        raise FormatError(f"attention_axes: expected time alone, found {str(axes)[:80]!r}")


def _dense(call: Call, name: str) -> tuple[Any, Any]:
    """The kernel and the bias of a part."""
    biased = call.flag("use_bias", True)
    attribute = "output_dense" if name == "attention_output" else f"{name}_dense"
    kernel, *bias = call.held.weights.part(attribute, name).read(*("kernel", "bias")[: 2 if biased else 1])
    return kernel, bias[0] if bias else None


def _projected(call: Call, x: str, name: str, heads: int, size: int) -> str:
    """(batch, time, heads, size); queries are scaled as their dot products are to be."""

    def made() -> list[str]:
        kernel, bias = _dense(call, name)
        if kernel.ndim != 3 or kernel.shape[1:] != (heads, size):
            raise FormatError(f"{name}: expected {heads} heads of {size}, found a kernel of shape {kernel.shape}")
        scale = 1 / math.sqrt(size) if name == "query" else 1.0
        held = [kernel.reshape(len(kernel), -1), *([] if bias is None else [bias.reshape(-1)])]
        return [call.constant((one * scale).astype(np.float32)) for one in held]

    kernel, *bias = call.once(made, name)
    y = call.op("MatMul", x, kernel)
    y = call.op("Add", y, bias[0]) if bias else y
    return call.reshape(y, 0, 0, heads, size)


def _output(call: Call, x: str, width: int) -> str:
    def made() -> tuple[list[str], tuple[int, ...]]:
        kernel, bias = _dense(call, "attention_output")
        if kernel.ndim < 3 or kernel.shape[0] * kernel.shape[1] != width:
            raise FormatError(f"attention_output: expected a kernel for {width} features, found {kernel.shape}")
        held = [kernel.reshape(width, -1), *([] if bias is None else [bias.reshape(-1)])]
        return [call.constant(one) for one in held], kernel.shape[2:]

    (kernel, *bias), shape = call.once(made, "output")
    y = call.op("MatMul", x, kernel)
    y = call.op("Add", y, bias[0]) if bias else y
    return y if len(shape) == 1 else call.reshape(y, 0, 0, *shape)


def _head_masks(call: Call, query: Tensor, value: Tensor, key: Tensor, scores: str) -> list[str]:
    """All that says which scores count, each to be broadcast to (batch, heads, asking, asked)."""

    def of(name: str, otherwise: str) -> str:
        given = call.arguments.get(name)
        if given is not None and not isinstance(given, Tensor):
            raise FormatError(f"{name}: expected a tensor of the model, found {str(given)[:80]!r}")
        mask = given.name if given else otherwise
        return call.cast(mask, BOOL) if mask else ""

    found = []
    of("query_mask", "")  # Keras takes the query's own instead
    if query.mask:
        found.append(call.unsqueeze(call.cast(query.mask, BOOL), 1, 3))
    if asked := of("value_mask", value.mask):
        found.append(call.unsqueeze(asked, 1, 2))
    if by := of("key_mask", key.mask if isinstance(call.arguments.get("key"), Tensor) else ""):
        found.append(call.unsqueeze(by, 1, 2))
    if mask := of("attention_mask", ""):
        call.expect_rank(mask, 2, 3, 4)
        found.append(call.unsqueeze(mask, 1) if call.rank(mask) == 3 else mask)
    if _said(call, "use_causal_mask"):
        found.append(_causal(call, scores))
    return found
