"""A model as a graph of operators: data, what each operator means, and the passes that simplify it."""

from .evaluate import evaluate
from .graph import OPSET, Graph, Node, Value, node
from .inside import lstms_inside
from .listing import type_text
from .operators import OPERATORS, Operator, TensorType
from .passes import simplify, single
from .precision import FLOAT32, Precision, checked_keep
from .specialise import deciding_inputs, specialise
from .weighted import expect_names, in_float32, settled

__all__ = [
    "FLOAT32",
    "OPERATORS",
    "OPSET",
    "Graph",
    "Node",
    "Operator",
    "Precision",
    "TensorType",
    "Value",
    "checked_keep",
    "deciding_inputs",
    "evaluate",
    "expect_names",
    "in_float32",
    "lstms_inside",
    "node",
    "settled",
    "simplify",
    "single",
    "specialise",
    "type_text",
]
