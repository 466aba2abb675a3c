"""TensorFlow's operators as layers, as Keras of TensorFlow 2.0 to 2.3 wrote functions in functional models."""

from __future__ import annotations

from collections.abc import Mapping

from ....errors import FormatError
from .call import Call
from .constants import array_of
from .registry import OPERATORS, Made, layer

_KINDS = {
    "AddV2": "math.add",
    "Sub": "math.subtract",
    "Mul": "math.multiply",
    "RealDiv": "math.divide",
    "Neg": "negative",
}
_KINDS |= {kind: f"math.{kind.lower()}" for kind in ("Add", "Maximum", "Minimum", "Pow", "Abs", "Exp", "Log", "Sqrt")}
_KINDS |= {
    kind: f"math.{kind.lower()}" for kind in ("Rsqrt", "Square", "Sin", "Cos", "Tanh", "Sigmoid", "Floor", "Sign")
}
_KINDS |= {kind: f"nn.{kind.lower()}" for kind in ("Relu", "Relu6", "Elu", "Selu", "Softplus", "Softmax")}
_KINDS["Pad"] = "pad"
"""The function of each operator that says everything by its inputs."""


@layer("TensorFlowOpLayer")
def _operator(call: Call) -> Made:
    node, constants = call.value("node_def"), call.value("constants", {})
    if not isinstance(node, Mapping) or not isinstance(constants, Mapping):
        raise FormatError(f"node_def: expected a node and its constants, found {str(node)[:80]!r}")
    op, said = str(node.get("op"))[:80], node.get("attr") or {}
    if op not in _KINDS:
        raise FormatError(
            f"the operator {op!r} of TensorFlow 2.0 to 2.3 is not supported; save the model again with a newer one"
        )
    if not isinstance(said, Mapping) or any(not str(name).startswith("T") for name in said):  # types alone
        raise FormatError(f"node_def: expected types, found {str(list(said))[:80]}")
    places = range(len(call.inputs) + len(constants))
    if not {str(k) for k in places} >= set(constants):
        raise FormatError(f"constants: expected places of {len(places)} inputs, found {str(list(constants))[:80]}")
    given = iter(call.inputs)
    inputs = [array_of(constants[str(k)]) if str(k) in constants else next(given) for k in places]
    kind = f"tf.{_KINDS[op]}"
    return OPERATORS[kind].write(call.with_(kind=kind, config={}, positional=inputs))
