"""Loops that are no LSTM, once a call's shapes say how often they run: their bodies, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .graph import Graph, Node, Value, node
from .writing import Writing

_LOOPS = ("Loop", "Scan")
_MOST_NODES = 20_000  # planning takes longer than in proportion


def unrolled(graph: Graph) -> Graph:
    """The graph with the turns of its loops one after the other, where their number is known.

    Parameters
    ----------
    graph : Graph
        As `fold` leaves it for the shapes of a call. Its types are not kept.
    """
    if not any(one.op in _LOOPS and not one.refused for one in graph.nodes):
        return graph
    writer = _Writer(graph)
    for one in graph.nodes:
        if one.op not in _LOOPS or one.refused or not (writer.loop if one.op == "Loop" else writer.scan)(one):
            writer.nodes.append(one)
    return graph.replace(nodes=tuple(writer.nodes), constants=writer.constants, types={})


class _Writer(Writing):
    def __init__(self, graph: Graph) -> None:
        made = (name for _, one in graph.walk() for name in one.outputs)
        super().__init__(graph.constants, {*made, *graph.constants, *(value.name for value in graph.inputs)})
        self.types = graph.types
        self.count = len(graph.nodes)

    def fits(self, graph: Graph, turns: int) -> bool:
        """Whether so many copies of a body are few enough."""
        self.count += turns * (sum(1 for _ in graph.walk()) + 2)
        return self.count <= _MOST_NODES

    def copied(self, graph: Graph, names: Mapping[str, str], turn: int) -> dict[str, str]:
        """Write the nodes of a body under new names; what they are called."""
        names = dict(names)
        self.nodes += _renamed(graph, names, lambda name: self.fresh(f"{name}@{turn}"))
        return names

    def loop(self, one: Node) -> bool:
        """Write a Loop; False where it is not known how often it runs."""
        body, first = one.attributes["body"], list(one.inputs[2:])
        most, go = (self.constants.get(name) if name else None for name in [*one.inputs, "", ""][:2])
        condition = self.constants.get(body.outputs[0].name)
        goes_on = body.outputs[0].name == body.inputs[1].name or (condition is not None and condition.all())
        begins = one.inputs[1:2] in ((), ("",)) or (go is not None and go.all())
        if most is None or most.size != 1 or not goes_on or not begins:
            return False
        turns, count = max(int(most.item()), 0), len(first)
        if (not turns and any(one.outputs[count:])) or not self.fits(body, turns):
            return False
        yes = self.constant(np.array(True), f"{one.name}/go")
        collected: list[list[str]] = [[] for _ in one.outputs[count:]]
        for turn in range(turns):
            number = self.constant(np.array(turn, np.int64), f"{one.name}/turn")
            given = zip((value.name for value in body.inputs), (number, yes, *first))
            names = self.copied(body, dict(given), turn)
            made = [names.get(value.name, value.name) for value in body.outputs]
            first = made[1 : 1 + count]
            for parts, name in zip(collected, made[1 + count :]):
                parts.append(name)
        self.finish(one, first, [(parts, 0) for parts in collected])
        return True

    def scan(self, one: Node) -> bool:
        """Write a Scan; False where the length of what it walks is not known."""
        a, body = one.attributes, one.attributes["body"]
        scanned = a["num_scan_inputs"]
        count = len(one.inputs) - scanned
        first, walked = list(one.inputs[:count]), one.inputs[count:]
        made_count = len(one.outputs) - count
        axes, turned = a["scan_input_axes"] or (0,) * scanned, a["scan_input_directions"] or (0,) * scanned
        out_axes = a["scan_output_axes"] or (0,) * made_count
        out_turned = a["scan_output_directions"] or (0,) * made_count
        kind = self.types.get(walked[0])
        turns = None if kind is None else kind.shape[axes[0]]
        if type(turns) is not int or not turns or not self.fits(body, turns):
            return False
        collected: list[list[str]] = [[] for _ in one.outputs[count:]]
        for turn in range(turns):
            parts = []
            for name, axis, back in zip(walked, axes, turned):
                place = self.constant(np.array(turns - 1 - turn if back else turn, np.int64), f"{one.name}/place")
                parts.append(self.add("Gather", [name, place], f"{name}@{turn}", axis=axis))
            names = self.copied(body, dict(zip((value.name for value in body.inputs), (*first, *parts))), turn)
            made = [names.get(value.name, value.name) for value in body.outputs]
            first = made[:count]
            for found, name in zip(collected, made[count:]):
                found.append(name)
        ends = [(found[::-1] if back else found, axis) for found, axis, back in zip(collected, out_axes, out_turned)]
        self.finish(one, first, ends)
        return True

    def finish(self, one: Node, states: Sequence[str], collected: Sequence[tuple[list[str], int]]) -> None:
        """The outputs of a loop: its last states, and what each turn handed out side by side."""
        count = len(states)
        for name, state in zip(one.outputs[:count], states):
            if name:
                self.nodes.append(node("Identity", [state], name))
        for name, (parts, axis) in zip(one.outputs[count:], collected):
            if name:
                where = self.constant(np.array([axis], np.int64), f"{name}/axis")
                wide = [self.add("Unsqueeze", [part, where], f"{part}/wide") for part in parts]
                self.nodes.append(node("Concat", wide, name, axis=axis))


def _renamed(graph: Graph, names: dict[str, str], fresh: Callable[[str], str]) -> list[Node]:
    """The nodes of a graph under other names, those of graphs inside as well; `names` is extended by what they make."""
    made = []
    for one in graph.nodes:
        attributes = dict(one.attributes)
        for key, inner in one.attributes.items():
            if isinstance(inner, Graph):
                own = {**names, **{value.name: fresh(value.name) for value in inner.inputs}}
                attributes[key] = inner.replace(
                    inputs=tuple(_called(value, own) for value in inner.inputs),
                    nodes=tuple(_renamed(inner, own, fresh)),
                    outputs=tuple(_called(value, own) for value in inner.outputs),
                    types={},
                )
        taken = tuple(names.get(name, name) for name in one.inputs)
        outputs = tuple(names.setdefault(name, fresh(name)) if name else "" for name in one.outputs)
        made.append(Node(one.op, taken, outputs, attributes, one.name, one.refused))
    return made


def _called(value: Value, names: Mapping[str, str]) -> Value:
    return Value(names.get(value.name, value.name), value.dtype, value.shape)
