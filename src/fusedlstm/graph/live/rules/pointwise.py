"""What each step computes of itself alone: element by element, or along other axes than time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ...operators.operator import axes_of, axis_of
from ..chunk import Chunk, Window
from ..flow import Flow, Moved, Moving, goes


def together(moving: Moving, axes: Sequence[int | None]) -> tuple[Flow, list[Window | None]]:
    """Inputs that meet step by step: how they go, and what is kept of those whose steps are there before the others'.

    Parameters
    ----------
    moving : Moving
        The node.
    axes : sequence of int
        Of each input that goes along time, the axis of the output that is its axis of time; None for the others.

    Raises
    ------
    ValueError
        They do not go alike.
    """
    flows = list(moving.flows)
    there = [flow for flow in flows if flow is not None]
    start = max(one.start for one in there)
    if len({(one.outer, one.inner, one.delay) for one in there}) > 1 or any(one.settled(start - 1) for one in there):
        flows = [None if flow is None else flow.alone for flow in flows]
        there = [flow for flow in flows if flow is not None]
    if len({one.pace for one in there}) > 1:
        raise ValueError("expected inputs with equally many steps, found one that has lost or got some")
    if len({axis for axis in axes if axis is not None} | {(one.outer, one.inner) for one in there}) != 2:
        raise ValueError("expected time on the same axis of all inputs, found others")
    slowest = max(there, key=lambda one: one.delay)
    start = max(one.start for one in there)
    made = replace(slowest, axis=next(axis for axis in axes if axis is not None), start=start)
    windows: list[Window | None] = []
    for name, flow in zip(moving.node.inputs, flows):
        # What waits for the others in the end, or until the first of theirs are there.
        late = 0 if flow is None else max(made.delay - flow.delay, flow.settled(start - 1))
        windows.append(Window(moving.walk, name, late, moving.node) if late else None)
        if late and flow is not None:
            moving.walk.offsets.append(partial(_ahead, flow, made))
    return made, windows


def _ahead(flow: Flow, made: Flow, before: int, count: int) -> int:
    """By how many steps one was ahead of the other, where these steps make some of the other."""
    now = made.settled(before)
    return flow.settled(before) - now if made.settled(before + count) > now else 0


def delayed(moving: Moving, made: Flow, windows: Sequence[Window | None]) -> Moved:
    """The node itself, on inputs some of which wait for the others."""
    if not any(windows):
        return Moved([made])

    def write(chunk: Chunk) -> None:
        start, stop = made.settled(chunk.before), made.settled(chunk.before + chunk.count)
        names = [
            (window.take(chunk, start, stop) if window is not None else chunk.name(name)) if name else ""
            for name, window in zip(moving.node.inputs, windows)
        ]
        if stop > start:
            chunk.copy(moving.node, names)

    return Moved([made], write)


@goes(
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil", "Celu", "Clip", "Cos"),
    *("Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN"),
    *("LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign"),
    *("Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu"),
    *("Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "CastLike", "Div", "Equal", "Greater"),
    *("GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum"),
    *("Where", "Xor"),
)
def _each(moving: Moving) -> Moved:
    rank = len(moving.made[0])
    axes: list[int | None] = []
    for flow, shape in zip(moving.flows, moving.shapes):
        axes.append(None if flow is None else flow.axis + rank - len(shape))
    at = next(axis for axis in axes if axis is not None) - rank
    for flow, shape in zip(moving.flows, moving.shapes):
        if flow is None and len(shape) >= -at and shape[at] != 1:
            raise ValueError(f"expected the same for every step, found a value for each of {shape[at]}")
    return delayed(moving, *together(moving, axes))


@goes("Dropout")
def _dropout(moving: Moving) -> Moved:
    flow = moving.flow()
    return Moved([flow, flow][: len(moving.node.outputs)])


@goes("QuantizeLinear", "DequantizeLinear")
def _quantise(moving: Moving) -> Moved:
    flow = moving.flow()
    several = any(size != 1 for shape in moving.shapes[1:] for size in shape)
    if several and axis_of(moving.a["axis"], len(moving.shapes[0])) == flow.axis:
        raise ValueError("expected one scale for all steps, found one for each")
    return Moved([flow])


def beside(moving: Moving, axes: Sequence[int], what: str) -> Flow:
    """How it goes where it works along other axes than time.

    Raises
    ------
    ValueError
        One of the axes is time.
    """
    flow = moving.flow()
    if flow.axis in axes:
        raise ValueError(f"{what} over time needs the whole sequence")
    return flow


@goes("Softmax", "LogSoftmax", "Hardmax", "LpNormalization")
def _softmax(moving: Moving) -> Moved:
    return Moved([beside(moving, [axis_of(moving.a["axis"], len(moving.shapes[0]))], moving.node.op)])


@goes("LayerNormalization", "RMSNormalization")
def _layer(moving: Moving) -> Moved:
    rank = len(moving.shapes[0])
    flow = beside(moving, range(axis_of(moving.a["axis"], rank), rank), "a normalisation")
    for shape in moving.shapes[1:]:
        if len(shape) > rank - 1 - flow.axis:
            raise ValueError("expected one scale for all steps, found one for each")
    return Moved([flow] * len(moving.node.outputs))


@goes("BatchNormalization", "LRN")
def _channels(moving: Moving) -> Moved:
    return Moved([beside(moving, [1], "a number for each channel, where channels are time:")])


@goes("InstanceNormalization", "GroupNormalization")
def _space(moving: Moving) -> Moved:
    return Moved([beside(moving, range(1, len(moving.shapes[0])), "a normalisation")])


@goes("MeanVarianceNormalization")
def _mean_variance(moving: Moving) -> Moved:
    return Moved([beside(moving, axes_of(moving.a["axes"], len(moving.shapes[0])), "a normalisation")])


@goes("TopK")
def _top(moving: Moving) -> Moved:
    return Moved(
        [beside(moving, [axis_of(moving.a["axis"], len(moving.shapes[0]))], "TopK (a mask, for instance)")] * 2
    )


@goes("Trilu")
def _triangle(moving: Moving) -> Moved:
    rank = len(moving.shapes[0])
    return Moved([beside(moving, (rank - 2, rank - 1), moving.node.op)])
