"""Nodes that change nothing, and moves of data that undo each other."""

from __future__ import annotations

import numpy as np

from ..draft import Draft, DraftNode
from ..operators.operator import axes_of, axis_of
from ..operators.slices import FAR, places_of

_RESHAPES = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")
_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1, "Pow": 1}


def rewrite(draft: Draft) -> None:
    """Forward what goes through unchanged."""
    for one in draft:
        if one.op in _DIRECT and not any(one.outputs[1:]):
            _forward(draft, one)
            continue
        rule = _RULES.get(one.op)
        if rule is not None and rule(draft, one):
            _forward(draft, one)


def _forward(draft: Draft, one: DraftNode) -> None:
    if one.alive and not (len(one.inputs) > 1 and one.inputs[0] in draft.constants):
        draft.forward(one.output, one.inputs[0])


def _same(draft: Draft, one: DraftNode) -> bool:
    """Whether the shape stays as it is."""
    before, after = draft.types.get(one.inputs[0]), draft.types.get(one.output)
    return before is not None and before == after


def _cast(draft: Draft, one: DraftNode) -> bool:
    return _same(draft, one)


def _is_reshape(draft: Draft, one: DraftNode) -> bool:
    """Whether the elements stay in their order."""
    if one.op in _RESHAPES:
        return True
    shape = draft.shape(one.inputs[0]) if one.op == "Transpose" else None
    if shape is None:
        return False
    order = one.attributes["perm"] or range(len(shape))[::-1]
    return [axis for axis in order if shape[axis] != 1] == [axis for axis in range(len(shape)) if shape[axis] != 1]


def _reshape(draft: Draft, one: DraftNode) -> bool:
    """A reshape to the same shape, or one after others that ends where they began."""
    if one.op == "Transpose" and not _is_reshape(draft, one):
        return False
    if _same(draft, one):
        return True
    source, wanted = one, draft.types.get(one.output)
    while (before := draft.made_by(source.inputs[0])) is not None and _is_reshape(draft, before):
        source = before
        if wanted is not None and draft.types.get(source.inputs[0]) == wanted:
            draft.forward(one.output, source.inputs[0])
            return False
    if source is not one and one.op == "Reshape":
        sizes = draft.ints(one, 1)
        if sizes is not None and 0 not in sizes:
            draft.rewire(one, 0, source.inputs[0])
    return False


def _transpose(draft: Draft, one: DraftNode) -> bool:
    order = one.attributes["perm"]
    if order is not None and list(order) == sorted(order):
        return True
    before = draft.made_by(one.inputs[0], "Transpose")
    if before is not None and order is not None and before.attributes["perm"] is not None:
        both = tuple(before.attributes["perm"][axis] for axis in order)
        if both == tuple(range(len(both))):
            draft.forward(one.output, before.inputs[0])
        else:
            _replace(draft, one, "Transpose", before.inputs[:1], perm=both)
        return False
    return _reshape(draft, one)


def _replace(draft: Draft, one: DraftNode, op: str, inputs: list[str], **attributes: object) -> None:
    """Another node in the place of one with one output."""
    draft.add(op, inputs, [one.output], one.name, **attributes)
    draft.remove(one)


def _slice(draft: Draft, one: DraftNode) -> bool:
    """A slice that takes everything; of several axes those of which it takes all are dropped."""
    steps, single = draft.ints(one, 4), len(one.inputs) < 5
    if _same(draft, one):
        return (steps is None and single) or (steps is not None and all(step == 1 for step in steps))
    before, after = draft.shape(one.inputs[0]), draft.shape(one.output)
    given = [draft.ints(one, k) for k in (1, 2, 3)]
    starts, ends, axes = given
    if before is None or after is None or starts is None or ends is None or axes is None or len(axes) < 2:
        return False
    steps = (1,) * len(axes) if single else steps
    if steps is None or len(steps) != len(axes):
        return False
    cut = [k for k, axis in enumerate(axes_of(axes, len(before))) if steps[k] != 1 or before[axis] != after[axis]]
    if cut and len(cut) < len(axes):
        limits = [np.array([values[k] for k in cut], np.int64) for values in (starts, ends, axes, steps)]
        _replace(draft, one, "Slice", [one.inputs[0], *(draft.add_constant(value, one.output) for value in limits)])
    return False


