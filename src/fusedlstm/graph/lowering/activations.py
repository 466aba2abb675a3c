"""Functions of one element that networks use between layers."""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from ...weights import Activation
from ..graph import Node
from ..operators.lowers import lowers
from ..plan import Plan
from ..tensors import Tensor
from .elementwise import emit_map, narrow

_ACTIVATIONS = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Exp": "exponential",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "HardSigmoid": "hard_sigmoid",
}


def _begin(plan: Plan, node: Node) -> tuple[Tensor, Tensor]:
    x = plan.read(node.inputs[0])
    if x.element != "f" and node.op not in ("Relu", "PRelu"):
        raise FormatError(f"{node.op} of whole numbers is not supported")
    return x, plan.write(node.outputs[0], like=x)


@lowers(*_ACTIVATIONS)
def _activation(plan: Plan, node: Node) -> None:
    x, y = _begin(plan, node)
    if x.element == "i":
        emit_map(plan, node.op, [x], y)
        return
    parameters = {name: node.attributes[name] for name in ("alpha", "beta") if node.attributes.get(name) is not None}
    plan.emit("activate", Activation(_ACTIVATIONS[node.op], **parameters), x, y)


@lowers("Gelu")
def _gelu(plan: Plan, node: Node) -> None:
    x, y = _begin(plan, node)
    plan.emit("activate", Activation("gelu" if node.attributes["approximate"] == "none" else "gelu_tanh"), x, y)


@lowers("Selu")
def _selu(plan: Plan, node: Node) -> None:
    x, y = _begin(plan, node)
    plan.emit("activate", Activation("elu", alpha=node.attributes["alpha"]), x, y)
    emit_map(plan, "Mul", [y, plan.constant(np.float32(node.attributes["gamma"]))], y)


@lowers("Celu")
def _celu(plan: Plan, node: Node) -> None:
    x, y = _begin(plan, node)
    alpha = node.attributes["alpha"]
    if alpha == 1:
        plan.emit("activate", Activation("elu", alpha=1.0), x, y)
        return
    scale = plan.constant(np.float32(alpha))
    emit_map(plan, "Div", [x, scale], y)
    plan.emit("activate", Activation("elu", alpha=1.0), y, y)
    emit_map(plan, "Mul", [y, scale], y)


@lowers("HardSwish")
def _hard_swish(plan: Plan, node: Node) -> None:
    x, y = _begin(plan, node)
    plan.emit("activate", Activation("hard_sigmoid", alpha=1 / 6, beta=0.5), x, y)
    emit_map(plan, "Mul", [y, x], y)


@lowers("Swish")
def _swish(plan: Plan, node: Node) -> None:
    x, y = _begin(plan, node)
    alpha = node.attributes["alpha"]
    if alpha == 1:
        plan.emit("activate", Activation("silu"), x, y)
        return
    emit_map(plan, "Mul", [x, plan.constant(np.float32(alpha))], y)
    plan.emit("activate", Activation("sigmoid"), y, y)
    emit_map(plan, "Mul", [y, x], y)


@lowers("Mish", "ThresholdedRelu", "Shrink")
def _other(plan: Plan, node: Node) -> None:
    x, y = _begin(plan, node)
    emit_map(plan, node.op, [x], y, *node.attributes.values())


@lowers("PRelu")
def _prelu(plan: Plan, node: Node) -> None:
    x, y = _begin(plan, node)
    emit_map(plan, "PRelu", [x, plan.read(node.inputs[1])], y)
    narrow(plan, node.outputs[0], y)
