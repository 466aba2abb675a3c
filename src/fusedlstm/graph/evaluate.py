"""Run a graph by its operators' meaning in NumPy: the oracle of tests, and what folding uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import FormatError
from .graph import Graph, Node
from .operators import OPERATORS, Array


def evaluate(graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """Every output of a graph.

    Parameters
    ----------
    graph : Graph
        Any graph whose nodes can all be run.
    inputs : dict
        An array for each input.

    Raises
    ------
    FormatError
        A node that is refused, or whose inputs do not fit together.
    """
    known: dict[str, Array] = {}
    for value in graph.inputs:
        if value.name not in inputs:
            raise ValueError(f"input {value.name!r}: expected an array, found none")
        known[value.name] = np.asarray(inputs[value.name])
    return dict(zip((one.name for one in graph.outputs), _run(graph, known)))


def _run(graph: Graph, known: dict[str, Array]) -> list[Array]:
    known.update(graph.constants)
    with np.errstate(all="ignore"):
        for one in graph.nodes:
            known.update(zip(one.outputs, compute(one, [known[name] if name else None for name in one.inputs], known)))
    return [known[one.name] for one in graph.outputs]


def compute(one: Node, inputs: Sequence[Array | None], around: Mapping[str, Array] | None = None) -> list[Array]:
    """The outputs of one node.

    Parameters
    ----------
    one : Node
        A node that can be run.
    inputs : sequence of ndarray
        None for what is left out.
    around : dict
        What the graphs inside the node may take.

    Raises
    ------
    FormatError
        Inputs that do not fit together; the message names the node.
    """
    if one.refused:
        raise FormatError(f"{one.title}: {one.refused}")
    entry = OPERATORS[one.op]
    extra = []
    if entry.graphs:

        def run(graph: Graph, values: Sequence[Array]) -> list[Array]:
            return _run(graph, {**(around or {}), **dict(zip((value.name for value in graph.inputs), values))})

        extra = [run]
    try:
        found = entry.compute(one.attributes, *extra, *inputs)
    except FormatError as error:
        raise FormatError(f"{one.title}: {error}") from error
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError, KeyError, AttributeError) as error:
        raise FormatError(f"{one.title}: its inputs do not fit together ({error})") from error
    return [np.asarray(array) for array in (found if isinstance(found, (tuple, list)) else (found,))]
