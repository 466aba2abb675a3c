"""Loops over masked sequences, as Keras writes them, become layers over the valid steps, which come first in each row.

Where a step is masked, states stay as they are, and what comes out repeats what came before, or is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..draft import Draft, DraftNode
from ..graph import Graph, Value, prune
from ..operators.operator import BOOL, FLOAT32, INT32, INT64, TensorType
from .bodies import through
from .loops import finish, known, recognised, states_of
from .recurrent import is_zero


def rewrite(draft: Draft) -> None:
    """Each Loop."""
    for one in draft.of("Loop"):
        found = _plain(draft, one) if len(one.inputs) > 2 else None
        if found is not None:
            _replace(draft, one, found)


@dataclass
class _Plain:
    """A Loop without its mask.

    Parameters
    ----------
    body : Graph
        What a valid step does.
    mask : str
        The valid steps (time, batch), or with an axis of one behind.
    kept : list of int
        The states that a step needs; of another one, which repeats what came out, `same` says what it is.
    same : dict
        Of each of those the place in `kept` of the state that it becomes.
    zero : list of bool
        Of what is handed out at each step, whether it is zero where that is masked.
    """

    body: Graph
    mask: str
    kept: list[int]
    same: dict[int, int]
    zero: list[bool]


def _plain(draft: Draft, one: DraftNode) -> _Plain | None:
    body, count = one.attributes["body"], len(one.inputs) - 2
    inside = Draft(body.replace(constants=known(draft, body)))
    chosen = [inside.made_by(through(inside, value.name), "Where") for value in body.outputs[1:]]
    own, wheres = [value.name for value in body.inputs[2:]], [where for where in chosen if where is not None]
    if len(wheres) < len(chosen) or len({through(inside, where.inputs[0]) for where in wheres}) != 1:
        return None
    old = [through(inside, where.inputs[2]) for where in wheres]
    new = [through(inside, where.inputs[1]) for where in wheres]
    pick = inside.made_by(through(inside, wheres[0].inputs[0]), "Gather")
    if old[:count] != own or pick is None or pick.attributes["axis"] != 0 or pick.inputs[0] in {*inside.maker, *own}:
        return None
    if through(inside, pick.inputs[1]) != body.inputs[0].name:
        return None
    kept = [k for k in range(count) if not set(inside.users.get(own[k], ())) <= set(wheres)]
    same = {k: next((j for j, at in enumerate(kept) if new[at] == new[k]), -1) for k in range(count) if k not in kept}
    zero = [name not in own and is_zero(inside if name in inside.maker else draft, name) for name in old[count:]]
    repeated = [own.index(name) if name in own else -1 for name, none in zip(old[count:], zero) if not none]
    first = [one.inputs[2 + k] for k in (*same, *repeated, *(kept[j] for j in same.values()))]
    if -1 in same.values() or -1 in repeated or not all(is_zero(draft, name) for name in first):
        return None  # what comes out before the first valid step is zero
    if any(name in own and new[own.index(name)] != new[count + j] for j, name in enumerate(old[count:])):
        return None
    if not all(_by_rows(inside, where) for where in wheres):
        return None
    outputs = [body.outputs[0].name, *(wheres[k].inputs[1] for k in (*kept, *range(count, len(wheres))))]
    used = set(outputs)
    nodes = prune(body.nodes, used)
    inputs = (*body.inputs[:2], *(body.inputs[2 + k] for k in kept))
    made = body.replace(inputs=inputs, outputs=tuple(map(Value, outputs)), nodes=tuple(nodes), types=inside.types)
    return _Plain(made, pick.inputs[0], kept, same, zero)


def _by_rows(inside: Draft, where: DraftNode) -> bool:
    """Whether whole rows are chosen, of a tensor as it is."""
    kind, condition = inside.types.get(where.output), inside.shape(where.inputs[0])
    return kind is not None and inside.types.get(where.inputs[1]) == kind and condition == (*kind.shape[:-1], 1)


def _replace(draft: Draft, one: DraftNode, plain: _Plain) -> None:
    given, count = [*one.inputs[:2], *(one.inputs[2 + k] for k in plain.kept)], len(one.inputs) - 2
    found, shape = recognised(draft, given, plain.body), draft.shape(plain.mask)
    if found is None or shape is None or shape[2:] not in ((), (1,)) or draft.types[plain.mask].dtype != BOOL:
        return
    body, x, axis = found
    steps = draft.types[x]
    states = states_of(draft, given[2:], body) if axis == 0 and steps.shape[:2] == shape[:2] else None
    if states is None:
        return
    base = next(filter(None, one.outputs))
    axes = draft.add_constant(np.array([2], np.int64), base)
    flat = draft.between("Squeeze", [plain.mask, axes], base) if len(shape) == 3 else plain.mask
    valid = draft.between("Cast", [draft.between("Transpose", [flat], base, perm=(1, 0))], base, to=INT64)
    behind = draft.add_constant(np.array([1], np.int64), base)
    lengths = draft.between("ReduceSum", [valid, behind], base, keepdims=0)
    lengths = draft.between("Cast", [lengths], base, to=INT32)
    order = draft.fresh(f"{base}.order")
    many = draft.between("Shape", [valid], base, start=1, end=2)
    draft.add("TopK", [draft.between("Cast", [valid], base, to=FLOAT32), many], ["", order], axis=1)
    draft.types[order] = TensorType(draft.types[valid].shape, INT64)

    def picked(name: str, places: str) -> str:
        places = draft.between("Unsqueeze", [places, axes], base)
        return draft.between("GatherND", [name, places], base, batch_dims=1)

    front = picked(draft.between("Transpose", [x], base, perm=(1, 0, 2)), order)
    lasts = [draft.fresh(f"{base}.last{k}") for k in plain.kept]
    each = [draft.fresh(f"{base}.each{k}") if name else "" for k, name in enumerate(one.outputs[count:])]
    loop = draft.add("Loop", given, [*lasts, *each], one.name, body=plain.body)
    old = list(one.outputs)
    draft.remove(one)
    finish(draft, loop, body, front, 1, False, states, [0] * len(each), [0] * len(each), lengths)
    ends = {**dict(zip(plain.kept, lasts)), **{k: lasts[j] for k, j in plain.same.items()}}
    for k, name in enumerate(old[:count]):
        if name:
            draft.add("Identity", [ends[k]], [name])
    place = draft.between("CumSum", [valid, draft.add_constant(np.array(1, np.int64), base)], base)
    pads = draft.add_constant(np.array([0, 1, 0, 0, 0, 0], np.int64), base)
    for made, name, zero in zip(each, old[count:], plain.zero):
        if name:
            padded = draft.between("Pad", [draft.between("Transpose", [made], base, perm=(1, 0, 2)), pads], base)
            back = picked(padded, draft.between("Mul", [place, valid], base) if zero else place)
            draft.add("Transpose", [back], [name], perm=(1, 0, 2))
