"""Comparisons, logic and choices."""

from __future__ import annotations

from ...errors import FormatError
from ..graph import Node
from ..operators.lowers import lowers
from ..plan import Plan
from .elementwise import emit_map


@lowers("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Xor", "Not", "IsNaN", "Where")
def _logic(plan: Plan, node: Node) -> None:
    inputs = [plan.read(name) for name in node.inputs]
    if any(plan.types[name].dtype.name == "uint64" for name in node.inputs) and node.op not in ("Equal", "Where"):
        raise FormatError("arithmetic on uint64 is not supported")
    shape = plan.shape(node.outputs[0])
    y = plan.write(node.outputs[0], like=next((one for one in inputs if one.shape == shape), inputs[0]))
    emit_map(plan, node.op, inputs, y)


@lowers("IsInf")
def _isinf(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y = plan.write(node.outputs[0], like=x)
    emit_map(plan, "IsInf", [x], y, node.attributes["detect_positive"], node.attributes["detect_negative"])
