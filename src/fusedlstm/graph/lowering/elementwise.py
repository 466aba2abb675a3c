"""Arithmetic element by element, and casts."""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ..graph import Node
from ..operators import DType
from ..operators.lowers import lowers
from ..plan import Plan
from ..tensors import Tensor, element_of

_BITS = {"int8": (8, 1), "int16": (16, 1), "int32": (32, 1), "uint8": (8, 0), "uint16": (16, 0), "uint32": (32, 0)}


def emit_map(plan: Plan, operation: str, inputs: list[Tensor], y: Tensor, *more: float) -> None:
    """One operation over tensors that broadcast to y."""
    plan.emit("map", operation, [one.broadcast(y.shape) for one in inputs], y, list(more))


def narrow(plan: Plan, name: str, y: Tensor) -> None:
    """Whole numbers of fewer than 64 bits wrap around."""
    if y.element != "i":
        return
    dtype = plan.types[name].dtype.name
    if dtype in _BITS:
        emit_map(plan, "Narrow", [y], y, *_BITS[dtype])
    elif dtype == "uint64":
        raise FormatError("arithmetic on uint64 is not supported")


@lowers("Neg", "Abs", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round", "Sign", "Log", "Erf", "Sin", "Cos", "Tan")
@lowers("Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "BitwiseNot")
def _unary(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    emit_map(plan, node.op, [x], y)
    narrow(plan, node.outputs[0], y)


def _folded(plan: Plan, node: Node, operation: str) -> Tensor:
    """One operation over all inputs, from the first to the last."""
    inputs = [plan.read(name) for name in node.inputs]
    shape, left = plan.shape(node.outputs[0]), inputs[0]
    y = plan.write(node.outputs[0], like=next((one for one in inputs if one.shape == shape), left))
    if len(inputs) == 1:
        plan.copy(left, y)
    for one in inputs[1:]:
        emit_map(plan, operation, [left, one], y)
        left = y
    narrow(plan, node.outputs[0], y)
    return y


@lowers("Add", "Sub", "Mul", "Div", "Min", "Max", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
def _several(plan: Plan, node: Node) -> None:
    _folded(plan, node, node.op)


@lowers("Sum")
def _sum(plan: Plan, node: Node) -> None:
    _folded(plan, node, "Add")


@lowers("Mean")
def _mean(plan: Plan, node: Node) -> None:
    y = _folded(plan, node, "Add")
    if len(node.inputs) > 1:
        emit_map(plan, "Div", [y, plan.constant(np.float32(len(node.inputs)))], y)


@lowers("Mod")
def _mod(plan: Plan, node: Node) -> None:
    _folded(plan, node, "Fmod" if node.attributes["fmod"] else "Mod")


@lowers("BitShift")
def _shift(plan: Plan, node: Node) -> None:
    _folded(plan, node, "ShiftLeft" if node.attributes["direction"] == "LEFT" else "ShiftRight")


@lowers("Pow")
def _pow(plan: Plan, node: Node) -> None:
    x, exponent = map(plan.read, node.inputs)
    y = plan.write(node.outputs[0], like=x)
    value = plan.value(node.inputs[1])
    if x.element == "f" and value is not None and value.size == 1 and value.reshape(-1)[0] == 2 and x.shape == y.shape:
        emit_map(plan, "Square", [x], y)
        return
    if exponent.element == x.element:
        emit_map(plan, "Pow", [x, exponent], y)
    elif x.element == "f":
        made = plan.scratch("f", exponent.shape)
        emit_map(plan, "ToFloat", [exponent], made)
        emit_map(plan, "Pow", [x, made], y)
    else:  # whole numbers to a broken power, cut towards zero
        base, made = plan.scratch("f", x.shape), plan.scratch("f", y.shape)
        emit_map(plan, "ToFloat", [x], base)
        emit_map(plan, "Pow", [base, exponent], made)
        emit_map(plan, "ToWhole", [made], y)
    narrow(plan, node.outputs[0], y)


@lowers("Cast")
def _cast(plan: Plan, node: Node) -> None:
    _convert(plan, node, node.attributes["to"])


@lowers("CastLike")
def _cast_like(plan: Plan, node: Node) -> None:
    _convert(plan, node, plan.types[node.inputs[1]].dtype)


def _convert(plan: Plan, node: Node, target: DType) -> None:
    x, source = plan.read(node.inputs[0]), plan.types[node.inputs[0]].dtype
    element, half = element_of(target), target.name == "float16"
    widens = np.can_cast(source, target) or (element == "f" and not half) or (element == "i" and target.itemsize == 8)
    if x.element == element and widens:
        plan.alias(node.outputs[0], x)
        return
    if source.name == "uint64" and element == "f":
        raise FormatError("arithmetic on uint64 is not supported")
    y = plan.write(node.outputs[0], like=x)
    if x.element != element:
        emit_map(plan, {"f": "ToFloat", "i": "ToWhole", "b": "ToTruth"}[element], [x], y)
        x = y
    if half:
        emit_map(plan, "RoundHalf", [x], y)
    elif element == "i" and target.name in _BITS:
        emit_map(plan, "Narrow", [x], y, *_BITS[target.name])


@lowers("Clip")
def _clip(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    source = x
    for operation, name in zip(("Max", "Min"), node.inputs[1:]):
        if name:
            emit_map(plan, operation, [source, plan.read(name)], y)
            source = y
    if source is x:
        plan.copy(x, y)


@lowers("Trilu")
def _trilu(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    diagonal = plan.read(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else None
    plan.emit("triangle", x, y, diagonal, bool(node.attributes["upper"]))
