"""What moves data without changing it."""

from __future__ import annotations

import numpy as np

from ..dims import Dim, Size
from .operator import (
    MANY,
    Array,
    Attributes,
    Call,
    Shape,
    TensorType,
    axes_of,
    axis_of,
    differ,
    expect_rank,
    flag,
    integer,
    integers,
    operator,
    same,
    same_types,
    text,
)
from .shapes import product
from .slices import places_of, sliced, slices


def reshaped(shape: Shape, wanted: Shape, allowzero: int = 0) -> Shape:
    """The shape that Reshape makes of `shape`: 0 keeps a size, -1 takes what is left."""
    found = list(wanted)
    for axis, size in enumerate(found):
        if type(size) is int and size == 0 and not allowzero:
            found[axis] = shape[axis]
    if any(type(size) is int and size == -1 for size in found):
        at = found.index(-1)
        rest = product(found[:at] + found[at + 1 :])
        if type(rest) is int and (rest <= 0 or found.count(-1) > 1):
            raise ValueError(f"expected {wanted} to leave one size open, found it cannot be told")
        whole = product(shape)
        if type(whole) is int and type(rest) is int and whole % rest:
            raise ValueError(f"expected a shape for {whole} elements, found {wanted}")
        found[at] = whole // rest
    elif differ(product(shape), product(found)):
        raise ValueError(f"expected a shape for {product(shape)} elements, found {wanted}")
    return tuple(found)


def _reshape_rule(call: Call) -> list[TensorType]:
    return [TensorType(reshaped(call.shapes[0], call.ints(1), call.attributes["allowzero"]), call.dtypes[0])]


@operator("Reshape", _reshape_rule, 2, shape_inputs=(1,), allowzero=flag())
def _reshape(a: Attributes, x: Array, shape: Array) -> Array:
    return x.reshape(reshaped(x.shape, tuple(shape.tolist()), a["allowzero"]))


def _squeeze_rule(call: Call) -> list[TensorType]:
    shape = call.shapes[0]
    if call.has(1):
        axes = axes_of(call.ints(1), len(shape))
        if any(differ(shape[axis], 1) for axis in axes):
            raise ValueError(f"expected sizes of 1 along axes {list(axes)}, found shape {shape}")
    else:
        if any(isinstance(size, Dim) for size in shape):
            call.ints(0)
        axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return [TensorType(tuple(size for axis, size in enumerate(shape) if axis not in axes), call.dtypes[0])]


@operator("Squeeze", _squeeze_rule, (1, 2), shape_inputs=(1,))
def _squeeze(a: Attributes, x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, None if axes is None else axes_of(axes.reshape(-1).tolist(), x.ndim))


def _unsqueeze_rule(call: Call) -> list[TensorType]:
    shape, given = list(call.shapes[0]), call.ints(1)
    for axis in sorted(axes_of(given, len(shape) + len(given))):
        shape.insert(axis, 1)
    return [TensorType(tuple(shape), call.dtypes[0])]


@operator("Unsqueeze", _unsqueeze_rule, 2, shape_inputs=(1,))
def _unsqueeze(a: Attributes, x: Array, axes: Array) -> Array:
    return np.expand_dims(x, axes_of(axes.reshape(-1).tolist(), x.ndim + axes.size))


def _flatten_rule(call: Call) -> list[TensorType]:
    shape, axis = call.shapes[0], call.attributes["axis"]
    if not -len(shape) <= axis <= len(shape):
        raise ValueError(f"expected an axis of {len(shape)} dimensions, found {axis}")
    axis += len(shape) if axis < 0 else 0
    return [TensorType((product(shape[:axis]), product(shape[axis:])), call.dtypes[0])]


@operator("Flatten", _flatten_rule, axis=integer(1))
def _flatten(a: Attributes, x: Array) -> Array:
    axis = a["axis"] + (x.ndim if a["axis"] < 0 else 0)
    return x.reshape(product(x.shape[:axis]), product(x.shape[axis:]))


def _transpose_rule(call: Call) -> list[TensorType]:
    shape, order = call.shapes[0], call.attributes["perm"]
    if order is None:
        return [TensorType(shape[::-1], call.dtypes[0])]
    if len(order) != len(shape) or sorted(order) != list(range(len(shape))):
        raise ValueError(f"expected an order of {len(shape)} axes, found {order}")
    return [TensorType(tuple(shape[axis] for axis in order), call.dtypes[0])]


