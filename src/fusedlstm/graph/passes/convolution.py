"""Convolutions: the pad before and the bias, the normalisation and the activation behind become one node."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..draft import Draft, DraftNode
from .dense import activation_of, channels


def rewrite(draft: Draft) -> None:
    """Convolutions with constant weights, then what is around them; pads before pooling."""
    for one in draft.of("Conv"):
        weights = draft.constant(one.inputs[1])
        bias_known = len(one.inputs) < 3 or draft.constant(one.inputs[2]) is not None
        if weights is not None and bias_known and one.inputs[0] not in draft.constants and weights.dtype.kind == "f":
            draft.add("fusedlstm.Conv", one.inputs, [one.output], one.name, **one.attributes)
            draft.remove(one)
    for one in draft.of("fusedlstm.Conv"):
        one = _pad(draft, one)
        if one.attributes["activation"] is None:
            _follow(draft, one)
    for one in draft.of("AveragePool", "MaxPool"):
        _pooled(draft, one)


def _pads(draft: Draft, one: DraftNode) -> tuple[DraftNode, tuple[int, ...]] | None:
    """A Pad in front of a node, over the spatial axes alone; zeros, or as its mode says."""
    before = draft.made_by(one.inputs[0], "Pad")
    shape = draft.shape(one.inputs[0])
    if before is None or shape is None or draft.uses(before.output) > 1:
        return None
    pads, axes = draft.ints(before, 1), draft.ints(before, 3)
    if pads is None or min(pads, default=0) < 0 or (len(before.inputs) > 3 and axes is None):
        return None
    rank = len(shape)
    both = np.zeros((2, rank), int)
    both[:, list(range(rank)) if axes is None else [axis % rank for axis in axes]] = np.reshape(pads, (2, -1))
    if both[:, :2].any():
        return None
    return before, tuple(both[:, 2:].reshape(-1).tolist())


def _fill(draft: Draft, before: DraftNode) -> float | None:
    """What a constant Pad fills with."""
    return draft.scalar(before.inputs[2]) if len(before.inputs) > 2 and before.inputs[2] else 0


def _pad(draft: Draft, one: DraftNode) -> DraftNode:
    found, a = _pads(draft, one), one.attributes
    if found is None or a["auto_pad"] not in ("NOTSET", "VALID"):
        return one
    before, pads = found
    own = a["pads"] if a["auto_pad"] == "NOTSET" and a["pads"] else (0,) * len(pads)
    mode = before.attributes["mode"]
    if mode == "constant":
        if _fill(draft, before) != 0 or (any(own) and a["pad_mode"] != "constant"):
            return one
        pads = tuple(x + y for x, y in zip(pads, own))
    elif mode == "wrap" or any(own):
        return one
    how = {**a, "pads": pads, "pad_mode": mode, "auto_pad": "NOTSET"}
    made = draft.add(one.op, [before.inputs[0], *one.inputs[1:]], [one.output], one.name, **how)
    draft.remove(one)
    return made


def edges_apart(draft: Draft) -> None:
    """The edge along axes whose sizes are open is a Pad of its own again, so that a stream can ask each node."""
    for one in draft.of("fusedlstm.Conv"):
        a, shape = one.attributes, draft.shape(one.inputs[0])
        if a["pad_mode"] == "constant" or shape is None:
            continue
        pads, own = np.reshape(a["pads"], (2, -1)), np.zeros((2, len(shape)), np.int64)
        along = [type(size) is not int for size in shape[2:]]
        own[:, 2:][:, along] = pads[:, along]
        if not own.any():
            continue
        before = [one.inputs[0], draft.add_constant(own.reshape(-1), one.inputs[0])]
        x = draft.between("Pad", before, one.inputs[0], one.name, mode=a["pad_mode"])
        rest = tuple((pads - own[:, 2:]).reshape(-1).tolist())
        how = {**a, "pads": rest, "pad_mode": a["pad_mode"] if any(rest) else "constant"}
        draft.add(one.op, [x, *one.inputs[1:]], [one.output], one.name, **how)
        draft.remove(one)


def _pooled(draft: Draft, one: DraftNode) -> None:
    """Zeros in front of an average that counts them; -inf in front of a maximum."""
    found, a = _pads(draft, one), one.attributes
    if found is None or a["auto_pad"] not in ("NOTSET", "VALID") or a["ceil_mode"] or any(one.outputs[1:]):
        return
    before, pads = found
    own = a["pads"] if a["auto_pad"] == "NOTSET" and a["pads"] else (0,) * len(pads)
    fill = _fill(draft, before) if before.attributes["mode"] == "constant" else None
    if fill is None or any(own):
        return
    how = {**a, "pads": pads, "auto_pad": "NOTSET"}
    if one.op == "AveragePool" and fill == 0:
        how["count_include_pad"] = 1
    elif one.op == "AveragePool" or fill > -3e38 or not _smaller(pads, a):
        return
    draft.add(one.op, [before.inputs[0]], [one.output], one.name, **how)
    draft.remove(one)


def _smaller(pads: tuple[int, ...], a: Any) -> bool:
    """Whether each window meets some of the input."""
    return all(pad < size for pad, size in zip(pads, a["kernel_shape"] * 2))


def _follow(draft: Draft, one: DraftNode) -> None:
    while True:
        after = draft.taken_by(one.output)
        if after is None:
            return
        activation = activation_of(after)
        inputs = one.inputs if activation is not None else _affine(draft, one, after)
        if inputs is None:
            return
        how = {**one.attributes, "activation": activation}
        made = draft.add(one.op, inputs, [after.output], one.name, **how)
        draft.remove(after)
        draft.remove(one)
        one = made
        if activation is not None:
            return


def _affine(draft: Draft, one: DraftNode, after: DraftNode) -> list[str] | None:
    """The inputs of a convolution that also scales and shifts each channel as `after` does."""
    weights = draft.constant(one.inputs[1])
    kind = draft.types.get(one.output)
    if weights is None or kind is None or draft.types.get(after.output) != kind:
        return None
    found = channels(draft, after, len(weights), len(kind.shape))
    if found is None:
        return None
    scale, shift = found
    bias = draft.constant(one.inputs[2]) if len(one.inputs) > 2 else np.zeros(len(weights))
    if bias is None:
        return None
    inputs = list(one.inputs[:2])
    if (scale != 1).any():
        scaled = weights * scale.reshape(-1, *(1,) * (weights.ndim - 1))
        inputs[1] = draft.add_constant(scaled.astype(weights.dtype), one.inputs[1])
    inputs.append(draft.add_constant((bias * scale + shift).astype(weights.dtype), after.output))
    return inputs
