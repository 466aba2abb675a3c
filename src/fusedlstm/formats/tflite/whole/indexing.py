"""Parts of tensors: slices, and rows by their numbers."""

from __future__ import annotations

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator

_FAR = 1 << 31
_OUT = (1 << 31) - 1


@operator("SLICE", inputs=3)
def _slice(call: Call) -> str:
    """From begin on, as many places as size says; -1 for all that are left."""
    rank = call.rank(0)
    begin, size = call.value(1), call.value(2)
    if begin is not None and size is not None:
        starts, sizes = call.ints(1, "begin"), call.ints(2, "size")
        if len(starts) != rank or len(sizes) != rank or min(starts, default=0) < 0 or min(sizes, default=0) < -1:
            raise FormatError(f"expected begin and size for {rank} axes, found {starts} and {sizes}")
        ends = [_FAR if count == -1 else start + count for start, count in zip(starts, sizes)]
        return _cut(call, call.input(0), list(zip(range(rank), starts, ends, [1] * rank)))
    starts_name, sizes_name = call.int64(1), call.int64(2)
    if size is not None and (size == -1).all():
        ends_name = call.int_list(*[_FAR] * rank)
    elif size is not None and (size >= 0).all():
        ends_name = call.op("Add", starts_name, sizes_name)
    else:
        rest = call.op("Less", sizes_name, call.int_list(0))
        far = call.int_list(_FAR)
        ends_name = call.op("Where", rest, far, call.op("Add", starts_name, sizes_name))
    return call.op("Slice", call.input(0), starts_name, ends_name, call.int_list(*range(rank)))


@operator("STRIDED_SLICE", options=32, inputs=4)
def _strided_slice(call: Call) -> str:
    """NumPy's slices: bits say which ends are left out, which axes are new, and which are one place."""
    begin_mask, end_mask, ellipsis, new, shrink = (int(call.option(field, "i", 0)) for field in range(5))
    if call.option(5, "?", False):
        raise FormatError("expected ends, found offsets, which are not supported")
    rank, steps = call.rank(0), call.ints(3, "steps")
    count = len(steps)
    if ellipsis & (ellipsis - 1):
        raise FormatError("expected one ellipsis at most, found more")
    known = [call.value(k) is not None for k in (1, 2)]
    begins, ends = (call.ints(k, "ends") if ok else None for k, ok in zip((1, 2), known))
    if any(one is not None and len(one) != count for one in (begins, ends)):
        raise FormatError(f"expected {count} ends, found {begins} and {ends}")
    # Which entry of the lists says something of which axis of the input.
    taken = sum(not (new | ellipsis) >> k & 1 for k in range(count))
    axes, unsqueezed, at = {}, [], 0
    made_axis = 0
    squeezed = []
    for k in range(count):
        if ellipsis >> k & 1:
            at += rank - taken
            made_axis += rank - taken
        elif new >> k & 1:
            unsqueezed.append(made_axis)
            made_axis += 1
        else:
            axes[k] = at
            if shrink >> k & 1:
                squeezed.append(at)
            else:
                made_axis += 1
            at += 1
    if at > rank or taken > rank:
        raise FormatError(f"expected at most {rank} slices, found {taken}")
    x = call.input(0)
    if not axes:
        return call.unsqueeze(x, *unsqueezed) if unsqueezed else x
    if any(steps[k] == 0 or (shrink >> k & 1 and steps[k] < 0) for k in axes):
        raise FormatError(f"expected steps that lead somewhere, found {steps}")
    if begins is None or (ends is None and any(not (end_mask | shrink) >> k & 1 for k in axes)):
        x = _computed(call, x, list(axes.items()), (begin_mask, end_mask, shrink), steps)
    else:
        starts, stops = [], []
        for k in axes:
            start = (_FAR if steps[k] < 0 else 0) if begin_mask >> k & 1 and not shrink >> k & 1 else begins[k]
            if shrink >> k & 1:
                stop = start + 1 if start != -1 else _FAR
            elif end_mask >> k & 1:
                stop = -_FAR if steps[k] < 0 else _FAR
            else:
                stop = ends[k] if ends is not None else 0
            starts.append(start)
            stops.append(stop)
        x = _cut(call, x, list(zip(axes.values(), starts, stops, [steps[k] for k in axes])))
    x = call.squeeze(x, *squeezed)
    return call.unsqueeze(x, *unsqueezed) if unsqueezed else x


