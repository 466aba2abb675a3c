"""Where the initial state of an ONNX LSTM comes from: nowhere (zeros), the caller, or the model itself (learned)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...errors import FormatError
from .fold import Constants, NotConstantError
from .graph import Array, Scope, attributes, is_op, to_array
from .sizes import Sized

# Operators whose output holds nothing but elements of their first input.
_CARRIES = ("Identity", "Transpose", "Reshape", "Unsqueeze", "Squeeze", "Slice", "Split", "Cast", "Gather")
_REPEATS = ("Expand", "Tile")

State = tuple[list[Array], list[Array]]


class Sizes(NamedTuple):
    """What the state has to look like: (directions, batch, hidden), or batch first with layout 1."""

    directions: int
    hidden: int
    layout: int


def initial_state(scope: Scope, names: dict[str, str], sizes: Sizes, constants: Constants) -> State | None:
    """The state that the model itself fixes, one row of it; None where it fixes none.

    Zeros of a shape known only at run time are none, and so is whatever depends on the model's inputs: the caller
    passes it.

    Raises
    ------
    FormatError
        A state that cannot be known, that differs from row to row, or of which the caller passes only one half.
    """
    sources, found = {}, {}
    for which in ("initial_h", "initial_c"):
        if which not in names:
            sources[which] = "zeros"
            continue
        _check_size(scope, which, names[which], sizes.hidden, constants)
        try:
            sources[which] = _source(scope, names[which], constants)
            if sources[which] == "model":
                found[which] = _row(scope, names[which], sizes, constants)
        except FormatError as error:
            raise FormatError(f"input {which}: {error}") from error
    if not any(one.any() for one in found.values()):
        return None
    if "caller" in sources.values():
        raise FormatError(
            "inputs initial_h, initial_c: expected both from the caller or both from the model, "
            f"found {sources['initial_h']} and {sources['initial_c']}"
        )
    zeros = np.zeros((sizes.directions, sizes.hidden), np.float32)
    return [found.get("initial_h", zeros)], [found.get("initial_c", zeros)]


def _source(scope: Scope, name: str, constants: Constants) -> str:
    """Whether a state is zeros, the caller's or the model's."""
    stack, seen, answer = [(scope, name)], set(), "zeros"
    while stack:
        scope, name = stack.pop()
        home = scope.find(name)
        if (home, name) in seen:
            continue
        seen.add((home, name))
        node = home.nodes.get(name)
        if node is not None and is_op(node, "If"):
            stack.extend(constants.taken(home, node, name))
        elif name in home.runtime and not (node is not None and _hands_on(home, node)):
            answer = "caller"
        elif node is None or is_op(node, "Constant"):
            if constants.get(home, name).any():
                return "model"
        elif is_op(node, "ConstantOfShape"):
            fill = attributes(node).get("value")
            if fill is not None and to_array(name, fill).any():
                return "model"
        elif is_op(node, "Concat"):
            stack.extend((home, one) for one in node.input)
        elif is_op(node, *_CARRIES, *_REPEATS):
            stack.extend((home, one) for one in node.input[:1])
        else:
            return "model"
    return answer


def _hands_on(home: Scope, node: Any) -> bool:
    """Whether an operator whose output depends on the model's inputs does so by what it carries on."""
    if is_op(node, "Concat"):
        return True
    first = next(iter(node.input), "")
    return is_op(node, *_CARRIES) and bool(first) and first in home.find(first).runtime


def _row(scope: Scope, name: str, sizes: Sizes, constants: Constants) -> Array:
    """A learned state (directions, hidden), the same for every row of a batch of any size."""
    rows: list[Array] = []
    for free in (2, 3):  # what the model's inputs leave open; a state that depends on it shows in the difference
        try:
            array = Sized(constants, free).get(scope, name)
        except NotConstantError as error:
            raise FormatError(f"expected zeros, a constant or a state that the caller passes; {error}") from error
        if sizes.layout and array.ndim == 3:
            array = array.swapaxes(0, 1)
        if array.ndim != 3 or array.shape[::2] != (sizes.directions, sizes.hidden) or array.dtype.kind != "f":
            raise FormatError(
                f"expected floats of shape ({sizes.directions}, batch, {sizes.hidden}), "
                f"found {array.dtype} {array.shape}"
            )
        if array.shape[1] == 0 or (array != array[:, :1]).any() or (rows and (rows[0] != array[:, 0]).any()):
            raise FormatError("expected one state for every row of the batch, found rows that differ")
        rows.append(array[:, 0])
    return rows[0]


def _check_size(scope: Scope, which: str, name: str, hidden: int, constants: Constants) -> None:
    try:
        size: int | None = [0, *constants.get(scope, name).shape][-1]
    except NotConstantError:
        size = scope.declared_size(name, -1)
    if size not in (hidden, None):
        raise FormatError(
            f"input {which}: expected a last dimension of {hidden}, the hidden size of R, found {size}. PyTorch's "
            "exporter (dynamo=True) drops the projection of an LSTM with proj_size; load the PyTorch checkpoint instead"
        )
