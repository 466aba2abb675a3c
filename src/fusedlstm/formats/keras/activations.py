"""Keras's activations by name, with the parameters that a name stands for.

https://keras.io/api/layers/activations/. Names that Keras knows and the cell does not (relu6, selu, mish, softmax, ...)
are refused, as is whatever else a configuration may hold in their place: a function or layer of the user's own.
"""

from __future__ import annotations

from typing import Any

from ...errors import FormatError
from ...weights import Activation

_ACTIVATIONS = {
    "elu": Activation("elu"),
    "exponential": Activation("exponential"),
    "gelu": Activation("gelu"),
    "leaky_relu": Activation("leaky_relu", 0.2),
    "linear": Activation("affine"),
    "relu": Activation("relu"),
    "sigmoid": Activation("sigmoid"),
    "silu": Activation("silu"),
    "softplus": Activation("softplus"),
    "softsign": Activation("softsign"),
    "swish": Activation("silu"),
    "tanh": Activation("tanh"),
}


def activation(role: str, name: Any, version: str | None) -> Activation:
    """The function that a configuration names, as the Keras of that version computes it."""
    if name == "hard_sigmoid":  # the one name whose meaning changed
        return _hard_sigmoid(role, version)
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        known = ", ".join(sorted([*_ACTIVATIONS, "hard_sigmoid"]))
        raise FormatError(f"{role}: expected one of {known}, found {str(name)[:80]!r}")
    return _ACTIVATIONS[name]


def _hard_sigmoid(role: str, version: str | None) -> Activation:
    generation = (version or "").partition(".")[0]
    if generation in ("1", "2"):
        return Activation("hard_sigmoid", 0.2, 0.5)
    if generation == "3":
        return Activation("hard_sigmoid", 1 / 6, 0.5)
    raise FormatError(
        f"{role}: expected keras_version 1, 2 or 3 beside 'hard_sigmoid', which it defines, found {version!r}"
    )
