"""Recurrent layers."""

from __future__ import annotations

from typing import Any

from ..._packing import pack
from ...weights import LSTMWeights
from ..graph import Node
from ..operators.operator import lowers
from ..plan import Plan
from ..tensors import Tensor


@lowers("fusedlstm.LSTM")
def _lstm(plan: Plan, node: Node) -> None:
    weights: LSTMWeights = node.attributes["weights"]
    core = plan.packed.get(("lstm", id(weights)), lambda: (pack(weights), weights))[0]
    names = (*node.inputs, "", "", "")[:4]
    x = _features_beside(plan, plan.read(names[0]))
    x = x if node.attributes["x_batch_first"] else x.transposed((1, 0, 2))
    given: list[Any] = [x]
    given += [plan.dense(plan.read(name)) if name else None for name in names[1:]]
    batch_first = node.attributes["y_batch_first"]
    made: list[Tensor] = []
    copies = []
    states = weights.num_layers * (2 if weights.bidirectional else 1)
    last = weights.layers[-1][0]
    shapes = [
        (x.shape[0], x.shape[1], weights.output_size) if batch_first else (x.shape[1], x.shape[0], weights.output_size),
        (states, x.shape[0], last.output_size),
        (states, x.shape[0], last.hidden_size),
    ]
    for k, (name, shape) in enumerate(zip((*node.outputs, "", "", "")[:3], shapes)):
        target = plan.write(name) if name else plan.scratch("f", shape)
        fits = target.contiguous if k else target.strides[-1] == 1 or target.shape[-1] == 1
        if not fits:
            copies.append((plan.scratch("f", shape), target))
            target = copies[-1][0]
        made.append(target)
    made[0] = made[0] if batch_first else made[0].transposed((1, 0, 2))
    plan.emit("lstm", core, tuple(given), tuple(made))
    for one in copies:
        plan.copy(*one)


def _features_beside(plan: Plan, x: Tensor) -> Tensor:
    return x if x.strides[-1] == 1 or x.shape[-1] == 1 else plan.dense(x)