def _pad(draft: Draft, one: DraftNode) -> bool:
    pads = draft.constant(one.inputs[1])
    return pads is not None and not pads.any()


def _single(draft: Draft, one: DraftNode) -> bool:
    return len(one.inputs) == 1


def _sum(draft: Draft, one: DraftNode) -> bool:
    if len(one.inputs) == 2:
        _replace(draft, one, "Add", one.inputs)
        return False
    return len(one.inputs) == 1


def _split(draft: Draft, one: DraftNode) -> bool:
    return len(one.outputs) == 1


def _neutral(draft: Draft, one: DraftNode) -> bool:
    """x + 0, x - 0, x * 1, x / 1, x ** 1; whole numbers times 0. What one number fills beside x is that number."""
    for at in (0, 1):
        filled, kind = draft.made_by(one.inputs[at], "ConstantOfShape"), draft.types.get(one.inputs[1 - at])
        if filled is not None and kind is not None and kind == draft.types.get(one.output):
            fill = filled.attributes["value"]
            number = np.zeros((), np.float32) if fill is None else fill.reshape(())
            if one.op != "Mul" or number:  # states of zeros are told by their shape
                draft.rewire(one, at, draft.add_constant(number, one.output))
    places = (1, 0) if one.op in ("Add", "Mul") else (1,)
    for at in places:
        value, other = draft.constant(one.inputs[at]), one.inputs[1 - at]
        kind = draft.types.get(other)
        if value is None or kind is None or kind != draft.types.get(one.output):
            continue
        if (value == _NEUTRAL[one.op]).all():
            draft.forward(one.output, other)
            return False
        shape = draft.concrete(other)
        if one.op == "Mul" and kind.dtype.kind in "iu" and shape is not None and not value.any():
            draft.forward(one.output, draft.add_constant(np.zeros(shape, kind.dtype), one.output))
            return False
    return False


def _concat(draft: Draft, one: DraftNode) -> bool:
    """One part, or all parts of a tensor in their order."""
    if len(one.inputs) == 1:
        return True
    split = draft.made_by(one.inputs[0], "Split")
    if (
        split is not None
        and list(split.outputs) == list(one.inputs)
        and (shape := draft.shape(one.output)) is not None
        and axes_of([split.attributes["axis"]], len(shape)) == axes_of([one.attributes["axis"]], len(shape))
    ):
        draft.forward(one.output, split.inputs[0])
    elif (whole := _stacked(draft, one)) is not None:
        draft.forward(one.output, whole)
    return False


def _stacked(draft: Draft, one: DraftNode) -> str | None:
    """The tensor whose places along an axis are put together again, each taken out before."""
    shape = draft.shape(one.output)
    if shape is None:
        return None
    axis = axis_of(one.attributes["axis"], len(shape))
    first = place_of(draft, one.inputs[0], axis)
    kind = draft.types.get(first[0]) if first is not None else None
    if first is None or kind is None or len(kind.shape) != len(shape):
        return None
    source, at, start = first
    for k, name in enumerate(one.inputs):
        if place_of(draft, name, axis) != (source, at, start + k):
            return None
    count, size = len(one.inputs), kind.shape[at]
    if type(size) is not int or start < 0 or start + count > size:
        return None
    if count < size:
        limits = [draft.add_constant(np.array([k], np.int64), one.output) for k in (start, start + count, at)]
        source = draft.between("Slice", [source, *limits], one.output)
    if at == axis:
        return source
    order = [k for k in range(len(shape)) if k != at]
    order.insert(axis, at)
    return draft.between("Transpose", [source], one.output, perm=tuple(order))


