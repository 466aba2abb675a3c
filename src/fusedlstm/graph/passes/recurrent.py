"""ONNX's LSTM with constant weights becomes ours, which holds them ready and gives its directions side by side."""

from __future__ import annotations

import numpy as np

from ..draft import Draft, DraftNode
from ..operators.recurrent import directions_of, lstm_weights


def rewrite(draft: Draft) -> None:
    """Each LSTM, then states that are zeros."""
    for one in draft.of("LSTM"):
        _lstm(draft, one)
    for one in draft.of("GRU", "RNN", "LSTM"):
        _zero_states(draft, one, (5, 6))
    for one in draft.of("fusedlstm.LSTM"):
        _zero_states(draft, one, (1, 2))
        _whole_lengths(draft, one)
        _unused(draft, one)


def _lstm(draft: Draft, one: DraftNode) -> None:
    inputs, a = [*one.inputs, *[""] * (8 - len(one.inputs))], one.attributes
    x, w, r, b, lengths, h, c, p = inputs
    constants = [draft.constant(name) if name else None for name in (w, r, b, p)]
    if any(name and value is None for name, value in zip((w, r, b, p), constants)):
        return
    held = [None if value is None else value.astype(np.float32, copy=False) for value in constants]
    try:
        weights = lstm_weights(a, held[0], held[1], *held[2:])
    except ValueError:  # the node stays, and is refused when it is lowered
        return
    directions, hidden = directions_of(a), weights.hidden_size
    outputs = [*one.outputs, "", "", ""][:3]
    layout = a["layout"]
    states = [_turned(draft, name, one) if layout and name else name for name in (h, c)]
    new = [draft.fresh(f"{name or one.name or one.op}") if name else "" for name in outputs]
    if not any(new):
        return
    draft.add(
        "fusedlstm.LSTM",
        [x, *states, lengths],
        new,
        one.name,
        weights=weights,
        x_batch_first=layout,
        y_batch_first=layout,
    )
    for name, made in zip(outputs[1:], new[1:]):
        if name:
            _as(draft, made, name, (1, 0, 2) if layout else None)
    if outputs[0]:
        # (time, batch, directions * hidden) to (time, directions, batch, hidden), or with the batch first.
        split = draft.add_constant(np.array([0, 0, directions, hidden], np.int64), outputs[0])
        parts = draft.between("Reshape", [new[0], split], outputs[0])
        _as(draft, parts, outputs[0], None if layout else (0, 2, 1, 3))
    draft.remove(one)


def _as(draft: Draft, made: str, name: str, perm: tuple[int, ...] | None) -> None:
    """Give a tensor under the name that it had, its axes in another order."""
    if perm is None:
        draft.add("Identity", [made], [name])
    else:
        draft.add("Transpose", [made], [name], perm=perm)


def _turned(draft: Draft, name: str, one: DraftNode) -> str:
    return draft.between("Transpose", [name], name, perm=(1, 0, 2))


_CARRIES = (
    "Expand",
    "Tile",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Identity",
    "Cast",
    "Split",
    "Gather",
)


def is_zero(draft: Draft, name: str) -> bool:
    """Whether a tensor is zeros whatever its shape turns out to be."""
    waiting, seen = [name], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        value, one = draft.constant(name), draft.made_by(name, "ConstantOfShape", "Concat", *_CARRIES)
        if value is not None:
            if value.any():
                return False
        elif one is None:
            return False
        elif one.op == "ConstantOfShape":
            fill = one.attributes["value"]
            if fill is not None and fill.any():
                return False
        else:
            waiting += one.inputs if one.op == "Concat" else one.inputs[:1]
    return True


def _zero_states(draft: Draft, one: DraftNode, places: tuple[int, int]) -> None:
    """Zeros are what a recurrent layer starts from by itself."""
    given = [index for index in places if index < len(one.inputs) and one.inputs[index]]
    if given and all(is_zero(draft, one.inputs[index]) for index in given):
        for index in given:
            draft.rewire(one, index, "")


def _whole_lengths(draft: Draft, one: DraftNode) -> None:
    """Lengths that are those of the sequence say nothing."""
    shape = draft.shape(one.inputs[0])
    value = draft.constant(one.inputs[3]) if len(one.inputs) > 3 else None
    if value is not None and shape is not None and (value == shape[1 if one.attributes["x_batch_first"] else 0]).all():
        draft.rewire(one, 3, "")


def _unused(draft: Draft, one: DraftNode) -> None:
    """Outputs that nothing takes are not made."""
    for index, name in enumerate(one.outputs):
        if name and not draft.uses(name):
            one.outputs[index] = ""
            one.original = None
            draft.maker.pop(name, None)
            draft.changed = True
    if not any(one.outputs):
        one.alive = False
