"""Nodes of an ONNX graph in order of computation, whatever their order in the file."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from ...errors import FormatError


def ordered(protos: Any) -> list[Any]:
    """Nodes in order of computation."""
    owner = {name: k for k, one in enumerate(protos) for name in one.output if name}
    needs = [{owner[name] for name in _taken(one) if name in owner} for one in protos]
    if all(max(before, default=-1) < k for k, before in enumerate(needs)):
        return list(protos)
    followers: dict[int, list[int]] = {}
    for k, before in enumerate(needs):
        for other in before:
            followers.setdefault(other, []).append(k)
    left = [len(before) for before in needs]
    ready, order = [k for k, count in enumerate(left) if not count], []
    while ready:
        k = heapq.heappop(ready)
        order.append(protos[k])
        for other in followers.get(k, ()):
            left[other] -= 1
            if not left[other]:
                heapq.heappush(ready, other)
    if len(order) < len(protos):
        stuck = next(one for one, count in zip(protos, left) if count)
        raise FormatError(f"{stuck.op_type} node {stuck.name!r}: expected an order of nodes, found a cycle")
    return order


def _taken(one: Any) -> Iterator[str]:
    """Names that a node may take, with those that graphs inside it may."""
    yield from one.input
    for attribute in one.attribute:
        if attribute.type == 5:
            for inner in attribute.g.node:
                yield from _taken(inner)
            yield from (output.name for output in attribute.g.output)
