"""Layers of several inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....errors import FormatError
from .call import BOOL, FLOAT32, Call, Tensor
from .registry import Made, layer


def _inputs(call: Call, least: int = 1) -> list[str]:
    """The inputs as floats, of one rank: axes of 1 behind the batch are added to those of fewer."""
    if len(call.inputs) < least:
        raise FormatError(f"expected {least} inputs or more, found {len(call.inputs)}")
    names = [call.cast(one.name, FLOAT32) for one in call.inputs]
    most = max(map(call.rank, names))
    return [
        call.unsqueeze(one, *range(1, 1 + most - call.rank(one))) if call.rank(one) < most else one for one in names
    ]


def _mask(call: Call) -> str:
    """Where any input is valid as Keras 3 has it, none if one has none; as Keras 2 has it where all with a mask are."""
    given = call.masks()
    masks = [one for one in given if one]
    if not masks or (call.keras3 and len(masks) < len(given)):
        return ""
    found = masks[0]
    for one in masks[1:]:
        if one != found:
            found = call.op("Or" if call.keras3 else "And", found, one)
    return found


def _folded(call: Call, op: str, names: Sequence[str]) -> str:
    found = names[0]
    for one in names[1:]:
        found = call.op(op, found, one)
    return found


_OPS = {"Add": "Add", "Multiply": "Mul", "Maximum": "Max", "Minimum": "Min", "Average": "Add", "Subtract": "Sub"}


@layer(*_OPS)
def _merge(call: Call) -> Made:
    names, op = _inputs(call), _OPS[call.kind]
    if call.kind == "Subtract" and len(names) != 2:
        raise FormatError(f"expected two inputs, found {len(names)}")
    if call.keras3 and any(call.masks()) and len(call.masks()) == len(names):
        if op == "Mul":
            return _product(call, names)
        if op in ("Max", "Min"):
            return _extreme(call, op, names)
    y = _folded(call, op, names)
    if call.kind == "Average":
        y = call.op("Div", y, call.scalar(float(len(names)), y))
    return Tensor(y, _mask(call))


def _wide(call: Call, mask: str) -> str:
    return call.unsqueeze(call.cast(mask, BOOL), -1)


def _product(call: Call, names: Sequence[str]) -> Tensor:
    """As Keras 3 has it: masked factors count as 1, and nothing but such as 0."""
    masks = call.masks()
    factors = [
        call.op("Where", _wide(call, mask), x, call.scalar(1.0, x)) if mask else x for x, mask in zip(names, masks)
    ]
    y, mask = _folded(call, "Mul", factors), _mask(call)
    return Tensor(call.op("Where", _wide(call, mask), y, call.scalar(0.0, y)) if mask else y, mask)


def _extreme(call: Call, op: str, names: Sequence[str]) -> Tensor:
    """As Keras 3 has it: what is masked does not count beside what is not."""
    masks = call.masks()
    y, valid = names[0], masks[0]
    for x, mask in zip(names[1:], masks[1:]):
        x = call.op("Where", _wide(call, mask), x, y) if mask else x
        y = call.op("Where", _wide(call, valid), y, x) if valid else y
        valid = call.op("Or", valid, mask) if valid and mask else ""
        y = call.op(op, y, x)
    return Tensor(y, valid)


@layer("Concatenate")
def _concatenate(call: Call) -> Made:
    names = [call.cast(one.name, FLOAT32) for one in call.inputs]
    if not names:
        raise FormatError("expected inputs, found none")
    rank = call.rank(names[0])
    axis = call.axis(call.value("axis", -1), rank)
    return Tensor(call.op("Concat", *names, axis=axis), _joined(call, names, axis, rank))


def _joined(call: Call, names: Sequence[str], axis: int, rank: int) -> str:
    """The mask of what is put together: along time each one's own, along features as for other layers."""
    masks = call.masks()
    if not any(masks):
        return ""
    if axis == rank - 1:  # steps of an input without a mask are valid
        given = [one for one in masks if one]
        if call.keras3 and len(given) < len(masks):
            return ""
        return _folded(call, "Or" if call.keras3 else "And", given)
    if axis != 1:
        raise FormatError(f"expected masked inputs to be put together along time or features, found axis {axis}")
    if not call.keras3 and not all(masks):
        raise FormatError("expected a mask of all inputs that are put together along time, or of none, found some")
    return call.op("Concat", *(one or _every(call, x) for one, x in zip(masks, names)), axis=1)


def _every(call: Call, x: str) -> str:
    """A mask by which all steps are valid."""
    return call.op(
        "Expand", call.constant(np.asarray(True)), call.op("Concat", call.size(x, 0), call.size(x, 1), axis=0)
    )


@layer("Dot")
def _dot(call: Call) -> Made:
    if len(call.inputs) != 2:
        raise FormatError(f"expected two inputs, found {len(call.inputs)}")
    axes = call.value("axes")
    names = [call.cast(one.name, FLOAT32) for one in call.inputs]
    given = [axes, axes] if isinstance(axes, int) else axes
    if not isinstance(given, (list, tuple)) or len(given) != 2:
        raise FormatError(f"axes: expected one or two, found {str(axes)[:80]!r}")
    ranks = [call.rank(one) for one in names]
    if not all(2 <= rank <= 10 for rank in ranks):
        raise FormatError(f"expected two dimensions or more, found {[call.shape(one) for one in names]}")
    places = [call.axis(axis, rank) for axis, rank in zip(given, ranks)]
    if 0 in places:
        raise FormatError("axes: expected others than the batch, found 0")
    if call.flag("normalize", False):
        names = [_normal(call, one, axis) for one, axis in zip(names, places)]
    letters = ["b" + "cdefghijkl"[: ranks[0] - 1], "b" + "mnopqrstuv"[: ranks[1] - 1]]
    for k, axis in enumerate(places):
        letters[k] = letters[k][:axis] + "z" + letters[k][axis + 1 :]
    out = (letters[0] + letters[1][1:]).replace("z", "")
    y = call.op("Einsum", *names, equation=f"{letters[0]},{letters[1]}->{out}")
    return call.unsqueeze(y, 1) if out == "b" else y


def _normal(call: Call, x: str, axis: int) -> str:
    squares = call.op("ReduceSumSquare", x, call.ints(axis))
    return call.op("Div", x, call.op("Sqrt", call.op("Max", squares, call.scalar(1e-12, x))))
