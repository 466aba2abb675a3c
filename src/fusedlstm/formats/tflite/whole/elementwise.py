"""Operators on each element: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

from functools import partial

import numpy as np

from ....errors import FormatError
from .call import BOOL, FLOAT32, INT64, Call
from .registry import operator

# Operators with a fused activation, and the type of their options.
_ARITHMETIC = {"ADD": ("Add", 11), "SUB": ("Sub", 28), "MUL": ("Mul", 21), "DIV": ("Div", 29)}
_UNARY = {
    "ABS": "Abs",
    "CEIL": "Ceil",
    "COS": "Cos",
    "ELU": "Elu",
    "EXP": "Exp",
    "FLOOR": "Floor",
    "LOG": "Log",
    "LOGICAL_NOT": "Not",
    "LOGISTIC": "Sigmoid",
    "NEG": "Neg",
    "RELU": "Relu",
    "ROUND": "Round",
    "SIGN": "Sign",
    "SIN": "Sin",
    "SQRT": "Sqrt",
    "TANH": "Tanh",
}
_BINARY = {
    "EQUAL": "Equal",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual",
    "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual",
    "LOGICAL_AND": "And",
    "LOGICAL_OR": "Or",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "POW": "Pow",
}
_CLIPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}


def _arithmetic(op: str, call: Call) -> str:
    made = call.op(op, call.input(0), call.input(1))
    return call.activated(made, 0) if call.kind_of(0).kind == "f" else made


def _unary(op: str, call: Call) -> str:
    return call.op(op, call.input(0))


def _binary(op: str, call: Call) -> str:
    return call.op(op, call.input(0), call.input(1))


def _clip(low: float, high: float, call: Call) -> str:
    return call.op("Clip", call.input(0), call.like(0, low), call.like(0, high))


for _name, (_op, _options) in _ARITHMETIC.items():
    operator(_name, options=_options, inputs=2)(partial(_arithmetic, _op))
for _name, _op in _UNARY.items():
    operator(_name)(partial(_unary, _op))
for _name, _op in _BINARY.items():
    operator(_name, inputs=2)(partial(_binary, _op))
for _name, _ends in _CLIPS.items():
    operator(_name)(partial(_clip, *_ends))


@operator("ADD_N", inputs=(1, 64))
def _add_n(call: Call) -> str:
    return call.op("Sum", *call.inputs())


@operator("NOT_EQUAL", inputs=2)
def _not_equal(call: Call) -> str:
    return call.op("Not", call.op("Equal", call.input(0), call.input(1)))


@operator("FLOOR_DIV", inputs=2)
def _floor_div(call: Call) -> str:
    x, y = call.input(0), call.input(1)
    if call.kind_of(0).kind == "f":
        return call.op("Floor", call.op("Div", x, y))
    return call.op("Div", call.op("Sub", x, call.op("Mod", x, y, fmod=0)), y)


@operator("FLOOR_MOD", inputs=2)
def _floor_mod(call: Call) -> str:
    x, y = call.input(0), call.input(1)
    if call.kind_of(0).kind == "f":
        return call.op("Sub", x, call.op("Mul", call.op("Floor", call.op("Div", x, y)), y))
    return call.op("Mod", x, y, fmod=0)


@operator("SQUARE")
def _square(call: Call) -> str:
    return call.op("Mul", call.input(0), call.input(0))


@operator("SQUARED_DIFFERENCE", inputs=2)
def _squared_difference(call: Call) -> str:
    difference = call.op("Sub", call.input(0), call.input(1))
    return call.op("Mul", difference, difference)


@operator("RSQRT")
def _rsqrt(call: Call) -> str:
    return call.op("Reciprocal", call.op("Sqrt", call.input(0)))


@operator("HARD_SWISH")
def _hard_swish(call: Call) -> str:
    return call.op("HardSwish", call.input(0))


@operator("LEAKY_RELU", options=75)
def _leaky_relu(call: Call) -> str:
    return call.op("LeakyRelu", call.input(0), alpha=float(call.option(0, "f", 0.0)))


@operator("PRELU", inputs=2)
def _prelu(call: Call) -> str:
    return call.op("PRelu", call.input(0), call.input(1))


@operator("GELU", options=116)
def _gelu(call: Call) -> str:
    return call.op("Gelu", call.input(0), approximate="tanh" if call.option(0, "?", False) else "none")


@operator("SELECT", "SELECT_V2", inputs=3)
def _select(call: Call) -> str:
    condition = call.input(0)
    if call.kind == "SELECT" and call.rank(0) == 1 and call.rank(1) > 1:  # one truth for each row
        condition = call.unsqueeze(condition, *range(1, call.rank(1)))
    return call.op("Where", condition, call.input(1), call.input(2))


@operator("CAST", "DENSIFY")
def _cast(call: Call) -> str:
    to, kind = call.made_kind(), call.kind_of(0)
    x = call.input(0)
    if to == BOOL and kind.kind != "b":
        return call.op("Not", call.op("Equal", x, call.constant(np.zeros((), kind))))
    return x if to == kind else call.op("Cast", x, to=to)


@operator("DEQUANTIZE")
def _dequantize(call: Call) -> str:
    if call.kind_of(0) != FLOAT32:  # constants are floats already
        raise FormatError(
            f"expected a constant or floats, found {call.kind_of(0)}: models that compute in integers are not supported"
        )
    return call.input(0)


@operator("ZEROS_LIKE")
def _zeros_like(call: Call) -> str:
    shape = call.op("Shape", call.input(0))
    return call.op("ConstantOfShape", shape, value=np.zeros(1, call.kind_of(0)))


@operator("CUMSUM", options=102, inputs=2)
def _cumsum(call: Call) -> str:
    axis = call.whole(1, "axis")
    exclusive, reverse = (int(call.option(field, "?", False)) for field in (0, 1))
    return call.op(
        "CumSum", call.input(0), call.constant(np.array(axis, np.int64)), exclusive=exclusive, reverse=reverse
    )


@operator("ARG_MAX", "ARG_MIN", inputs=2)
def _arg(call: Call) -> str:
    axis = call.whole(1, "axis")
    made = call.op("ArgMax" if call.kind == "ARG_MAX" else "ArgMin", call.input(0), axis=axis, keepdims=0)
    return made if call.made_kind() == INT64 else call.op("Cast", made, to=call.made_kind())
