"""Moves of data around an LSTM: batch first or time first, the last step alone, sequences turned round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...weights import DirectionWeights, LSTMWeights
from ..draft import Draft, DraftNode
from ..operators.operator import axis_of
from ..operators.slices import FAR
from .identities import picked


def rewrite(draft: Draft) -> None:
    """Each LSTM."""
    for one in draft.of("fusedlstm.LSTM"):
        made = one
        for rule in (_product_ahead, _input_layout, _output_layout, _last_step, _reversed):
            made = rule(draft, made) or made


def again(
    draft: Draft, one: DraftNode, inputs: list[str] | None = None, outputs: list[str] | None = None, **changes: object
) -> DraftNode:
    """The same LSTM with other inputs, outputs or attributes."""
    made = draft.add(
        one.op, inputs or one.inputs, outputs or list(one.outputs), one.name, **{**one.attributes, **changes}
    )
    draft.remove(one)
    return made


def _product_ahead(draft: Draft, one: DraftNode) -> DraftNode | None:
    """Input weights that only pick columns of a product made for the whole sequence: the product is the LSTM's own."""
    weights: LSTMWeights = one.attributes["weights"]
    if weights.bidirectional or weights.num_layers > 1 or weights.residual:
        return None
    layer, x, shift = weights.layers[0][0], one.inputs[0], None
    own = layer.weight_ih.astype(np.float64)
    if own.shape[0] != own.shape[1] or np.count_nonzero(own) != len(own) or draft.uses(x) > 1:
        return None
    before = draft.made_by(x, "MatMul", "fusedlstm.Dense", "Add")
    if before is not None and before.op == "Add":
        parts = draft.parts(before)
        if parts is None or parts[1].size != len(own) or draft.uses(parts[0]) > 1:
            return None
        shift, before = parts[1].reshape(-1), draft.made_by(parts[0], "MatMul", "fusedlstm.Dense")
    matrix = draft.constant(before.inputs[1]) if before is not None else None
    if before is None or matrix is None or matrix.ndim != 2 or before.attributes.get("activation") is not None:
        return None
    more = draft.constant(before.inputs[2]) if len(before.inputs) > 2 else None
    bias = np.zeros(len(own)) if layer.bias is None else layer.bias.astype(np.float64)
    for value in (shift, more):
        if value is not None:
            bias = bias + own @ value.astype(np.float64)
    rest = {name: value for name, value in layer.arrays.items() if name not in ("weight_ih", "bias")}
    joined = DirectionWeights(
        (own @ matrix.astype(np.float64).T).astype(np.float32), bias=bias.astype(np.float32), cell=layer.cell, **rest
    )
    return again(draft, one, [before.inputs[0], *one.inputs[1:]], weights=replace(weights, layers=[[joined]]))


def _input_layout(draft: Draft, one: DraftNode) -> DraftNode | None:
    before = draft.made_by(one.inputs[0], "Transpose")
    if before is None or before.attributes["perm"] != (1, 0, 2):
        return None
    return again(draft, one, [before.inputs[0], *one.inputs[1:]], x_batch_first=1 - one.attributes["x_batch_first"])


def _output_layout(draft: Draft, one: DraftNode) -> DraftNode | None:
    y = one.outputs[0] if one.outputs else ""
    after = draft.users.get(y, ()) if y else ()
    if (
        not after
        or y in draft.outputs
        or any(user.op != "Transpose" or user.attributes["perm"] != (1, 0, 2) for user in after)
    ):
        return None
    turned = [user.output for user in after]
    made = again(
        draft, one, outputs=[draft.fresh(y), *one.outputs[1:]], y_batch_first=1 - one.attributes["y_batch_first"]
    )
    for name in turned:
        draft.forward(name, made.outputs[0])
    return made


def _last_step(draft: Draft, one: DraftNode) -> DraftNode | None:
    """What is taken of y at its last step is the last hidden state."""
    weights: LSTMWeights = one.attributes["weights"]
    y = one.outputs[0] if one.outputs else ""
    lengths = len(one.inputs) > 3 and one.inputs[3]
    if not y or weights.bidirectional or lengths or weights.flip_output or any(weights.residual or ()):
        return None
    kind = draft.types.get(y)
    if kind is None:
        return None
    time = 1 if one.attributes["y_batch_first"] else 0
    last = 0 if weights.reverse else -1
    steps = kind.shape[time]
    hits = []
    for user in list(draft.users.get(y, ())):
        found = picked(draft, user)
        if found is None or found[0] != time:
            continue
        index = found[1]
        if index == last or (type(steps) is int and index % steps == last % steps):
            hits.append((user, found[2]))
    if len(hits) < draft.uses(y) or not hits:  # where all of y is needed, its last step is there as well
        return None
    outputs = [*one.outputs, "", "", ""][:3]
    outputs[1] = outputs[1] or draft.fresh(y)
    made = again(draft, one, outputs=outputs)
    h = made.outputs[1]
    if weights.num_layers > 1:
        at = draft.add_constant(np.array([weights.num_layers - 1], np.int64), h)
        end = draft.add_constant(np.array([weights.num_layers], np.int64), h)
        zero = draft.add_constant(np.array([0], np.int64), h)
        h = draft.between("Slice", [h, at, end, zero], h)
    for user, gone in hits:
        if gone:
            axes = draft.add_constant(np.array([0], np.int64), h)
            draft.add("Squeeze", [h, axes], [user.output], user.name)
        elif time == 0:
            draft.add("Identity", [h], [user.output], user.name)
        else:
            draft.add("Transpose", [h], [user.output], user.name, perm=(1, 0, 2))
        draft.remove(user)
    return made


def turned(draft: Draft, name: str) -> tuple[str, int] | None:
    """Of a tensor that is another one backwards along an axis, that one and the axis."""
    one = draft.made_by(name, "Slice")
    shape = draft.shape(name)
    if one is None or shape is None or len(one.inputs) < 5 or draft.ints(one, 4) != (-1,):
        return None
    starts, ends, axes = (draft.ints(one, k) for k in (1, 2, 3))
    if starts is None or ends is None or len(starts) != 1:
        return None
    axis = axis_of((axes or (0,))[0], len(shape))
    size = draft.types[one.inputs[0]].shape[axis]
    whole = starts[0] == -1 or starts[0] >= FAR or (type(size) is int and starts[0] >= size - 1)
    through = ends[0] < -FAR or (type(size) is int and ends[0] < -size)
    return (one.inputs[0], axis) if whole and through else None


def _reversed(draft: Draft, one: DraftNode) -> DraftNode | None:
    """A sequence turned round, and its output turned back: one that runs from the end."""
    weights: LSTMWeights = one.attributes["weights"]
    found = turned(draft, one.inputs[0])
    lengths = len(one.inputs) > 3 and one.inputs[3]
    if found is None or weights.bidirectional or lengths or weights.flip_output:
        return None
    if found[1] != (1 if one.attributes["x_batch_first"] else 0):
        return None
    time, y = (1 if one.attributes["y_batch_first"] else 0), one.outputs[0]
    back = []
    for user in draft.users.get(y, ()) if y else ():
        if user.op != "Slice" or turned(draft, user.output) != (y, time):
            return None
        back.append(user.output)
    if y in draft.outputs:
        return None
    new = replace(weights, reverse=not weights.reverse)
    outputs = [draft.fresh(y) if y else "", *one.outputs[1:]]
    made = again(draft, one, [found[0], *one.inputs[1:]], outputs, weights=new)
    for name in back:
        draft.forward(name, made.outputs[0])
    return made
