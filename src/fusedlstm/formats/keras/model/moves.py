"""Keras's own operators that move data: slices, shapes, axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import FormatError
from .call import FLOAT32, Call, Tensor, whole
from .constants import array_of
from .operators import argument, axes_of, common_type, dtype_of, first, tensor
from .registry import Made, operator

_FAR = 1 << 62


@operator("GetItem", "tf.__operators__.getitem")
def _getitem(call: Call) -> Made:
    x, spec = first(call), argument(call, 1, "key", "slice_spec")
    parts = list(spec) if isinstance(spec, (list, tuple)) else [spec]
    return _picked(call, x, [_part(one) for one in parts])


def _part(one: Any) -> Any:
    """A whole number, a slice, None for a new axis, or an ellipsis."""
    if isinstance(one, Mapping) and one.keys() <= {"start", "stop", "step"}:
        one = slice(one.get("start"), one.get("stop"), one.get("step"))
    if isinstance(one, Mapping) and one.get("class_name") == "__ellipsis__":
        return Ellipsis
    if isinstance(one, slice):
        if not all(end is None or type(end) is int for end in (one.start, one.stop, one.step)) or one.step == 0:
            raise FormatError(f"expected a slice of whole numbers, found {str(one)[:80]}")
        return one
    if one is None or one is Ellipsis or type(one) is int:
        return one
    raise FormatError(f"expected whole numbers and slices, found {str(one)[:80]!r}")


def _picked(call: Call, x: str, parts: Sequence[Any]) -> str:
    """NumPy's basic indexing."""
    taken = sum(one is not None and one is not Ellipsis for one in parts)
    rest = call.rank(x) - taken
    dots = sum(one is Ellipsis for one in parts)
    if rest < 0 or dots > 1:
        raise FormatError(f"expected at most {call.rank(x)} indices, found {len(parts)}")
    axis, gone, new = 0, [], []
    place = 0  # in the result, axes that go aside
    for one in parts:
        if one is Ellipsis:
            axis, place = axis + rest, place + rest
        elif one is None:
            new.append(place)
            place += 1
        elif isinstance(one, slice):
            if (one.start, one.stop, one.step) != (None, None, None):
                x = _sliced(call, x, axis, one)
            axis, place = axis + 1, place + 1
        else:
            whole("index", one, -(1 << 40))
            size = call.shape(x)[axis]
            if type(size) is int and not -size <= one < size:
                raise FormatError(f"expected an index from {-size} to {size - 1}, found {one}")
            x = call.slice(x, axis, one, one + 1 if one != -1 else _FAR)
            gone.append(axis)
            axis += 1
    x = call.squeeze(x, *gone) if gone else x
    return call.unsqueeze(x, *new) if new else x


def _sliced(call: Call, x: str, axis: int, part: slice) -> str:
    step = 1 if part.step is None else part.step
    start, stop = (0, _FAR) if step > 0 else (-1, -_FAR)
    return call.slice(
        x, axis, start if part.start is None else part.start, stop if part.stop is None else part.stop, step
    )


@operator("ExpandDims", "tf.expand_dims")
def _expand(call: Call) -> Made:
    x = first(call)
    given = argument(call, 1, "axis", default=0)
    axes = given if isinstance(given, (list, tuple)) else [given]
    rank = call.rank(x) + len(axes)
    return call.unsqueeze(x, *(call.axis(one, rank) for one in axes))


@operator("Squeeze", "tf.squeeze")
def _squeeze(call: Call) -> Made:
    x = first(call)
    axes = axes_of(call, x, argument(call, 1, "axis"))
    if axes is None:
        axes = [k for k, size in enumerate(call.shape(x)) if type(size) is int and size == 1]
    return call.squeeze(x, *axes) if axes else x


