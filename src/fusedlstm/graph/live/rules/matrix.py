"""Products with constant matrices, and tables."""

from __future__ import annotations

from ...operators.matrix import einsum_labels
from ...operators.operator import axis_of
from ..chunk import Chunk
from ..flow import Moved, Moving, goes
from .movement import latest
from .pointwise import delayed, together


@goes("MatMul", "fusedlstm.Dense", "MatMulInteger")
def _matmul(moving: Moving) -> Moved:
    one, other = moving.flows[:2]
    ranks = [len(shape) for shape in moving.shapes[:2]]
    if one is not None and other is not None and ranks[0] == ranks[1] and one.axis == other.axis < ranks[0] - 2:
        return delayed(moving, *together(moving, [one.axis, other.axis]))  # a matrix for each step
    if one is not None and other is not None:
        raise ValueError("it multiplies steps by steps (attention), which needs the whole sequence")
    side = 0 if one is not None else 1
    flow = moving.flow(side)
    back = flow.axis - len(moving.shapes[side])  # counted from the end
    if back == (-1 if side == 0 else max(-2, -len(moving.shapes[side]))):
        raise ValueError("it sums over time, which needs the whole sequence")
    matrix = moving.shapes[1 - side]
    if back < -2 and len(matrix) >= -back and matrix[back] != 1:
        raise ValueError("expected one matrix for all steps, found one for each")
    return Moved([flow.moved(len(moving.made[0]) + back + (len(matrix) == 1 and side == 0))])


@goes("Gemm")
def _gemm(moving: Moving) -> Moved:
    side = 0 if moving.flows[0] is not None else 1
    flow = moving.flow(side)
    axis = 1 - flow.axis if moving.a["transB" if side else "transA"] else flow.axis
    if axis != side:
        raise ValueError("it sums over time, which needs the whole sequence")
    if len(moving.shapes) > 2 and len(moving.shapes[2]) > 1 - axis and moving.shapes[2][axis - 2] != 1:
        raise ValueError("expected one bias for all steps, found one for each")
    return Moved([flow.moved(axis)])


@goes("Einsum")
def _einsum(moving: Moving) -> Moved:
    inputs, output = einsum_labels(moving.a["equation"], [len(shape) for shape in moving.shapes])
    along = [None if flow is None else labels[flow.axis] for labels, flow in zip(inputs, moving.flows)]
    found = {label for label in along if label is not None}
    (label, *others) = found
    if (
        others
        or label not in output
        or any(labels.count(label) != (one is not None) for labels, one in zip(inputs, along))
    ):
        raise ValueError("it sums over time, or has a value for each step: both need the whole sequence")
    axis = output.index(label)
    return delayed(moving, *together(moving, [None if one is None else axis for one in along]))


@goes("Gather")
def _gather(moving: Moving) -> Moved:
    axis = axis_of(moving.a["axis"], len(moving.shapes[0]))
    if moving.flows[0] is None:
        flow = moving.flow(1)
        return Moved([flow.moved(flow.axis + axis)])
    flow = moving.flow(0)
    if axis != flow.axis:
        return Moved([flow.moved(flow.axis + (len(moving.shapes[1]) - 1) * (axis < flow.axis))])
    index = moving.values[1]
    if index is None or index.size != 1 or int(index.reshape(-1)[0]) != -1:
        raise ValueError("it picks some steps of the sequence; a stream has no first or last one")
    made = latest(moving, flow)

    def write(chunk: Chunk) -> None:
        if chunk.new(made):
            chunk.copy(moving.node)

    return Moved([made], write)


@goes("fusedlstm.Lookup")
def _lookup(moving: Moving) -> Moved:
    return Moved([moving.flow(1)])


@goes("OneHot")
def _one_hot(moving: Moving) -> Moved:
    flow = moving.flow(0)
    axis = axis_of(moving.a["axis"], len(moving.shapes[0]) + 1)
    return Moved([flow.moved(flow.axis + (axis <= flow.axis))])
