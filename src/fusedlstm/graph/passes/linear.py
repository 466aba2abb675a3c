"""Tensors as sums of linear maps of others: what the gates of a cell are before their activation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..draft import Draft, DraftNode
from ..operators import Array
from ..operators.operator import axis_of

_DEEP = 60
_VIEWS = ("Squeeze", "Unsqueeze", "Reshape", "Identity")
Column = slice


@dataclass
class Form:
    """Of a tensor (..., n): ``sum(source @ matrix) + sum(source * diagonal) + bias``.

    Parameters
    ----------
    matrices : dict
        A matrix (features, n) for each source.
    diagonals : dict
        A row (n,) for each source of n features.
    bias : ndarray, shape (n,)
        What is added.
    """

    bias: Array
    matrices: dict[str, Array] = field(default_factory=dict)
    diagonals: dict[str, Array] = field(default_factory=dict)

    def __add__(self, other: Form) -> Form:
        def joined(one: dict[str, Array], more: dict[str, Array]) -> dict[str, Array]:
            return {**one, **{name: one[name] + value if name in one else value for name, value in more.items()}}

        return Form(
            self.bias + other.bias,
            joined(self.matrices, other.matrices),
            joined(self.diagonals, other.diagonals),
        )

    def scaled(self, row: Any) -> Form:
        """Each column times a number."""
        return Form(
            self.bias * row,
            {name: value * row for name, value in self.matrices.items()},
            {name: value * row for name, value in self.diagonals.items()},
        )

    def columns(self, at: Any) -> Form:
        """Some of the columns."""
        if self.diagonals:
            size = len(self.bias)
            matrices = {**self.matrices, **{k: np.diag(v) for k, v in self.diagonals.items() if len(v) == size}}
            return Form(self.bias, matrices).columns(at)
        return Form(self.bias[at], {name: value[:, at] for name, value in self.matrices.items()})


class Linear:
    """Forms of the tensors of a draft, each traced once."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._known: dict[str, Form | None] = {}

    def form(self, name: str, depth: int = 0) -> Form | None:
        """The form of a tensor; at the least it is itself, times one. None: of no known width."""
        if name not in self._known:
            self._known[name] = self._form(name, depth)
        return self._known[name]

    def dense(self, one: DraftNode) -> Form | None:
        """The form of a dense layer before its activation."""
        return _gemm(self, one, one.output, 0, activated=True)

    def width(self, name: str) -> int | None:
        """The last size of a tensor."""
        shape = self.draft.shape(name)
        return shape[-1] if shape and type(shape[-1]) is int else None

    def row(self, value: Array, name: str) -> Array | None:
        """A constant that is the same for every row."""
        width = self.width(name)
        if width is None or not value.size or (value.size > 1 and value.shape[-1] != width):
            return None
        rows = value.reshape(-1, value.shape[-1] if value.ndim else 1)
        return None if (rows != rows[0]).any() else np.broadcast_to(rows[0], (width,))

    def _itself(self, name: str) -> Form | None:
        width = self.width(name)
        return None if width is None else Form(np.zeros(width), {}, {name: np.ones(width)})

    def _form(self, name: str, depth: int) -> Form | None:
        one = self.draft.made_by(name)
        if one is None or depth > _DEEP or self._is_state(one):
            return self._itself(name)
        rule = _RULES.get(one.op)
        found = rule(self, one, name, depth + 1) if rule is not None else None
        return found if found is not None else self._itself(name)

    def _is_state(self, one: DraftNode) -> bool:
        """Whether a node is f c + i g, a sum of products: a cell state, which stays whole."""
        return one.op in ("Add", "Sum") and all(
            (maker := self.draft.made_by(name, "Mul")) is not None and self.draft.parts(maker) is None
            for name in one.inputs
        )

    def product(self, source: str, weights: Array) -> Form | None:
        """Of ``source @ weights``; a source that is put together from parts is taken apart."""
        draft, one = self.draft, self.draft.made_by(source, "Concat")
        shape = draft.shape(source)
        if weights.ndim != 2 or shape is None:
            return None
        if one is not None and axis_of(one.attributes["axis"], len(shape)) == len(shape) - 1:
            widths = [self.width(part) or 0 for part in one.inputs]
            if not all(widths) or sum(widths) != len(weights):
                return None
            found, at = Form(np.zeros(weights.shape[1])), 0
            for part, width in zip(one.inputs, widths):
                rows = weights[at : at + width]
                value = self.draft.constant(part)
                if value is None:
                    found += Form(np.zeros(weights.shape[1]), {part: rows})
                elif (row := self.row(value, part)) is not None:
                    found += Form(row @ rows)
                else:
                    return None
                at += width
            return found
        if self.draft.constant(source) is not None:
            return None
        return Form(np.zeros(weights.shape[1]), {source: weights})


def _wide(value: Array) -> Array:
    return value.astype(np.float64)


