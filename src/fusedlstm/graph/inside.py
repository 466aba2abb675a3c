"""The LSTMs inside a graph, each alone: those that a file has in pieces as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import FormatError
from ..weights import LSTMWeights
from .draft import Draft
from .graph import Graph, Node, Value, graphs_of, prune
from .operators import Array
from .passes import simplify, single
from .passes.cells import given_back, origin
from .specialise import specialise

OPERATORS = ("LSTM", "fusedlstm.LSTM")
_ELSEWHERE = "\0"  # the name, while passes run, of nodes that were LSTMs before


def lstms_inside(graph: Graph, in_pieces: bool) -> dict[str, Callable[[], LSTMWeights]]:
    """Readers of the LSTMs by the names of their nodes, else of their outputs.

    Parameters
    ----------
    graph : Graph
        As a file has it.
    in_pieces : bool
        Those alone that are no operators there: cells that were taken apart, unrolled, or the bodies of loops.
    """
    whole = simplify(single(_elsewhere(graph) if in_pieces else graph), joined=False)
    found: dict[str, Callable[[], LSTMWeights]] = {}
    for part, one in _placed(whole):
        if one.op != "fusedlstm.LSTM" or one.name == _ELSEWHERE:
            continue
        name, k = one.name or next(filter(None, one.outputs), ""), 1
        base = name
        while name in found:
            k += 1
            name = f"{base}~{k}"
        found[name] = _Reader(part, one)
    return found


def _elsewhere(graph: Graph) -> Graph:
    """The graph with a mark on every LSTM that is a node already; passes keep the names of nodes."""
    nodes = []
    for one in graph.nodes:
        attributes = {
            name: _elsewhere(value) if isinstance(value, Graph) else value for name, value in one.attributes.items()
        }
        name = _ELSEWHERE if one.op in OPERATORS else one.name
        nodes.append(Node(one.op, one.inputs, one.outputs, attributes, name, one.refused))
    return graph.replace(nodes=tuple(nodes))


def _placed(graph: Graph) -> Iterator[tuple[Graph, Node]]:
    """Every node with the graph that it is in; what that takes from around it is a part of it then."""
    for k, one in enumerate(graph.nodes):
        yield graph, one
        for inner in graphs_of(one):
            yield from _placed(
                inner.replace(
                    inputs=(*graph.inputs, *inner.inputs),
                    nodes=(*graph.nodes[:k], *inner.nodes),
                    constants=graph.constants,
                    types={**graph.types, **inner.types},
                )
            )


class _Reader:
    """One LSTM, read when it is called."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self._graph, self._node = graph, node

    def __call__(self) -> LSTMWeights:
        one = self._node
        weights: LSTMWeights = one.attributes["weights"]
        x, h, c, lengths = [*one.inputs, *[""] * 4][:4]
        try:
            if lengths in self._graph.constants:
                raise FormatError("expected lengths that the caller passes, found lengths that the model fixes")
            _told_apart(self._graph, one, x, h, c)
            state = _initial_state(self._graph, weights, h, c)
        except FormatError as error:
            raise FormatError(f"LSTM {one.name or next(filter(None, one.outputs), '')!r}: {error}") from error
        if state is not None:
            weights = replace(weights, initial_state=state)
        return replace(weights, batch_first=bool(one.attributes["x_batch_first"]))


def _told_apart(graph: Graph, one: Node, x: str, h: str, c: str) -> None:
    """Refuse a single step whose input and hidden state are alike in everything: which is which does not matter inside.

    Raises
    ------
    FormatError
        It is one.
    """
    weights, kind = one.attributes["weights"], graph.types.get(x)
    steps = None if kind is None else kind.shape[int(one.attributes["x_batch_first"])]
    if weights.input_size != weights.hidden_size or weights.num_layers > 1 or steps != 1 or not h:
        return
    draft = Draft(graph)
    roots, inputs = [origin(draft, name) for name in (x, h, c)], {value.name for value in graph.inputs}
    if roots[1] == roots[2] or (roots[0] not in inputs and roots[1] in inputs):
        return
    if given_back(draft, roots[:2], roots[2], one.outputs[1], one.outputs[2]) != [roots[1]]:
        either = " and ".join(map(repr, sorted(roots[:2])))
        raise FormatError(f"expected to know which of {either} is its hidden state, found that each may be")


def _initial_state(graph: Graph, weights: LSTMWeights, h: str, c: str) -> tuple[list[Array], list[Array]] | None:
    """The state that the model itself fixes; None for zeros, and for what depends on its inputs: the caller passes it.

    Raises
    ------
    FormatError
        One half of each kind, or rows that differ.
    """
    rows = [_row(graph, name) if name else np.zeros((), np.float32) for name in (h, c)]
    known = [row for row in rows if row is not None and row.any()]
    if not known:
        return None
    if any(row is None for row in rows):
        raise FormatError("expected h and c both from the caller or both from the model, found one of each")
    directions = len(weights.layers[0])
    if weights.num_layers > 1 or any(row is not None and row.ndim and len(row) != directions for row in rows):
        raise FormatError("expected a learned state of one layer, found one of several")
    sizes = (weights.proj_size or weights.hidden_size, weights.hidden_size)
    first, second = (np.broadcast_to(row, (directions, size)) for row, size in zip(rows, sizes) if row is not None)
    return [first], [second]


def _row(graph: Graph, name: str) -> Array | None:
    """A state (directions, size) that is the same for every row of a batch of any size; None: it depends on inputs."""
    rows: list[Array] = []
    for free in (2, 3):  # for what the inputs' shapes leave open
        array = _value(graph, name, free)
        if array is None:
            return None
        differ = array.ndim != 3 or not array.shape[1] or (array != array[:, :1]).any()
        if differ or (rows and (rows[0] != array[:, 0]).any()):
            raise FormatError("expected one learned state for every row of the batch, found rows that differ")
        rows.append(array[:, 0])
    return rows[0]


def _value(graph: Graph, name: str, free: int) -> Array | None:
    """A tensor for one size of everything that is free, if shapes settle it."""
    if name in graph.constants:
        return graph.constants[name]
    used = {name}
    nodes = prune(graph.nodes, used)
    constants = {own: value for own, value in graph.constants.items() if own in used}
    inputs = [value for value in graph.inputs if value.name in used]
    if not nodes or any(value.dtype is None or value.shape is None for value in inputs):
        return None
    part = graph.replace(inputs=tuple(inputs), outputs=(Value(name),), nodes=tuple(nodes), constants=constants)
    sizes = {value.name: [size if type(size) is int else free for size in value.shape or ()] for value in inputs}
    try:
        found: Any = specialise(part, sizes).constants.get(name)
    except FormatError:  # it depends on values
        return None
    return found
