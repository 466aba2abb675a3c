"""Floats of 16 and 64 bits become floats of 32 bits: what the engine computes in."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Graph, Node, Value
from ..operators.operator import FLOAT32
from .constants import fold


def single(graph: Graph) -> Graph:
    """The graph in float32; what constants alone settle is computed in the file's own types before.

    The shapes and names stay; inputs and outputs of other floats are of float32 afterwards, so that a caller can tell.
    """
    wide = [value.dtype for value in (*graph.inputs, *graph.constants.values())]
    if not any(_other(dtype) for dtype in wide if dtype is not None) and not any(
        _other(value) for _, one in graph.walk() for value in one.attributes.values() if isinstance(value, np.dtype)
    ):
        return graph
    return _inside(fold(graph))


def _other(dtype: Any) -> bool:
    return bool(dtype.kind == "f" and dtype != FLOAT32)


def _converted(value: Any) -> Any:
    if isinstance(value, Graph):
        return _inside(value)
    if isinstance(value, np.dtype):
        return FLOAT32 if _other(value) else value
    if isinstance(value, np.ndarray) and _other(value.dtype):
        with np.errstate(over="ignore"):
            value = value.astype(FLOAT32)
        value.flags.writeable = False
    return value


def _inside(graph: Graph) -> Graph:
    nodes = [
        Node(
            one.op,
            one.inputs,
            one.outputs,
            {name: _converted(value) for name, value in one.attributes.items()},
            one.name,
            one.refused,
        )
        for one in graph.nodes
    ]
    return graph.replace(
        inputs=tuple(Value(one.name, one.dtype and _converted(one.dtype), one.shape) for one in graph.inputs),
        outputs=tuple(Value(one.name, one.dtype and _converted(one.dtype), one.shape) for one in graph.outputs),
        nodes=tuple(nodes),
        constants={name: _converted(value) for name, value in graph.constants.items()},
        types={},
    )