def _add(linear: Linear, one: DraftNode, name: str, depth: int) -> Form | None:
    found = None
    for index, part in enumerate(one.inputs):
        value = linear.draft.constant(part)
        if value is not None:
            row = linear.row(_wide(value), name)
            form = None if row is None else Form(np.array(row))
        else:
            form = linear.form(part, depth) if linear.width(part) == linear.width(name) else None
        if form is None:
            return None
        if one.op == "Sub" and index == 1:
            form = form.scaled(-1.0)
        found = form if found is None else found + form
    return found


def _scale(linear: Linear, one: DraftNode, name: str, depth: int) -> Form | None:
    parts = linear.draft.parts(one)
    if parts is None or (one.op == "Div" and parts[0] != one.inputs[0]) or linear.width(parts[0]) != linear.width(name):
        return None
    row, form = linear.row(_wide(parts[1]), name), linear.form(parts[0], depth)
    if row is None or form is None:
        return None
    return form.scaled(1 / row if one.op == "Div" else row)


def _matmul(linear: Linear, one: DraftNode, name: str, depth: int) -> Form | None:
    weights = linear.draft.constant(one.inputs[1])
    return None if weights is None else linear.product(one.inputs[0], _wide(weights))


def _gemm(linear: Linear, one: DraftNode, name: str, depth: int, activated: bool = False) -> Form | None:
    draft, a = linear.draft, one.attributes
    weights = draft.constant(one.inputs[1])
    if weights is None or a.get("transA") or (a.get("activation") is not None and not activated):
        return None
    weights = _wide(weights.T if a.get("transB") else weights)
    found = linear.product(one.inputs[0], weights * a.get("alpha", 1.0))
    if len(one.inputs) < 3 or not one.inputs[2] or found is None:
        return found
    bias = draft.constant(one.inputs[2])
    if bias is not None:
        row = linear.row(_wide(bias), name)
        return None if row is None else found + Form(row * a.get("beta", 1.0))
    more = linear.form(one.inputs[2], depth) if linear.width(one.inputs[2]) == linear.width(name) else None
    return None if more is None else found + more.scaled(a.get("beta", 1.0))


def last_axis_part(draft: Draft, one: DraftNode, name: str) -> slice | None:
    """The columns that Slice or Split takes along the last axis."""
    shape = draft.shape(one.inputs[0])
    if shape is None or type(shape[-1]) is not int:
        return None
    if one.op == "Split":
        if axis_of(one.attributes["axis"], len(shape)) != len(shape) - 1:
            return None
        at, sizes = one.outputs.index(name), draft.ints(one, 1)
        each = -(-shape[-1] // len(one.outputs))
        widths = list(sizes) if sizes is not None else [each] * len(one.outputs)
        start = sum(widths[:at])
        return slice(start, start + widths[at])
    starts, ends, axes, steps = (draft.ints(one, k) for k in range(1, 5))
    if starts is None or ends is None or len(starts) != 1 or (steps or (1,)) != (1,):
        return None
    if axis_of((axes or (0,))[0], len(shape)) != len(shape) - 1:
        return None
    chosen = range(shape[-1])[slice(starts[0], ends[0])]
    return slice(chosen.start, chosen.stop)


def _part(linear: Linear, one: DraftNode, name: str, depth: int) -> Form | None:
    at = last_axis_part(linear.draft, one, name)
    if at is None:
        return _picked(linear, one, name, depth)
    form = linear.form(one.inputs[0], depth)
    if form is None or (not form.matrices and one.inputs[0] in form.diagonals):
        return None
    return form.columns(at)


def _picked(linear: Linear, one: DraftNode, name: str, depth: int) -> Form | None:
    """One block of columns, where they lie in several of equal width along the axis before the last."""
    draft = linear.draft
    shape = draft.shape(one.inputs[0])
    index = draft.constant(one.inputs[1]) if one.op == "Gather" else None
    blocks = draft.made_by(one.inputs[0], "Reshape")
    if shape is None or len(shape) < 2 or index is None or index.ndim or blocks is None:
        return None
    before, count, width = draft.shape(blocks.inputs[0]), shape[-2], shape[-1]
    if axis_of(one.attributes["axis"], len(shape)) != len(shape) - 2 or before is None:
        return None
    if type(count) is not int or type(width) is not int or before[-1] != count * width:
        return None
    at, form = int(index) % count, linear.form(blocks.inputs[0], depth)
    return None if form is None else form.columns(slice(at * width, (at + 1) * width))


def _view(linear: Linear, one: DraftNode, name: str, depth: int) -> Form | None:
    """Rows keep their order and their width."""
    source = one.inputs[0]
    if linear.width(source) is None or linear.width(source) != linear.width(name):
        return None
    form = linear.form(source, depth)
    return None if form is None or source in form.diagonals else form


_RULES = {
    "Add": _add,
    "Sub": _add,
    "Sum": _add,
    "Mul": _scale,
    "Div": _scale,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "fusedlstm.Dense": _gemm,
    "Slice": _part,
    "Split": _part,
    "Gather": _picked,
    **dict.fromkeys(_VIEWS, _view),
}
