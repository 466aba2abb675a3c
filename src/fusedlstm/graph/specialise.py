"""A graph for the shapes of one call: everything that they settle is computed, and every tensor has a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import FormatError
from .declared import input_types
from .graph import MAX_DEPTH, Graph
from .operators import OPERATORS, Array
from .passes import settle
from .passes.constants import Folder
from .turns import unrolled

_ROOM = 1 << 20  # bytes of constants that the shapes of one call may make; the rest is computed when it runs


def specialise(
    graph: Graph, shapes: Mapping[str, Sequence[int]], values: Mapping[str, Array] | None = None, few: int = 1
) -> Graph:
    """The graph for given shapes.

    Parameters
    ----------
    graph : Graph
        As `simplify` leaves it, or any other.
    shapes : dict
        The shape of each input.
    values : dict, optional
        Inputs whose values are known as well: those that `deciding_inputs` names. They are inputs no more.
    few : int
        Elements of inputs up to which functions of floats are computed here. More of them are the engine's, whose last
        bit may be another: positions have the same bits in a stream, where they are not known before.

    Returns
    -------
    Graph
        With a type for every tensor in ``graph.types``.

    Raises
    ------
    FormatError
        Shapes that the file does not take, or a tensor whose shape depends on values that are not known.
    """
    values = values or {}
    inputs = input_types(graph, shapes, values)
    found = Folder(graph, inputs, values, _ROOM, few).run()
    written = found
    for _ in range(MAX_DEPTH):  # loops inside loops
        before, written = written, unrolled(written)
        if written is before:
            break
        written = Folder(written, inputs, {}, _ROOM, few).run()
    if written is not found or any(one.op == "If" for one in graph.nodes):  # bodies and branches became part of it
        found = settle(written)
    types = {**inputs, **found.types}  # of inputs that nothing takes any more as well
    for one in found.nodes:
        if any(name in types for name in one.outputs):  # outputs that nothing takes have none
            continue
        if one.refused:
            raise FormatError(f"{one.title}: {one.refused}")
        if one.op in ("Loop", "Scan"):
            raise FormatError(
                f"{one.title}: a {one.op} that is no LSTM is supported where shapes say how often it runs; this one "
                "is not, or runs too often"
            )
        if OPERATORS[one.op].shape_inputs or one.op == "NonZero":
            raise FormatError(f"{one.title}: its shape depends on values that are known only when it runs")
    return found.replace(types=types)


def deciding_inputs(graph: Graph) -> list[str]:
    """Inputs whose values, not only their shapes, decide what is computed: a plan is for one value of each."""
    makers = {name: one for _, one in graph.walk() for name in one.outputs}
    # What a graph inside a node hands out is what the node does.
    waiting = []
    for _, one in graph.walk():
        entry = OPERATORS.get(one.op)
        if entry is not None and not one.refused:
            waiting += [one.inputs[k] for k in entry.shape_inputs if k < len(one.inputs)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        maker = makers.get(name)
        if maker is not None and maker.op not in ("Shape", "Size"):
            waiting += maker.inputs
            if maker.op in ("If", "Loop", "Scan"):
                inner = [value for value in maker.attributes.values() if isinstance(value, Graph)]
                waiting += [value.name for one in inner for value in one.outputs]
    return [value.name for value in graph.inputs if value.name in seen]
