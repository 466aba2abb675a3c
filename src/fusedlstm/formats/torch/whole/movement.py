"""What moves data without changing it, or changes its type alone."""

from __future__ import annotations

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator

_FAR = (1 << 63) - 1


@operator("clone.default", "contiguous.default", "detach.default", "alias.default", "lift_fresh.default")
@operator("lift_fresh_copy.default", "detach_copy.default", "alias_copy.default", "positive.default")
@operator("resolve_conj.default", "resolve_neg.default", "_conj.default", "conj.default", "cpu.default")
def _same(call: Call) -> str:
    return call.tensor("self")


@operator("dropout.default", "feature_dropout.default", "alpha_dropout.default", "feature_alpha_dropout.default")
@operator("native_dropout.default")
def _dropout(call: Call) -> list[str | None]:
    if call.flag("train", True) and call.value("p", 0.5):
        raise FormatError("train: expected a module in eval mode, found one that drops out")
    return [call.tensor("input"), None]


@operator("to.dtype", "to.dtype_layout", "to.device", "to.other", "_to_copy.default", "type_as.default")
def _to(call: Call) -> str:
    x = call.tensor("self")
    if call.has("other"):
        return call.cast(x, call.kind_of(call.tensor("other")))
    return call.cast(x, call.dtype(default=call.kind_of(x)))


@operator("view.default", "reshape.default", "_unsafe_view.default", "view_copy.default", "_reshape_copy.default")
def _reshape(call: Call) -> str:
    name = "shape" if call.has("shape") else "size"
    sizes = call.value(name)
    computed = [k for k, one in enumerate(sizes) if type(one) is not int]
    if len(computed) == 1 and not {0, -1} & {one for one in sizes if type(one) is int}:
        sizes = [-1 if k in computed else one for k, one in enumerate(sizes)]  # the one that is left
    return call.reshape_to(call.tensor("self"), call.list_of(name, sizes))


@operator("view_as.default", "reshape_as.default")
def _reshape_as(call: Call) -> str:
    return call.op("Reshape", call.tensor("self"), call.op("Shape", call.tensor("other")), allowzero=1)


@operator("flatten.using_ints")
def _flatten(call: Call) -> str:
    x = call.tensor("self")
    rank = call.rank(x)
    if not rank:
        return call.reshape(x, 1)
    start, end = (call.axis(call.whole(name, usual), rank) for name, usual in (("start_dim", 0), ("end_dim", -1)))
    if start > end:
        raise FormatError(f"expected start_dim before end_dim, found {start} and {end}")
    if start == end:
        return x
    known = call.shape(x)
    parts = [call.op("Shape", x, start=0, end=start)] if start else []
    inner = known[start : end + 1]
    if all(type(size) is int for size in inner):
        parts.append(call.int_list(int(np.prod(inner, dtype=np.int64))))
    else:
        parts.append(call.op("ReduceProd", call.op("Shape", x, start=start, end=end + 1), call.int_list(0)))
    if end + 1 < rank:
        parts.append(call.op("Shape", x, start=end + 1))
    return call.op("Reshape", x, parts[0] if len(parts) == 1 else call.op("Concat", *parts, axis=0), allowzero=1)


@operator("unflatten.int")
def _unflatten(call: Call) -> str:
    x = call.tensor("self")
    axis = call.axis(call.whole("dim"), call.rank(x))
    parts = [call.op("Shape", x, start=0, end=axis)] if axis else []
    parts.append(call.sizes("sizes"))
    if axis + 1 < call.rank(x):
        parts.append(call.op("Shape", x, start=axis + 1))
    return call.op("Reshape", x, parts[0] if len(parts) == 1 else call.op("Concat", *parts, axis=0))


@operator("squeeze.default", "squeeze.dim", "squeeze.dims", "squeeze_copy.dim", "squeeze_copy.dims")
def _squeeze(call: Call) -> str:
    """Axes of one go; others that are named stay."""
    x = call.tensor("self")
    known = call.shape(x)
    rank = len(known)
    axes = [call.axis(one, rank) for one in call.ints("dim")] if call.has("dim") else range(rank)
    return call.squeeze(x, *(axis for axis in axes if rank and type(known[axis]) is int and known[axis] == 1))


