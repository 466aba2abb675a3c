"""How often a loop runs: its condition is one comparison of a counter with a number, or several joined by "and"."""

from __future__ import annotations

import math

import numpy as np

from ....errors import FormatError
from ..graph import Graph
from .call import INT64
from .carried import Loop
from .schema import name_of


def turns_of(loop: Loop, condition: Graph) -> int | str:
    """The number of turns, or the tensor that says it."""
    known: list[int] = []
    open_: list[str] = []
    waiting = [condition.ordered_outputs[0]]
    for _ in range(32):
        if not waiting:
            break
        one = condition.producers.get(waiting.pop())
        kind = "" if one is None else name_of(one.code)
        if one is None or len(one.inputs) != 2 or kind not in ("LOGICAL_AND", "LESS", "GREATER"):
            raise FormatError(f"expected a loop that counts up to a number, found {kind or 'no comparison'}")
        if kind == "LOGICAL_AND":
            waiting += one.inputs
            continue
        counts, limit = one.inputs if kind == "LESS" else one.inputs[::-1]
        found = _limit(loop, condition, counts, limit)
        if isinstance(found, int):
            known.append(found)
        elif found not in open_:
            open_.append(found)
    if waiting or not (known or open_):
        raise FormatError("expected a loop that counts up to a number, found a longer condition")
    if not open_:
        return max(min(known), 0)
    call = loop.call
    names = [call.op("Cast", name, to=INT64) for name in open_]
    # A bound that is no number of steps (-1 or the largest integer) is none.
    names += [call.constant(np.array(one, np.int64)) for one in known if 0 <= one < (1 << 31) - 1]
    names = [call.reshape(name) if call.shape(name) != () else name for name in names]
    return names[0] if len(names) == 1 else call.op("Min", *names)


def _limit(loop: Loop, condition: Graph, counts: int, limit: int) -> int | str:
    """The turns until a counter reaches a limit."""
    places = {index: k for k, index in enumerate(condition.ordered_inputs)}
    counter = loop.counters.get(places.get(counts, -1))
    if counter is None:
        raise FormatError("expected a loop that counts from a constant by one, found another")
    k, value = places.get(limit), None
    if k is not None:
        if k not in loop.same:
            raise FormatError("expected a loop that counts up to a number, found one that changes")
        value = loop.call.value(k)
    elif limit >= 0 and condition.has_data(limit):
        value = condition.stored(limit)
    else:
        raise FormatError("expected a loop that counts up to a number, found one that is computed each time")
    if value is not None:
        if value.size != 1 or value.dtype.kind not in "iu":
            raise FormatError(f"expected a loop that counts up to a number, found {value.dtype} {value.shape}")
        return math.ceil((int(value.reshape(-1)[0]) - counter.first) / counter.step)
    if (counter.first, counter.step) != (0, 1):
        raise FormatError("expected a loop that counts from 0 by 1, found another")
    return loop.call.input(k if k is not None else 0)
