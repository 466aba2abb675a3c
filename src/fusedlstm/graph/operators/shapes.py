"""What makes tensors from shapes, and shapes from tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dims import Dim, Size
from .operator import (
    BOOL,
    FLOAT32,
    INT64,
    Array,
    Attribute,
    Attributes,
    Call,
    Shape,
    TensorType,
    UnknownError,
    broadcast_shapes,
    differ,
    integer,
    operator,
    same,
    same_types,
)


def product(shape: Any) -> Size:
    """The number of elements."""
    return math.prod(shape)


def reaches(shape: Shape, whole: Shape) -> bool:
    """Whether a shape may broadcast to another one, as far as their sizes are known."""
    found = broadcast_shapes(shape, whole)
    return len(found) == len(whole) and not any(map(differ, found, whole))


def slice_of_shape(a: Attributes, rank: int) -> slice:
    """Which sizes Shape gives."""
    return slice(a["start"], rank if a["end"] is None else a["end"])


def _shape_rule(call: Call) -> list[TensorType]:
    rank = len(call.shapes[0])
    return [TensorType((len(range(rank)[slice_of_shape(call.attributes, rank)]),), INT64)]


@operator("Shape", _shape_rule, start=integer(0), end=integer(None))
def _shape(a: Attributes, x: Array) -> Array:
    return np.array(x.shape[slice_of_shape(a, x.ndim)], np.int64)


@operator("Size", lambda call: [TensorType((), INT64)])
def _size(a: Attributes, x: Array) -> Array:
    return np.array(x.size, np.int64)


def _of_shape_rule(call: Call) -> list[TensorType]:
    fill = call.attributes["value"]
    return [TensorType(call.ints(0), FLOAT32 if fill is None else fill.dtype)]


@operator("ConstantOfShape", _of_shape_rule, shape_inputs=(0,), value=Attribute("a tensor", None))
def _constant_of_shape(a: Attributes, shape: Array) -> Array:
    fill = np.zeros(1, np.float32) if a["value"] is None else a["value"]
    return np.full(tuple(shape.tolist()), fill.reshape(()))


def _range_rule(call: Call) -> list[TensorType]:
    parts = [call.values[index] for index in range(3)]
    if parts[1] is None or parts[2] is None or parts[0] is None:
        raise UnknownError
    start, limit, delta = (one.reshape(-1).tolist()[0] for one in parts if one is not None)
    if isinstance(delta, Dim) or delta == 0:
        raise ValueError(f"expected a step that is not 0, found {delta}")
    if isinstance(start, Dim) or isinstance(limit, Dim):
        count: Size = (limit - start) // delta
        if count * delta != limit - start:
            count = Dim.unknown("range", str(start), str(limit), delta)
    else:
        count = max(math.ceil((limit - start) / delta), 0)
    return [TensorType((count,), same_types(call))]


@operator("Range", _range_rule, 3, shape_inputs=(0, 1, 2))
def _range(a: Attributes, start: Array, limit: Array, delta: Array) -> Array:
    count = max(math.ceil((limit.item() - start.item()) / delta.item()), 0)
    if count > 1 << 31:
        raise ValueError(f"expected a range of fewer elements, found {count}")
    return (start + np.arange(count) * delta).astype(start.dtype)


def _expand_rule(call: Call) -> list[TensorType]:
    return [TensorType(broadcast_shapes(call.shapes[0], call.ints(1)), call.dtypes[0])]


@operator("Expand", _expand_rule, 2, shape_inputs=(1,))
def _expand(a: Attributes, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _eye_rule(call: Call) -> list[TensorType]:
    if len(call.shapes[0]) != 2:
        raise ValueError(f"expected a matrix, found {call.shapes[0]}")
    return [TensorType(call.shapes[0], call.attributes["dtype"] or call.dtypes[0])]


@operator("EyeLike", _eye_rule, k=integer(0), dtype=Attribute("a dtype", None))
def _eye(a: Attributes, x: Array) -> Array:
    return np.eye(x.shape[0], x.shape[1], a["k"]).astype(a["dtype"] or x.dtype)


@operator("Identity", same)
def _identity(a: Attributes, x: Array) -> Array:
    return x


def _dropout_rule(call: Call) -> list[TensorType]:
    if call.has(2) and (call.values[2] is None or bool(call.values[2].any())):
        raise ValueError("expected training_mode to be false, found it true or computed")
    return [TensorType(call.shapes[0], call.dtypes[0]), TensorType(call.shapes[0], BOOL)]


@operator("Dropout", _dropout_rule, (1, 3), (1, 2), shape_inputs=(2,), seed=integer(0))
def _dropout(a: Attributes, x: Array, ratio: Array | None = None, training: Array | None = None) -> tuple[Array, Array]:
    if training is not None and training.any() and (ratio is None or ratio.any()):
        raise ValueError("expected training_mode to be false, found it true")
    return x, np.ones(x.shape, np.bool_)
