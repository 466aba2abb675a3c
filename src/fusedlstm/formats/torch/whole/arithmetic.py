"""What is computed element by element: arithmetic, comparisons, logic, functions."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ....errors import FormatError
from .call import BOOL, FLOAT32, Call
from .promotion import computed, floats, given, promoted
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


# Functions of one tensor: those of floats make floats of whole numbers.

_FLOATS = {"exp": "Exp", "log": "Log", "sqrt": "Sqrt", "reciprocal": "Reciprocal", "erf": "Erf"}
_FLOATS |= {name: name.capitalize() for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh")}
_FLOATS |= {name: name.capitalize() for name in ("asinh", "acosh", "atanh", "tanh", "sigmoid")}


@operator("atan2.default", "arctan2.default")
def _atan2(call: Call) -> str:
    """The angle of (x, y): half a turn further where x is negative. Zeros have no sign here."""
    dtype = promoted(call, *_pair(call))
    y, x = given(call, dtype if dtype.kind == "f" else FLOAT32, *_pair(call))
    nothing, none = call.like(x, 0), call.op("Equal", y, call.like(y, 0))
    below = call.op("Where", call.op("Equal", x, nothing), call.op("Where", none, call.like(x, 1), nothing), x)
    turn = call.op("Where", call.op("Less", y, call.like(y, 0)), call.like(y, -math.pi), call.like(y, math.pi))
    turn = call.op("Where", call.op("Less", x, nothing), turn, nothing)
    return call.op("Add", call.op("Atan", call.op("Div", y, below)), turn)


_SAME = {"abs": "Abs", "neg": "Neg"}
_WHOLE = {"floor": "Floor", "ceil": "Ceil"}


def _function(op: str, call: Call) -> str:
    return call.op(op, floats(call))


def _same(op: str, call: Call) -> str:
    return call.op(op, call.tensor("self"))


def _rounded(op: str, call: Call) -> str:
    x = call.tensor("self")
    return x if call.kind_of(x).kind != "f" else call.op(op, x)


for _name, _op in _FLOATS.items():
    operator(f"{_name}.default")(partial(_function, _op))
for _name, _op in _SAME.items():
    operator(f"{_name}.default")(partial(_same, _op))
for _name, _op in _WHOLE.items():
    operator(f"{_name}.default")(partial(_rounded, _op))


@operator("round.default", "round.decimals")
def _round(call: Call) -> str:
    places, x = call.whole("decimals", 0), call.tensor("self")
    if call.kind_of(x).kind != "f":
        return x
    if not places:
        return call.op("Round", x)
    factor = call.like(x, 10.0 ** abs(places))
    there, back = ("Mul", "Div") if places > 0 else ("Div", "Mul")
    return call.op(back, call.op("Round", call.op(there, x, factor)), factor)


@operator("sign.default", "sgn.default")
def _sign(call: Call) -> str:
    """That of NaN is 0."""
    x = call.tensor("self")
    made = call.op("Sign", x)
    return call.op("Where", call.op("IsNaN", x), call.like(x, 0), made) if call.kind_of(x).kind == "f" else made


@operator("trunc.default", "fix.default")
def _trunc(call: Call) -> str:
    x = call.tensor("self")
    return x if call.kind_of(x).kind != "f" else truncated(call, x)


@operator("frac.default")
def _frac(call: Call) -> str:
    x = call.tensor("self")
    return call.op("Sub", x, truncated(call, x))


@operator("rsqrt.default")
def _rsqrt(call: Call) -> str:
    return call.op("Reciprocal", call.op("Sqrt", floats(call)))


@operator("log2.default", "log10.default")
def _log_of(call: Call) -> str:
    x = floats(call)
    base = 2.0 if call.kind.startswith("log2") else 10.0
    return call.op("Mul", call.op("Log", x), call.like(x, 1 / math.log(base)))


@operator("exp2.default")
def _exp2(call: Call) -> str:
    x = floats(call)
    return call.op("Pow", call.like(x, 2.0), x)


@operator("expm1.default")
def _expm1(call: Call) -> str:
    """Without the cancellation near 0: Elu is accurate below it, and e^x - 1 = -(e^-x - 1) e^x."""
    x = floats(call)
    above = call.op("Mul", call.op("Neg", call.op("Elu", call.op("Neg", x))), call.op("Exp", x))
    return call.op("Where", call.op("Greater", x, call.like(x, 0)), above, call.op("Elu", x))


@operator("log1p.default")
def _log1p(call: Call) -> str:
    """Goldberg's: log(u) x / (u - 1) of u = 1 + x as it was rounded."""
    x = floats(call)
    one = call.like(x, 1)
    u = call.op("Add", one, x)
    made = call.op("Div", call.op("Mul", call.op("Log", u), x), call.op("Sub", u, one))
    as_it_is = call.op("Or", call.op("Equal", u, one), call.op("IsInf", u))
    return call.op("Where", as_it_is, x, made)


@operator("isnan.default", "isinf.default", "isfinite.default")
def _kind_of_number(call: Call) -> str:
    x = floats(call)
    if call.kind.startswith("isfinite"):
        return call.op("Not", call.op("Or", call.op("IsNaN", x), call.op("IsInf", x)))
    return call.op("IsNaN" if call.kind.startswith("isnan") else "IsInf", x)


@operator("nan_to_num.default")
def _nan_to_num(call: Call) -> str:
    x = call.tensor("self")
    dtype = call.kind_of(x)
    if dtype.kind != "f":
        return x
    most = float(np.finfo(dtype).max)
    nan, above, below = (
        call.like(x, call.number(name) if call.has(name) else usual)
        for name, usual in (("nan", 0.0), ("posinf", most), ("neginf", -most))
    )
    x = call.op("Where", call.op("IsNaN", x), nan, x)
    x = call.op("Where", call.op("IsInf", x, detect_negative=0), above, x)
    return call.op("Where", call.op("IsInf", x, detect_positive=0), below, x)