def place_of(draft: Draft, name: str, axis: int) -> tuple[str, int, int] | None:
    """Of one place along `axis` of a new tensor: where it was taken, as a tensor, its axis and the place there."""
    one = draft.made_by(name, "Unsqueeze", "Slice")
    if one is None:
        return None
    if one.op == "Slice":
        found = picked(draft, one)
        return None if found is None or found[0] != axis or found[2] else (one.inputs[0], *found[:2])
    inner, shape = draft.made_by(one.inputs[0], "Gather"), draft.shape(name)
    axes = draft.ints(one, 1)
    if inner is None or shape is None or axes is None or axes_of(axes, len(shape)) != (axis,):
        return None
    found = picked(draft, inner)
    return (inner.inputs[0], *found[:2]) if found is not None and found[2] else None


def picked(draft: Draft, one: DraftNode) -> tuple[int, int, int] | None:
    """Axis, place (counted from the end if negative) and whether the axis goes, of a node that takes one place."""
    shape = draft.shape(one.inputs[0])
    if shape is None:
        return None
    if one.op == "Gather":
        index = draft.constant(one.inputs[1])
        if index is None or index.size != 1 or index.ndim > 1:
            return None
        return axis_of(one.attributes["axis"], len(shape)), int(index.reshape(()).item()), int(index.ndim == 0)
    if one.op != "Slice":
        return None
    starts, ends, axes, steps = (draft.ints(one, k) for k in range(1, 5))
    if starts is None or ends is None or len(starts) != 1 or (len(one.inputs) > 3 and axes is None):
        return None
    if len(one.inputs) > 4 and one.inputs[4] and steps not in ((1,), (-1,)):
        return None
    axis = axis_of((axes or (0,))[0], len(shape))
    size, (start,), (end,) = shape[axis], starts, ends
    if type(size) is int:
        chosen = places_of(size, start, end, (steps or (1,))[0])
        return (axis, chosen[0], 0) if len(chosen) == 1 else None
    if (steps or (1,)) == (1,) and ((start == -1 and end >= FAR) or (start == 0 and end == 1)):
        return axis, start, 0
    return None


def _unsqueeze(draft: Draft, one: DraftNode) -> bool:
    """A place that is taken out and gets its axis back: a slice. A pad goes behind."""
    axes, shape = draft.ints(one, 1), draft.shape(one.output)
    before = draft.made_by(one.inputs[0], "Gather", "Pad")
    if axes is None or shape is None or before is None or draft.uses(before.output) > 1:
        return _reshape(draft, one)
    if before.op == "Pad":
        _pad_behind(draft, one, before, axes_of(axes, len(shape)), len(shape))
        return False
    found = picked(draft, before)
    if found is None or not found[2] or axes_of(axes, len(shape)) != found[:1] or found[1] < 0:
        return _reshape(draft, one)
    limits = [draft.add_constant(np.array([k], np.int64), one.output) for k in (found[1], found[1] + 1, found[0])]
    _replace(draft, one, "Slice", [before.inputs[0], *limits])
    return False


def _pad_behind(draft: Draft, one: DraftNode, before: DraftNode, axes: tuple[int, ...], rank: int) -> None:
    pads = draft.ints(before, 1)
    if pads is None or len(before.inputs) > 3 or len(pads) != 2 * (rank - len(axes)):
        return
    rest = [axis for axis in range(rank) if axis not in axes]
    wide = np.zeros((2, rank), np.int64)
    wide[:, rest] = np.reshape(pads, (2, -1))
    inside = draft.between("Unsqueeze", [before.inputs[0], one.inputs[1]], one.inputs[0], one.name)
    widened = draft.add_constant(wide.reshape(-1), one.output)
    _replace(draft, one, "Pad", [inside, widened, *before.inputs[2:]], mode=before.attributes["mode"])


_DIRECT = ("Identity", "Dropout")
_RULES = {
    "Cast": _cast,
    "Expand": _same,
    "Tile": _same,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _unsqueeze,
    "Flatten": _reshape,
    "Transpose": _transpose,
    "Slice": _slice,
    "Pad": _pad,
    "Concat": _concat,
    "Split": _split,
    "Max": _single,
    "Min": _single,
    "Mean": _single,
    "Sum": _sum,
    **dict.fromkeys(_NEUTRAL, _neutral),
}
