"""Keras's own operators in functional models: classes of ``keras.ops``, functions of TensorFlow by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.operators import DType
from .activations import FUNCTIONS, rectified
from .call import BOOL, FLOAT32, INT64, Call, Tensor, number
from .constants import array_of
from .registry import Made, operator


def argument(call: Call, place: int, *names: str, default: Any = None) -> Any:
    """An argument: of the call by position or name, or of the operator itself."""
    if place < len(call.positional):
        return call.positional[place]
    for name in names:
        for given in (call.arguments, call.config):
            if name in given:
                return given[name]
    return default


def tensor(call: Call, value: Any, like: str = "") -> str:
    """An operand as a tensor; numbers take the type of the other one."""
    if isinstance(value, Tensor):
        return value.name
    if isinstance(value, bool) or not isinstance(value, (int, float, list, tuple, np.ndarray)):
        raise FormatError(f"expected a tensor or a number, found {str(value)[:80]!r}")
    array = np.asarray(array_of(value))
    kind = call.dtype(like) if like else array.dtype
    if array.dtype.kind == "f" and kind.kind != "f":
        kind = FLOAT32
    elif kind.kind == "b" and array.dtype.kind != "b":  # a number beside truths stays one
        kind = INT64
    return call.constant(array.astype(kind))


def first(call: Call) -> str:
    """The tensor that an operator is applied to."""
    return tensor(call, argument(call, 0, "x", "inputs", "input", "a", "input_tensor", "features", "tensor", "values"))


def pair(call: Call) -> tuple[str, str]:
    """Two operands of one type."""
    x, y = argument(call, 0, "x", "x1", "a"), argument(call, 1, "y", "x2", "b")
    ours = next((one.name for one in (x, y) if isinstance(one, Tensor)), "")
    both = [tensor(call, one, ours) for one in (x, y)]
    kinds = [call.dtype(one) for one in both]
    if kinds[0] != kinds[1]:
        target = common_type(*kinds)
        both = [call.cast(one, target) for one in both]
    return both[0], both[1]


def common_type(one: DType, other: DType) -> DType:
    """The type in which tensors of two are put together."""
    if "f" in (one.kind, other.kind):
        return FLOAT32
    return BOOL if one == other == BOOL else INT64


def axes_of(call: Call, x: str, value: Any) -> list[int] | None:
    """Axes; None: all."""
    if value is None:
        return None
    rank = call.rank(x)
    given = value if isinstance(value, (list, tuple)) else [value]
    return [call.axis(one, rank) for one in given]


def _two(op: str, floats: bool = False) -> Callable[[Call], Made]:
    def write(call: Call) -> Made:
        both = pair(call)
        if floats:
            both = call.cast(both[0], FLOAT32), call.cast(both[1], FLOAT32)
        return call.op(op, *both)

    return write


_TWO = {
    "Add": ("Add", ["math.add", "__operators__.add", "add"]),
    "Subtract": ("Sub", ["math.subtract", "subtract"]),
    "Multiply": ("Mul", ["math.multiply", "multiply"]),
    "Maximum": ("Max", ["math.maximum", "maximum"]),
    "Minimum": ("Min", ["math.minimum", "minimum"]),
    "Greater": ("Greater", ["math.greater", "greater"]),
    "GreaterEqual": ("GreaterOrEqual", ["math.greater_equal", "greater_equal"]),
    "Less": ("Less", ["math.less", "less"]),
    "LessEqual": ("LessOrEqual", ["math.less_equal", "less_equal"]),
    "Equal": ("Equal", ["math.equal", "equal"]),
}
for _kind, (_op, _names) in _TWO.items():
    operator(_kind, *(f"tf.{name}" for name in _names))(_two(_op))
operator("Divide", "TrueDivide", "tf.math.divide", "tf.math.truediv", "tf.divide", "tf.truediv")(_two("Div", True))
operator("Power", "tf.math.pow", "tf.pow")(_two("Pow", True))


@operator("LogicalAnd", "LogicalOr", "tf.math.logical_and", "tf.math.logical_or", "tf.logical_and", "tf.logical_or")
def _logical(call: Call) -> Made:
    x, y = (call.cast(one, BOOL) for one in pair(call))
    return call.op("And" if call.kind.lower().endswith("and") else "Or", x, y)


@operator("NotEqual", "tf.math.not_equal", "tf.not_equal")
def _not_equal(call: Call) -> Made:
    return call.op("Not", call.op("Equal", *pair(call)))


@operator("Matmul", "tf.linalg.matmul", "tf.matmul", "Dot")
def _matmul(call: Call) -> Made:
    x, y = pair(call)
    for key in ("transpose_a", "transpose_b"):
        if call.arguments.get(key):
            rank = call.rank(x if key.endswith("a") else y)
            order = [*range(rank - 2), rank - 1, rank - 2]
            x, y = (call.transpose(x, *order), y) if key.endswith("a") else (x, call.transpose(y, *order))
    if call.kind == "Dot" and call.rank(y) > 2:
        raise FormatError(f"expected a matrix as the second operand, found shape {call.shape(y)}")
    return call.op("MatMul", call.cast(x, FLOAT32), call.cast(y, FLOAT32))


_ONE = {
    "Absolute": ("Abs", ["math.abs", "abs"]),
    "Abs": ("Abs", []),
    "Negative": ("Neg", ["math.negative", "negative"]),
    "Exp": ("Exp", ["math.exp", "exp"]),
    "Log": ("Log", ["math.log"]),
    "Sqrt": ("Sqrt", ["math.sqrt", "sqrt"]),
    "Sin": ("Sin", ["math.sin", "sin"]),
    "Cos": ("Cos", ["math.cos", "cos"]),
    "Tanh": ("Tanh", ["math.tanh", "tanh", "nn.tanh"]),
    "Sigmoid": ("Sigmoid", ["math.sigmoid", "sigmoid", "nn.sigmoid"]),
    "Floor": ("Floor", ["math.floor", "floor"]),
    "Ceil": ("Ceil", ["math.ceil"]),
    "Sign": ("Sign", ["math.sign", "sign"]),
    "Erf": ("Erf", ["math.erf"]),
    "Reciprocal": ("Reciprocal", ["math.reciprocal"]),
    "LogicalNot": ("Not", ["math.logical_not", "logical_not"]),
}


def _one(op: str) -> Callable[[Call], Made]:
    return lambda call: call.op(op, first(call))


for _kind, (_op, _names) in _ONE.items():
    operator(_kind, *(f"tf.{name}" for name in _names))(_one(_op))


@operator("Square", "tf.math.square", "tf.square")
def _square(call: Call) -> Made:
    x = first(call)
    return call.op("Mul", x, x)


@operator("Rsqrt", "tf.math.rsqrt")
def _rsqrt(call: Call) -> Made:
    return call.op("Reciprocal", call.op("Sqrt", first(call)))


_ACTIVATIONS = {
    "Elu": "elu",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Silu": "silu",
    "SoftSign": "softsign",
    "Softsign": "softsign",
    "Softplus": "softplus",
    "LogSigmoid": "log_sigmoid",
    "tf.nn.relu6": "relu6",
    "tf.nn.elu": "elu",
    "tf.nn.selu": "selu",
    "tf.nn.silu": "silu",
    "tf.nn.swish": "silu",
    "tf.nn.softplus": "softplus",
    "tf.math.softplus": "softplus",
    "tf.nn.softsign": "softsign",
}


def _activation(name: str) -> Callable[[Call], Made]:
    return lambda call: FUNCTIONS[name](call, call.cast(first(call), FLOAT32))


for _kind, _name in _ACTIVATIONS.items():
    operator(_kind)(_activation(_name))


@operator("Relu", "tf.nn.relu")
def _relu(call: Call) -> Made:
    return call.op("Relu", first(call))


@operator("tf.keras.backend.relu", "tf.keras.activations.relu")
def _keras_relu(call: Call) -> Made:
    options = [(call.arguments.get(key), usual) for key, usual in (("alpha", 0.0), ("threshold", 0.0))]
    slope, threshold = (number("alpha", usual if one is None else one) for one, usual in options)
    most = call.arguments.get("max_value")
    return rectified(call, first(call), slope, threshold, None if most is None else number("max_value", most))


@operator("LeakyRelu", "tf.nn.leaky_relu")
def _leaky(call: Call) -> Made:
    slope = argument(call, 1, "negative_slope", "alpha", default=0.2)
    return call.op("LeakyRelu", first(call), alpha=number("negative_slope", slope))


@operator("Gelu", "tf.nn.gelu")
def _gelu(call: Call) -> Made:
    usual = call.kind == "Gelu"  # keras.ops.gelu takes the approximation where it is not told
    approximate = argument(call, 1, "approximate", default=usual)
    return call.op("Gelu", first(call), approximate="tanh" if approximate else "none")


@operator("Softmax", "LogSoftmax", "tf.nn.softmax", "tf.nn.log_softmax")
def _softmax(call: Call) -> Made:
    x, axis = first(call), argument(call, 1, "axis", default=-1)
    op = "LogSoftmax" if "og" in call.kind.rpartition(".")[2].lower()[:4] else "Softmax"
    return call.op(op, x, axis=call.axis(-1 if axis is None else axis, call.rank(x)))


@operator("Clip", "tf.clip_by_value")
def _clip(call: Call) -> Made:
    x = first(call)
    low = argument(call, 1, "x_min", "clip_value_min")
    high = argument(call, 2, "x_max", "clip_value_max")
    return call.op("Clip", x, tensor(call, low, x), tensor(call, high, x))


@operator("Where", "tf.where")
def _where(call: Call) -> Made:
    condition = tensor(call, argument(call, 0, "condition"))
    given = [argument(call, 1, "x1", "x"), argument(call, 2, "x2", "y")]
    ours = next((one.name for one in given if isinstance(one, Tensor)), "")
    both = [tensor(call, one, ours) for one in given]
    target = common_type(*(call.dtype(one) for one in both))
    return call.op("Where", call.cast(condition, BOOL), *(call.cast(one, target) for one in both))


_DTYPES = {"bool": BOOL, "float16": FLOAT32, "bfloat16": FLOAT32, "float32": FLOAT32, "float64": FLOAT32}
_DTYPES |= dict.fromkeys(("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"), INT64)


def dtype_of(kind: Any) -> DType:
    """A type by its name; whole numbers are all of 64 bits here."""
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise FormatError(f"dtype: expected one of {', '.join(_DTYPES)}, found {str(kind)[:80]!r}")
    return _DTYPES[kind]


@operator("Cast", "tf.cast")
def _cast(call: Call) -> Made:
    return call.cast(first(call), dtype_of(argument(call, 1, "dtype")))


_REDUCTIONS = {
    "Mean": ("ReduceMean", ["math.reduce_mean", "reduce_mean"]),
    "Sum": ("ReduceSum", ["math.reduce_sum", "reduce_sum"]),
    "Max": ("ReduceMax", ["math.reduce_max", "reduce_max"]),
    "Min": ("ReduceMin", ["math.reduce_min", "reduce_min"]),
    "Prod": ("ReduceProd", ["math.reduce_prod", "reduce_prod"]),
}


def _reduced(op: str) -> Callable[[Call], Made]:
    def write(call: Call) -> Made:
        x = first(call)
        axes, keep = axes_of(call, x, argument(call, 1, "axis")), argument(call, 2, "keepdims")
        x = call.cast(x, FLOAT32) if op == "ReduceMean" else x
        over = [call.ints(*axes)] if axes is not None else []
        return call.op(op, x, *over, keepdims=int(bool(keep)))

    return write


for _kind, (_op, _names) in _REDUCTIONS.items():
    operator(_kind, *(f"tf.{name}" for name in _names))(_reduced(_op))


@operator("Any", "All", "tf.math.reduce_any", "tf.math.reduce_all", "tf.reduce_any", "tf.reduce_all")
def _truth(call: Call) -> Made:
    x = call.cast(call.cast(first(call), BOOL), INT64)
    axes, keep = axes_of(call, x, argument(call, 1, "axis")), argument(call, 2, "keepdims")
    over = [call.ints(*axes)] if axes is not None else []
    op = "ReduceMax" if call.kind.lower().endswith("any") else "ReduceMin"
    return call.cast(call.op(op, x, *over, keepdims=int(bool(keep))), BOOL)


@operator("Argmax", "Argmin", "tf.math.argmax", "tf.math.argmin", "tf.argmax")
def _arg(call: Call) -> Made:
    x, axis = first(call), argument(call, 1, "axis", default=None)
    axis = 0 if axis is None and call.kind.startswith("tf.") else axis
    if axis is None:
        raise FormatError("axis: expected one, found none")
    op = "ArgMax" if call.kind.lower().endswith("argmax") else "ArgMin"
    keep = int(bool(argument(call, 3, "keepdims")))
    return call.op(op, x, axis=call.axis(axis, call.rank(x)), keepdims=keep)
