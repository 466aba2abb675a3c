"""Operators that go element by element, and casts."""

from __future__ import annotations

from ...errors import FormatError
from ...weights import Activation
from ..graph import Node
from ..operators.lowers import lowers
from ..plan import Plan
from ..tensors import Tensor, element_of

_BITS = {"int8": (8, 1), "int16": (16, 1), "int32": (32, 1), "uint8": (8, 0), "uint16": (16, 0), "uint32": (32, 0)}


def emit_map(plan: Plan, operation: str, inputs: list[Tensor], y: Tensor, *more: float) -> None:
    """One operation over tensors that broadcast to y."""
    plan.emit("map", operation, [one.broadcast(y.shape) for one in inputs], y, list(more))


def narrow(plan: Plan, name: str, y: Tensor) -> None:
    """Whole numbers of fewer than 64 bits wrap around."""
    dtype = plan.types[name].dtype.name
    if y.element == "i" and dtype in _BITS:
        emit_map(plan, "Narrow", [y], y, *_BITS[dtype])
    elif dtype == "uint64":
        raise FormatError("arithmetic on uint64 is not supported")


@lowers("Neg", "Abs", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round", "Sign", "Log", "Erf", "Sin", "Cos", "Tan")
@lowers("Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Mish", "IsNaN", "Not")
def _unary(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    emit_map(plan, node.op, [x], y)
    narrow(plan, node.outputs[0], y)


@lowers("Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu", "And", "Or", "Xor")
@lowers("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
def _pairs(plan: Plan, node: Node) -> None:
    left = plan.read(node.inputs[0])
    shape = plan.shape(node.outputs[0])
    like = next((one for one in map(plan.read, node.inputs) if one.shape == shape), left)
    y = plan.write(node.outputs[0], like=like)
    if len(node.inputs) == 1:
        plan.copy(left, y)
    for name in node.inputs[1:]:
        emit_map(plan, node.op, [left, plan.read(name)], y)
        left = y
    narrow(plan, node.outputs[0], y)


@lowers("Pow")
def _pow(plan: Plan, node: Node) -> None:
    x, exponent = map(plan.read, node.inputs)
    y = plan.write(node.outputs[0], like=x)
    value = plan.value(node.inputs[1])
    if x.element == "f" and value is not None and value.size == 1 and value.reshape(-1)[0] == 2 and x.shape == y.shape:
        emit_map(plan, "Square", [x], y)
        return
    if exponent.element != x.element:
        made = plan.scratch(x.element, exponent.shape)
        emit_map(plan, "ToFloat" if x.element == "f" else "ToWhole", [exponent], made)
        exponent = made
    emit_map(plan, "Pow", [x, exponent], y)
    narrow(plan, node.outputs[0], y)


@lowers("Cast")
def _cast(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    source, target = plan.types[node.inputs[0]].dtype, plan.types[node.outputs[0]].dtype
    element = element_of(target)
    widens = target.itemsize >= (4 if element == "f" else 8 if element == "i" else 1) or target == source
    if x.element == element and widens:
        plan.alias(node.outputs[0], x)
        return
    if target.name == "float16":
        raise FormatError("a cast to float16 is not supported")
    y = plan.write(node.outputs[0], like=x)
    if x.element == element:
        plan.copy(x, y)
    else:
        emit_map(plan, {"f": "ToFloat", "i": "ToWhole", "b": "ToTruth"}[element], [x], y)
    narrow(plan, node.outputs[0], y)


_ACTIVATIONS = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Exp": "exponential",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "HardSigmoid": "hard_sigmoid",
    "ThresholdedRelu": "thresholded_relu",
}


@lowers(*_ACTIVATIONS)
def _activation(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    if x.element == "i":
        emit_map(plan, node.op, [x], y)
        return
    parameters = {name: node.attributes[name] for name in ("alpha", "beta") if node.attributes.get(name) is not None}
    plan.emit("activate", Activation(_ACTIVATIONS[node.op], **parameters), x, y)


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


@lowers("Where")
def _where(plan: Plan, node: Node) -> None:
    inputs = [plan.read(name) for name in node.inputs]
    y = plan.write(node.outputs[0], like=inputs[1])
    emit_map(plan, "Where", inputs, y)


@lowers("IsInf")
def _isinf(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    emit_map(plan, "IsInf", [x], y, node.attributes["detect_positive"], node.attributes["detect_negative"])
