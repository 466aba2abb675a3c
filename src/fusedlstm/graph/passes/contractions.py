"""Other products with constants become products of rows with a matrix, whose weights can be held in less than float32.

The moves around it cost time that float32 does not need to spend: this is no pass of every model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..draft import Draft, DraftNode
from ..graph import Node
from ..operators import Array
from ..operators.matrix import einsum_labels

Labels = list[str]


@dataclass(frozen=True)
class Contraction:
    """Of a product the input `x`, whose labels `summed` meet those of the constant `w`, and what else there is.

    The labels of ellipses are numbers.
    """

    x: int
    w: int
    labels: Sequence[Labels]
    output: Labels

    @property
    def rows(self) -> Labels:
        """What x alone has."""
        return [one for one in self.labels[self.x] if one not in self.labels[self.w]]

    @property
    def summed(self) -> Labels:
        """What both have, and nothing else."""
        return [one for one in self.labels[self.x] if one in self.labels[self.w]]

    @property
    def columns(self) -> Labels:
        """What the constant alone has."""
        return [one for one in self.labels[self.w] if one not in self.labels[self.x]]

    def fits(self) -> bool:
        """Whether it is a product of rows with a matrix: nothing goes along in both, or is summed in one alone."""
        x, w = self.labels[self.x], self.labels[self.w]
        others = [one for k, one in enumerate(self.labels) if k not in (self.x, self.w)]
        needed = {*self.output, *(label for one in others for label in one)}
        return (
            all((self.rows, self.summed, self.columns))
            and len({*x}) == len(x)
            and len({*w}) == len(w)
            and not any(label.isdigit() for label in w)
            and not needed & {*self.summed}
            and needed >= {*self.rows, *self.columns}
        )


def contraction(one: Node, constants: Callable[[str], Array | None], ranks: Sequence[int]) -> Contraction | None:
    """How a node multiplies by a constant, unless it is a product of rows as it is."""
    labels, output = _labels(one, ranks)
    held = [constants(name) for name in one.inputs]
    for w, array in enumerate(held):
        if array is None or array.dtype.kind != "f" or not array.size or (one.op == "MatMul" and w):
            continue
        for x in range(len(labels)):
            found = Contraction(x, w, labels, output)
            if held[x] is None and found.fits():
                return found
    return None


def rewrite(draft: Draft, wanted: Callable[[Node], str]) -> None:
    """Those nodes of which `wanted` gives a name, which the product gets."""
    for one in draft.of("MatMul", "Einsum"):
        shapes = [draft.shape(name) for name in one.inputs]
        name = wanted(one.freeze())
        if name and None not in shapes:
            found = contraction(one.freeze(), draft.constant, [len(shape or ()) for shape in shapes])
            if found is not None:
                _multiply(draft, one, found, name)


def _labels(one: Node, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    if one.op == "Einsum":
        return einsum_labels(one.attributes["equation"], list(ranks))
    if ranks[0] != 2 or ranks[1] < 2:
        return [], []
    batch = [str(k) for k in range(ranks[1] - 2)]
    return [["m", "k"], [*batch, "k", "n"]], [*batch, "m", "n"]


def _multiply(draft: Draft, one: DraftNode, found: Contraction, name: str) -> None:
    w, own = draft.constants[one.inputs[found.w]], found.labels[found.w]
    rows, summed, columns = found.rows, found.summed, found.columns
    sizes = dict(zip(own, w.shape))
    turned = w.transpose([own.index(label) for label in (*summed, *columns)])
    matrix = turned.reshape(math.prod(sizes[k] for k in summed), math.prod(sizes[k] for k in columns))

    def moved(x: str, before: Labels, after: Labels) -> str:
        return draft.between("Transpose", [x], x, name, perm=[before.index(label) for label in after])

    def reshaped(x: str, last: Sequence[int]) -> str:
        shape = draft.add_constant(np.array([0] * len(rows) + list(last), np.int64), x)
        return draft.between("Reshape", [x, shape], x, name)

    x = moved(one.inputs[found.x], found.labels[found.x], [*rows, *summed])
    x = reshaped(x, matrix.shape[:1]) if len(summed) > 1 else x
    y = draft.between("MatMul", [x, draft.add_constant(matrix, one.inputs[found.w])], one.output, name)
    y = reshaped(y, [sizes[k] for k in columns]) if len(columns) > 1 else y
    inputs, labels = [], []
    for k, (own, given) in enumerate(zip(found.labels, one.inputs)):
        if k != found.w:
            inputs.append(y if k == found.x else given)
            labels.append([*rows, *columns] if k == found.x else own)
    if len(inputs) == 1:
        perm = [labels[0].index(label) for label in found.output]
        draft.add("Transpose", inputs, [one.output], name, perm=perm)
    else:
        equation = f"{','.join(map(_spelled, labels))}->{_spelled(found.output)}"
        draft.add("Einsum", inputs, [one.output], one.name, equation=equation)
    draft.remove(one)


def _spelled(labels: Labels) -> str:
    """As an equation has them: numbers, which stand together, are an ellipsis."""
    text = "".join("." if one.isdigit() else one for one in labels)
    dots = text.count(".")
    return text.replace("." * dots, "...") if dots else text
