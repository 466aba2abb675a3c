"""Transposes move behind work that does not mind the order of axes, where pairs of them meet and fall away.

Frameworks that keep channels last turn them in front of a convolution and back behind it; a batch normalisation or an
activation behind that can join the convolution only when it is next to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..draft import Draft, DraftNode
from .dense import PLAIN

_ALONE = (
    *PLAIN,
    "Elu",
    "LeakyRelu",
    "HardSigmoid",
    "Gelu",
    "Swish",
    "Selu",
    "Celu",
    "Clip",
    "Abs",
    "Exp",
    "Neg",
    "Sqrt",
)
_TOGETHER = ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu")
_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")


def rewrite(draft: Draft) -> None:
    """Each node behind a Transpose whose only user it is."""
    for one in draft.of(*dict.fromkeys(_ALONE), *_TOGETHER, "Concat", "Pad", *_REDUCTIONS):
        if not one.alive:
            continue
        if one.op in _TOGETHER or one.op == "Concat":
            _several(draft, one)
        elif (before := _turned(draft, one.inputs[0])) is not None:
            perm = before.attributes["perm"]
            if one.op == "Pad":
                _pad(draft, one, before, perm)
            elif one.op in _REDUCTIONS:
                _reduction(draft, one, before, perm)
            else:
                _sink(draft, one, [before.inputs[0], *one.inputs[1:]], perm)


def _turned(draft: Draft, name: str) -> DraftNode | None:
    """The Transpose that makes a tensor for one node alone."""
    one = draft.made_by(name, "Transpose")
    return one if one is not None and one.attributes["perm"] is not None and draft.taken_by(name) is not None else None


def _sink(draft: Draft, one: DraftNode, inputs: Sequence[str], perm: Sequence[int], **changes: object) -> None:
    """The node in front of its Transpose."""
    made = draft.between(one.op, inputs, one.output, one.name, **{**one.attributes, **changes})
    draft.add("Transpose", [made], [one.output], one.name, perm=tuple(perm))
    draft.remove(one)


def _several(draft: Draft, one: DraftNode) -> None:
    """Of several inputs: each turned the same way, or constant."""
    makers = [_turned(draft, name) for name in one.inputs]
    perms = {tuple(maker.attributes["perm"]) for maker in makers if maker is not None}
    constants = [name for name, maker in zip(one.inputs, makers) if maker is None]
    if len(perms) != 1 or any(name not in draft.constants for name in constants):
        return
    (perm,) = perms
    if one.op == "Concat":
        if not constants:
            axis = perm[one.attributes["axis"]]
            _sink(draft, one, [maker.inputs[0] for maker in makers if maker is not None], perm, axis=axis)
        return
    inputs = []
    for name, maker in zip(one.inputs, makers):
        value = draft.constants.get(name)
        if maker is not None:
            inputs.append(maker.inputs[0])
        elif value is None or value.ndim > len(perm):
            return
        elif value.size == 1:
            inputs.append(name)
        else:
            whole = value.reshape((1,) * (len(perm) - value.ndim) + value.shape)
            inputs.append(draft.add_constant(np.ascontiguousarray(whole.transpose(np.argsort(perm))), name))
    _sink(draft, one, inputs, perm)


def _pad(draft: Draft, one: DraftNode, before: DraftNode, perm: Sequence[int]) -> None:
    pads = draft.constant(one.inputs[1])
    if pads is None or len(pads) != 2 * len(perm) or (len(one.inputs) > 3 and one.inputs[3]):
        return
    order = np.argsort(perm)
    turned = draft.add_constant(pads.reshape(2, -1)[:, order].reshape(-1), one.inputs[1])
    _sink(draft, one, [before.inputs[0], turned, *one.inputs[2:]], perm)


def _reduction(draft: Draft, one: DraftNode, before: DraftNode, perm: Sequence[int]) -> None:
    axes = draft.ints(one, 1)
    if not axes or not all(-len(perm) <= axis < len(perm) for axis in axes):
        return
    gone = {axis % len(perm) for axis in axes}
    own = draft.add_constant(np.array(sorted(perm[axis] for axis in gone), np.int64), one.output)
    left = [perm[axis] for axis in range(len(perm)) if axis not in gone]
    if one.attributes["keepdims"]:
        _sink(draft, one, [before.inputs[0], own], perm)
    elif left == sorted(left):
        draft.add(one.op, [before.inputs[0], own], [one.output], one.name, **one.attributes)
        draft.remove(one)
