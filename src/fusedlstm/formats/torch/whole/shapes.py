"""Sizes of tensors, and what is computed with them; checks, which are left out."""

from __future__ import annotations

from functools import partial

from ....errors import FormatError
from .arithmetic import truncated
from .call import BOOL, FLOAT64, INT64, Call
from .registry import operator


@operator("sym_size.int", "size.int")
def _size(call: Call) -> str:
    x = call.tensor("self")
    return call.size(x, call.axis(call.whole("dim"), call.rank(x)))


@operator("sym_numel.default", "numel.default")
def _numel(call: Call) -> str:
    return call.op("Size", call.tensor("self"))


@operator("_local_scalar_dense.default", "item.default")
def _item(call: Call) -> str:
    return call.reshape(call.tensor("self"))


@operator("_shape_as_tensor.default")
def _as_tensor(call: Call) -> str:
    return call.op("Shape", call.tensor("self"))


def _numbers(call: Call) -> list[str]:
    """The arguments, of one type."""
    found = [call.graph(name, value) for name, value in call.arguments.items()]
    dtype = FLOAT64 if any(call.kind_of(one).kind == "f" for one in found) else INT64
    return [call.cast(one, dtype) for one in found]


def _binary(op: str, call: Call) -> str:
    return call.op(op, *_numbers(call))


for _name, _op in {"add": "Add", "sub": "Sub", "mul": "Mul", "mod": "Mod", "pow": "Pow"}.items():
    operator(f"_operator.{_name}")(partial(_binary, _op))
for _name, _op in {"eq": "Equal", "gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual"}.items():
    operator(f"_operator.{_name}")(partial(_binary, _op))
operator("torch.sym_max")(partial(_binary, "Max"))
operator("torch.sym_min")(partial(_binary, "Min"))


@operator("_operator.ne")
def _ne(call: Call) -> str:
    return call.op("Not", call.op("Equal", *_numbers(call)))


@operator("_operator.neg", "_operator.pos")
def _neg(call: Call) -> str:
    (x,) = _numbers(call)
    return call.op("Neg", x) if call.kind.endswith("neg") else x


@operator("_operator.floordiv")
def _floordiv(call: Call) -> str:
    x, y = _numbers(call)
    if call.kind_of(x) != INT64:
        raise FormatError("expected whole numbers, found others")
    return call.op("Div", call.op("Sub", x, call.op("Mod", x, y)), y)


@operator("_operator.truediv")
def _truediv(call: Call) -> str:
    return call.op("Div", *(call.cast(one, FLOAT64) for one in _numbers(call)))


@operator("math.ceil", "math.floor", "math.trunc", "torch.sym_int", "_operator.index")
def _rounded(call: Call) -> str:
    (x,) = _numbers(call)
    if call.kind_of(x) == INT64:
        return x
    ops = {"math.ceil": "Ceil", "math.floor": "Floor"}
    return call.cast(call.op(ops[call.kind], x) if call.kind in ops else truncated(call, x), INT64)


@operator("torch.sym_float")
def _as_float(call: Call) -> str:
    return call.cast(_numbers(call)[0], FLOAT64)


@operator("torch.sym_not", "_operator.not_")
def _not(call: Call) -> str:
    return call.op("Not", call.cast(call.graph("a", next(iter(call.arguments.values()))), BOOL))


def _logic(op: str, call: Call) -> str:
    return call.op(op, *(call.cast(call.graph(name, value), BOOL) for name, value in call.arguments.items()))


operator("_operator.and_")(partial(_logic, "And"))
operator("_operator.or_")(partial(_logic, "Or"))


@operator("_assert_scalar.default", "_assert_async.msg", "_assert_async.default", "_assert_tensor_metadata.default")
@operator("sym_constrain_range.default", "sym_constrain_range_for_size.default", "_functional_assert_async.msg")
@operator("_functional_assert_scalar.default", "torch._check")
def _checked(call: Call) -> list[str | None]:
    """What PyTorch checks of sizes is checked where it matters."""
    return [None] * len(call.outputs)
