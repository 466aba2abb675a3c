"""Constants that are repeated for as many rows as the model's input has: their size is known only at run time.

Exporters write a learned initial state so: Expand(h0, Concat(1, Gather(Shape(x), 1), 5)). Here every size that the
model leaves open is given a number, and the rest is folded as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import FormatError
from .fold import FOLD, Call, Constants
from .graph import MAX_RANK, Array, Scope, attributes, describe, is_op, to_array


class Sized(Constants):
    """The tensors of a graph that follow from constants and from the sizes, not the values, of its inputs.

    Parameters
    ----------
    constants : Constants
        Whose budget to share.
    free : int
        The number for every size that the file leaves open.
    """

    def __init__(self, constants: Constants, free: int) -> None:
        super().__init__(constants.budget)
        self._free = free

    def _fold(self, home: Scope, name: str, node: Any, depth: int) -> Array:
        if not is_op(node, "Shape"):
            return super()._fold(home, name, node, depth)
        given = attributes(node)
        start, end = given.get("start", 0), given.get("end")
        if not isinstance(start, int) or not isinstance(end, int | None):
            raise FormatError(f"Shape: expected whole numbers, found start={start!r}, end={end!r}")
        return np.array(self._shape(home, _first(node), depth + 1)[start:end], np.int64)

    def _shape(self, scope: Scope, name: str, depth: int) -> list[int]:
        """The sizes of a tensor, whose values need not be known."""
        home = scope.find(name)
        declared = home.declared_shape(name)
        if declared is not None:
            return [self._free if size is None else size for size in declared]
        node = home.nodes.get(name)
        if node is not None and is_op(node, "Identity", "Cast", "Transpose") and depth < MAX_RANK:
            sizes = self._shape(home, _first(node), depth + 1)
            if not is_op(node, "Transpose"):
                return sizes
            axes = list(range(len(sizes)))
            order = attributes(node).get("perm") or axes[::-1]
            if not isinstance(order, list) or any(one not in order for one in axes) or len(order) != len(axes):
                raise FormatError(f"Transpose: expected an order of {len(sizes)} axes, found {order}")
            return [sizes[axis] for axis in order]
        return list(self.get(home, name, depth).shape)

    @property
    def _folds(self) -> dict[str, Callable[[Call], Array]]:
        return FOLD | _MORE


def _first(node: Any) -> str:
    """What an operator takes."""
    if not node.input:
        raise FormatError(f"{describe(node)}: expected an input, found none")
    return str(node.input[0])


def _constant_of_shape(call: Call) -> Array:
    shape = call.integers("shape", 0) or []
    fill = call.attributes.get("value")
    value = np.zeros(1, np.float32) if fill is None else to_array(call.name, fill)
    if value.size != 1:
        raise FormatError(f"expected one value, found shape {value.shape}")
    call.spend_shape(shape, value.itemsize)
    return np.full(shape, value.reshape(()))


def _expand(call: Call) -> Array:
    data, shape = call.array(0), call.integers("shape", 1) or []
    shape = list(np.broadcast_shapes(data.shape, tuple(shape)))
    call.spend_shape(shape, data.itemsize)
    return np.broadcast_to(data, shape)


def _tile(call: Call) -> Array:
    data, repeats = call.array(0), call.integers("repeats", 1) or []
    if len(repeats) != data.ndim:
        raise FormatError(f"expected {data.ndim} repeats, found {repeats}")
    call.spend_shape([size * times for size, times in zip(data.shape, repeats)], data.itemsize)
    return np.tile(data, repeats)


_MORE: dict[str, Callable[[Call], Array]] = {
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": _tile,
}
