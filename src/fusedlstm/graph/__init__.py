"""A model as a graph of operators: data, what each operator means, and the passes that simplify it."""

from .evaluate import evaluate
from .graph import OPSET, Graph, Node, Value, node
from .inside import lstms_inside
from .listing import type_text
from .operators import OPERATORS, Operator, TensorType
from .passes import simplify, single
from .precision import FLOAT32, Precision
from .specialise import deciding_inputs, specialise
from .tables import expect_names, with_tables

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
    "deciding_inputs",
    "evaluate",
    "expect_names",
    "lstms_inside",
    "node",
    "simplify",
    "single",
    "specialise",
    "type_text",
    "with_tables",
]
