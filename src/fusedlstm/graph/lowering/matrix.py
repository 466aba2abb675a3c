"""Matrix products."""

from __future__ import annotations

import numpy as np

from ... import _core
from ..graph import Node
from ..operators.lowers import lowers
from ..plan import Plan


@lowers("fusedlstm.Dense")
def _dense(plan: Plan, node: Node) -> None:
    names = (*node.inputs, "")[:3]
    weights, bias = plan.value(names[1]), plan.value(names[2]) if names[2] else None
    assert weights is not None
    packed = plan.packed.get(
        ("dense", names[1], names[2]),
        lambda: _core.PackedWeights(
            np.ascontiguousarray(weights.T, np.float32),
            None if bias is None else np.ascontiguousarray(bias, np.float32),
            "float32",
            "float32",
        ),
    )
    x = plan.read(names[0])
    y = plan.write(node.outputs[0])
    plan.emit("product", packed, x, y, None, node.attributes["activation"])
