"""Resize: elements picked, or each axis times a sparse matrix."""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ..graph import Node
from ..operators import Array
from ..operators.lowers import lowers
from ..operators.resize import sizes_and_scales, taps
from ..plan import Plan
from ..tensors import order_of


def _held(places: Array, weights: Array) -> tuple[Array, Array]:
    return places, weights.astype(np.float32)


@lowers("Resize")
def _resize(plan: Plan, node: Node) -> None:
    a, x = node.attributes, plan.read(node.inputs[0])
    given = [plan.value(name) if name else None for name in (*node.inputs[2:], "", "")[:2]]
    out, scales = sizes_and_scales(
        a, x.shape, *(None if one is None or not one.size else one.tolist() for one in given)
    )
    changed = [axis for axis, size in enumerate(x.shape) if size != out[axis] or scales[axis] != 1]
    if not changed or not all(out):
        plan.alias(node.outputs[0], x) if not changed else plan.write(node.outputs[0])
        return
    if not all(x.shape):
        raise FormatError(f"expected something to resize, found shape {x.shape}")
    plan.expect_places(*out)
    found = {
        axis: plan.packed.get(
            ("resize", *a.values(), x.shape[axis], out[axis], scales[axis]),
            lambda axis=axis: _held(*taps(a, x.shape[axis], out[axis], scales[axis])),
        )
        for axis in changed
    }
    order = order_of(x)
    if a["mode"] == "nearest":
        places = [found[axis][0].reshape(-1) if axis in found else np.arange(size) for axis, size in enumerate(x.shape)]
        plan.emit("pick", x, plan.write(node.outputs[0], order=order), places)
        return
    if x.element != "f":
        raise FormatError(f"expected floats for mode {a['mode']}, found {plan.types[node.inputs[0]].dtype}")
    for axis in changed:
        shape = (*x.shape[:axis], out[axis], *x.shape[axis + 1 :])
        y = plan.write(node.outputs[0], order=order) if axis == changed[-1] else plan.scratch("f", shape, order)
        plan.emit("resample", x, y, axis, found[axis])
        x = y
