"""Matrix products. Floats are summed in float64 and rounded once."""

from __future__ import annotations

import numpy as np

from ..dims import Size
from .elementwise import wide
from .operator import (
    MANY,
    REQUIRED,
    Array,
    Attribute,
    Attributes,
    Call,
    Shape,
    TensorType,
    broadcast_shapes,
    differ,
    expect_rank,
    flag,
    number,
    operator,
    same_types,
)


def matmul_shape(one: Shape, other: Shape) -> Shape:
    """NumPy's rule for ``one @ other``."""
    if not one or not other:
        raise ValueError(f"expected matrices, found {one} and {other}")
    if differ(one[-1], other[-2] if len(other) > 1 else other[0]):
        raise ValueError(f"expected matrices that fit together, found {one} and {other}")
    if len(other) == 2:
        return (*one[:-1], other[1])
    batch = broadcast_shapes(one[:-2], other[:-2])
    return (*batch, *one[-2:-1], *(other[-1:] if len(other) > 1 else ()))


def _matmul_rule(call: Call) -> list[TensorType]:
    return [TensorType(matmul_shape(call.shapes[0], call.shapes[1]), same_types(call))]


@operator("MatMul", _matmul_rule, 2)
def _matmul(a: Attributes, x: Array, y: Array) -> Array:
    return np.asarray(np.matmul(wide(x), wide(y))).astype(x.dtype)


def _gemm_rule(call: Call) -> list[TensorType]:
    (m, k), (other, n) = expect_rank(call, 0, 2), expect_rank(call, 1, 2)
    if call.attributes["transA"]:
        m, k = k, m
    if call.attributes["transB"]:
        other, n = n, other
    if differ(k, other):
        raise ValueError(f"expected matrices that fit together, found {call.shapes[0]} and {call.shapes[1]}")
    if call.has(2):
        broadcast_shapes((m, n), call.shapes[2])
    return [TensorType((m, n), same_types(call))]


@operator("Gemm", _gemm_rule, (2, 3), alpha=number(1.0), beta=number(1.0), transA=flag(), transB=flag())
def _gemm(a: Attributes, x: Array, y: Array, c: Array | None = None) -> Array:
    product = a["alpha"] * np.matmul(wide(x.T if a["transA"] else x), wide(y.T if a["transB"] else y))
    return (product if c is None else product + a["beta"] * wide(c)).astype(x.dtype)


def einsum_labels(equation: str, ranks: list[int]) -> tuple[list[list[str]], list[str]]:
    """The label of each axis of the inputs and of the output; those of an ellipsis are numbers."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"expected {len(terms)} inputs for {equation!r}, found {len(ranks)}")

    def axes(term: str, hidden: int) -> list[str]:
        before, dots, after = term.partition("...")
        middle = [str(hidden - 1 - k) for k in range(hidden)] if dots else []
        return [*before, *middle, *after]

    hidden = [rank - len(term.replace("...", "")) if "..." in term else 0 for term, rank in zip(terms, ranks)]
    inputs = [axes(term, count) for term, count in zip(terms, hidden)]
    if arrow:
        return inputs, axes(right, max(hidden, default=0))
    letters = sorted(one for one in set(left) if one.isalpha() and left.count(one) == 1)
    return inputs, [str(k) for k in reversed(range(max(hidden, default=0)))] + letters


def _einsum_rule(call: Call) -> list[TensorType]:
    inputs, output = einsum_labels(call.attributes["equation"], [len(shape) for shape in call.shapes])
    sizes: dict[str, Size] = {}
    for labels, shape in zip(inputs, call.shapes):
        if len(labels) != len(shape):
            raise ValueError(f"expected {len(labels)} dimensions, found {shape}")
        for label, size in zip(labels, shape):
            old = sizes.setdefault(label, size)
            if old == 1 and label.isdigit():
                sizes[label] = size
            elif differ(old, size) and not (size == 1 and label.isdigit()):
                raise ValueError(f"expected one size for {label!r}, found {old} and {size}")
    return [TensorType(tuple(sizes[label] for label in output), same_types(call))]


@operator("Einsum", _einsum_rule, (1, MANY), equation=Attribute("text", REQUIRED))
def _einsum(a: Attributes, *inputs: Array) -> Array:
    return np.asarray(np.einsum(a["equation"].replace(" ", ""), *map(wide, inputs))).astype(inputs[0].dtype)
