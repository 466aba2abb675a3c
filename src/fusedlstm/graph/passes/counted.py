"""Loops that go on while they count, as TensorFlow writes them: the count becomes their number of turns.

What a loop carries and never changes is taken from around it, and counters are the number of the turn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..draft import Draft, DraftNode
from ..graph import Graph, Node, captures, node
from ..operators import Array
from ..operators.operator import INT64

_VIEWS = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape")
_MOST = 64  # conditions and sums that are followed
_LARGEST = 1 << 24  # up to which float32 has every whole number
_LESS = {"Less": (0, 1, 1), "Greater": (1, 0, 1), "LessOrEqual": (0, 1, 2), "GreaterOrEqual": (1, 0, 2)}


def rewrite(draft: Draft) -> None:
    """Each Loop."""
    for one in draft.of("Loop"):
        body, count = one.attributes["body"], max(len(one.inputs) - 2, 0)
        if len(body.inputs) >= 2 + count and len(body.outputs) >= 1 + count:
            _Counted(draft, one).rewrite()


def _whole(value: Array) -> int | None:
    """A whole number that float32 has."""
    found = value.item() if value.size == 1 else math.inf
    return int(found) if abs(found) < _LARGEST and found == int(found) else None


class _Counted:
    """A Loop, what it carries, and how long it goes on."""

    def __init__(self, draft: Draft, one: DraftNode) -> None:
        self.draft, self.one, self.body = draft, one, one.attributes["body"]
        known = {name: draft.constants[name] for name in captures(self.body) if name in draft.constants}
        self.inside = Draft(self.body.replace(constants=known))
        self.turn, self.going = (value.name for value in self.body.inputs[:2])
        self.given = {value.name: name for value, name in zip(self.body.inputs[2:], one.inputs[2:])}
        after = [value.name for value in self.body.outputs[1 : 1 + len(self.given)]]
        self.same, self.counters = list[str](), dict[str, int]()
        for own, new in zip(self.given, after):
            start = draft.constant(self.given[own])
            if self.through(new, "Identity") == own:
                self.same.append(own)
            elif start is not None and start.size == 1 and start.dtype.kind == "i" and self.adds_one(new, own):
                self.counters[own] = int(start.item())

    def through(self, name: str, *views: str) -> str:
        one = self.inside.made_by(name, *views)
        while one is not None:
            name = one.inputs[0]
            one = self.inside.made_by(name, *views)
        return name

    def adds_one(self, new: str, own: str) -> bool:
        parts = self.inside.parts(self.inside.made_by(self.through(new, "Identity"), "Add"))
        return parts is not None and parts[0] == own and parts[1].size == 1 and parts[1].item() == 1

    def place(self, name: str) -> int | None:
        """What a number is more than the number of the turn."""
        more = 0
        for _ in range(_MOST):
            name = self.through(name, *_VIEWS)
            if name == self.turn or name in self.counters:
                return more + self.counters.get(name, 0)
            parts = self.inside.parts(self.inside.made_by(name, "Add"))
            added = None if parts is None else _whole(parts[1])
            if parts is None or added is None:
                break
            name, more = parts[0], more + added
        return None

    def bounds(self) -> list[tuple[int | str, int]] | None:
        """Of each condition the number, or its name around the loop, and what has to be added for a number of turns."""
        found, waiting = list[tuple[int | str, int]](), [self.body.outputs[0].name]
        for _ in range(_MOST):
            if not waiting:
                return found
            name = self.through(waiting.pop(), "Identity")
            value, one = self.inside.constant(name), self.inside.made_by(name)
            if name == self.going or (value is not None and value.all()):
                continue
            if one is not None and one.op == "And":
                waiting += one.inputs
                continue
            if one is None or one.op not in _LESS:
                break
            small, large, more = _LESS[one.op]
            place, most = self.place(one.inputs[small]), self.number(one.inputs[large])
            if place is None or most is None:
                break
            found.append((most, more - place))
        return None

    def number(self, name: str) -> int | str | None:
        """A number that stays the same: what it is, or its name around the loop."""
        value = self.inside.constant(name)
        if value is None:
            name = self.through(name, *_VIEWS)
            name = self.given[name] if name in self.same else name
            value = self.draft.constant(name)
        if value is not None:
            return math.ceil(value.item()) if value.size == 1 and abs(value.item()) < _LARGEST else None
        own = {self.turn, self.going, *self.given}
        return None if name in own or name in self.inside.maker else name

    def count(self) -> str | None:
        """The number of turns, if it is known before the first."""
        draft, (most, go) = self.draft, [*self.one.inputs, "", ""][:2]
        bounds = self.bounds()
        if not bounds or (go and not self.starts(go, most)):
            return None
        limit = draft.constant(most) if most else None
        if limit is not None and (limit.size != 1 or limit.dtype.kind != "i"):
            return None
        turns = [] if limit is None else [int(limit.item())]
        named: list[str] = [] if limit is not None or not most else [most]
        for bound, more in bounds:
            if isinstance(bound, int):
                turns.append(max(bound + more, 1))
            elif not most or more < 0 or not self.alike(bound, most):  # else the limit comes first
                named.append(self.counted(bound, more))
        if turns:
            named.append(draft.add_constant(np.array(min(turns), np.int64), self.one.name))
        found = named[0]
        for name in named[1:]:
            found = draft.between("Min", [self.flat(found), self.flat(name)], name)
        return found

    def starts(self, go: str, most: str) -> bool:
        """Whether a loop that may turn at least once does: always, or where 0 is less than what limits it."""
        draft, waiting = self.draft, [go]
        for _ in range(_MOST):
            if not waiting:
                return True
            name = waiting.pop()
            value, one = draft.constant(name), draft.made_by(name, "And", "Less", "Cast", "Identity")
            if value is not None and value.all():
                continue
            if one is None:
                break
            if one.op != "Less":
                waiting += one.inputs
            elif not most or draft.scalar(one.inputs[0]) != 0 or not self.alike(one.inputs[1], most):
                break
        return False

    def alike(self, one: str, other: str) -> bool:
        """Whether two numbers are the same, views aside."""
        roots = []
        for name in (one, other):
            maker = self.draft.made_by(name, *_VIEWS)
            while maker is not None:
                name = maker.inputs[0]
                maker = self.draft.made_by(name, *_VIEWS)
            roots.append(name)
        return roots[0] == roots[1]

    def flat(self, name: str) -> str:
        """A number as int64 without axes."""
        shape = self.draft.add_constant(np.zeros(0, np.int64), name)
        return self.draft.between("Cast", [self.draft.between("Reshape", [name, shape], name)], name, to=INT64)

    def counted(self, bound: str, more: int) -> str:
        """max(bound + more, 1)."""
        added, least = (self.draft.add_constant(np.array(k, np.int64), bound) for k in (more, 1))
        found = self.draft.between("Add", [self.flat(bound), added], bound)
        return self.draft.between("Max", [found, least], bound)

    def rewrite(self) -> None:
        """Put a loop that carries less, and asks less, in its place."""
        draft, one = self.draft, self.one
        outputs = dict(zip(self.given, one.outputs))
        counters = [own for own in self.counters if not outputs.get(own) or not draft.uses(outputs[own])]
        gone = {*self.same, *counters}
        count = self.count()
        if not gone and count is None:
            return
        begin: list[Node] = [node("Identity", [self.given[own]], own) for own in self.same]
        types: dict[str, Any] = self.inside.types
        for own in counters:
            name, dtype, start = draft.fresh(f"{own}.turn"), draft.types[self.given[own]].dtype, self.counters[own]
            begin.append(node("Cast", [self.turn], name if start else own, to=dtype))
            if start:
                begin.append(node("Add", [name, self.given[own]], own))
        body: Graph = self.body
        ends = [value for own, value in zip(self.given, body.outputs[1:]) if own not in gone]
        goes = body.inputs[1] if count is not None else body.outputs[0]
        new = body.replace(
            inputs=tuple(value for value in body.inputs if value.name not in gone),
            nodes=(*begin, *body.nodes),
            outputs=(goes, *ends, *body.outputs[1 + len(self.given) :]),
            types=types,
        )
        for own in self.same:
            if outputs.get(own):
                draft.add("Identity", [self.given[own]], [outputs[own]])
        kept = [name for own, name in self.given.items() if own not in gone]
        made = [name for own, name in outputs.items() if own not in gone] + one.outputs[len(self.given) :]
        most, go = [*one.inputs, "", ""][:2]
        asked = [most, go] if count is None else [count, ""]
        draft.add("Loop", [*asked, *kept], made, one.name, body=new)
        draft.remove(one)
