"""A model as a graph of operators: data, what each operator means, and the passes that simplify it."""

from .evaluate import evaluate
from .graph import OPSET, Graph, Node, Value, node
from .inside import lstms_inside
from .listing import type_text
from .operators import OPERATORS, Operator, TensorType
from .passes import simplify, single
from .specialise import deciding_inputs, specialise

__all__ = [
    "OPERATORS",
    "OPSET",
    "Graph",
    "Node",
    "Operator",
    "TensorType",
    "Value",
    "deciding_inputs",
    "evaluate",
    "lstms_inside",
    "node",
    "simplify",
    "single",
    "specialise",
    "type_text",
]
