"""LSTM cells that were taken apart: found by c' = f c + i g and h' = o tanh(c'), whatever surrounds them.

Each gate is traced back to a sum of linear maps of x and h, so that the order of gates, joined or separate weights and
the writer's order of nodes do not matter. What is found is compared with the nodes themselves on random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ...weights import Activation, Cell, DirectionWeights, LSTMWeights
from ..draft import Draft, DraftNode
from ..operators import Array
from .dense import activation_of
from .linear import Form, Linear, last_axis_part

_MOST_USERS = 8


@dataclass
class Found:
    """One step of a cell.

    Parameters
    ----------
    x : list of str
        What it takes, side by side.
    h, c : str
        The states before; h is "" where it is zero.
    new_h, new_c : str
        The states after.
    weights : LSTMWeights
        Of one layer.
    """

    x: list[str]
    h: str
    c: str
    new_h: str
    new_c: str
    weights: LSTMWeights
    joints: list[DraftNode]  # f c, i g and what squashes c'


def find(draft: Draft) -> list[Found]:
    """The cells of a draft, in order of computation."""
    linear, found = Linear(draft), []
    outputs: dict[str, Found] = {}
    for one in draft.of("Add", "Sum"):
        cell = _cell(draft, linear, one, outputs)
        if cell is not None:
            outputs[cell.new_h] = cell
            found.append(cell)
    return found


def gate(draft: Draft, linear: Linear, name: str) -> tuple[Activation, Form] | None:
    """The activation and the form before it, of a gate that may be a part of several side by side."""
    parts: list[Any] = []
    for _ in range(4):
        one = draft.made_by(name)
        if one is None:
            return None
        activation = activation_of(one)
        if activation is not None and activation.name != "exponential":
            form = linear.form(one.inputs[0])
            for at in reversed(parts):
                form = form if form is None else form.columns(at)
            return None if form is None else (activation, form)
        if one.op not in ("Slice", "Split"):
            return None
        at = last_axis_part(draft, one, name)
        if at is None:
            return None
        parts.append(at)
        name = one.inputs[0]
    return None


def _products(draft: Draft, one: DraftNode) -> Iterator[tuple[DraftNode, DraftNode]]:
    both = [draft.made_by(name, "Mul") for name in one.inputs]
    if len(both) == 2 and both[0] is not None and both[1] is not None and both[0] is not both[1]:
        yield both[0], both[1]
        yield both[1], both[0]


def _ends(draft: Draft, new_c: str) -> Iterator[tuple[DraftNode, DraftNode, str]]:
    """What squashes c', the product that is h', and the output gate."""
    for squash in islice(draft.users.get(new_c, ()), _MOST_USERS):
        if activation_of(squash) is None:
            continue
        for product in islice(draft.users.get(squash.output, ()), _MOST_USERS):
            if product.op == "Mul":
                other = [name for name in product.inputs if name != squash.output]
                if len(other) == 1:
                    yield squash, product, other[0]


def _cell(draft: Draft, linear: Linear, one: DraftNode, earlier: dict[str, Found]) -> Found | None:
    for squash, product, o in _ends(draft, one.output):
        output_gate = gate(draft, linear, o)
        if output_gate is None:
            continue
        for keep, write in _products(draft, one):
            for f, c in (keep.inputs, keep.inputs[::-1]):
                forget = gate(draft, linear, f)
                if forget is None or forget[0] != output_gate[0]:
                    continue
                for i, g in (write.inputs, write.inputs[::-1]):
                    enter, candidate = gate(draft, linear, i), gate(draft, linear, g)
                    if enter is None or candidate is None or enter[0] != forget[0]:
                        continue
                    ways = [enter, forget, candidate, output_gate]
                    found = _assemble(draft, ways, c, one, product, activation_of(squash), earlier)
                    if found is not None:
                        found.joints = [keep, write, squash]
                        return found
    return None


def _assemble(
    draft: Draft,
    gates: list[tuple[Activation, Form]],
    c: str,
    one: DraftNode,
    product: DraftNode,
    output: Activation | None,
    earlier: dict[str, Found],
) -> Found | None:
    """Weights from the forms of the gates i, f, g, o."""
    hidden = len(gates[0][1].bias)
    if any(len(form.bias) != hidden for _, form in gates) or output is None or draft.shape(c) is None:
        return None
    if not any(form.matrices for _, form in gates):  # nothing is multiplied, as behind convolutions
        return None
    peepholes: dict[str, Array] = {}
    sources: dict[str, int] = {}
    gates = [(how, Form(form.bias, dict(form.matrices), form.diagonals)) for how, form in gates]
    for (_, form), which in zip(gates, "ifgo"):
        for name, row in form.diagonals.items():
            if which != "g" and name == (one.output if which == "o" else c):
                peepholes[f"peephole_{which}"] = row
            else:  # what is added as it is
                form.matrices[name] = form.matrices.get(name, 0) + np.diag(row)
        for name, matrix in form.matrices.items():
            if sources.setdefault(name, len(matrix)) != len(matrix):
                return None
    h = _hidden(draft, sources, c, hidden, earlier, (product.output, one.output))
    x = [name for name in sources if name != h]
    if not x or one.output in sources:
        return None

    def stacked(names: list[str]) -> Array:
        return np.concatenate(
            [
                np.concatenate([form.matrices.get(name, np.zeros((sources[name], hidden))) for name in names])
                for _, form in gates
            ],
            1,
        ).T

    recurrent: Array = stacked([h]) if h else np.zeros((4 * hidden, hidden))
    bias = np.concatenate([form.bias for _, form in gates])
    cell = Cell(gates[0][0], gates[2][0], output)
    try:
        layer = DirectionWeights(stacked(x), recurrent, bias if bias.any() else None, **peepholes, cell=cell)
    except (ValueError, TypeError):
        return None
    return Found(x, h, c, product.output, one.output, LSTMWeights([[layer]]), [])


def _hidden(
    draft: Draft, sources: dict[str, int], c: str, hidden: int, earlier: dict[str, Found], new: tuple[str, str]
) -> str:
    """Which source is the hidden state: the one that goes with c. Any of the right width gives the same numbers."""
    candidates = [name for name, width in sources.items() if width == hidden]
    for name in candidates:
        before = earlier.get(name)
        if before is not None and before.new_c == c:
            return name
    root = origin(draft, c)
    for name in candidates:
        if origin(draft, name) == root:
            return name
    inputs = {value.name for value in draft.graph.inputs}
    for name in candidates:
        if origin(draft, name) in inputs and root in inputs and len(candidates) == 1:
            return name
    back = given_back(draft, [origin(draft, name) for name in candidates], root, *new)
    for name in candidates:
        if back == [origin(draft, name)]:
            return name
    if len(candidates) > 1:
        # A state comes in as it is; what is picked from a sequence around a loop comes in, too.
        return min(candidates, key=lambda name: (name not in inputs, origin(draft, name) not in inputs))
    others = len(sources) - 1
    return candidates[0] if candidates and others else ""


def given_back(draft: Draft, candidates: list[str], c: str, new_h: str, new_c: str) -> list[str]:
    """The inputs of a graph whose next value it hands out as many places further as that of c: of a body, a model."""
    inputs = {value.name: k for k, value in enumerate(draft.graph.inputs)}
    if c not in inputs:
        return []

    def places(new: str) -> list[int]:
        return [k for k, name in enumerate(draft.outputs) if origin(draft, new) in _origins(draft, name)]

    offsets, last = {inputs[c] - k for k in places(new_c)}, places(new_h)
    found = [name for name in candidates if name in inputs and any(inputs[name] - k in offsets for k in last)]
    beside = [name for name in found if abs(inputs[name] - inputs[c]) == 1]  # where h' is the output y as well
    return beside if len(beside) == 1 else found


def _origins(draft: Draft, name: str) -> set[str]:
    """What a tensor is a part of, or put together from."""
    name = origin(draft, name)
    joined = draft.made_by(name, "Concat")
    return {name} if joined is None else {origin(draft, part) for part in joined.inputs}


def origin(draft: Draft, name: str) -> str:
    """The tensor that one is a part of."""
    for _ in range(30):
        one = draft.made_by(
            name, "Gather", "Slice", "Split", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Identity"
        )
        if one is None:
            break
        name = one.inputs[0]
    return name