def _cut(call: Call, x: str, parts: list[tuple[int, int, int, int]]) -> str:
    """A slice along those axes of which it leaves something out: axis, start, stop, step."""
    parts = [one for one in parts if one[1:] != (0, _FAR, 1)]
    if not parts:
        return x
    axes, *ends = ([int(value) for value in one] for one in zip(*parts))
    starts, stops, steps = (call.int_list(*one) for one in ends)
    return call.op("Slice", x, starts, stops, call.int_list(*axes), steps)


def _computed(
    call: Call, x: str, axes: list[tuple[int, int]], masks: tuple[int, int, int], steps: tuple[int, ...]
) -> str:
    """Where the ends are computed: one axis after the other."""
    begin_mask, end_mask, shrink = masks
    starts, stops = call.int64(1), call.int64(2)
    for k, axis in axes:
        here = call.int_list(k)
        far = [call.int_list(_FAR), call.int_list(-_FAR)][:: 1 if steps[k] > 0 else -1]
        start = call.op("Gather", starts, here, axis=0)
        if shrink >> k & 1:
            if axis != 0 and call.rank(0) < 2:
                raise FormatError("expected an axis of the input, found another")
            x = call.op("Gather", x, start, axis=axis)
            continue
        if begin_mask >> k & 1:
            start = call.int_list(0) if steps[k] > 0 else call.int_list(_FAR)
        stop = far[0] if end_mask >> k & 1 else call.op("Gather", stops, here, axis=0)
        x = call.op("Slice", x, start, stop, call.int_list(axis), call.int_list(steps[k]))
    return x


@operator("GATHER", options=23, inputs=2)
def _gather(call: Call) -> str:
    rank, batch = call.rank(0), int(call.option(1, "i", 0))
    axis = call.axis(int(call.option(0, "i", 0)), rank)
    places = _from_front(call, 1)
    if batch == 0:
        return call.op("Gather", call.input(0), places, axis=axis)
    if batch < 0 or axis != batch or batch >= call.rank(1) + 1:
        raise FormatError(f"expected the axis behind {batch} axes of the batch, found axis {axis}")
    indices = call.unsqueeze(places, call.rank(1))
    return call.op("GatherND", call.input(0), indices, batch_dims=batch)


@operator("GATHER_ND", inputs=2)
def _gather_nd(call: Call) -> str:
    return call.op("GatherND", call.input(0), call.int64(1))


@operator("EMBEDDING_LOOKUP", inputs=2)
def _embedding(call: Call) -> str:
    return call.op("Gather", call.input(1), _from_front(call, 0), axis=0)


def _from_front(call: Call, k: int) -> str:
    """Places of which none is counted from the back: those below 0 are out of range here, and not in the graph."""
    known, name = call.value(k), call.input(k)
    if known is not None:
        if known.size and known.min() < 0:
            raise FormatError(f"expected indices from 0, found {known.min()}")
        return name
    if call.scope.depth:  # loops pick by their counter
        return name
    return call.op("Where", call.op("Less", name, call.like(k, 0)), call.like(k, _OUT), name)


@operator("ONE_HOT", options=61, inputs=4)
def _one_hot(call: Call) -> str:
    axis = int(call.option(0, "i", -1))
    ends = [call.unsqueeze(call.input(k), 0) for k in (3, 2)]
    return call.op("OneHot", call.input(0), call.int64(1), call.op("Concat", *ends, axis=0), axis=axis)


@operator("TOPK_V2", inputs=2)
def _top(call: Call) -> list[str]:
    k = call.constant(np.array([call.ints(1, "k")[0]], np.int64))
    values, places = call.ops("TopK", [call.input(0), k], 2, axis=-1)
    return [values, call.op("Cast", places, to=np.dtype(np.int32))]
