"""What is computed element by element of two tensors or more: arithmetic, comparisons, logic."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ....errors import FormatError
from .call import BOOL, FLOAT32, Call
from .promotion import computed, given, promoted
from .registry import operator


def _pair(call: Call) -> tuple[Any, Any]:
    return call.value("self"), call.value("other")


def _scaled(op: str, call: Call) -> str:
    """Add or subtract `alpha` times the other."""
    left, right = _pair(call)
    if call.kind.startswith("rsub"):
        left, right = right, left
    alpha = call.value("alpha", 1)
    dtype = promoted(call, left, right)
    x, y = given(call, dtype, left, right)
    if alpha != 1:
        y = computed(call, "Mul", dtype, [y, *given(call, dtype, alpha)])
    return computed(call, op, dtype, [x, y])


for _name, _op in {"add": "Add", "sub": "Sub", "rsub": "Sub"}.items():
    operator(f"{_name}.Tensor", f"{_name}.Scalar")(partial(_scaled, _op))


@operator("mul.Tensor", "mul.Scalar")
def _mul(call: Call) -> str:
    dtype = promoted(call, *_pair(call))
    return computed(call, "Mul", dtype, given(call, dtype, *_pair(call)))


@operator("div.Tensor", "div.Scalar", "true_divide.Tensor", "div.Tensor_mode", "div.Scalar_mode", "divide.Tensor")
def _div(call: Call) -> str:
    dtype = promoted(call, *_pair(call))
    mode = call.value("rounding_mode", None)
    if mode not in (None, "floor", "trunc"):
        raise FormatError(f"rounding_mode: expected floor or trunc, found {str(mode)[:80]!r}")
    if mode is None:
        dtype = dtype if dtype.kind == "f" else FLOAT32
        return call.op("Div", *given(call, dtype, *_pair(call)))
    x, y = given(call, dtype, *_pair(call))
    if mode == "floor":
        return floored(call, x, y)
    quotient = computed(call, "Div", dtype, [x, y])
    return truncated(call, quotient) if dtype.kind == "f" else quotient


@operator("floor_divide.default", "floor_divide.Scalar")
def _floor_divide(call: Call) -> str:
    return floored(call, *given(call, promoted(call, *_pair(call)), *_pair(call)))


def floored(call: Call, x: str, y: str) -> str:
    """The quotient of what is left when the remainder is taken away, which comes out even."""
    quotient = call.op("Div", call.op("Sub", x, call.op("Mod", x, y)), y)
    return call.op("Round", quotient) if call.kind_of(x).kind == "f" else quotient


def truncated(call: Call, x: str) -> str:
    """Without what is behind the point."""
    return call.op("Where", call.op("Less", x, call.like(x, 0)), call.op("Ceil", x), call.op("Floor", x))


def _mod(fmod: int, call: Call) -> str:
    dtype = promoted(call, *_pair(call))
    return call.op("Mod", *given(call, dtype, *_pair(call)), fmod=fmod)


operator("remainder.Tensor", "remainder.Scalar", "remainder.Scalar_Tensor")(partial(_mod, 0))
operator("fmod.Tensor", "fmod.Scalar")(partial(_mod, 1))


@operator("pow.Tensor_Tensor", "pow.Tensor_Scalar", "pow.Scalar")
def _pow(call: Call) -> str:
    both = call.value("self"), call.value("exponent")
    return call.op("Pow", *given(call, promoted(call, *both), *both))


@operator("square.default")
def _square(call: Call) -> str:
    x = call.tensor("self")
    return call.op("Mul", x, x)


def _extreme(op: str, call: Call) -> str:
    dtype = promoted(call, *_pair(call))
    return computed(call, op, dtype, given(call, dtype, *_pair(call)))


for _name, _op in {"maximum": "Max", "minimum": "Min", "max": "Max", "min": "Min"}.items():
    operator(f"{_name}.{'default' if len(_name) > 3 else 'other'}")(partial(_extreme, _op))


@operator("clamp.default", "clamp.Tensor", "clip.default", "clamp_min.default", "clamp_max.default", "clamp_min.Tensor")
@operator("clamp_max.Tensor", "clip.Tensor")
def _clamp(call: Call) -> str:
    ends = [call.value(name) if call.has(name) else None for name in ("min", "max")]
    dtype = promoted(call, call.value("self"), *(one for one in ends if one is not None))
    (x,) = given(call, dtype, call.value("self"))
    for op, end in zip(("Max", "Min"), ends):
        if end is not None:
            x = computed(call, op, dtype, [x, *given(call, dtype, end)])
    return x


@operator("lerp.Scalar", "lerp.Tensor")
def _lerp(call: Call) -> str:
    x, y = call.tensor("self"), call.tensor("end")
    (weight,) = given(call, call.kind_of(x), call.value("weight"))
    return call.op("Add", x, call.op("Mul", weight, call.op("Sub", y, x)))


def _add_product(op: str, call: Call) -> str:
    parts = [call.value(name) for name in ("self", "tensor1", "tensor2")]
    dtype = promoted(call, *parts)
    x, one, other = given(call, dtype, *parts)
    product = call.op(op, one, other)
    if call.value("value", 1) != 1:
        product = call.op("Mul", product, *given(call, dtype, call.value("value")))
    return call.op("Add", x, product)


operator("addcmul.default")(partial(_add_product, "Mul"))
operator("addcdiv.default")(partial(_add_product, "Div"))

_COMPARISONS = {"eq": "Equal", "ne": "Equal", "gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less"}
_COMPARISONS |= {"le": "LessOrEqual"}


def _compare(op: str, call: Call) -> str:
    dtype = promoted(call, *_pair(call))
    x, y = given(call, dtype, *_pair(call))
    if dtype == BOOL and op != "Equal":
        x, y = (call.cast(one, np.dtype(np.int32)) for one in (x, y))
    made = call.op(op, x, y)
    return call.op("Not", made) if call.kind.startswith("ne.") else made


for _name, _op in _COMPARISONS.items():
    operator(f"{_name}.Tensor", f"{_name}.Scalar")(partial(_compare, _op))


def _logic(op: str, call: Call) -> str:
    return call.op(op, *(call.cast(call.graph("other", one), BOOL) for one in _pair(call)))


for _name, _op in {"and": "And", "or": "Or", "xor": "Xor"}.items():
    operator(f"logical_{_name}.default")(partial(_logic, _op))


@operator("logical_not.default")
def _not(call: Call) -> str:
    return call.op("Not", call.cast(call.tensor("self"), BOOL))


def _bitwise(op: str, call: Call) -> str:
    dtype = promoted(call, *_pair(call))
    return call.op(op if dtype == BOOL else f"Bitwise{op}", *given(call, dtype, *_pair(call)))


for _name, _op in {"and": "And", "or": "Or", "xor": "Xor"}.items():
    operator(f"bitwise_{_name}.Tensor", f"bitwise_{_name}.Scalar", f"__{_name}__.Tensor", f"__{_name}__.Scalar")(
        partial(_bitwise, _op)
    )


@operator("bitwise_not.default")
def _bitwise_not(call: Call) -> str:
    x = call.tensor("self")
    return call.op("Not" if call.kind_of(x) == BOOL else "BitwiseNot", x)


@operator("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def _where(call: Call) -> str:
    condition = call.cast(call.tensor("condition"), BOOL)
    return call.op("Where", condition, *given(call, promoted(call, *_pair(call)), *_pair(call)))


@operator("masked_fill.Scalar", "masked_fill.Tensor")
def _masked_fill(call: Call) -> str:
    x = call.tensor("self")
    (value,) = given(call, call.kind_of(x), call.value("value"))
    return call.op("Where", call.cast(call.tensor("mask"), BOOL), value, x)
