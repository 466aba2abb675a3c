"""Keras's activations by name or as layers, with the parameters that each stands for.

https://keras.io/api/layers/activations/ and https://keras.io/api/layers/activation_layers/. What the cell has not
(softmax, PReLU, hard_silu, ...) is refused, as is whatever else may stand in their place: a function or layer of the
user's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...errors import FormatError
from ...weights import Activation

_ACTIVATIONS = {
    "celu": Activation("elu"),  # with its default alpha of 1
    "elu": Activation("elu"),
    "exponential": Activation("exponential"),
    "gelu": Activation("gelu"),
    "leaky_relu": Activation("leaky_relu", 0.2),
    "linear": Activation("affine"),
    "mish": Activation("mish"),
    "relu": Activation("relu"),
    "relu6": Activation("clipped_relu", 6.0),
    "selu": Activation("selu"),
    "sigmoid": Activation("sigmoid"),
    "silu": Activation("silu"),
    "softplus": Activation("softplus"),
    "softsign": Activation("softsign"),
    "swish": Activation("silu"),
    "tanh": Activation("tanh"),
}


def activation(role: str, said: Any, version: str | None) -> Activation:
    """The function that a configuration names, as the Keras of that version computes it."""
    if isinstance(said, Mapping):
        return _layer(role, said, version)
    if said == "hard_sigmoid":  # the one name whose meaning changed
        return _hard_sigmoid(role, version)
    if not isinstance(said, str) or said not in _ACTIVATIONS:
        known = ", ".join(sorted([*_ACTIVATIONS, "hard_sigmoid"]))
        raise FormatError(f"{role}: expected one of {known}, found {str(said)[:80]!r}")
    return _ACTIVATIONS[said]


def _layer(role: str, said: Mapping[str, Any], version: str | None) -> Activation:
    """The function of a layer that stands where a name may stand, such as ``LeakyReLU(0.3)``."""
    name, package, config = said.get("class_name"), said.get("registered_name"), said.get("config")
    if name == "function" and isinstance(config, str) and said.get("module", "builtins") == "builtins" and not package:
        return activation(role, config, version)
    own = str(said.get("module") or "keras").partition(".")[0] not in ("keras", "tf_keras")
    config = config if isinstance(config, Mapping) else {}
    if own or (package and package != name):
        name = f"{said.get('module') or package}.{name}"
    elif name == "Activation":
        return activation(role, config.get("activation"), version)
    elif name == "ELU":
        return Activation("elu", _number(role, config, ("alpha",), 1.0))
    elif name == "LeakyReLU":
        return Activation("leaky_relu", _number(role, config, ("negative_slope", "alpha"), 0.3))
    elif name == "ReLU":
        return _relu(role, config)
    raise FormatError(
        f"{role}: expected a name, or one of Keras's layers Activation, ELU, LeakyReLU, ReLU, "
        f"found {str(name or said)[:80]!r}"
    )


def _relu(role: str, config: Mapping[str, Any]) -> Activation:
    slope, threshold = (_number(role, config, (key,), 0.0) for key in ("negative_slope", "threshold"))
    most = None if config.get("max_value") is None else _number(role, config, ("max_value",), 0.0)
    if (slope, threshold, most) == (0.0, 0.0, None):
        return Activation("relu")
    if (slope, threshold) == (0.0, 0.0):
        return Activation("clipped_relu", most)
    if (threshold, most) == (0.0, None):
        return Activation("leaky_relu", slope)
    raise FormatError(
        f"{role}: expected max_value or negative_slope alone of ReLU, found max_value {most}, negative_slope {slope}, "
        f"threshold {threshold}"
    )


def _number(role: str, config: Mapping[str, Any], names: tuple[str, ...], missing: float) -> float:
    value = next((config[name] for name in names if config.get(name) is not None), missing)
    if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
        value = value.get("config", {}).get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FormatError(f"{role}: expected a finite number as {names[0]}, found {str(value)[:80]!r}")
    return float(value)


def _hard_sigmoid(role: str, version: str | None) -> Activation:
    generation = (version or "").partition(".")[0]
    if generation in ("1", "2"):
        return Activation("hard_sigmoid", 0.2, 0.5)
    if generation == "3":
        return Activation("hard_sigmoid", 1 / 6, 0.5)
    raise FormatError(
        f"{role}: expected keras_version 1, 2 or 3 beside 'hard_sigmoid', which it defines, found {version!r}"
    )
