"""Two directions of one layer become one LSTM, and layers on top of each other a stack."""

from __future__ import annotations

import numpy as np

from ...weights import LSTMWeights
from ..draft import Draft, DraftNode


def rewrite(draft: Draft) -> None:
    """Pairs first, then stacks."""
    for one in draft.of("Concat"):
        _pair(draft, one)
    for one in draft.of("fusedlstm.LSTM"):
        while (made := _stack(draft, one)) is not None:
            one = made


def _simple(weights: LSTMWeights) -> bool:
    return not (
        weights.flip_output
        or any(weights.residual or ())
        or weights.initial_state is not None
        or weights.padding != "zero"
        or weights.merge != "concat"
    )


def _inputs(one: DraftNode) -> list[str]:
    return [*one.inputs, "", "", ""][:4]


def _pair(draft: Draft, joined: DraftNode) -> None:
    """Forward and backward over the same input, side by side along the features."""
    both = [made for name in joined.inputs if (made := draft.made_by(name, "fusedlstm.LSTM")) is not None]
    if len(joined.inputs) != 2 or len(both) != 2 or both[0] is both[1]:
        return
    one, other = both
    a, b = one.attributes["weights"], other.attributes["weights"]
    if not (_simple(a) and _simple(b)) or a.num_layers != 1 or b.num_layers != 1 or a.bidirectional or b.bidirectional:
        return
    if a.reverse or not b.reverse or joined.attributes["axis"] not in (2, -1):
        return
    if (one.outputs[0], other.outputs[0]) != tuple(joined.inputs):
        return
    first, second = _inputs(one), _inputs(other)
    same = ("x_batch_first", "y_batch_first")
    if first[0] != second[0] or first[3] != second[3] or any(one.attributes[k] != other.attributes[k] for k in same):
        return
    if any(bool(x) != bool(y) for x, y in zip(first[1:3], second[1:3])):
        return
    if draft.uses(joined.inputs[0]) > 1 or draft.uses(joined.inputs[1]) > 1:
        return
    try:
        weights = LSTMWeights([[a.layers[0][0], b.layers[0][0]]])
    except ValueError:  # of two sizes
        return
    states = [
        draft.between("Concat", [x, y], joined.output, axis=0) if x else "" for x, y in zip(first[1:3], second[1:3])
    ]
    outputs = [joined.output]
    halves = []
    for k in (1, 2):
        ends = [[*node.outputs, "", ""][k] for node in both]
        outputs.append(draft.fresh(joined.output) if any(ends) else "")
        if any(ends):
            draft.types[outputs[-1]] = draft.types[joined.output]  # taken; set right below
            halves.append((outputs[-1], ends))
    draft.add(one.op, [first[0], *states, first[3]], outputs, one.name, **{**one.attributes, "weights": weights})
    for name, ends in halves:
        _cut(draft, name, ends, [1, 1])
    draft.remove(joined)
    draft.remove(one)
    draft.remove(other)


def _cut(draft: Draft, name: str, ends: list[str], rows: list[int]) -> None:
    """Give the rows of a state under the names that they had."""
    at = 0
    for end, count in zip(ends, rows):
        if end:
            limits = [draft.add_constant(np.array([value], np.int64), end) for value in (at, at + count, 0)]
            draft.add("Slice", [name, *limits], [end])
        at += count


def _rows_of(draft: Draft, first: str, second: str) -> str | None:
    """The tensor whose rows are these two, one after the other."""
    both = [made for name in (first, second) if name and (made := draft.made_by(name, "Slice")) is not None]
    if len(both) < 2 or both[0].inputs[0] != both[1].inputs[0]:
        return None
    source, at = both[0].inputs[0], 0
    shape = draft.shape(source)
    if shape is None:
        return None
    for one in both:
        starts, ends, axes = (draft.ints(one, k) for k in (1, 2, 3))
        if starts != (at,) or ends is None or len(ends) != 1 or (axes or (0,)) != (0,):
            return None
        at = min(ends[0], shape[0]) if type(shape[0]) is int else -1
    return source if at == shape[0] else None


def _stack(draft: Draft, one: DraftNode) -> DraftNode | None:
    """A layer and the one that takes all of its output."""
    y = one.outputs[0] if one.alive else ""
    after = draft.taken_by(y, "fusedlstm.LSTM") if y else None
    if after is None or after.inputs[0] != y:
        return None
    a, b = one.attributes["weights"], after.attributes["weights"]
    if not (_simple(a) and _simple(b)) or a.bidirectional != b.bidirectional or a.reverse != b.reverse:
        return None
    if (a.dtype, a.products) != (b.dtype, b.products) or one.attributes["y_batch_first"] != after.attributes[
        "x_batch_first"
    ]:
        return None
    first, second = _inputs(one), _inputs(after)
    if first[3] != second[3] or any(bool(x) != bool(z) for x, z in zip(first[1:3], second[1:3])):
        return None
    weights = LSTMWeights([*a.layers, *b.layers], reverse=a.reverse, dtype=a.dtype, products=a.products)
    if not weights.equal_layers:
        return None
    steps = draft.types[y].shape[1 if one.attributes["y_batch_first"] else 0] if y in draft.types else None
    apart = any(any([*node.outputs, "", ""][1:3]) for node in (one, after)) or any(first[1:3])
    if steps == 1 and apart and _rows_of(draft, first[1], second[1]) is None:
        return None  # nothing is won by it, and states would have to be put together
    states = [
        (_rows_of(draft, x, z) or draft.between("Concat", [x, z], y, axis=0)) if x else ""
        for x, z in zip(first[1:3], second[1:3])
    ]
    outputs, halves = [after.outputs[0]], []
    directions = 2 if a.bidirectional else 1
    rows = [a.num_layers * directions, b.num_layers * directions]
    for k in (1, 2):
        ends = [[*node.outputs, "", ""][k] for node in (one, after)]
        outputs.append(draft.fresh(f"{y}.{'hc'[k - 1]}") if any(ends) else "")
        if any(ends):
            halves.append((outputs[-1], ends))
    how = {
        "weights": weights,
        "x_batch_first": one.attributes["x_batch_first"],
        "y_batch_first": after.attributes["y_batch_first"],
    }
    made = draft.add(one.op, [first[0], *states, first[3]], outputs, one.name, **how)
    for name, ends in halves:
        _cut(draft, name, ends, rows)
    draft.remove(after)
    draft.remove(one)
    return made
