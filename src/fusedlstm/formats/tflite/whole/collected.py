"""How loops without lists of tensors collect what turns make: a tensor of which each replaces one place."""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph, Operator
from .schema import name_of


@dataclass(frozen=True)
class Collected:
    """What one turn puts into a tensor.

    Parameters
    ----------
    place, item : int
        The tensors that say where, and what.
    leading : bool
        Whether the item has an axis of one for the place.
    """

    place: int
    item: int
    leading: bool


def collected(body: Graph, k: int) -> Collected | None:
    """What happens to a carried tensor, if it is that."""
    start, one = body.ordered_inputs[k], body.producers.get(body.ordered_outputs[k])
    if one is None:
        return None
    kind, users = name_of(one.code), body.consumers.get(start, [])
    if kind == "DYNAMIC_UPDATE_SLICE" and len(one.inputs) == 3 and one.inputs[0] == start and users == [one]:
        place = _first_of(body, one.inputs[2])
        shape = body.shape(one.inputs[1]) if one.inputs[1] >= 0 else ()
        return None if place is None or shape[:1] != (1,) else Collected(place, one.inputs[1], True)
    if kind != "CONCATENATION" or len(one.inputs) != 3 or _axis(one) != 0:
        return None
    before, item, after = one.inputs
    parts = [body.producers.get(index) for index in (before, after)]
    if any(part is None or name_of(part.code) != "SLICE" or part.inputs[:1] != [start] for part in parts):
        return None
    first, last = (part for part in parts if part is not None)
    if {id(user) for user in users} != {id(first), id(last)} or len(first.inputs) != 3 or len(last.inputs) != 3:
        return None
    place, following = _first_of(body, first.inputs[2]), _first_of(body, last.inputs[1])
    if (
        place is None
        or following is None
        or not _is_zero(body, first.inputs[1])
        or not _is_next(body, following, place)
    ):
        return None
    shape = body.shape(item) if item >= 0 else ()
    return Collected(place, item, True) if shape[:1] == (1,) else None


def _axis(one: Operator) -> int:
    return int(one.options.number(0, "i", 0)) if one.options is not None else 0


def _first_of(body: Graph, index: int) -> int | None:
    """The number that a list of them, put together, starts with, where the others are constants."""
    one = body.producers.get(index)
    if one is None or name_of(one.code) not in ("CONCATENATION", "PACK") or not one.inputs:
        return None
    if any(other < 0 or not body.has_data(other) for other in one.inputs[1:]):
        return None
    first = one.inputs[0]
    for _ in range(4):
        view = body.producers.get(first)
        if view is None or name_of(view.code) not in ("RESHAPE", "EXPAND_DIMS") or not view.inputs:
            break
        first = view.inputs[0]
    return first


def _is_zero(body: Graph, index: int) -> bool:
    return index >= 0 and body.has_data(index) and not body.stored(index).any()


def _is_next(body: Graph, index: int, place: int) -> bool:
    """Whether a number is the place and one."""
    one = body.producers.get(index)
    if one is None or name_of(one.code) != "ADD" or len(one.inputs) != 2 or place not in one.inputs:
        return False
    other = one.inputs[1 - one.inputs.index(place)]
    return other >= 0 and body.has_data(other) and body.stored(other).tolist() in (1, [1])
