"""Operators that exporters use on shapes, computed on arrays of sizes that are open: objects, some of them a `Dim`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..dims import Dim
from ..evaluate import compute
from ..graph import Node
from ..operators import Array


def _meaning(one: Node, values: list[Array | None]) -> list[Array]:
    return compute(one, values)


def _arithmetic(one: Node, values: list[Any]) -> list[Array]:
    """NumPy, and operators that give what their first input is, must not take sizes for numbers of 64 bits."""
    return compute(one, [value.astype(object) for value in values])


def _cast(one: Node, values: list[Any]) -> list[Array] | None:
    return [values[0]] if one.attributes["to"] in (np.int32, np.int64) else None  # wide enough for any size


def _equal(one: Node, values: list[Any]) -> list[Array] | None:
    pairs = np.broadcast(*(np.asarray(value, object) for value in values))
    answers = []
    for x, y in pairs:
        open_one = isinstance(x, Dim) or isinstance(y, Dim)
        if open_one and x != y and not any(type(one) is int and one < 0 for one in (x, y)):
            return None
        answers.append(x == y)
    return [np.array(answers, np.bool_).reshape(pairs.shape)]


ON_SIZES: dict[str, Callable[[Node, list[Any]], list[Array] | None]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Concat"), _arithmetic),
    **dict.fromkeys(
        (
            *("Gather", "Slice", "Split", "Squeeze", "Unsqueeze", "Reshape"),
            *("Flatten", "Transpose", "ReduceProd", "Where", "Expand"),
        ),
        _meaning,
    ),
    "Cast": _cast,
    "Equal": _equal,
}
