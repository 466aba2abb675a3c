"""What moves data without changing it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator

_MOST_PLACES = 1 << 20


@operator("RESHAPE", options=17, inputs=(1, 2))
def _reshape(call: Call) -> str:
    """To the shape of the second input, else of the options."""
    x = call.input(0)
    if call.has(1) and call.value(1) is None:
        return call.op("Reshape", x, call.int64(1))
    if call.has(1):
        wanted = list(call.ints(1, "shape"))
    else:
        table = call.operator.options
        stated = None if table is None or call.operator.options_type != 17 else table.numbers(0, "<i4")
        wanted = [int(size) for size in (call.graph.shape(call.operator.outputs[0]) if stated is None else stated)]
    return call.op("Reshape", x, call.int_list(*wanted), allowzero=1)


@operator("TRANSPOSE", inputs=2)
def _transpose(call: Call) -> str:
    perm = call.ints(1, "order")
    if sorted(perm) != list(range(call.rank(0))):
        raise FormatError(f"expected an order of {call.rank(0)} axes, found {perm}")
    return call.transpose(call.input(0), *perm)


@operator("CONCATENATION", options=10, inputs=(1, 4096))
def _concatenation(call: Call) -> str:
    made = call.op("Concat", *call.inputs(), axis=int(call.option(0, "i", 0)))
    return call.activated(made, 1) if call.kind_of(0).kind == "f" else made


@operator("PACK", options=59, inputs=(1, 4096))
def _pack(call: Call) -> str:
    axis = call.axis(int(call.option(1, "i", 0)), call.rank(0) + 1)
    parts = [call.unsqueeze(one, axis) for one in call.inputs()]
    return parts[0] if len(parts) == 1 else call.op("Concat", *parts, axis=axis)


@operator("UNPACK", options=64)
def _unpack(call: Call) -> list[str]:
    axis, count = call.axis(int(call.option(1, "i", 0)), call.rank(0)), len(call.operator.outputs)
    known = call.shape(call.input(0))
    if known is not None and type(known[axis]) is int and known[axis] != count:
        raise FormatError(f"expected as many outputs as axis {axis} of shape {known} has places, found {count}")
    index = [call.constant(np.array(k, np.int64)) for k in range(count)]
    return [call.op("Gather", call.input(0), one, axis=axis) for one in index]


@operator("SPLIT", options=35, inputs=2)
def _split(call: Call) -> list[str]:
    count = len(call.operator.outputs)
    axis, known = call.axis(call.whole(0, "axis"), call.rank(1)), call.shape(call.input(1))
    if known is not None and type(known[axis]) is int and known[axis] % count:
        raise FormatError(f"expected {count} equal parts along axis {axis}, found shape {known}")
    return call.ops("Split", [call.input(1)], count, axis=axis, num_outputs=count)


@operator("SPLIT_V", options=79, inputs=3)
def _split_sizes(call: Call) -> list[str]:
    sizes, axis = list(call.ints(1, "sizes")), call.axis(call.whole(2, "axis"), call.rank(0))
    if -1 in sizes:
        known = call.shape(call.input(0))
        if known is None or type(known[axis]) is not int:
            return _split_open(call, axis, sizes)
        sizes[sizes.index(-1)] = known[axis] - sum(sizes) - 1
    return call.ops("Split", [call.input(0), call.int_list(*sizes)], len(sizes), axis=axis)


def _split_open(call: Call, axis: int, sizes: list[int]) -> list[str]:
    """Parts of an axis of open size, of which one is what is left."""
    at = sizes.index(-1)
    ends = [*np.cumsum([0, *sizes[:at]]).tolist(), *(-sum(sizes[k:]) or 1 << 31 for k in range(at + 1, len(sizes) + 1))]
    return [call.slice(call.input(0), axis, start, end) for start, end in pairwise(ends)]


@operator("EXPAND_DIMS", inputs=2)
def _expand_dims(call: Call) -> str:
    return call.unsqueeze(call.input(0), call.axis(call.whole(1, "axis"), call.rank(0) + 1))


@operator("SQUEEZE", options=30)
def _squeeze(call: Call) -> str:
    table = call.operator.options
    axes = [] if table is None or call.operator.options_type != 30 else table.integers(0)
    rank = call.rank(0)
    if axes:
        return call.squeeze(call.input(0), *(call.axis(axis, rank) for axis in axes))
    known = call.graph.open_shape(call.index(0))
    return call.squeeze(call.input(0), *(axis for axis, size in enumerate(known) if size == 1))


def _pads(call: Call) -> str:
    """ONNX's list of a (axes, 2) table: all starts, then all ends."""
    table = call.value(1)
    if table is None and tuple(call.graph.shape(call.index(1))) == (call.rank(0), 2):
        return call.reshape(call.transpose(call.int64(1), 1, 0), -1)
    table = call.array(1, "paddings")
    if table.shape != (call.rank(0), 2) or table.min(initial=0) < 0:
        raise FormatError(f"paddings: expected two numbers from 0 for each of {call.rank(0)} axes, found {table.shape}")
    return call.constant(table.T.reshape(-1).astype(np.int64))


