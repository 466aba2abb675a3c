"""What moves data without changing it, or changes its type alone."""

from __future__ import annotations

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator


@operator("clone.default", "contiguous.default", "detach.default", "alias.default", "lift_fresh.default")
@operator("lift_fresh_copy.default", "detach_copy.default", "alias_copy.default", "positive.default")
def _same(call: Call) -> str:
    return call.tensor("self")


@operator("dropout.default", "feature_dropout.default", "alpha_dropout.default", "feature_alpha_dropout.default")
@operator("native_dropout.default")
def _dropout(call: Call) -> list[str | None]:
    if call.flag("train", True) and call.number("p", 0.5):
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
    sizes = call.items(name)
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
@operator("numpy_T.default", "mT.default")
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
    sizes = call.items("size")
    return call.op("Expand", call.tensor("self"), call.list_of("size", [1 if one == -1 else one for one in sizes]))


@operator("expand_as.default")
def _expand_as(call: Call) -> str:
    return call.op("Expand", call.tensor("self"), call.op("Shape", call.tensor("other")))


@operator("repeat.default", "tile.default")
def _repeat(call: Call) -> str:
    x = call.tensor("self")
    name = "repeats" if call.has("repeats") else "dims"
    count = call.items(name)
    more = len(count) - call.rank(x)
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
