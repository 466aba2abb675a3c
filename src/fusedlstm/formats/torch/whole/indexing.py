"""What picks and puts elements by indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.dims import Dim
from .call import BOOL, INT64, Call
from .parts import FAR
from .promotion import given
from .registry import operator
from .schema import Ref

_MOST_SLID = 256  # nodes that windows along a free axis become


@operator("embedding.default")
def _embedding(call: Call) -> str:
    """What `padding_idx` is matters to training alone."""
    return call.op("Gather", call.tensor("weight"), call.tensor("indices"), axis=0)


@operator("gather.default")
def _gather(call: Call) -> str:
    x, index = call.tensor("self"), call.tensor("index")
    return call.op("GatherElements", x, index, axis=call.axis(call.whole("dim"), call.rank(x)))


@operator("take_along_dim.default")
def _take_along(call: Call) -> str:
    x, index = call.tensor("self"), call.tensor("indices")
    if not call.has("dim"):
        return call.op("Gather", call.reshape(x, -1), call.reshape(index, -1), axis=0)
    return call.op("GatherElements", x, index, axis=call.axis(call.whole("dim"), call.rank(x)))


@operator("index_select.default")
def _index_select(call: Call) -> str:
    x = call.tensor("self")
    return call.op("Gather", x, call.tensor("index"), axis=call.axis(call.whole("dim"), call.rank(x)))


@operator("scatter.src", "scatter.value", "scatter_add.default", "scatter.value_reduce", "scatter.reduce")
def _scatter(call: Call) -> str:
    x, index = call.tensor("self"), call.tensor("index")
    axis = call.axis(call.whole("dim"), call.rank(x))
    reduce = "add" if call.kind.startswith("scatter_add") else call.value("reduce", None) or "none"
    if reduce not in ("none", "add", "multiply"):
        raise FormatError(f"reduce: expected add or multiply, found {str(reduce)[:80]!r}")
    reduce = "mul" if reduce == "multiply" else reduce
    if call.has("src"):
        source = call.tensor("src")
        known, wanted = call.shape(source), call.shape(index)
        if known != wanted:  # what lies behind the indices is not used
            axes = call.int_list(*range(len(known)))
            source = call.op("Slice", source, call.int_list(*[0] * len(known)), call.op("Shape", index), axes)
    else:
        source = call.op("Expand", *given(call, call.kind_of(x), call.value("value")), call.op("Shape", index))
    return call.op("ScatterElements", x, index, source, axis=axis, reduction=reduce)


def _indices(call: Call, x: str) -> list[tuple[int, str]]:
    """The tensors of indices with their axes."""
    indices = call.value("indices")
    if not isinstance(indices, list) or len(indices) > call.rank(x):
        raise FormatError(f"indices: expected one for each of some dimensions, found {str(indices)[:80]!r}")
    found = [(axis, call.graph("indices", one)) for axis, one in enumerate(indices) if one is not None]
    if not found:
        raise FormatError("indices: expected some, found none")
    return found


def _broadcast(call: Call, indices: list[str]) -> tuple[str, int]:
    """Indices of several axes beside each other, (..., axes), and how many dimensions they had."""
    indices = [call.cast(one, INT64) for one in indices]
    rank = max(map(call.rank, indices))
    shapes = {call.shape(one) for one in indices}
    if len(shapes) > 1:
        total = indices[0]
        for one in indices[1:]:
            total = call.op("Add", total, one)
        shape = call.op("Shape", total)
        indices = [call.op("Expand", one, shape) for one in indices]
    wide = [call.unsqueeze(one, rank) for one in indices]
    return (wide[0] if len(wide) == 1 else call.op("Concat", *wide, axis=rank)), rank


@operator("index.Tensor", "_unsafe_index.Tensor")
def _index(call: Call) -> str:
    x = call.tensor("self")
    found = _indices(call, x)
    if any(call.kind_of(one) == BOOL for _, one in found):
        raise FormatError("indices: expected whole numbers, found truth values: how many there are is known too late")
    if len(found) == 1:
        axis, index = found[0]
        return call.op("Gather", x, index, axis=axis)
    axes = [axis for axis, _ in found]
    rest = [axis for axis in range(call.rank(x)) if axis not in axes]
    wide, rank = _broadcast(call, [one for _, one in found])
    made = call.op("GatherND", call.transpose(x, *axes, *rest), wide)
    if not _together(axes):
        return made
    before = axes[0]
    perm = [*range(rank, rank + before), *range(rank), *range(rank + before, rank + len(rest))]
    return call.transpose(made, *perm)


@operator("index_put.default", "_unsafe_index_put.default")
def _index_put(call: Call) -> str:
    x, values = call.tensor("self"), call.tensor("values")
    found = _indices(call, x)
    adds = call.flag("accumulate", False)
    if any(call.kind_of(one) == BOOL for _, one in found):
        mask = found[0][1]
        if len(found) > 1 or found[0][0] or adds or call.rank(values):
            raise FormatError("indices: expected whole numbers, or one mask and one number for it, found others")
        mask = call.unsqueeze(mask, *range(call.rank(mask), call.rank(x)))
        return call.op("Where", mask, values, x)
    axes = [axis for axis, _ in found]
    rest = [axis for axis in range(call.rank(x)) if axis not in axes]
    wide, rank = _broadcast(call, [one for _, one in found])
    turned, shape = call.transpose(x, *axes, *rest), call.op("Shape", wide, start=0, end=rank)
    before = axes[0] if _together(axes) else 0  # dimensions that stand in front of what the indices pick
    parts = [call.op("Shape", turned, start=len(axes), end=len(axes) + before)] if before else []
    parts.append(shape)
    if before < len(rest):
        parts.append(call.op("Shape", turned, start=len(axes) + before))
    values = call.op("Expand", values, call.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0])
    values = call.transpose(
        values, *range(before, before + rank), *range(before), *range(before + rank, rank + len(rest))
    )
    made = call.op("ScatterND", turned, wide, values, reduction="add" if adds else "none")
    perm = [*axes, *rest]
    return call.transpose(made, *(perm.index(axis) for axis in range(len(perm))))


def _together(axes: list[int]) -> bool:
    """Whether axes stand side by side: what indices pick stays in their place then, and comes first otherwise."""
    return axes == list(range(axes[0], axes[0] + len(axes)))


@operator("select_scatter.default", "slice_scatter.default")
def _put_slice(call: Call) -> str:
    """A tensor with a part of it replaced."""
    x, part = call.tensor("self"), call.tensor("src")
    axis = call.axis(call.whole("dim", 0), call.rank(x))
    size = call.shape(x)[axis]
    start: Any
    if call.kind.startswith("select"):
        start, part, step = call.whole("index"), call.unsqueeze(part, axis), 1
        stop: Any = start + 1 if start != -1 else FAR
    else:
        start = call.whole("start") if call.has("start") else 0
        stop, step = call.whole("end") if call.has("end") else FAR, call.whole("step", 1)
    if step != 1:
        if type(size) is not int:
            raise FormatError(f"step: expected 1 where the size is open, found {step}")
        places = call.int_list(*range(*slice(start, stop, step).indices(size)))
        shape = [1] * call.rank(x)
        shape[axis] = -1
        index = call.op("Expand", call.reshape(places, *shape), call.op("Shape", part))
        return call.op("ScatterElements", x, index, part, axis=axis)
    parts = [part]
    if start and not (type(size) is int and start <= -size):
        parts.insert(0, call.slice(x, axis, 0, start))
    if stop != FAR and not (type(size) is int and stop >= size):
        parts.append(call.slice(x, axis, stop, FAR))
    return part if len(parts) == 1 else call.op("Concat", *parts, axis=axis)


@operator("one_hot.default")
def _one_hot(call: Call) -> str:
    classes = call.whole("num_classes", -1)
    if classes < 1:
        raise FormatError(f"num_classes: expected 1 or more, found {classes}")
    ends = call.constant(np.array([0, 1], np.int64))
    return call.op("OneHot", call.tensor("self"), call.int_list(classes), ends, axis=-1)


@operator("topk.default", "sort.default", "sort.stable")
def _top(call: Call) -> list[str]:
    return _sorted(call)


def _sorted(call: Call) -> list[str]:
    x = call.tensor("self")
    axis = call.axis(call.whole("dim", -1), call.rank(x))
    if call.kind.startswith("topk"):
        count, largest = call.list_of("k", call.value("k")), call.flag("largest", True)
    else:
        count, largest = call.op("Shape", x, start=axis, end=axis + 1), call.flag("descending", False)
    return call.ops("TopK", [x, count], 2, axis=axis, largest=int(largest))


@operator("argsort.default", "argsort.stable")
def _argsort(call: Call) -> str | None:
    return _sorted(call)[1]


@operator("unfold.default")
def _unfold(call: Call) -> str:
    """Windows along an axis; what lies in each comes last."""
    x = call.tensor("self")
    axis = call.axis(call.whole("dimension"), call.rank(x))
    size, step, known = call.whole("size"), call.whole("step"), call.shape(x)[axis]
    if isinstance(known, Dim):
        return _slid(call, x, axis, size, step)
    if type(known) is not int or not 0 < size <= known or step < 1:
        raise FormatError(f"expected windows of 1 to {known} places, found {size} and a step of {step}")
    count = (known - size) // step + 1
    if count * size > 1 << 22:
        raise FormatError(f"expected at most {1 << 22} places, found {count} windows of {size}")
    call.builder.expect_room(8 * count * size)
    places = np.arange(count, dtype=np.int64)[:, None] * step + np.arange(size)
    made = call.op("Gather", x, call.constant(places), axis=axis)
    rank = call.rank(x) + 1
    return call.transpose(made, *(k for k in range(rank) if k != axis + 1), axis + 1)


def _slid(call: Call, x: str, axis: int, size: int, step: int) -> str:
    """The same where the axis is free: of each place in a window all of them."""
    if not 0 < size <= _MOST_SLID or step < 1:
        raise FormatError(
            f"expected windows of 1 to {_MOST_SLID} places of a free axis, found {size}, a step of {step}"
        )
    parts = []
    for k in range(size):
        stop = k + 1 - size if k < size - 1 else FAR
        limits = [call.constant(np.array([one], np.int64)) for one in (k, stop, axis, step)]
        place = call.op("Slice", x, *limits)
        parts.append(call.op("Unsqueeze", place, call.constant(np.array([call.rank(x)], np.int64))))
    return call.op("Concat", *parts, axis=call.rank(x))


@operator("as_strided.default")
def _as_strided(call: Call) -> str:
    """What lies at some distances in the memory of a tensor without gaps."""
    source, x = call.value("self"), call.tensor("self")
    shape, strides, start = call.made().shape, call.ints("stride"), call.whole("storage_offset", 0)
    if not isinstance(source, Ref) or not call.reader.program.is_dense(source.name) or len(strides) != len(shape):
        raise FormatError("expected a tensor without gaps, found another")
    step: Any = 1
    dense = not start and call.shape(x) == shape
    for size, stride in zip(reversed(shape), reversed(strides)):
        dense = dense and (size == 1 or stride == step)
        step = step * size
    if dense:
        return x
    if not all(type(size) is int for size in shape) or min((*strides, start)) < 0:
        raise FormatError(f"expected known sizes and distances, found {shape}")
    call.builder.expect_room(8 * int(step))
    places = sum(
        (np.arange(n).reshape(-1, *[1] * k) * s for k, (n, s) in enumerate(zip(shape[::-1], strides[::-1]))),
        np.array(start),
    )
    return call.op("Gather", call.reshape(x, -1), call.constant(places.astype(np.int64)), axis=0)


@operator("index_copy.default", "index_add.default", "index_fill.int_Scalar")
def _put_rows(call: Call) -> str:
    """Whole slices by their index along one axis."""
    x, index = call.tensor("self"), call.cast(call.tensor("index"), INT64)
    rank = call.rank(x)
    axis = call.axis(call.whole("dim"), rank)
    perm = [axis, *(k for k in range(rank) if k != axis)]
    turned, wide = call.transpose(x, *perm), call.unsqueeze(index, 1)
    if call.kind.startswith("index_fill"):
        (value,) = given(call, call.kind_of(x), call.value("value"))
        shape = call.op("Concat", call.op("Shape", index), call.op("Shape", turned, start=1), axis=0)
        source = call.op("Expand", value, shape)
    else:
        source = call.transpose(call.tensor("source"), *perm)
        if call.value("alpha", 1) != 1:
            source = call.op("Mul", source, *given(call, call.kind_of(x), call.value("alpha")))
    adds = "add" if call.kind.startswith("index_add") else "none"
    made = call.op("ScatterND", turned, wide, source, reduction=adds)
    return call.transpose(made, *(perm.index(k) for k in range(rank)))
