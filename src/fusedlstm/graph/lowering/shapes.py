"""What makes tensors from shapes, where folding has not made them already."""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ..graph import Node
from ..operators import OPERATORS
from ..operators.lowers import lowers
from ..operators.shapes import slice_of_shape
from ..plan import Plan


@lowers("Shape")
def _shape(plan: Plan, node: Node) -> None:
    shape = plan.shape(node.inputs[0])
    plan.alias(node.outputs[0], plan.constant(np.array(shape[slice_of_shape(node.attributes, len(shape))], np.int64)))


@lowers("Size")
def _size(plan: Plan, node: Node) -> None:
    size = np.prod(plan.shape(node.inputs[0]), dtype=np.int64)
    plan.alias(node.outputs[0], plan.constant(np.array(size)))


@lowers("ConstantOfShape")
def _of_shape(plan: Plan, node: Node) -> None:
    shape, fill = plan.shape(node.outputs[0]), node.attributes["value"]
    one = np.zeros((1,) * len(shape), np.float32) if fill is None else fill.reshape((1,) * len(shape))
    plan.alias(node.outputs[0], plan.constant(one).broadcast(shape))


@lowers("EyeLike")
def _eye(plan: Plan, node: Node) -> None:
    rows, columns = plan.shape(node.inputs[0])
    plan.expect_places(rows * columns)
    found = np.eye(rows, columns, node.attributes["k"], plan.types[node.outputs[0]].dtype)
    plan.alias(node.outputs[0], plan.constant(found))


@lowers("Range")
def _range(plan: Plan, node: Node) -> None:
    values = [plan.value(name) for name in node.inputs]
    if any(value is None for value in values):
        raise FormatError("expected a range that is known before the model runs")
    plan.expect_places(*plan.shape(node.outputs[0]))
    plan.alias(node.outputs[0], plan.constant(OPERATORS["Range"].compute(node.attributes, *values)))
