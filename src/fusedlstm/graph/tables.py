"""Tables of weights whose rows are looked up, such as embeddings: which nodes have one, and what less precision is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .graph import Graph, Node, graphs_of
from .operators import Array
from .precision import Precision

LOOKUP = "fusedlstm.Lookup"
_LARGEST = {"float16": 65504.0, "bfloat16": 3.3e38, "int8": 3.3e38}


def with_tables(graph: Graph, precision: Precision, around: Mapping[str, Array] | None = None) -> Graph:
    """The same graph with a node of its own for each look-up whose table is held in less than float32.

    So it is settled once what is rounded, whatever later becomes a constant. A table that has NaN or infinity, or
    numbers that do not fit, is a mask or the like rather than weights, and stays.
    """
    if precision.dtype == "float32":
        return graph
    constants = {**(around or {}), **graph.constants}

    def seen(one: Node) -> Node:
        held, dtype = held_table(one, constants), precision.of(one)[0]
        if held is not None and dtype != "float32" and np.abs(held).max() <= _LARGEST[dtype]:
            return Node(LOOKUP, one.inputs, one.outputs, {"dtype": dtype}, one.name)
        if not graphs_of(one):
            return one
        inner = {
            name: with_tables(value, precision, constants) if isinstance(value, Graph) else value
            for name, value in one.attributes.items()
        }
        return Node(one.op, one.inputs, one.outputs, inner, one.name, one.refused)

    return graph.replace(nodes=tuple(map(seen, graph.nodes)))


def held_table(one: Node, constants: Mapping[str, Array]) -> Array | None:
    """The table of a node that looks up rows; a column of numbers is none, since there is nothing to be saved."""
    if one.op != "Gather" or one.attributes["axis"] not in (0, -2):
        return None
    held = constants.get(one.inputs[0])
    ours = held is not None and held.ndim == 2 and held.dtype == np.float32 and held.shape[1] > 1 and held.size
    return held if ours else None
