"""Which weights of a model are held in less than float32, and which stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..weights.precision import MATRICES
from .graph import Graph, Node
from .operators import Array
from .operators.convolution import across_groups
from .passes import simplify
from .passes.contractions import contraction, rewrite
from .precision import Precision, fits, name_of
from .tables import LOOKUP, held_table, with_tables

_PLACES = {
    **dict.fromkeys(("fusedlstm.Dense", "MatMul", "Gemm", "fusedlstm.Conv", "Conv", "ConvTranspose"), (1,)),
    **dict.fromkeys(("GRU", "RNN"), (1, 2)),
    LOOKUP: (0,),
}
"""The inputs of operators that may be held in less."""
_OTHERS = {"Gather": (0,), "fusedlstm.ConvLSTM": (1, 2)}
"""The inputs of others that are weights as well."""
_MULTIPLY = frozenset({"MatMul", "Gemm", "Einsum", "Conv", "fusedlstm.Conv", "ConvTranspose"})
"""Operators whose constant matrices are weights, whichever input they are."""


@dataclass(frozen=True)
class Weighted:
    """A node and its matrices of weights: those that are held in less where it is asked for, and those that stay."""

    node: Node
    rounded: tuple[Array, ...]
    stay: tuple[Array, ...]


def weighted(graph: Graph) -> Iterator[Weighted]:
    """Every node with matrices of weights, of graphs inside nodes as well."""
    constants, seen = dict(graph.constants), {id(graph)}
    for inside, one in graph.walk():
        if id(inside) not in seen:
            seen.add(id(inside))
            constants.update(inside.constants)
        if one.op == "fusedlstm.LSTM":
            cells = [cell for layer in one.attributes["weights"].layers for cell in layer]
            yield Weighted(one, tuple(a for cell in cells for k, a in cell.arrays.items() if k in MATRICES), ())
            continue
        rounded = tuple(_rounded(one, inside, constants))
        places = range(len(one.inputs)) if one.op in _MULTIPLY else (*_OTHERS.get(one.op, ()), *_PLACES.get(one.op, ()))
        held = [constants.get(one.inputs[k]) for k in places]
        known = {id(array) for array in rounded}
        stay = tuple(array for array in held if array is not None and id(array) not in known and _is_matrix(array))
        if rounded or stay:
            yield Weighted(one, rounded, stay)


def settled(graph: Graph, simplified: Graph) -> tuple[Graph, Graph]:
    """A model and what is left of it to run, once it is known which nodes its precision means."""
    keep = graph.precision.keep
    exact = {name_of(one.node) for one in weighted(simplified) if one.rounded} & {*keep} if keep else ()
    precision = replace(graph.precision, exact=frozenset(exact))

    def wanted(one: Node) -> str:
        return name_of(one) if precision.of(one)[0] != "float32" else ""

    products = (one for one in weighted(simplified) if one.node.op in ("MatMul", "Einsum") and one.rounded)
    if precision.dtype != "float32" and any(wanted(one.node) for one in products):
        simplified = simplify(simplified, more=(partial(rewrite, wanted=wanted),))
    return graph.replace(precision=precision), with_tables(simplified, precision)


def expect_names(graph: Graph, precision: Precision) -> None:
    """Refuse names to keep that mean no node with weights that would be rounded.

    Raises
    ------
    ValueError
        Such a name; the message says which there are.
    """
    nodes = [one.node for one in weighted(graph) if one.rounded]
    for name in precision.keep:
        if not any(fits(name, node) for node in nodes):
            names = ", ".join(repr(name_of(node)) for node in nodes)
            raise ValueError(f"keep: expected a node with weights, of {names or 'none'}; found {name!r}")


def in_float32(graph: Graph, precision: Precision) -> dict[str, float]:
    """What of a model in a lower precision stays float32: nodes with their operators, and the share of all weights."""
    sizes: dict[int, int] = {}
    found: dict[str, int] = {}
    for one in weighted(graph):
        sizes.update((id(array), array.size) for array in (*one.rounded, *one.stay))
        kept = one.node.op == "Gather" or precision.of(one.node)[0] == "float32"  # other tables are look-ups by now
        held = one.node.attributes.get("weights")  # of an LSTM, in less already where the file has it so
        kept = kept and (held is None or held.dtype == "float32")
        stay = (*filter(_is_matrix, one.rounded), *one.stay) if kept else one.stay
        if size := sum(array.size for array in stay):
            title = f"{name_of(one.node)} ({one.node.op.removeprefix('fusedlstm.')})"
            found[title] = found.get(title, 0) + size
    total = sum(sizes.values())
    return {title: size / total for title, size in sorted(found.items(), key=lambda item: -item[1])}


def _rounded(one: Node, inside: Graph, constants: Mapping[str, Array]) -> Iterator[Array]:
    """The matrices that are held in less: what `plan` makes panels of, as lowering does it."""
    if one.op in ("MatMul", "Einsum"):
        kinds = [inside.types.get(name) for name in one.inputs]
        ranks = [len(kind.shape) for kind in kinds if kind is not None]
        found = contraction(one, constants.get, ranks) if len(ranks) == len(kinds) else None
        if found is not None:
            yield constants[one.inputs[found.w]]
    if one.op == "Gather":
        held = held_table(one, constants)
        if held is not None:
            yield held
    for k in _PLACES.get(one.op, ()):
        held = constants.get(one.inputs[k])
        if held is None or held.dtype.kind != "f" or not held.size:
            continue
        if one.op == "MatMul" and held.ndim != 2:
            continue
        if "Conv" in one.op and across_groups(one.op, one.attributes["group"], held.shape):
            continue
        yield held


def _is_matrix(array: Array) -> bool:
    """Of weights: more than a row of numbers, and no mask, which has infinities."""
    return array.dtype.kind == "f" and sum(size > 1 for size in array.shape) > 1 and bool(np.isfinite(array).all())
