"""What takes tensors apart and puts them together: slices, splits, joins, and what moves along an axis."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator

FAR = (1 << 63) - 1
"""What PyTorch writes for an end that is not given."""


@operator("slice.Tensor", "slice_copy.Tensor")
def _slice(call: Call) -> str:
    x = call.tensor("self")
    axis, step = call.axis(call.whole("dim", 0), call.rank(x)), call.whole("step", 1)
    if step < 1:
        raise FormatError(f"step: expected 1 or more, found {step}")
    ends = [
        call.list_of(name, call.value(name) if call.has(name) else usual)
        for name, usual in (("start", 0), ("end", FAR))
    ]
    return call.op("Slice", x, *ends, call.int_list(axis), call.int_list(step))


@operator("select.int", "select_copy.int")
def _select(call: Call) -> str:
    x, index = call.tensor("self"), call.value("index")
    axis = call.axis(call.whole("dim"), call.rank(x))
    if type(index) is int:
        return call.op("Gather", x, call.constant(np.array(index, np.int64)), axis=axis)
    return call.op("Gather", x, call.reshape(call.tensor("index")), axis=axis)


@operator("narrow.default", "narrow_copy.default")
def _narrow(call: Call) -> str:
    x = call.tensor("self")
    axis = call.axis(call.whole("dim"), call.rank(x))
    start, length = call.value("start"), call.value("length")
    if type(start) is int and type(length) is int:
        return call.slice(x, axis, start, start + length if start >= 0 or start + length else FAR)
    ends = call.list_of("start", start), call.list_of("length", length)
    return call.op("Slice", x, ends[0], call.op("Add", *ends), call.int_list(axis), call.int_list(1))


def _apart(call: Call, x: str, axis: int, sizes: list[int]) -> list[str]:
    """Parts of these sizes; the last one takes what is left where the whole is not known."""
    known = call.shape(x)[axis]
    if len(sizes) == 1 and type(known) is int and known == sizes[0]:
        return [x]
    if type(known) is int:
        return call.ops("Split", [x, call.int_list(*sizes)], len(sizes), axis=axis)
    ends = np.cumsum([0, *sizes]).tolist()
    return [call.slice(x, axis, a, b) for a, b in pairwise(ends)]


@operator("split.Tensor", "chunk.default", "unsafe_split.Tensor", "unsafe_chunk.default", "split_copy.Tensor")
def _split(call: Call) -> list[str]:
    x, count = call.tensor("self"), len(call.outputs)
    axis = call.axis(call.whole("dim", 0), call.rank(x))
    known = call.shape(x)[axis]
    if call.has("chunks"):
        if type(known) is not int:
            raise FormatError(f"expected a known size to cut in {call.whole('chunks')} parts, found {known}")
        each = -(-known // max(call.whole("chunks"), 1))
    else:
        each = call.whole("split_size")
    if each < 1 or (type(known) is int and -(-known // each) != count):
        raise FormatError(f"expected {count} parts of {known}, found a size of {each}")
    sizes = [each] * count
    if type(known) is int:
        sizes[-1] = known - each * (count - 1)
    return _apart(call, x, axis, sizes)


@operator("split_with_sizes.default", "split.sizes", "unsafe_split_with_sizes.default", "split_with_sizes_copy.default")
def _split_sizes(call: Call) -> list[str]:
    x, name = call.tensor("self"), "split_sizes" if call.has("split_sizes") else "split_size"
    axis = call.axis(call.whole("dim", 0), call.rank(x))
    given = call.items(name)
    if all(type(one) is int for one in given):
        return _apart(call, x, axis, list(given))
    return call.ops("Split", [x, call.sizes(name)], len(given), axis=axis)


@operator("tensor_split.sections", "tensor_split.indices")
def _tensor_split(call: Call) -> list[str]:
    x = call.tensor("self")
    axis = call.axis(call.whole("dim", 0), call.rank(x))
    size = call.shape(x)[axis]
    if type(size) is not int:
        raise FormatError(f"expected a known size to cut, found {size}")
    if call.has("indices"):
        ends = [0, *(min(max(one + size * (one < 0), 0), size) for one in call.ints("indices")), size]
        sizes = [max(b - a, 0) for a, b in pairwise(ends)]
    else:
        parts = call.whole("sections")
        if parts != len(call.outputs):
            raise FormatError(f"sections: expected {len(call.outputs)}, found {parts}")
        sizes = [size // parts + (k < size % parts) for k in range(parts)]
    return _apart(call, x, axis, sizes)


@operator("unbind.int", "unbind_copy.int")
def _unbind(call: Call) -> list[str]:
    x = call.tensor("self")
    axis = call.axis(call.whole("dim", 0), call.rank(x))
    return [call.op("Gather", x, call.constant(np.array(k, np.int64)), axis=axis) for k in range(len(call.outputs))]


@operator("cat.default", "concat.default", "concatenate.default")
def _cat(call: Call) -> str:
    """Tensors without elements and of one dimension do not count among others."""
    tensors = call.tensors("tensors")
    wide = [one for one in tensors if call.shape(one) != (0,)] or tensors[:1]
    if not wide:
        raise FormatError("tensors: expected some, found none")
    axis = call.axis(call.whole("dim", 0), call.rank(wide[0]))
    wide = [call.cast(one, call.made().dtype) for one in wide]
    return wide[0] if len(wide) == 1 else call.op("Concat", *wide, axis=axis)


@operator("stack.default")
def _stack(call: Call) -> str:
    tensors = call.tensors("tensors")
    if not tensors:
        raise FormatError("tensors: expected some, found none")
    axis = call.axis(call.whole("dim", 0), call.rank(tensors[0]) + 1)
    wide = [call.unsqueeze(call.cast(one, call.made().dtype), axis) for one in tensors]
    return wide[0] if len(wide) == 1 else call.op("Concat", *wide, axis=axis)


@operator("hstack.default", "vstack.default")
def _beside(call: Call) -> str:
    """Along the second dimension, of vectors the first; or along the first, vectors as rows."""
    tensors = [call.cast(one, call.made().dtype) for one in call.tensors("tensors")]
    if call.kind.startswith("vstack"):
        return call.op("Concat", *(one if call.rank(one) > 1 else call.reshape(one, 1, -1) for one in tensors), axis=0)
    wide = [one if call.rank(one) else call.reshape(one, 1) for one in tensors]
    return call.op("Concat", *wide, axis=min(call.rank(wide[0]) - 1, 1))


@operator("meshgrid.default", "meshgrid.indexing")
def _meshgrid(call: Call) -> list[str]:
    """Each of several vectors along an axis of its own; "xy" turns the first two."""
    tensors = [call.reshape(one, -1) for one in call.tensors("tensors")]
    order = list(range(len(tensors)))
    if call.value("indexing", "ij") == "xy" and len(order) > 1:
        order[:2] = [1, 0]
    wide = [call.unsqueeze(x, *(k for k in order if k != order[axis])) for axis, x in enumerate(tensors)]
    shape = call.op("Concat", *(call.op("Shape", tensors[order.index(k)]) for k in range(len(order))), axis=0)
    return [call.op("Expand", one, shape) for one in wide]


@operator("diff.default")
def _diff(call: Call) -> str:
    x = call.tensor("self")
    axis, times = call.axis(call.whole("dim", -1), call.rank(x)), call.whole("n", 1)
    if not 0 <= times <= 100 or call.has("prepend") or call.has("append"):
        raise FormatError(f"n: expected up to 100 and nothing in front or behind, found {times}")
    for _ in range(times):
        x = call.op("Sub", call.slice(x, axis, 1, FAR), call.slice(x, axis, 0, -1))
    return x


@operator("flip.default", "fliplr.default", "flipud.default")
def _flip(call: Call) -> str:
    x = call.tensor("self")
    usual = {"fliplr.default": [1], "flipud.default": [0]}.get(call.kind)
    for axis in call.ints("dims", default=usual):
        x = call.slice(x, call.axis(axis, call.rank(x)), -1, -FAR, -1)
    return x


@operator("roll.default")
def _roll(call: Call) -> str:
    x, shifts = call.tensor("self"), call.ints("shifts")
    axes = call.ints("dims", default=[])
    flat = x
    if not axes:
        x, axes = call.reshape(x, -1), (0,)
    if len(axes) != len(shifts):
        raise FormatError(f"expected as many shifts as dimensions, found {shifts} and {axes}")
    for shift, axis in zip(shifts, axes):
        axis = call.axis(axis, call.rank(x))
        size = call.shape(x)[axis]
        if type(size) is int:
            cut = call.int_list(-shift % size if size else 0)
        else:
            cut = call.op("Mod", call.int_list(-shift), call.op("Shape", x, start=axis, end=axis + 1))
        where, far = call.int_list(axis), call.int_list(FAR)
        parts = call.op("Slice", x, cut, far, where), call.op("Slice", x, call.int_list(0), cut, where)
        x = call.op("Concat", *parts, axis=axis)
    return x if call.ints("dims", default=[]) else call.op("Reshape", x, call.op("Shape", flat), allowzero=1)


_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@operator("constant_pad_nd.default", "pad.default", "reflection_pad1d.default", "reflection_pad2d.default")
@operator("reflection_pad3d.default", "replication_pad1d.default", "replication_pad2d.default")
@operator("replication_pad3d.default")
def _pad(call: Call) -> str:
    """Two numbers for each axis, from the last one on."""
    x, name = call.tensor("self"), "pad" if call.has("pad") else "padding"
    pads, rank = call.items(name), call.rank(x)
    kind = call.kind.partition("_")[0]
    mode = {"reflection": "reflect", "replication": "replicate"}.get(kind, call.value("mode", "constant"))
    if mode not in _MODES or len(pads) % 2 or len(pads) > 2 * rank:
        raise FormatError(f"{name}: expected two numbers for each of some axes and a mode, found {pads} and {mode!r}")
    starts, ends = [0] * rank, [0] * rank
    for k in range(len(pads) // 2):
        starts[rank - 1 - k], ends[rank - 1 - k] = pads[2 * k : 2 * k + 2]
    if not any(one != 0 for one in pads):
        return x
    value = [call.like(x, call.number("value", 0) if call.has("value") else 0.0)] if mode == "constant" else []
    return call.op("Pad", x, call.list_of(name, [*starts, *ends]), *value, mode=_MODES[mode])