@operator("unsqueeze.default", "unsqueeze_copy.default")
def _unsqueeze(call: Call) -> str:
    x = call.tensor("self")
    return call.unsqueeze(x, call.axis(call.whole("dim"), call.rank(x) + 1))


@operator("permute.default", "permute_copy.default")
def _permute(call: Call) -> str:
    x = call.tensor("self")
    rank = call.rank(x)
    perm = [call.axis(one, rank) for one in call.ints("dims")]
    if sorted(perm) != list(range(rank)):
        raise FormatError(f"dims: expected an order of {rank} dimensions, found {perm}")
    return call.transpose(x, *perm)


@operator("transpose.int", "swapaxes.default", "swapdims.default", "t.default", "transpose_copy.int", "t_copy.default")
@operator("numpy_T.default", "mT.default", "matrix_H.default")
def _transpose(call: Call) -> str:
    x = call.tensor("self")
    rank = call.rank(x)
    perm = list(range(rank))
    if call.kind.startswith("numpy_T"):
        return call.transpose(x, *reversed(perm))
    names = next((names for names in (("dim0", "dim1"), ("axis0", "axis1")) if call.has(names[0])), None)
    if rank < 2:
        return x
    a, b = (-2, -1) if names is None else (call.whole(one) for one in names)
    a, b = call.axis(a, rank), call.axis(b, rank)
    perm[a], perm[b] = perm[b], perm[a]
    return call.transpose(x, *perm)


@operator("movedim.int", "movedim.intlist", "moveaxis.int", "moveaxis.intlist")
def _movedim(call: Call) -> str:
    x = call.tensor("self")
    rank = call.rank(x)
    source, target = ([call.axis(one, rank) for one in call.ints(name)] for name in ("source", "destination"))
    if len(set(source)) != len(source) or len(set(target)) != len(target) or len(source) != len(target):
        raise FormatError(f"expected as many places as dimensions, each once, found {source} and {target}")
    perm = [axis for axis in range(rank) if axis not in source]
    for place, axis in sorted(zip(target, source)):
        perm.insert(place, axis)
    return call.transpose(x, *perm)


@operator("expand.default", "expand_copy.default", "broadcast_to.default")
def _expand(call: Call) -> str:
    sizes = call.value("size")
    sizes = sizes if isinstance(sizes, list) else [sizes]
    return call.op("Expand", call.tensor("self"), call.list_of("size", [1 if one == -1 else one for one in sizes]))


@operator("expand_as.default")
def _expand_as(call: Call) -> str:
    return call.op("Expand", call.tensor("self"), call.op("Shape", call.tensor("other")))


@operator("repeat.default", "tile.default")
def _repeat(call: Call) -> str:
    x = call.tensor("self")
    name = "repeats" if call.has("repeats") else "dims"
    count = call.value(name)
    more = len(count) - call.rank(x) if isinstance(count, list) else 0
    if more < 0:
        count = [1] * -more + count
    return call.op("Tile", call.unsqueeze(x, *range(max(more, 0))), call.list_of(name, count))


@operator("repeat_interleave.self_int")
def _repeat_interleave(call: Call) -> str:
    """Each element several times beside each other."""
    x, count = call.tensor("self"), call.whole("repeats")
    if not call.has("dim"):
        x, axis = call.reshape(x, -1), 0
    else:
        axis = call.axis(call.whole("dim"), call.rank(x))
    if not 0 < count <= 1 << 20:
        raise FormatError(f"repeats: expected 1 or more, found {count}")
    wide = call.op(
        "Tile",
        call.unsqueeze(x, axis + 1),
        call.int_list(*(count if k == axis + 1 else 1 for k in range(call.rank(x) + 1))),
    )
    shape = call.op(
        "Mul", call.op("Shape", x), call.int_list(*(count if k == axis else 1 for k in range(call.rank(x))))
    )
    return call.op("Reshape", wide, shape, allowzero=1)


