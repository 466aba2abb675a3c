"""Passes: each rewrites a graph into one that computes the same; applied until none changes anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..draft import Draft
from ..graph import Graph, Node, Value, captures, graphs_of, prune
from ..operators import Array
from . import (
    activations,
    convolution,
    counted,
    dense,
    gru_cells,
    identities,
    loops,
    lstm_pairs,
    lstm_shapes,
    masked,
    normalisation,
    recurrent,
    rows,
    siblings,
    transposes,
    unrolled,
)
from .constants import fold
from .single import single

__all__ = ["PASSES", "apply", "fold", "settle", "simplify", "single"]

PASSES: tuple[Callable[[Draft], None], ...] = (
    identities.rewrite,
    activations.rewrite,
    normalisation.rewrite,
    recurrent.rewrite,
    rows.rewrite,
    unrolled.rewrite,
    gru_cells.rewrite,
    counted.rewrite,
    loops.rewrite,
    masked.rewrite,
    lstm_shapes.rewrite,
    lstm_pairs.rewrite,
    convolution.rewrite,
    dense.rewrite,
    transposes.rewrite,
    siblings.rewrite,
)
_CHEAP = (identities.rewrite, lstm_shapes.rewrite, convolution.rewrite, dense.rewrite)
_MOST_ROUNDS = 20


def apply(rewrite: Callable[[Draft], None], graph: Graph) -> Graph:
    """One pass."""
    draft = Draft(graph if graph.types else fold(graph))
    rewrite(draft)
    return draft.finish()


def settle(graph: Graph) -> Graph:
    """The cheap passes once more, on a graph that got its shapes after `simplify` and lost its branches."""
    draft = Draft(graph)
    for _ in range(2):
        for rewrite in _CHEAP:
            rewrite(draft)
    return draft.finish()


def simplify(graph: Graph, joined: bool = True, more: Sequence[Callable[[Draft], None]] = ()) -> Graph:
    """All passes, on the graphs inside nodes as well, until none changes anything; `more` of them before.

    With `joined` false, LSTMs stay as the file has them: apart, with their axes in the order that they have there.
    """
    joins = () if joined else (lstm_pairs.rewrite, lstm_shapes.rewrite)
    return _settled(fold(graph), (*more, *(one for one in PASSES if one not in joins)))


def _settled(graph: Graph, passes: Sequence[Callable[[Draft], None]]) -> Graph:
    graph = _inside(graph, passes)
    for _ in range(_MOST_ROUNDS):
        draft = Draft(graph)
        for rewrite in passes:
            rewrite(draft)
        if not draft.changed:
            break
        graph = fold(draft.finish())
        if any(one.op in ("Loop", "Scan") for one in graph.nodes):  # the loop before may have given them their shapes
            graph = _inside(graph, passes)
    return graph


def _inside(graph: Graph, passes: Sequence[Callable[[Draft], None]]) -> Graph:
    """Simplify the graphs inside nodes; their new constants go to this one."""
    if not any(graphs_of(one) for one in graph.nodes):
        return graph
    draft, nodes, constants = Draft(graph), [], dict(graph.constants)
    for one in graph.nodes:
        attributes = dict(one.attributes)
        for name, inner in one.attributes.items():
            if isinstance(inner, Graph):
                attributes[name] = _alone(inner, draft, constants, passes)
        nodes.append(Node(one.op, one.inputs, one.outputs, attributes, one.name, one.refused))
    used = {one.name for one in graph.outputs}
    nodes = prune(nodes, used)
    return graph.replace(
        nodes=tuple(nodes), constants={name: value for name, value in constants.items() if name in used}
    )


def _alone(inner: Graph, draft: Draft, constants: dict[str, Array], passes: Sequence[Callable[[Draft], None]]) -> Graph:
    """A graph inside a node, simplified with what it takes from around it as inputs and constants of its own."""
    taken = captures(inner)
    outside = [draft.value(name) for name in taken if name not in constants]
    own = {name: constants[name] for name in taken if name in constants}
    types = {name: draft.types[name] for name in taken if name in draft.types}
    inputs = tuple(
        Value(one.name, kind.dtype, kind.shape) if (kind := inner.types.get(one.name)) is not None else one
        for one in inner.inputs
    )
    closed = inner.replace(inputs=(*inputs, *outside), constants=own, types={**inner.types, **types})
    settled = _settled(closed, passes)
    constants.update(settled.constants)
    return settled.replace(inputs=inputs, constants={})