@operator("Transpose", "tf.transpose")
def _transpose(call: Call) -> Made:
    x = first(call)
    rank, order = call.rank(x), argument(call, 1, "axes", "perm")
    if order is None:
        return call.transpose(x, *reversed(range(rank)))
    if not isinstance(order, (list, tuple)) or len(order) != rank:
        raise FormatError(f"axes: expected {rank} axes, found {str(order)[:80]!r}")
    return call.transpose(x, *(call.axis(one, rank) for one in order))


@operator("Swapaxes")
def _swap(call: Call) -> Made:
    x = first(call)
    rank = call.rank(x)
    order = list(range(rank))
    a, b = (call.axis(argument(call, k, f"axis{k}"), rank) for k in (1, 2))
    order[a], order[b] = order[b], order[a]
    return call.transpose(x, *order)


@operator("Moveaxis")
def _move(call: Call) -> Made:
    x = first(call)
    found = [axes_of(call, x, argument(call, k, name)) or [] for k, name in ((1, "source"), (2, "destination"))]
    order = [axis for axis in range(call.rank(x)) if axis not in found[0]]
    for target, source in sorted(zip(found[1], found[0])):
        order.insert(target, source)
    return call.transpose(x, *order)


@operator("Pad", "tf.pad")
def _pad(call: Call) -> Made:
    x, pairs = first(call), np.asarray(array_of(argument(call, 1, "pad_width", "paddings")))
    mode, value = argument(call, 2, "mode", default="constant"), argument(call, 3, "constant_values")
    if pairs.shape != (call.rank(x), 2) or pairs.dtype.kind not in "iu" or pairs.min(initial=0) < 0:
        raise FormatError(f"paddings: expected two numbers for each of {call.rank(x)} axes, found {str(pairs)[:80]}")
    if not isinstance(mode, str) or mode.lower() not in ("constant", "reflect"):
        raise FormatError(f"mode: expected constant or reflect, found {str(mode)[:80]!r}")
    more = [] if value is None else [tensor(call, value, x)]
    return call.op("Pad", x, call.ints(*pairs.T.reshape(-1).tolist()), *more, mode=mode.lower())


@operator("Reshape", "tf.reshape")
def _reshape(call: Call) -> Made:
    x, shape = first(call), argument(call, 1, "newshape", "shape")
    sizes = list(shape) if isinstance(shape, (list, tuple)) else [shape]
    if isinstance(shape, np.ndarray):
        sizes = shape.reshape(-1).tolist()
    found = [-1 if one is None else whole("shape", one, -1) for one in sizes]
    if found.count(-1) > 1:
        raise FormatError(f"shape: expected sizes of which one may be open, found {found}")
    return call.reshape(x, *found)


@operator("Flip", "tf.reverse")
def _flip(call: Call) -> Made:
    x = first(call)
    axes = axes_of(call, x, argument(call, 1, "axis"))
    for axis in range(call.rank(x)) if axes is None else axes:
        x = call.flip(x, axis)
    return x


def several(call: Call) -> list[str]:
    """Tensors of one type that an operator puts together."""
    given = argument(call, 0, "xs", "values", "inputs", "arrays", "x")
    if not isinstance(given, (list, tuple)) or not any(isinstance(one, Tensor) for one in given):
        raise FormatError("expected a list of tensors, found something else")
    names = [tensor(call, one) for one in given]
    target = call.dtype(names[0])
    for one in names[1:]:
        target = common_type(target, call.dtype(one)) if call.dtype(one) != target else target
    return [call.cast(one, target) for one in names]


@operator("Concatenate", "tf.concat")
def _concat(call: Call) -> Made:
    names = several(call)
    axis = argument(call, 1, "axis", default=0)
    return call.op("Concat", *names, axis=call.axis(axis, call.rank(names[0])))


@operator("Stack", "tf.stack")
def _stack(call: Call) -> Made:
    names = several(call)
    axis = call.axis(argument(call, 1, "axis", default=0), call.rank(names[0]) + 1)
    return call.op("Concat", *(call.unsqueeze(one, axis) for one in names), axis=axis)


