"""Pooling over windows, and over all of space or time."""

from __future__ import annotations

from ....errors import FormatError
from .call import BOOL, FLOAT32, Call
from .registry import Made, layer


def channels_first(call: Call) -> bool:
    """Where the channels are."""
    return bool(call.choice("data_format", "channels_last", "channels_first", None, default=None) == "channels_first")


def to_front(call: Call, x: str) -> str:
    """(batch, channels, ...), as ONNX has it."""
    rank = call.rank(x)
    return x if channels_first(call) else call.transpose(x, 0, rank - 1, *range(1, rank - 1))


def from_front(call: Call, y: str) -> str:
    """Back to where the layer has its channels."""
    return y if channels_first(call) else call.transpose(y, 0, *range(2, call.rank(y)), 1)


_PADDING = {"valid": "VALID", "same": "SAME_UPPER"}


@layer(*(f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def _pooling(call: Call) -> Made:
    rank = int(call.kind[-2])
    x = call.cast(call.x.name, FLOAT32)
    call.expect_rank(x, rank + 2)
    sizes = call.sizes("pool_size", rank)
    given = call.config.get("strides")
    strides = sizes if given is None else call.sizes("strides", rank)
    padding = _PADDING[call.choice("padding", "valid", "same", default="valid")]
    op = "MaxPool" if call.kind.startswith("Max") else "AveragePool"
    return from_front(call, call.op(op, to_front(call, x), kernel_shape=sizes, strides=strides, auto_pad=padding))


@layer(*(f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)))
def _global(call: Call) -> Made:
    rank = int(call.kind[-2])
    x = call.cast(call.x.name, FLOAT32)
    call.expect_rank(x, rank + 2)
    axes = range(2, rank + 2) if channels_first(call) else range(1, rank + 1)
    keep = int(call.flag("keepdims", False))
    if call.kind == "GlobalAveragePooling1D" and call.mask:
        return _masked_mean(call, x, axes[0], keep)
    op = "ReduceMax" if "Max" in call.kind else "ReduceMean"
    return call.op(op, x, call.ints(*axes), keepdims=keep)


def _masked_mean(call: Call, x: str, axis: int, keep: int) -> str:
    """Over the valid steps."""
    if not call.keras3 and call.dtype(call.mask) == FLOAT32:  # which Keras 2 takes as weights
        raise FormatError("mask: expected booleans, found numbers")
    valid = call.unsqueeze(call.cast(call.mask, BOOL), 3 - axis)
    over = call.ints(axis)
    total = call.op("ReduceSum", call.op("Where", valid, x, call.scalar(0.0, x)), over, keepdims=keep)
    return call.op("Div", total, call.op("ReduceSum", call.cast(valid, FLOAT32), over, keepdims=keep))
