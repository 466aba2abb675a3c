"""What moves data: time may come to lie on another axis, or be cut."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ...operators.movement import slices
from ...operators.operator import axes_of, axis_of
from ..chunk import Chunk, Window
from ..flow import Flow, Moved, Moving, goes
from .pointwise import delayed, together

_FAR = 1 << 31


_LAST = "it gives the last step alone (return_sequences=False), and a stream has no last one"


def latest(moving: Moving, flow: Flow, why: str = _LAST) -> Flow:
    """What the last step alone gives, where that is wanted at every step; `why` it is not there otherwise.

    Raises
    ------
    ValueError
        It is not.
    """
    if not moving.walk.every_step:
        raise ValueError(f"{why}; stream(every_step=True) gives at every step what would come if it were the last")
    if flow.tail:
        raise ValueError("what comes before it is padded behind the last step, and a stream has none")
    # Where several steps come at once, or some are put in front, there is one result.
    need = flow.start - (flow.start - flow.need) % flow.stride
    return replace(flow.alone, axis=-1, need=need, rate=1, cut=0)


@goes("Transpose")
def _transpose(moving: Moving) -> Moved:
    flow, rank = moving.flow(), len(moving.shapes[0])
    perm = moving.a["perm"] or tuple(range(rank))[::-1]
    return Moved([flow.moved(perm.index(flow.axis))])


@goes("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(moving: Moving) -> Moved:
    """The same elements in the same order: what lies before and behind the steps stays as much."""
    flow, shape, made = moving.flow(), moving.shapes[0], moving.made[0]
    outer = math.prod(shape[: flow.axis]) * flow.outer
    inner = flow.inner * math.prod(shape[flow.axis + 1 :])
    if not outer * inner:
        raise ValueError(f"expected steps that have elements, found shape {shape}")
    steps = shape[flow.axis] // (flow.outer * flow.inner)
    for axis, size in enumerate(made):
        count = size // steps if type(size) is not int else 0
        if not count or type(count) is not int or count * steps != size:
            continue
        ahead, behind = math.prod(made[:axis]), math.prod(made[axis + 1 :])
        if (
            ahead * behind
            and outer % ahead == 0
            and inner % behind == 0
            and (outer // ahead) * (inner // behind) == count
        ):
            found = flow.moved(axis, outer // ahead, inner // behind)
            break
    else:
        raise ValueError("it puts steps and other axes together in a way that depends on how long the sequence is")
    if moving.node.op == "Squeeze" and len(moving.node.inputs) < 2:
        raise ValueError("expected it to say which axes, as the number of steps may be 1")
    kind, name = moving.walk.graph.types[moving.node.outputs[0]], moving.node.outputs[0]

    def write(chunk: Chunk) -> None:
        target = chunk.constant(np.array(chunk.sized(kind, found), np.int64), f"{name}/shape")
        chunk.put(name, chunk.add("Reshape", [chunk.name(moving.node.inputs[0]), target], name))

    return Moved([found], write)


@goes("Concat")
def _concat(moving: Moving) -> Moved:
    axis = axis_of(moving.a["axis"], len(moving.made[0]))
    flows = moving.flows
    if all(flow is not None and flow.axis != axis for flow in flows):
        return delayed(moving, *together(moving, [flow.axis if flow is not None else None for flow in flows]))
    if any(flow is None for flow in flows[:-1]) and all(flow is None for flow in flows[:-1]) and flows[-1].axis == axis:  # type: ignore[union-attr]
        count = sum(shape[axis] for shape in moving.shapes[:-1])
        return _in_front(moving, flows[-1], count)  # type: ignore[arg-type]
    raise ValueError("expected inputs that go along time beside each other, found some that follow each other in it")


def _in_front(moving: Moving, flow: Flow, count: int) -> Moved:
    """Some steps before the first one: the node itself with the first chunk, and nothing from then on."""
    made = flow.alone.after(count) if count else flow
    name = moving.node.outputs[0]
    place = next(k for k, one in enumerate(moving.flows) if one is not None)

    def write(chunk: Chunk) -> None:
        if chunk.before < flow.start:
            chunk.copy(moving.node)
        else:
            chunk.put(name, chunk.name(moving.node.inputs[place]))

    return Moved([made], write)


@goes("Pad")
def _pad(moving: Moving) -> Moved:
    flow, rank = moving.flow(), len(moving.shapes[0])
    pads, over = moving.ints(1), moving.ints(3)
    assert pads is not None
    axes = axes_of(range(rank) if over is None else over, rank)
    if flow.axis not in axes:
        return Moved([flow])
    k, n = axes.index(flow.axis), len(axes)
    before, after = pads[k], pads[n + k]
    if not before and not after:
        return Moved([flow])
    if moving.a["mode"] not in (("constant", "edge") if after <= 0 else ("constant",)):
        raise ValueError(f"its edge is padded with {moving.a['mode']} steps, which are not there yet")
    flow = flow.alone
    if before < 0 or after < 0:
        if before > 0 or after > 0 or any(pads[j] or pads[n + j] for j in range(n) if j != k):
            raise ValueError("expected padding or cutting, found both")
        return _cut(moving, flow, -before, -after, 1)
    made = replace(flow.after(before), tail=flow.tail + after, blame=moving.node if after else flow.blame)
    rest = [*pads[:k], 0, *pads[k + 1 : n + k], 0, *pads[n + k + 1 :]]

    def write(chunk: Chunk) -> None:
        own = list(rest)
        own[k] = before if chunk.before < flow.start else 0
        x, *others = (chunk.name(name) if name else "" for name in moving.node.inputs)
        if any(own):
            chunk.copy(moving.node, [x, chunk.constant(np.array(own), f"{x}/pads"), *others[1:]])
        else:
            chunk.put(moving.node.outputs[0], x)

    return Moved([made], write)


@goes("Slice")
def _slice(moving: Moving) -> Moved:
    flow, shape = moving.flow(), moving.shapes[0]
    given: list[Any] = [moving.ints(k) for k in range(1, 5)]
    found = slices(given, len(shape))
    own = [(start, end, step) for axis, start, end, step in found if axis == flow.axis]
    if not own:
        return Moved([flow])
    start, end, step = own[0]
    if start == -1 and end >= _FAR and step == 1:
        made = latest(moving, flow)

        def write(chunk: Chunk) -> None:
            if chunk.new(made):
                chunk.copy(moving.node)

        return Moved([made], write)
    if step < 0:
        raise ValueError("it turns the steps round (go_backwards), and needs the end of the sequence first")
    if -_FAR < start < 0 or 0 <= end < _FAR:
        raise ValueError("it picks steps by where the sequence ends, or takes a fixed number of them")
    if len(found) > 1:
        raise ValueError("expected a slice along time alone, found one along other axes as well")
    flow = flow.alone
    return _cut(moving, flow, max(start, 0), 0 if end > 0 else -end, step)


def _cut(moving: Moving, flow: Flow, start: int, end: int, step: int) -> Moved:
    """Without the first steps and the last ones: a window of one step."""
    made, past = flow.windows(1, step, -start, -end, moving.node)
    window = Window(moving.walk, moving.node.inputs[0], past, moving.node)
    moving.walk.offsets.append(
        lambda n, t: made.settled(n) * step - flow.settled(n) if made.settled(n + t) > made.settled(n) else 0
    )

    def write(chunk: Chunk) -> None:
        first, stop = made.settled(chunk.before), made.settled(chunk.before + chunk.count)
        x = window.take(chunk, first * step + start, (stop - 1) * step + start + 1 if stop > first else 0)
        if stop > first:
            if step > 1:
                ends = [chunk.constant(np.array([one]), f"{x}/step") for one in (0, _FAR, window.axis, step)]
                x = chunk.add("Slice", [x, *ends], x)
            chunk.put(moving.node.outputs[0], x)

    return Moved([made], write)


@goes("Split")
def _split(moving: Moving) -> Moved:
    flow = moving.flow()
    if axis_of(moving.a["axis"], len(moving.shapes[0])) == flow.axis:
        raise ValueError("it cuts the sequence by how long it is")
    return Moved([flow] * len(moving.node.outputs))


@goes("Expand", "Tile")
def _expand(moving: Moving) -> Moved:
    """Along other axes than time."""
    flow, made = moving.flow(), moving.made[0]
    axis = flow.axis + len(made) - len(moving.shapes[0])
    if made[axis] != moving.shapes[0][flow.axis]:
        raise ValueError("it repeats steps")
    found = flow.moved(axis)
    kind = moving.walk.graph.types[moving.node.outputs[0]]

    def write(chunk: Chunk) -> None:
        x, name = chunk.name(moving.node.inputs[0]), moving.node.outputs[0]
        if moving.node.op == "Tile":
            chunk.copy(moving.node)
        else:
            target = chunk.constant(np.array(chunk.sized(kind, found), np.int64), f"{name}/shape")
            chunk.put(name, chunk.add("Expand", [x, target], name))

    return Moved([found], write)
