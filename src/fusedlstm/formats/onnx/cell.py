"""What the attributes of an ONNX LSTM ask of its cell: activations, clip, input_forget, for each direction."""

from __future__ import annotations

import math
from typing import Any

from ...errors import FormatError
from ...weights import Activation, Cell

_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_KNOWN = {"direction", "hidden_size", "layout", "input_forget", "clip", "activations"}

# The engine's name of each activation, and the parameters that it takes.
_ACTIVATIONS = {
    "Affine": ("affine", ("alpha", "beta")),
    "Elu": ("elu", ("alpha",)),
    "HardSigmoid": ("hard_sigmoid", ("alpha", "beta")),
    "LeakyRelu": ("leaky_relu", ("alpha",)),
    "Relu": ("relu", ()),
    "ScaledTanh": ("scaled_tanh", ("alpha", "beta")),
    "Sigmoid": ("sigmoid", ()),
    "Softplus": ("softplus", ()),
    "Softsign": ("softsign", ()),
    "Tanh": ("tanh", ()),
    "ThresholdedRelu": ("thresholded_relu", ("alpha",)),
}
_ANY_CASE = {name.lower(): name for name in _ACTIVATIONS}
# The specification has no defaults for Affine and ScaledTanh, and 1 for ThresholdedRelu, where ONNX Runtime takes 0.
_NO_DEFAULT = ("Affine", "ScaledTanh", "ThresholdedRelu")


def direction(given: dict[str, Any]) -> tuple[str, int]:
    """The attribute `direction`, and how many directions that is."""
    name = given.get("direction", "forward")
    if not isinstance(name, str) or name not in _DIRECTIONS:
        raise FormatError(f"attribute direction: expected {', '.join(_DIRECTIONS)}, found {name!r}")
    return name, _DIRECTIONS[name]


def choice(given: dict[str, Any], name: str) -> int:
    """An attribute that is 0 or 1, 0 by default."""
    value = given.get(name, 0)
    if not isinstance(value, int) or value not in (0, 1):
        raise FormatError(f"attribute {name}: expected 0 or 1, found {value!r}")
    return value


def cells(given: dict[str, Any], directions: int) -> list[Cell]:
    """The cell of each direction.

    Raises
    ------
    FormatError
        An attribute or an activation that is not known, or parameters that say nothing definite.
    """
    parameters = {"alpha": _numbers(given, "activation_alpha"), "beta": _numbers(given, "activation_beta")}
    for name, value in given.items():
        if name not in _KNOWN and name not in ("activation_alpha", "activation_beta") and value != []:
            raise FormatError(f"attribute {name}: expected none such, found {value!r}")
    coupled = "forget" if choice(given, "input_forget") else ""
    clip = given.get("clip", math.inf)
    if not isinstance(clip, float) or not clip > 0:
        raise FormatError(f"attribute clip: expected a number above 0, found {clip!r}")

    names = given.get("activations") or ["Sigmoid", "Tanh", "Tanh"] * directions
    if not isinstance(names, list) or len(names) != 3 * directions:
        raise FormatError(
            f"attribute activations: expected {3 * directions}, three for each direction, found {names!r}"
        )
    functions = [_activation(str(name), parameters) for name in names]
    for name, left in parameters.items():
        if left:
            raise FormatError(f"attribute activation_{name}: expected as many as {names} take, found {len(left)} more")
    return [
        Cell(gate, candidate, output, coupled=coupled, gate_clip=clip)
        for gate, candidate, output in zip(functions[::3], functions[1::3], functions[2::3])
    ]


def _activation(name: str, parameters: dict[str, list[float]]) -> Activation:
    """One activation; its parameters are taken off the front of the lists, by those activations alone that have any."""
    known = _ANY_CASE.get(name.lower())
    if known is None:
        raise FormatError(f"attribute activations: expected {', '.join(_ACTIVATIONS)}, found {name!r}")
    own, takes = _ACTIVATIONS[known]
    values = {}
    for parameter in takes:
        if parameters[parameter]:
            values[parameter] = parameters[parameter].pop(0)
        elif known in _NO_DEFAULT:
            raise FormatError(
                f"attribute activation_{parameter}: expected a value for {known}, found none, and runtimes do not "
                "agree on a default"
            )
    return Activation(own, **values)


def _numbers(given: dict[str, Any], name: str) -> list[float]:
    value = given.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, float) for one in value):
        raise FormatError(f"attribute {name}: expected numbers, found {value!r}")
    return list(value)
