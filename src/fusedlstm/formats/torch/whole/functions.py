"""Functions of one number, element by element, and the angle of two."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from .arithmetic import truncated
from .call import FLOAT32, Call
from .promotion import floats, given, promoted
from .registry import operator

# Of whole numbers these make floats.
_FLOATS = {"exp": "Exp", "log": "Log", "sqrt": "Sqrt", "reciprocal": "Reciprocal", "erf": "Erf"}
_FLOATS |= {name: name.capitalize() for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh")}
_FLOATS |= {name: name.capitalize() for name in ("asinh", "acosh", "atanh", "tanh", "sigmoid")}
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


@operator("atan2.default", "arctan2.default")
def _atan2(call: Call) -> str:
    """The angle of (x, y): atan(y / x), and half a turn further where x is negative, which a zero may be as well."""
    left, right = call.value("self"), call.value("other")
    dtype = promoted(call, left, right)
    y, x = given(call, dtype if dtype.kind == "f" else FLOAT32, left, right)
    zero, one = call.like(x, 0), call.like(x, 1)
    far = call.op("And", call.op("IsInf", y), call.op("IsInf", x))
    y, x = (call.op("Where", far, call.op("Sign", part), part) for part in (y, x))
    none = call.op("Equal", y, zero)
    below = call.op("Where", call.op("Equal", x, zero), call.op("Where", none, one, zero), x)
    behind = call.op("And", none, _negative(call, x, zero, one))
    behind = call.op("Or", behind, call.op("Less", x, zero))
    turn = call.op("Where", _negative(call, y, zero, one), call.like(y, -math.pi), call.like(y, math.pi))
    return call.op("Add", call.op("Atan", call.op("Div", y, below)), call.op("Where", behind, turn, zero))


def _negative(call: Call, x: str, zero: str, one: str) -> str:
    return call.op("Or", call.op("Less", x, zero), call.op("Less", call.op("Div", one, x), zero))
