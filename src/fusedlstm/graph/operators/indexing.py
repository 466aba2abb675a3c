"""What picks elements, or puts them, by index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import FormatError
from ...weights.precision import rounded_matrix
from ..dims import Dim, Size
from .operator import Array, Attributes, Call, TensorType, UnknownError, axis_of, integer, operator, same, text


def _indices(call: Call, index: int = 1) -> Any:
    if call.dtypes[index].kind not in "iu":
        raise ValueError(f"expected whole numbers as input {index}, found {call.dtypes[index]}")
    return call.shapes[index]


def in_range(indices: Array, size: int) -> Array:
    """Indices counted from the front.

    Raises
    ------
    ValueError
        One that is out of range.
    """
    indices = indices.astype(np.int64, copy=False)
    if indices.size and (indices.min() < -size or indices.max() >= size):
        raise ValueError(f"expected indices from {-size} to {size - 1}, found {indices.min()} to {indices.max()}")
    return np.where(indices < 0, indices + size, indices)


def _gather_rule(call: Call) -> list[TensorType]:
    shape = call.shapes[0]
    axis = axis_of(call.attributes["axis"], len(shape))
    return [TensorType((*shape[:axis], *_indices(call), *shape[axis + 1 :]), call.dtypes[0])]


@operator("Gather", _gather_rule, 2, axis=integer(0))
def _gather(a: Attributes, x: Array, indices: Array) -> Array:
    return np.take(x, in_range(indices, x.shape[a["axis"]]), a["axis"])


def _lookup_rule(call: Call) -> list[TensorType]:
    return [TensorType((*_indices(call), call.shapes[0][1]), call.dtypes[0])]


@operator("fusedlstm.Lookup", _lookup_rule, 2, dtype=text("float16", "bfloat16", "int8", required=True))
def _lookup(a: Attributes, table: Array, indices: Array) -> Array:
    """Rows of weights, rounded as a matrix is."""
    rows = np.take(table, in_range(indices, len(table)), 0)
    return rounded_matrix("table", rows.reshape(-1, rows.shape[-1]), a["dtype"]).reshape(rows.shape)


def _elements_rule(call: Call) -> list[TensorType]:
    if len(call.shapes[1]) != len(call.shapes[0]):
        raise ValueError(f"expected indices of rank {len(call.shapes[0])}, found {call.shapes[1]}")
    axis_of(call.attributes["axis"], len(call.shapes[0]))
    return [TensorType(_indices(call), call.dtypes[0])]


@operator("GatherElements", _elements_rule, 2, axis=integer(0))
def _gather_elements(a: Attributes, x: Array, indices: Array) -> Array:
    axis = axis_of(a["axis"], x.ndim)
    where = list(np.indices(indices.shape, sparse=True))
    where[axis] = in_range(indices, x.shape[axis])
    return x[tuple(where)]


def _nd_rule(call: Call) -> list[TensorType]:
    (shape, indices), batch = (call.shapes[0], _indices(call)), call.attributes["batch_dims"]
    if not indices or type(indices[-1]) is not int or not 0 <= batch < min(len(shape), len(indices)):
        raise ValueError(f"expected indices that end in their number, found {indices}")
    if indices[-1] + batch > len(shape):
        raise ValueError(f"expected at most {len(shape) - batch} indices each, found {indices[-1]}")
    return [TensorType((*indices[:-1], *shape[batch + indices[-1] :]), call.dtypes[0])]


@operator("GatherND", _nd_rule, 2, batch_dims=integer(0, least=0))
def _gather_nd(a: Attributes, x: Array, indices: Array) -> Array:
    batch = a["batch_dims"]
    own = np.indices(indices.shape[:-1], sparse=True)[:batch]
    picks = [in_range(indices[..., k], x.shape[batch + k]) for k in range(indices.shape[-1])]
    return x[(*own, *picks)]


_UPDATES: dict[str, Callable[..., Any]] = {
    "add": np.add.at,
    "mul": np.multiply.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


def _put(a: Attributes, x: Array, where: tuple[Any, ...], updates: Array) -> Array:
    found = x.copy()
    if a["reduction"] == "none":
        found[where] = updates
    else:
        _UPDATES[a["reduction"]](found, where, updates)
    return found


_REDUCTIONS = text("none", "add", "mul", "max", "min")


@operator("ScatterElements", same, 3, axis=integer(0), reduction=_REDUCTIONS)
def _scatter_elements(a: Attributes, x: Array, indices: Array, updates: Array) -> Array:
    axis = axis_of(a["axis"], x.ndim)
    where = list(np.indices(indices.shape, sparse=True))
    where[axis] = in_range(indices, x.shape[axis])
    return _put(a, x, tuple(where), updates)


@operator("ScatterND", same, 3, reduction=_REDUCTIONS)
def _scatter_nd(a: Attributes, x: Array, indices: Array, updates: Array) -> Array:
    return _put(a, x, tuple(in_range(indices[..., k], x.shape[k]) for k in range(indices.shape[-1])), updates)


def _tensor_scatter_rule(call: Call) -> list[TensorType]:
    return same(call)


@operator("TensorScatter", _tensor_scatter_rule, (2, 3), axis=integer(-2), mode=text("linear", "circular"))
def _tensor_scatter(a: Attributes, past: Array, update: Array, start: Array | None = None) -> Array:
    found, axis = past.copy(), axis_of(a["axis"], past.ndim)
    for row in np.ndindex(past.shape[:1]):
        first = 0 if start is None else int(start[row])
        places = np.arange(first, first + update.shape[axis])
        places = places % past.shape[axis] if a["mode"] == "circular" else in_range(places, past.shape[axis])
        found[row][(*(slice(None),) * (axis - 1), places)] = update[row]
    return found


def _one_hot_rule(call: Call) -> list[TensorType]:
    shape, (depth,) = call.shapes[0], _depth(call)
    axis = axis_of(call.attributes["axis"], len(shape) + 1)
    return [TensorType((*shape[:axis], depth, *shape[axis:]), call.dtypes[2])]


def _depth(call: Call) -> tuple[Size, ...]:
    value = call.values[1]
    if value is None:
        raise UnknownError
    return tuple(one if isinstance(one, Dim) else int(one) for one in value.reshape(-1).tolist())


@operator("OneHot", _one_hot_rule, 3, shape_inputs=(1,), axis=integer(-1))
def _one_hot(a: Attributes, indices: Array, depth: Array, values: Array) -> Array:
    count, axis = int(depth.reshape(())), axis_of(a["axis"], indices.ndim + 1)
    places = np.expand_dims(np.where(indices < 0, indices + count, indices), axis)
    steps = np.arange(count).reshape(*(1,) * axis, -1, *(1,) * (indices.ndim - axis))
    return np.where(places == steps, values[1], values[0])


def _data_dependent(call: Call) -> list[TensorType]:
    if any(value is None for value in call.values):
        raise UnknownError
    raise UnknownError


@operator("NonZero", _data_dependent, shape_inputs=(0,))
def _non_zero(a: Attributes, x: Array) -> Array:
    if not x.ndim:
        raise FormatError("expected an input with axes, found one number, of which ONNX and its runtime differ")
    return np.array(np.nonzero(x), np.int64).reshape(x.ndim, -1)


@operator("Compress", _data_dependent, 2, shape_inputs=(1,), axis=integer(None))
def _compress(a: Attributes, x: Array, condition: Array) -> Array:
    return np.compress(condition, x, a["axis"])
