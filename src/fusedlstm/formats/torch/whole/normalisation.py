"""Normalisations, as they are in eval mode."""

from __future__ import annotations

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator


def _channels(call: Call, x: str) -> int:
    shape = call.shape(x)
    if len(shape) < 2 or type(shape[1]) is not int:
        raise FormatError(f"expected a known number of channels, found shape {shape}")
    return shape[1]


def _affine(call: Call, shape: tuple[int, ...], x: str) -> list[str]:
    """Scale and bias; ones and zeros where there are none."""
    return [
        call.tensor(name) if call.has(name) else call.constant(np.full(shape, usual, call.kind_of(x)))
        for name, usual in (("weight", 1.0), ("bias", 0.0))
    ]


@operator(
    "_native_batch_norm_legit.no_stats",
    "batch_norm.default",
    "_native_batch_norm_legit_no_training.default",
    "native_batch_norm.default",
)
@operator("_native_batch_norm_legit.default", "_batch_norm_no_update.default")
def _batch(call: Call) -> list[str | None]:
    x = call.tensor("input")
    if not call.has("running_mean") or not call.has("running_var"):
        return [_of_batch(call, x), None, None, None]
    if call.flag("training", False):
        raise FormatError("training: expected a module in eval mode, found one in training mode")
    return [_by_channel(call, x), None, None, None]


def _of_batch(call: Call, x: str) -> str:
    """By the statistics of the batch itself: of a module that keeps none."""
    rank = call.rank(x)
    axes = call.int_list(*(axis for axis in range(rank) if axis != 1))
    away = call.op("Sub", x, call.op("ReduceMean", x, axes))
    variance = call.op("ReduceMean", call.op("Mul", away, away), axes)
    made = call.op("Div", away, call.op("Sqrt", call.op("Add", variance, call.like(x, call.number("eps", 1e-5)))))
    for op, name in (("Mul", "weight"), ("Add", "bias")):
        if call.has(name):
            made = call.op(op, made, call.reshape(call.tensor(name), -1, *[1] * (rank - 2)))
    return made


def _by_channel(call: Call, x: str) -> str:
    statistics = [call.tensor("running_mean"), call.tensor("running_var")]
    affine = _affine(call, (_channels(call, x),), x)
    return call.op("BatchNormalization", x, *affine, *statistics, epsilon=call.number("eps", 1e-5))


@operator("instance_norm.default")
def _instance(call: Call) -> str:
    x = call.tensor("input")
    if not call.flag("use_input_stats", True):
        return _by_channel(call, x)
    return call.op(
        "InstanceNormalization", x, *_affine(call, (_channels(call, x),), x), epsilon=call.number("eps", 1e-5)
    )


@operator("layer_norm.default", "native_layer_norm.default")
def _layer(call: Call) -> list[str | None]:
    x, shape = call.tensor("input"), call.ints("normalized_shape")
    if not 0 < len(shape) <= call.rank(x):
        raise FormatError(f"normalized_shape: expected the last dimensions of {call.shape(x)}, found {shape}")
    inputs = [x, *_affine(call, shape, x)]
    options = {"axis": call.rank(x) - len(shape), "epsilon": call.number("eps", 1e-5)}
    if call.kind.startswith("layer_norm"):
        return [call.op("LayerNormalization", *inputs, **options)]
    return list(call.ops("LayerNormalization", inputs, 3, **options))


@operator("group_norm.default", "native_group_norm.default")
def _group(call: Call) -> list[str | None]:
    x = call.tensor("input")
    groups = call.whole("num_groups" if call.has("num_groups") else "group")
    affine = _affine(call, (_channels(call, x),), x)
    return [call.op("GroupNormalization", x, *affine, epsilon=call.number("eps", 1e-5), num_groups=groups), None, None]


@operator("rms_norm.default", "_fused_rms_norm.default")
def _rms(call: Call) -> list[str | None]:
    x, shape = call.tensor("input"), call.ints("normalized_shape")
    if not 0 < len(shape) <= call.rank(x):
        raise FormatError(f"normalized_shape: expected the last dimensions of {call.shape(x)}, found {shape}")
    eps = call.number("eps") if call.has("eps") else float(np.finfo(call.kind_of(x)).eps)
    scale = call.tensor("weight") if call.has("weight") else call.constant(np.ones(shape, call.kind_of(x)))
    return [call.op("RMSNormalization", x, scale, axis=call.rank(x) - len(shape), epsilon=eps), None]


@operator("_weight_norm.default", "_weight_norm_interface.default")
def _weight_norm(call: Call) -> list[str | None]:
    """g v / |v|, of all axes but one."""
    v, g = call.tensor("v"), call.tensor("g")
    axis, rank = call.whole("dim", 0), call.rank(v)
    axes = range(rank) if axis == -1 else [k for k in range(rank) if k != call.axis(axis, rank)]
    norm = call.op("ReduceL2", v, call.int_list(*axes))
    return [call.op("Mul", v, call.op("Div", g, norm)), None]


@operator("cosine_similarity.default")
def _cosine(call: Call) -> str:
    one, other = call.tensor("x1"), call.tensor("x2")
    axis, eps = call.int_list(call.axis(call.whole("dim", 1), call.rank(one))), call.like(one, call.number("eps", 1e-8))
    norms = [call.op("Max", call.op("ReduceL2", x, axis), eps) for x in (one, other)]
    parts = [call.op("Div", x, norm) for x, norm in zip((one, other), norms)]
    return call.op("ReduceSum", call.op("Mul", *parts), axis, keepdims=0)
