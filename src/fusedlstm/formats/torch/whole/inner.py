"""Graphs inside nodes that are run as they stand: what a module does under ``torch.no_grad()``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ....errors import FormatError
from . import schema
from .operation import Operation, operation
from .schema import Ref

MAX_NODES = 20_000
_MOST_DEPTH = 8
_RUN_AS_THEY_ARE = ("torch.ops.higher_order.wrap_with_set_grad_enabled",)


def inlined(member: str, graph: Mapping[str, Any]) -> tuple[list[Operation], dict[str, Any]]:
    """The nodes of a graph with those of graphs inside in their places, and the types of all tensors by name.

    Raises
    ------
    FormatError
        More nodes than a program may have, or a graph that does not fit its node.
    """
    found: list[Operation] = []
    metas: dict[str, Any] = {}
    for node in _walk(member, graph, metas, 0):
        found.append(node)
        if len(found) > MAX_NODES:
            raise FormatError(f"{member}: expected at most {MAX_NODES} nodes, found more")
    return found, metas


def _walk(where: str, graph: Mapping[str, Any], metas: dict[str, Any], depth: int) -> Iterator[Operation]:
    if depth > _MOST_DEPTH:
        raise FormatError(f"{where}: expected graphs at most {_MOST_DEPTH} deep in each other, found deeper ones")
    for name, meta in schema.table(f"{where}: tensor_values", graph.get("tensor_values")).items():
        metas.setdefault(name, meta)
    for node in schema.objects(f"{where}: nodes", graph.get("nodes")):
        if node.get("target") in _RUN_AS_THEY_ARE:
            yield from _inside(where, node, metas, depth)
        else:
            yield operation(node)


def _inside(where: str, node: dict[str, Any], metas: dict[str, Any], depth: int) -> Iterator[Operation]:
    """The nodes of a graph inside, under names of their own."""
    match [one.get("arg") for one in schema.objects(where, node.get("inputs"))]:
        case [_, {"as_graph": {"name": str() as name, "graph": dict() as graph}}, *given]:
            pass
        case _:
            raise FormatError(f"{where}: expected a graph and what it is given, found others")
    taken = [schema.argument(where, one) for one in schema.objects(f"{where}: inputs", graph.get("inputs"))]
    values = [schema.argument(where, one) for one in given]
    names: dict[str, Any] = {}
    for one, value in zip(taken, values):
        if isinstance(one, Ref):
            names[one.name] = value
    if len(taken) != len(values):
        raise FormatError(f"{where}: expected {len(taken)} inputs of {name!r:.80}, found {len(values)}")
    inner: dict[str, Any] = {}
    for one in _walk(where, graph, inner, depth + 1):
        outputs = []
        for output in one.outputs:
            own = f"{name[:80]}.{output}" if output else ""
            if output in inner:
                metas.setdefault(own, inner[output])
            names[output] = Ref(own)
            outputs.append(own)
        arguments = {key: _renamed(value, names) for key, value in one.arguments().items()}
        yield replace(one, outputs=tuple(outputs), given=arguments)
    made = [
        _renamed(schema.argument(where, one), names)
        for one in schema.objects(f"{where}: outputs", graph.get("outputs"))
    ]
    wanted = operation({**node, "inputs": []}).outputs
    if len(made) < len(wanted) or not all(isinstance(one, Ref) for one in made):
        raise FormatError(f"{where}: expected {len(wanted)} outputs of {name!r:.80}, found {len(made)}")
    for output, value in zip(wanted, made):
        yield Operation("torch.ops.aten.alias.default", None, (output,), {}, {"self": value})


def _renamed(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return names.get(value.name, value) if isinstance(value, Ref) else value
