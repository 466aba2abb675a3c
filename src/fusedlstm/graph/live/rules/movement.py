"""What moves data: time may come to lie on another axis, or be cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...dims import Dim, known, value_of
from ...operators import Shape
from ...operators.operator import axes_of, axis_of
from ...operators.slices import FAR, cuts, slices
from ..chunk import Chunk, Window
from ..flow import Flow, Moved, Moving, goes
from ..walk import TIME
from .pointwise import delayed, together

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
    # Where several steps come at once, or some are put in front, there is one result.
    start = max(flow.start, flow.first)
    need = start - (start - flow.need) % flow.stride
    return replace(flow.alone.ended, axis=-1, need=need, rate=1, cut=0, start=start)


@goes("Transpose")
def _transpose(moving: Moving) -> Moved:
    flow, rank = moving.flow(), len(moving.shapes[0])
    perm = moving.a["perm"] or tuple(range(rank))[::-1]
    return Moved([flow.moved(perm.index(flow.axis))])


@goes("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(moving: Moving) -> Moved:
    """The same elements in the same order: what lies before and behind the steps stays as much, or steps become one."""
    flow, node = moving.flow(), moving.node
    if node.op == "Squeeze" and len(node.inputs) < 2:
        raise ValueError("expected it to say which axes, as the number of steps may be 1")
    found, several = _placed(flow, moving.shapes[0], moving.made[0])
    kind, name = moving.walk.graph.types[node.outputs[0]], node.outputs[0]
    if several == 1:

        def write(chunk: Chunk) -> None:
            target = chunk.constant(np.array(chunk.sized(kind, found), np.int64), f"{name}/shape")
            chunk.put(name, chunk.add("Reshape", [chunk.name(node.inputs[0]), target], name))

        return Moved([found], write)
    flow = flow.alone
    made, past = flow.windows(several, several, 0, 0, node)
    made = made.moved(found.axis, found.outer, found.inner)

    take = Window(moving.walk, node.inputs[0], past, node).slid(moving.walk, made, several, 0, several)

    def stack(chunk: Chunk) -> None:
        x = take(chunk)
        if x:
            target = chunk.constant(np.array(chunk.sized(kind, made), np.int64), f"{name}/shape")
            chunk.put(name, chunk.add("Reshape", [x, target], name))

    return Moved([made], stack)


def _placed(flow: Flow, shape: Shape, made: Shape) -> tuple[Flow, int]:
    """Where the steps are in another shape of the same elements, and how many of them become one."""
    outer, inner = math.prod(shape[: flow.axis]) * flow.outer, flow.inner * math.prod(shape[flow.axis + 1 :])
    steps = shape[flow.axis] // (flow.outer * flow.inner)
    if not (outer and inner and steps):
        raise ValueError(f"expected steps that have elements, found shape {shape}")
    for axis, size in enumerate(made):
        ahead, behind = math.prod(made[:axis]), math.prod(made[axis + 1 :])
        if type(size) is int or not known((ahead, behind)) or not ahead * behind or outer % ahead:
            continue
        whole = math.lcm(inner, behind)
        several, before, after = whole // inner, outer // ahead, whole // behind
        if size in (steps // several * (before * after), steps * (before * after) // several):
            return flow.moved(axis, before, after), several
    raise ValueError("it puts steps and other axes together in a way that depends on how long the sequence is")


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
    flow = flow.alone if count else flow
    made = flow.after(count)
    name, (*front, x) = moving.node.outputs[0], moving.node.inputs

    def write(chunk: Chunk) -> None:
        if chunk.new(made) == chunk.new(flow):
            chunk.put(name, chunk.name(x))
        else:
            chunk.copy(moving.node, [chunk.name(one) for one in (*front, *([x] if chunk.new(flow) else []))])

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
    flow, take = flow.alone, None
    if before < 0 or after < 0:
        flow, take = _cut(moving, flow, max(-before, 0), max(-after, 0), 1)
        before, after = max(before, 0), max(after, 0)
    value: Any = 0 if len(moving.node.inputs) < 3 or not moving.node.inputs[2] else moving.values[2]
    if moving.a["mode"] != "constant" or value is None:  # the first step must be there
        flow = replace(flow, start=max(flow.start, flow.first))
    made = replace(flow.after(before), tail=flow.tail + after, blame=moving.node if after else flow.blame)
    rest = [*pads[:k], 0, *pads[k + 1 : n + k], 0, *pads[n + k + 1 :]]
    name = moving.node.outputs[0]
    kind = moving.walk.graph.types[name]

    def write(chunk: Chunk) -> None:
        own = list(rest)
        own[k] = chunk.new(made) - chunk.new(flow)
        x, *others = (chunk.name(name) if name else "" for name in moving.node.inputs)
        x = x if take is None else take(chunk)
        x = x if chunk.new(flow) else ""
        if x and any(own):
            chunk.copy(moving.node, [x, chunk.constant(np.array(own), f"{x}/pads"), *others[1:]])
        elif x:
            chunk.put(name, x)
        elif own[k]:
            chunk.put(
                name,
                chunk.constant(np.full(chunk.sized(kind, made), np.reshape(value, ()), kind.dtype), f"{name}/front"),
            )

    return Moved([made], write)


@goes("Slice")
def _slice(moving: Moving) -> Moved:
    flow, shape = moving.flow(), moving.shapes[0]
    given: list[Any] = [moving.sizes(k) for k in range(1, 5)]
    found = slices(given, len(shape))
    rest = [one for one in found if one[0] != flow.axis]
    own = [one[1:] for one in found if one[0] == flow.axis]
    if any(not known(one) for one in rest):
        raise ValueError("along other axes it depends on how long the sequence is")
    start, end, step = own[0] if own else (0, FAR, 1)
    name, to_end = moving.node.outputs[0], end >= FAR or end == shape[flow.axis]

    def beside(chunk: Chunk, x: str) -> None:
        if rest:
            x = chunk.add("Slice", [x, *(chunk.constant(np.array(one), f"{x}/slice") for one in _ends(rest))], x)
        chunk.put(name, x)

    if step == 1 and to_end and -1 in (start, start - shape[flow.axis]):
        made = latest(moving, flow)

        def last(chunk: Chunk) -> None:
            if chunk.new(made):
                beside(chunk, chunk.sliced(chunk.name(moving.node.inputs[0]), flow.axis, -1, FAR))

        return Moved([made], last)
    if step < 0:
        raise ValueError("it turns the steps round (go_backwards), and needs the end of the sequence first")
    left_out = cuts(shape[flow.axis], start, end)
    if left_out is None:
        raise ValueError("it picks steps by where the sequence ends, or takes a fixed number of them")
    if isinstance(end, Dim) and (value_of(end, {str(TIME): flow.start}) or 0) < -1:
        raise ValueError("of the first steps it takes others: where it ends is then counted from the end")
    if left_out == (0, 0) and step == 1:
        return Moved([flow], lambda chunk: beside(chunk, chunk.name(moving.node.inputs[0])))
    made, take = _cut(moving, flow.alone, *left_out, step)

    def write(chunk: Chunk) -> None:
        x = take(chunk)
        if x:
            beside(chunk, x)

    return Moved([made], write)


def _ends(found: Sequence[tuple[int, int, int, int]]) -> list[list[int]]:
    """Starts, ends, axes and steps."""
    axes, starts, ends, steps = (list(one) for one in zip(*found))
    return [starts, ends, axes, steps]


def _cut(moving: Moving, flow: Flow, start: int, end: int, step: int) -> tuple[Flow, Callable[[Chunk], str]]:
    """Without the first steps and the last ones: a window of one step. What gives them; "" where there are none."""
    made, past = flow.windows(1, step, -start, -end, moving.node)
    if made.rate == 1:  # there are none of them before the first one, as in the whole sequence
        made = replace(made, start=max(flow.start, made.first - made.stride))
    window = Window(moving.walk, moving.node.inputs[0], past, moving.node)
    take = window.slid(moving.walk, made, step, start, 1)

    def cut(chunk: Chunk) -> str:
        x = take(chunk)
        if x and step > 1:
            ends = [chunk.constant(np.array([one]), f"{x}/step") for one in (0, FAR, window.axis, step)]
            x = chunk.add("Slice", [x, *ends], x)
        return x

    return made, cut


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
