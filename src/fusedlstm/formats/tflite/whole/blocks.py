"""Places that go to the batch in blocks and back, and dilated convolutions, which are written with them."""

from __future__ import annotations

import numpy as np

from ....errors import FormatError
from .call import Call
from .convolution import FIRST, depthwise, full, padding, pair
from .registry import OPERATORS, operator
from .schema import name_of

_CONVOLUTIONS = {"CONV_2D": full, "DEPTHWISE_CONV_2D": depthwise}


@operator("SPACE_TO_BATCH_ND", inputs=3)
def _space_to_batch(call: Call) -> str:
    """Pad, then each place modulo the block goes to the batch."""
    x, block, pads = _blocks(call, "paddings")
    rank, count = call.rank(0), len(block)
    x = _padded(call, x, pads, rank, count)
    shape = call.op("Shape", x)
    parts, axes = [_size(call, shape, 0)], [0]
    for axis in range(count):
        parts += [call.op("Div", _size(call, shape, 1 + axis), call.int_list(block[axis])), call.int_list(block[axis])]
    parts += [_size(call, shape, axis) for axis in range(count + 1, rank)]
    x = call.op("Reshape", x, call.op("Concat", *parts, axis=0))
    axes = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2), *range(2 * count + 1, rank + count)]
    x = call.transpose(x, *axes)
    batch = call.op("Mul", parts[0], call.int_list(int(np.prod(block))))
    return call.op(
        "Reshape", x, call.op("Concat", batch, *parts[1 : 2 * count + 1 : 2], *parts[2 * count + 1 :], axis=0)
    )


@operator("BATCH_TO_SPACE_ND", inputs=3)
def _batch_to_space(call: Call) -> str:
    x, block, crops = _blocks(call, "crops")
    rank, count = call.rank(0), len(block)
    dilated = _dilated(call, block, crops)
    if dilated is not None:
        return dilated
    shape = call.op("Shape", x)
    batch = call.op("Div", _size(call, shape, 0), call.int_list(int(np.prod(block))))
    rest = [_size(call, shape, axis) for axis in range(1, rank)]
    x = call.op("Reshape", x, call.op("Concat", *(call.int_list(one) for one in block), batch, *rest, axis=0))
    axes = [count]
    for axis in range(count):
        axes += [count + 1 + axis, axis]
    x = call.transpose(x, *axes, *range(2 * count + 1, rank + count))
    whole = [call.op("Mul", rest[axis], call.int_list(block[axis])) for axis in range(count)]
    x = call.op("Reshape", x, call.op("Concat", batch, *whole, *rest[count:], axis=0))
    known = call.builder.constants.get(crops)
    if known is not None and not known.any():
        return x
    starts, ends = (call.op("Gather", crops, call.constant(np.array(k, np.int64)), axis=1) for k in (0, 1))
    stops = call.op("Sub", call.op("Concat", *whole, axis=0), ends)
    return call.op("Slice", x, starts, stops, call.int_list(*range(1, 1 + count)))


def _dilated(call: Call, block: tuple[int, ...], crops: str) -> str | None:
    """How dilated convolutions are written: into blocks, a convolution of each, and back. None where it is not that.

    What is put behind to fill the last block is cut off again. Without both, the rest depends on no length.
    """
    behind, made = _line(call, call.index(0), ("SQUEEZE", "RESHAPE"))
    if made is None or made.kind not in _CONVOLUTIONS:
        return None
    before, split = _line(call, made.index(0), ("EXPAND_DIMS", "RESHAPE"))
    plain = padding(made, 0) == "VALID" and pair(made, "stride", 2, 1, 0) == (1, 1)
    if split is None or split.kind != "SPACE_TO_BATCH_ND" or not plain or split.ints(1, "block") != block:
        return None
    axis = _one_more(call, made.index(0), split.operator.outputs[0]) if before else 0
    if (before is None) != (behind is None) or axis is None or len(block) > (1 if before else 2):
        return None
    if behind is not None and _one_more(call, made.operator.outputs[0], call.index(0)) != axis:
        return None
    x, rank = split.input(0), split.rank(0)
    x = _padded(call, x, call.op("Sub", split.int64(2), crops), rank, len(block))
    apart = (1, *block) if axis == 1 else (*block, 1)
    x = call.transpose(call.unsqueeze(x, axis) if axis else x, *FIRST)
    y = _CONVOLUTIONS[made.kind](made, x, (apart[0], apart[1]))
    return call.squeeze(y, axis) if axis else y


def _line(call: Call, index: int, views: tuple[str, ...]) -> tuple[Call | None, Call | None]:
    """What makes a tensor: an operator of those kinds, if there is one, and the one before it."""
    found = []
    for _ in range(2):
        operator = call.graph.producers.get(index)
        if operator is None:
            return None, None
        kind = name_of(operator.code)
        found.append(Call(call.scope, kind, operator, OPERATORS[kind].options if kind in OPERATORS else 0))
        if kind not in views or not found[-1].has(0):
            break
        index = found[-1].index(0)
    return (found[0], found[1]) if len(found) > 1 else (None, found[0])


def _one_more(call: Call, more: int, less: int) -> int | None:
    """Which axis of one, of the second and third, a tensor has and another one has not; None where that is not so."""
    axes = [axis for axis in (1, 2) if _without(call, more, axis) == call.graph.open_shape(less)]
    return axes[0] if len(axes) == 1 else None


def _without(call: Call, index: int, axis: int) -> tuple[int | None, ...] | None:
    shape = call.graph.open_shape(index)
    return (*shape[:axis], *shape[axis + 1 :]) if len(shape) == 4 and shape[axis] == 1 else None


def _padded(call: Call, x: str, pads: str, rank: int, count: int) -> str:
    """With zeros before and behind `count` axes from the second on; `pads` is (count, 2)."""
    every = call.op("Pad", call.transpose(pads, 1, 0), call.int_list(0, 1, 0, rank - count - 1), mode="constant")
    return call.op("Pad", x, call.reshape(every, -1), mode="constant")


def _blocks(call: Call, what: str) -> tuple[str, tuple[int, ...], str]:
    """What is put into blocks, their sizes, and before and behind each axis how much is added or taken."""
    block, known, rank = call.ints(1, "block"), call.value(2), call.rank(0)
    shape = call.graph.shape(call.index(2))
    if len(block) > rank - 1 or min(block, default=0) < 1 or tuple(shape) != (len(block), 2):
        raise FormatError(f"expected block and {what} of {rank - 1} axes at most, found {block} and {shape}")
    if known is not None and known.min() < 0:
        raise FormatError(f"{what}: expected none below 0, found {known.tolist()}")
    return call.input(0), block, call.int64(2)


def _size(call: Call, shape: str, axis: int) -> str:
    return call.op("Gather", shape, call.int_list(axis), axis=0)
