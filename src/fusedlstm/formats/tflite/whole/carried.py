"""What a loop carries from turn to turn: counters, what stays the same, what is collected, and states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....graph.operators import Array
from ..graph import Graph
from .call import Call
from .collected import Collected, collected
from .schema import name_of

VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


@dataclass
class Counter:
    """A whole number that grows by the same in each turn."""

    first: int
    step: int
    kind: np.dtype[Any]


@dataclass
class Loop:
    """One loop while it is read, its carried tensors by their place."""

    call: Call
    body: Graph
    counters: dict[int, Counter] = field(default_factory=dict)
    same: set[int] = field(default_factory=set)
    states: list[int] = field(default_factory=list)
    gathered: dict[int, Collected] = field(default_factory=dict)
    lists: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many tensors are carried."""
        return len(self.call.operator.inputs)

    def classify(self) -> None:
        """What each carried tensor is."""
        body, outside = self.body, self.call.scope
        for k in range(self.count):
            start, end = body.ordered_inputs[k], body.ordered_outputs[k]
            if start == end:
                self.same.add(k)
            elif self.call.operator.inputs[k] in outside.things:
                self.lists.append(k)
            elif (counter := self.counter_of(k)) is not None:
                self.counters[k] = counter
            else:
                found = collected(body, k)
                if found is not None:
                    self.gathered[k] = found
                else:
                    self.states.append(k)

    def counter_of(self, k: int) -> Counter | None:
        """A whole number that grows by the same in each turn."""
        body, first = self.body, self.call.value(k)
        start, one = body.ordered_inputs[k], body.producers.get(body.ordered_outputs[k])
        if first is None or first.size != 1 or first.dtype.kind != "i" or one is None or name_of(one.code) != "ADD":
            return None
        others = [index for index in one.inputs if index != start]
        step = self._known(others[0]) if len(one.inputs) == 2 and len(others) == 1 else None
        if step is None or step.dtype.kind != "i" or step.size != 1 or step.item() < 1:
            return None
        return Counter(int(first.reshape(-1)[0]), int(step.item()), first.dtype)

    def _known(self, index: int) -> Array | None:
        """What a tensor of a turn is in each: stored there, or carried through as it is."""
        body = self.body
        if index >= 0 and body.has_data(index):
            return body.stored(index)
        places = [k for k, start in enumerate(body.ordered_inputs) if start == index == body.ordered_outputs[k]]
        return self.call.value(places[0]) if places else None

    def last_of(self, index: int) -> tuple[int, int] | None:
        """Of what a turn makes the state whose new value it is, views aside."""
        ends = {self.body.ordered_outputs[k]: k for k in self.states if not self.is_unread(k)}
        shown = index
        for _ in range(8):
            if index in ends:
                return ends[index], shown
            one = self.body.producers.get(index)
            if one is None or name_of(one.code) not in VIEWS or not one.inputs:
                return None
            index = one.inputs[0]
        return None

    def is_unread(self, k: int) -> bool:
        """Whether a turn does not look at a state: its last value is all that matters."""
        start = self.body.ordered_inputs[k]
        return start not in self.body.consumers and start not in self.body.outputs
