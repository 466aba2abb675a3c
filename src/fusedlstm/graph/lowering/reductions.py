"""Reductions: rows along the axes that go away."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import FormatError
from ..graph import Node
from ..operators.lowers import lowers
from ..operators.operator import axes_of, axis_of
from ..plan import Plan
from ..tensors import Tensor
from .elementwise import narrow
from .movement import reshaped


def rows(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The axes that rows run along behind the others, each part in its order."""
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    return x.transposed([*kept, *sorted(axes)])


def kept(y: Tensor, axes: Sequence[int]) -> Tensor:
    """A tensor without axes of size 1."""
    left = [axis for axis in range(len(y.shape)) if axis not in axes]
    return y.view(tuple(y.shape[axis] for axis in left), tuple(y.strides[axis] for axis in left))


SINGLE = ("Mean", "Sum", "Max", "Min", "Prod")
"""Reductions that leave one element alone as it is."""


def emit_reduce(plan: Plan, name: str, x: Tensor, y: Tensor, axes: Sequence[int]) -> None:
    """One reduction; y has the reduced axes still, or not."""
    made = kept(y, axes) if len(y.shape) == len(x.shape) else y
    plan.emit("reduce", name, rows(x, axes), made, len(axes))


@lowers("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd")
@lowers("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
def _reduce(plan: Plan, node: Node) -> None:
    x, name = plan.read(node.inputs[0]), node.op[len("Reduce") :]
    given = plan.value(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else None
    axes = () if given is None else axes_of(given.reshape(-1).tolist(), len(x.shape))
    if not axes and not node.attributes["noop_with_empty_axes"]:
        axes = tuple(range(len(x.shape)))
    shape = plan.shape(node.outputs[0])
    if name in SINGLE and all(x.shape[axis] == 1 for axis in axes):
        plan.alias(node.outputs[0], reshaped(plan, x, shape))
        return
    y = plan.write(node.outputs[0], like=x)
    emit_reduce(plan, name, x, y, axes)
    narrow(plan, node.outputs[0], y)


@lowers("fusedlstm.Running")
def _running(plan: Plan, node: Node) -> None:
    """Terms and results lie as they come, whole."""
    x, axes = plan.read(node.inputs[0]), sorted(axes_of(node.attributes["axes"], len(plan.shape(node.inputs[0]))))
    terms = plan.dense(x.transposed([*axes, *(axis for axis in range(len(x.shape)) if axis not in axes)]))
    before = [plan.dense(plan.read(name)) for name in node.inputs[1:]]
    after, copies = [], []
    for name, shape, element in zip(plan.wanted(node, 4), (before[1].shape, *(one.shape for one in before)), "ffii"):
        target = plan.write(name) if name else plan.scratch(element, shape)
        if not target.contiguous:
            copies.append((plan.scratch(element, shape), target))
            target = copies[-1][0]
        after.append(target)
    y, *kept = after
    name = node.attributes["reduction"]
    plan.emit("running", name, terms, y, (tuple(before), tuple(kept)), name in SINGLE)
    for one in copies:
        plan.copy(*one)


@lowers("ArgMax", "ArgMin")
def _arg(plan: Plan, node: Node) -> None:
    x, y = plan.read(node.inputs[0]), plan.write(node.outputs[0])
    if not x.shape:
        x = x.view((1,), (1,))
    if plan.types[node.inputs[0]].dtype.name == "uint64":
        raise FormatError("arithmetic on uint64 is not supported")
    axis = axis_of(node.attributes["axis"], len(x.shape))
    made = kept(y, (axis,)) if len(y.shape) == len(x.shape) else y
    plan.emit("arg", rows(x, (axis,)), made, node.op == "ArgMax", bool(node.attributes["select_last_index"]))