@operator("slice.Tensor", "slice_copy.Tensor")
def _slice(call: Call) -> str:
    x = call.tensor("self")
    axis, step = call.axis(call.whole("dim", 0), call.rank(x)), call.whole("step", 1)
    if step < 1:
        raise FormatError(f"step: expected 1 or more, found {step}")
    ends = [
        call.list_of(name, call.value(name) if call.has(name) else usual)
        for name, usual in (("start", 0), ("end", _FAR))
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
        return call.slice(x, axis, start, start + length if start >= 0 or start + length else _FAR)
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
    return [call.slice(x, axis, a, b) for a, b in zip(ends, ends[1:])]


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
    given = call.value(name)
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
        sizes = [max(b - a, 0) for a, b in zip(ends, ends[1:])]
    else:
        parts = call.whole("sections")
        if not 0 < parts <= 10_000:
            raise FormatError(f"sections: expected 1 or more, found {parts}")
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
        x = call.op("Sub", call.slice(x, axis, 1, _FAR), call.slice(x, axis, 0, -1))
    return x


@operator("flip.default", "fliplr.default", "flipud.default")
def _flip(call: Call) -> str:
    x = call.tensor("self")
    usual = {"fliplr.default": [1], "flipud.default": [0]}.get(call.kind)
    for axis in call.ints("dims", default=usual):
        x = call.slice(x, call.axis(axis, call.rank(x)), -1, -_FAR, -1)
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
        where, far = call.int_list(axis), call.int_list(_FAR)
        parts = call.op("Slice", x, cut, far, where), call.op("Slice", x, call.int_list(0), cut, where)
        x = call.op("Concat", *parts, axis=axis)
    return x if call.has("dims") and call.value("dims") else call.op("Reshape", x, call.op("Shape", flat), allowzero=1)


_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@operator("constant_pad_nd.default", "pad.default", "reflection_pad1d.default", "reflection_pad2d.default")
@operator("reflection_pad3d.default", "replication_pad1d.default", "replication_pad2d.default")
@operator("replication_pad3d.default")
def _pad(call: Call) -> str:
    """Two numbers for each axis, from the last one on."""
    x, name = call.tensor("self"), "pad" if call.has("pad") else "padding"
    pads, rank = call.value(name), call.rank(x)
    kind = call.kind.partition("_")[0]
    mode = {"reflection": "reflect", "replication": "replicate"}.get(kind, call.value("mode", "constant"))
    if mode not in _MODES or not isinstance(pads, list) or len(pads) % 2 or len(pads) > 2 * rank:
        raise FormatError(f"{name}: expected two numbers for each of some axes and a mode, found {pads} and {mode!r}")
    starts, ends = [0] * rank, [0] * rank
    for k in range(len(pads) // 2):
        starts[rank - 1 - k], ends[rank - 1 - k] = pads[2 * k : 2 * k + 2]
    if not any(one != 0 for one in pads):
        return x
    value = [call.like(x, float(call.value("value", 0) or 0))] if mode == "constant" else []
    return call.op("Pad", x, call.list_of(name, [*starts, *ends]), *value, mode=_MODES[mode])


@operator("triu.default", "tril.default")
def _triangle(call: Call) -> str:
    k = call.constant(np.array(call.whole("diagonal", 0), np.int64))
    return call.op("Trilu", call.tensor("self"), k, upper=int(call.kind.startswith("triu")))


@operator("pixel_shuffle.default", "pixel_unshuffle.default")
def _pixel_shuffle(call: Call) -> str:
    x = call.tensor("self")
    if call.rank(x) != 4:
        raise FormatError(f"expected 4 dimensions, found {call.shape(x)}")
    if call.kind.startswith("pixel_shuffle"):
        return call.op("DepthToSpace", x, blocksize=call.whole("upscale_factor"), mode="CRD")
    return call.op("SpaceToDepth", x, blocksize=call.whole("downscale_factor"), mode="CRD")
