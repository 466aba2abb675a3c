"""Dense layers, embeddings, masks, and what does nothing when a model runs."""

from __future__ import annotations

import string

import numpy as np

from ....errors import FormatError
from .activations import activated
from .call import BOOL, FLOAT32, INT64, Call, Tensor
from .registry import Made, layer


@layer("Dense", carries=True)
def _dense(call: Call) -> Made:
    biased = call.flag("use_bias", True)
    x = call.cast(call.x.name, FLOAT32)
    names = ("kernel", "bias") if biased else ("kernel",)
    kernel, *bias = call.once(lambda: [call.constant(one) for one in call.held.weights.read(*names)])
    y = call.op("MatMul", x, kernel)
    if biased:
        y = call.op("Add", y, bias[0])
    return activated(call, y, call.config.get("activation"))


@layer("EinsumDense")
def _einsum_dense(call: Call) -> Made:
    equation, axes = call.value("equation"), call.config.get("bias_axes")
    if not isinstance(equation, str):
        raise FormatError(f"equation: expected a text, found {str(equation)[:80]!r}")
    names = ("kernel",) if axes is None else ("kernel", "bias")
    kernel, *bias = call.once(lambda: [call.constant(one) for one in call.held.weights.read(*names)])
    x = call.cast(call.x.name, FLOAT32)
    y = call.op("Einsum", x, kernel, equation=_spelled(call, equation, call.rank(x)))
    y = call.op("Add", y, bias[0]) if bias else y
    return activated(call, y, call.config.get("activation"))


def _spelled(call: Call, equation: str, rank: int) -> str:
    """An equation with letters for its dots."""
    if "..." not in equation:
        return equation
    inputs, _, output = equation.replace(" ", "").partition("->")
    first, _, second = inputs.partition(",")
    free = [one for one in string.ascii_letters if one not in equation]
    dots = "".join(free[: max(rank - len(first.replace("...", "")), 0)])
    return f"{first.replace('...', dots)},{second.replace('...', dots)}->{output.replace('...', dots)}"


@layer("Embedding")
def _embedding(call: Call) -> Made:
    table = call.once(lambda: call.constant(call.held.weights.read("embeddings")[0]))
    indices = call.cast(call.x.name, INT64)
    mask = ""
    if call.flag("mask_zero", False):
        mask = call.op("Not", call.op("Equal", indices, call.constant(np.asarray(0, np.int64))))
    return Tensor(call.op("Gather", table, indices), mask)


@layer("Masking")
def _masking(call: Call) -> Made:
    x = call.cast(call.x.name, FLOAT32)
    rank = call.rank(x)
    if rank < 3:
        raise FormatError(f"expected three dimensions or more, found shape {call.shape(x)}")
    differs = call.op("Not", call.op("Equal", x, call.scalar(call.number("mask_value", 0.0), x)))
    wide = call.cast(differs, FLOAT32)
    valid = call.op("ReduceMax", wide, call.ints(rank - 1))
    mask = call.cast(call.squeeze(valid, rank - 1), BOOL)
    return Tensor(call.op("Mul", x, valid), mask)


@layer(
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "GaussianNoise"),
    *("AlphaDropout", "ActivityRegularization", "InputLayer"),
    carries=True,
)
@layer("Identity", carries=True, since=3)
def _nothing(call: Call) -> Made:
    """What is only there when a model is trained."""
    return call.x.name


@layer("RandomRotation", "RandomFlip", "RandomZoom", "RandomTranslation", "RandomContrast")
def _augmentation(call: Call) -> Made:
    return call.x.name


@layer("Discretization")
def _discretization(call: Call) -> Made:
    call.only("output_mode", "int")
    borders = call.value("bin_boundaries")
    if not isinstance(borders, (list, tuple)) or not all(type(one) in (int, float) for one in borders):
        raise FormatError(f"bin_boundaries: expected numbers, found {str(borders)[:80]!r}")
    x = call.unsqueeze(call.cast(call.x.name, FLOAT32), -1)
    above = call.op("GreaterOrEqual", x, call.constant(np.asarray(borders, np.float32)))
    return call.op("ReduceSum", call.cast(above, INT64), call.ints(call.rank(above) - 1), keepdims=0)


@layer("CategoryEncoding")
def _category(call: Call) -> Made:
    mode = call.choice("output_mode", "one_hot", "multi_hot")
    depth = call.whole("num_tokens")
    x = call.cast(call.x.name, INT64)
    values = call.constant(np.asarray([0, 1], np.float32))
    hot = call.op("OneHot", x, call.constant(np.asarray(depth, np.int64)), values, axis=-1)
    rank = call.rank(x)
    if mode == "one_hot":
        last = call.shape(x)[-1]
        return call.squeeze(hot, rank - 1) if type(last) is int and last == 1 else hot
    return call.op("ReduceMax", hot, call.ints(rank - 1), keepdims=0)