@operator("Transpose", _transpose_rule, perm=integers())
def _transpose(a: Attributes, x: Array) -> Array:
    return np.transpose(x, a["perm"])


def _concat_rule(call: Call) -> list[TensorType]:
    first = call.shapes[0]
    axis = axis_of(call.attributes["axis"], len(first))
    total: Size = 0
    for shape in call.shapes:
        if len(shape) != len(first):
            raise ValueError(f"expected shapes that differ along axis {axis} alone, found {first} and {shape}")
        total = total + shape[axis]
        if shape is not first and any(differ(*pair) for k, pair in enumerate(zip(shape, first)) if k != axis):
            raise ValueError(f"expected shapes that differ along axis {axis} alone, found {first} and {shape}")
    return [TensorType((*first[:axis], total, *first[axis + 1 :]), same_types(call))]


@operator("Concat", _concat_rule, (1, MANY), axis=integer())
def _concat(a: Attributes, *parts: Array) -> Array:
    return np.concatenate(parts, a["axis"])


def split_sizes(size: Size, sizes: Shape | None, count: int) -> list[Size]:
    """The sizes that Split cuts."""
    if sizes is not None:
        if differ(sum(sizes), size) or any(one < 0 for one in sizes):
            raise ValueError(f"expected parts of {size} elements, found {list(sizes)}")
        return list(sizes)
    if type(size) is not int:
        each = size // count
        return [each] * count if each * count == size else [Dim.unknown("split", size, count, k) for k in range(count)]
    each = -(-size // count)
    return [max(0, min(each, size - each * k)) for k in range(count)]


def _split_rule(call: Call) -> list[TensorType]:
    shape, dtype = call.shapes[0], call.dtypes[0]
    axis = axis_of(call.attributes["axis"], len(shape))
    parts = split_sizes(
        shape[axis], call.ints(1) if call.has(1) else None, call.attributes["num_outputs"] or call.outputs
    )
    if len(parts) != call.outputs:
        raise ValueError(f"expected {len(parts)} outputs, found {call.outputs}")
    return [TensorType((*shape[:axis], part, *shape[axis + 1 :]), dtype) for part in parts]


@operator("Split", _split_rule, (1, 2), (1, MANY), (1,), axis=integer(0), num_outputs=integer(None, least=1))
def _split(a: Attributes, x: Array, split: Array | None = None) -> list[Array]:
    sizes = None if split is None else tuple(split.tolist())
    ends = np.cumsum(split_sizes(x.shape[a["axis"]], sizes, a["num_outputs"] or 1))[:-1]
    return np.split(x, ends, a["axis"])


def _slice_rule(call: Call) -> list[TensorType]:
    shape = list(call.shapes[0])
    given = [call.ints(k) if call.has(k) else None for k in range(1, 5)]
    for axis, start, end, step in slices(given, len(shape)):
        shape[axis] = sliced(shape[axis], start, end, step)
    return [TensorType(tuple(shape), call.dtypes[0])]


@operator("Slice", _slice_rule, (3, 5), shape_inputs=(1, 2, 3, 4))
def _slice(a: Attributes, x: Array, *given: Array | None) -> Array:
    where = [slice(None)] * x.ndim
    ints = [None if one is None else tuple(one.tolist()) for one in (*given, None, None)][:4]
    for axis, start, end, step in slices(ints, x.ndim):
        places = places_of(x.shape[axis], start, end, step)
        where[axis] = slice(places.start, None if places.stop < 0 else places.stop, step)
    return x[tuple(where)]


def paddings(pads: Shape, axes: Shape | None, rank: int) -> list[tuple[Size, Size]]:
    """What Pad adds before and after, for each axis."""
    over = axes_of(tuple(range(rank)) if axes is None else axes, rank)
    if len(pads) != 2 * len(over):
        raise ValueError(f"expected {2 * len(over)} pads, found {len(pads)}")
    found: list[tuple[Size, Size]] = [(0, 0)] * rank
    for k, axis in enumerate(over):
        found[axis] = (pads[k], pads[k + len(over)])
    return found


def _pad_rule(call: Call) -> list[TensorType]:
    shape = call.shapes[0]
    pads = paddings(call.ints(1), call.ints(3) if call.has(3) else None, len(shape))
    found = tuple(before + size + after for size, (before, after) in zip(shape, pads))
    cut = (size + min(before, 0) + min(after, 0) for size, (before, after) in zip(shape, pads))
    if any(size < 0 for size in cut):
        raise ValueError(f"expected pads that leave something of {shape}, found {pads}")
    if call.attributes["mode"] == "reflect" and any(
        type(size) is int and max(pair) >= max(size, 1) for size, pair in zip(shape, pads) if max(pair) > 0
    ):
        raise ValueError(f"expected reflected pads smaller than {shape}, found {pads}")
    return [TensorType(found, call.dtypes[0])]


@operator("Pad", _pad_rule, (2, 4), shape_inputs=(1, 3), mode=text("constant", "reflect", "edge", "wrap"))
def _pad(a: Attributes, x: Array, pads: Array, value: Array | None = None, axes: Array | None = None) -> Array:
    both = paddings(tuple(pads.tolist()), None if axes is None else tuple(axes.tolist()), x.ndim)
    cut = tuple(slice(max(-b, 0), n - max(-e, 0)) for n, (b, e) in zip(x.shape, both))
    grow = [(max(b, 0), max(e, 0)) for b, e in both]
    if a["mode"] == "constant":
        return np.pad(x[cut], grow, constant_values=0 if value is None else value.reshape(()))
    return np.pad(x[cut], grow, a["mode"])


def _tile_rule(call: Call) -> list[TensorType]:
    shape, repeats = call.shapes[0], call.ints(1)
    if len(repeats) != len(shape) or any(times < 0 for times in repeats):
        raise ValueError(f"expected {len(shape)} repeats, found {list(repeats)}")
    return [TensorType(tuple(size * times for size, times in zip(shape, repeats)), call.dtypes[0])]


@operator("Tile", _tile_rule, 2, shape_inputs=(1,))
def _tile(a: Attributes, x: Array, repeats: Array) -> Array:
    return np.tile(x, repeats.tolist())


def _depth_rule(call: Call) -> list[TensorType]:
    n, c, h, w = expect_rank(call, 0, 4)
    block = call.attributes["blocksize"]
    if type(c) is int and c % block**2:
        raise ValueError(f"expected channels in groups of {block**2}, found {c}")
    return [TensorType((n, c // block**2, h * block, w * block), call.dtypes[0])]


@operator("DepthToSpace", _depth_rule, blocksize=integer(least=1), mode=text("DCR", "CRD"))
def _depth_to_space(a: Attributes, x: Array) -> Array:
    (n, c, h, w), b = x.shape, a["blocksize"]
    if a["mode"] == "DCR":
        parts = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // b**2, h * b, w * b)


def _space_rule(call: Call) -> list[TensorType]:
    n, c, h, w = expect_rank(call, 0, 4)
    block = call.attributes["blocksize"]
    if any(type(size) is int and size % block for size in (h, w)):
        raise ValueError(f"expected sizes in blocks of {block}, found {h} and {w}")
    return [TensorType((n, c * block**2, h // block, w // block), call.dtypes[0])]


@operator("SpaceToDepth", _space_rule, blocksize=integer(least=1), mode=text("DCR", "CRD"))
def _space_to_depth(a: Attributes, x: Array) -> Array:
    (n, c, h, w), b = x.shape, a["blocksize"]
    order = (0, 3, 5, 1, 2, 4) if a["mode"] == "DCR" else (0, 1, 3, 5, 2, 4)
    return x.reshape(n, c, h // b, b, w // b, b).transpose(order).reshape(n, c * b**2, h // b, w // b)


def _lengths_rule(call: Call) -> list[TensorType]:
    if {call.attributes["batch_axis"], call.attributes["time_axis"]} != {0, 1}:
        raise ValueError("expected batch_axis and time_axis to be 0 and 1, found others")
    return same(call)


@operator("ReverseSequence", _lengths_rule, 2, batch_axis=integer(1), time_axis=integer(0))
def _reverse_sequence(a: Attributes, x: Array, lengths: Array) -> Array:
    moved = np.moveaxis(x, (a["batch_axis"], a["time_axis"]), (0, 1)).copy()
    for row, length in enumerate(lengths.tolist()):
        moved[row, :length] = moved[row, :length][::-1].copy()
    return np.moveaxis(moved, (0, 1), (a["batch_axis"], a["time_axis"]))