@operator("Split", "tf.split")
def _split(call: Call) -> Made:
    x = first(call)
    given = argument(call, 1, "indices_or_sections", "num_or_size_splits")
    axis = call.axis(argument(call, 2, "axis", default=0), call.rank(x))
    if isinstance(given, int):
        count = whole("sections", given)
        size = call.shape(x)[axis]
        if count > 1000 or (type(size) is int and size % count):
            raise FormatError(f"sections: expected a part of {size}, found {count}")
        return list(call.ops("Split", [x], count, axis=axis, num_outputs=count))
    if not isinstance(given, (list, tuple)) or not given or len(given) > 1000:
        raise FormatError(f"sections: expected a number or sizes, found {str(given)[:80]!r}")
    ends = [whole("section", one, 0) for one in given]
    if call.kind == "tf.split":
        ends = np.cumsum(ends).tolist()[:-1]
    starts = [0, *ends]
    return [call.slice(x, axis, start, end) for start, end in zip(starts, [*ends, _FAR])]


@operator("Repeat", "tf.repeat")
def _repeat(call: Call) -> Made:
    x = first(call)
    times, axis = argument(call, 1, "repeats"), argument(call, 2, "axis")
    if axis is None:
        raise FormatError("axis: expected one, found none")
    at = call.axis(axis, call.rank(x))
    size = call.shape(x)[at]
    if type(size) is not int:
        raise FormatError(f"expected a known size along axis {at}, found {size}")
    return call.op("Gather", x, call.ints(*np.repeat(range(size), whole("repeats", times, 0)).tolist()), axis=at)


@operator("Tile", "tf.tile")
def _tile(call: Call) -> Made:
    x = first(call)
    times = argument(call, 1, "repeats", "multiples")
    times = times if isinstance(times, (list, tuple)) else [times]
    if len(times) > call.rank(x):
        raise FormatError(f"repeats: expected {call.rank(x)} or fewer, found {len(times)}")
    found = [whole("repeats", one, 0) for one in times]
    return call.op("Tile", x, call.ints(*([1] * (call.rank(x) - len(found))), *found))


@operator("ZerosLike", "OnesLike", "tf.zeros_like", "tf.ones_like")
def _like(call: Call) -> Made:
    x = first(call)
    value = np.asarray([int("nes" in call.kind)], call.dtype(x))
    made = call.typed(call.op("ConstantOfShape", call.op("Shape", x), value=value), call.shape(x), x)
    kind = argument(call, 1, "dtype")
    return made if kind is None else call.cast(made, dtype_of(kind))


@operator("Identity", "StopGradient", "ConvertToTensor", "tf.identity", "tf.stop_gradient", "tf.convert_to_tensor")
def _identity(call: Call) -> Made:
    kind = argument(call, 1, "dtype")
    return first(call) if kind is None else call.cast(first(call), dtype_of(kind))


@operator("Einsum", "tf.einsum")
def _einsum(call: Call) -> Made:
    equation = call.config.get("subscripts", argument(call, 0, "equation"))
    names = [tensor(call, one) for one in call.positional if not isinstance(one, str)]
    if not isinstance(equation, str) or not names:
        raise FormatError(f"expected an equation and tensors, found {str(equation)[:80]!r}")
    return call.op("Einsum", *(call.cast(one, FLOAT32) for one in names), equation=equation)


@operator("Take", "tf.gather")
def _take(call: Call) -> Made:
    x, indices = first(call), argument(call, 1, "indices")
    axis = call.axis(argument(call, 2, "axis", default=0), call.rank(x))
    if isinstance(indices, Tensor):
        return call.op("Gather", x, indices.name, axis=axis)
    found = np.asarray(indices)
    if found.dtype.kind not in "iu":
        raise FormatError(f"indices: expected whole numbers, found {str(indices)[:80]!r}")
    return call.op("Gather", x, call.constant(found.astype(np.int64)), axis=axis)