@operator("PAD", "PADV2", inputs=(2, 3))
def _pad(call: Call) -> str:
    value = [call.op("Reshape", call.input(2), call.constant(np.zeros(0, np.int64)))] if call.has(2) else []
    return call.op("Pad", call.input(0), _pads(call), *value, mode="constant")


@operator("MIRROR_PAD", options=77, inputs=2)
def _mirror_pad(call: Call) -> str:
    """REFLECT leaves the edge out; SYMMETRIC repeats it."""
    mode = int(call.option(0, "b", 0))
    if mode == 0:
        return call.op("Pad", call.input(0), _pads(call), mode="reflect")
    x = call.input(0)
    for axis, (start, end) in enumerate(call.array(1, "paddings").tolist()):
        _pads(call)
        parts = [x]
        if start:
            parts.insert(0, call.slice(x, axis, start - 1, -(1 << 31), -1))
        if end:
            parts.append(call.slice(x, axis, -1, -end - 1, -1))
        x = x if len(parts) == 1 else call.op("Concat", *parts, axis=axis)
    return x


@operator("REVERSE_V2", inputs=2)
def _reverse(call: Call) -> str:
    x = call.input(0)
    for axis in call.ints(1, "axes"):
        x = call.slice(x, call.axis(axis, call.rank(0)), -1, -(1 << 31), -1)
    return x


@operator("REVERSE_SEQUENCE", options=87, inputs=2)
def _reverse_sequence(call: Call) -> str:
    time, batch = int(call.option(0, "i", 0)), int(call.option(1, "i", 0))
    if {time, batch} != {0, 1}:
        raise FormatError(f"expected time and batch along axes 0 and 1, found {time} and {batch}")
    return call.op("ReverseSequence", call.input(0), call.int64(1), batch_axis=batch, time_axis=time)


@operator("DYNAMIC_UPDATE_SLICE", inputs=3)
def _update(call: Call) -> str:
    """Another tensor in the place of a part; it is moved inside where it would reach out."""
    shapes = call.shape(call.input(0)), call.shape(call.input(1))
    if any(shape is None or any(type(size) is not int for size in shape) for shape in shapes):
        raise FormatError(f"expected known shapes, found {shapes[0]} and {shapes[1]}")
    (whole, part), starts = [tuple(shape or ()) for shape in shapes], call.ints(2, "starts")
    if len(whole) != len(part) or len(starts) != len(whole) or any(n < m for n, m in zip(whole, part)):
        raise FormatError(f"expected a part of shape {whole} and where it starts, found {part} and {starts}")
    if np.prod(part, dtype=np.int64) > _MOST_PLACES:
        raise FormatError(f"expected a part of at most {_MOST_PLACES} elements, found shape {part}")
    at = [min(max(start, 0), n - m) for start, n, m in zip(starts, whole, part)]
    places = np.moveaxis(np.indices(part), 0, -1) + np.array(at, np.int64)
    return call.op("ScatterND", call.input(0), call.constant(places.astype(np.int64)), call.input(1))


@operator("TILE", inputs=2)
def _tile(call: Call) -> str:
    return call.op("Tile", call.input(0), call.int64(1))
