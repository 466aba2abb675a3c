"""How a model uses its cells, which a tree of parameters does not say: the arguments of Flax's modules, as stated.

``gate_fn`` and ``activation_fn`` go by the names of `jax.nn`, ``reverse`` with ``keep_order``, ``merge_fn`` by what it
does. The order of the axes (``time_major``) is stated with ``batch_first``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import FormatError
from ...weights import (
    BATCH_FIRST,
    SIGMOID,
    TANH,
    Activation,
    Assumption,
    Cell,
    ConvLSTMWeights,
    DirectionWeights,
    FloatArray,
    LSTMWeights,
)
from ..containers import json
from ..containers.source import Config

_FUNCTIONS = {
    "elu": Activation("elu"),
    "gelu": Activation("gelu_tanh"),
    "hard_sigmoid": Activation("hard_sigmoid", 1 / 6, 0.5),
    "identity": Activation("affine"),
    "leaky_relu": Activation("leaky_relu", 0.01),
    "relu": Activation("relu"),
    "sigmoid": SIGMOID,
    "silu": Activation("silu"),
    "soft_sign": Activation("softsign"),
    "softplus": Activation("softplus"),
    "swish": Activation("silu"),
    "tanh": TANH,
}
"""By the name in jax.nn."""
_NAMES = ("gate_fn", "activation_fn", "reverse", "keep_order", "merge_fn")
_HOW = 'config={} if so, or a dict of what differs, such as config={"activation_fn": "relu"}'
_ASSUMED = Assumption(
    "config", "taken with Flax's defaults (gate_fn sigmoid, activation_fn tanh, forward, concatenated)", _HOW
)
_ASSUMED_CONV = Assumption(
    "config", "taken with Flax's defaults (gate_fn sigmoid, activation_fn tanh, padding SAME)", _HOW
)


@dataclass(frozen=True)
class Options:
    """What a caller states."""

    gate: Activation = SIGMOID
    activation: Activation = TANH
    reverse: bool = False
    merge: str = "concat"


def stated(config: Config) -> Options:
    """A caller's dict, or file of JSON, checked."""
    said = json.stated(config)
    if not isinstance(said, Mapping) or not said.keys() <= set(_NAMES):
        raise FormatError(f"config: expected a dict with any of {', '.join(_NAMES)}, found {str(said)[:80]}")
    for name in ("reverse", "keep_order"):
        if type(said.get(name, False)) is not bool:
            raise FormatError(f"config, {name}: expected true or false, found {str(said[name])[:80]!r}")
    if said.get("reverse", False) != said.get("keep_order", False):
        raise FormatError(
            "config, keep_order: expected reverse=True beside keep_order=True; a reversed output in the order of its "
            "computation is y[:, ::-1], within each row's length"
        )
    return Options(
        _function("gate_fn", said, "sigmoid"),
        _function("activation_fn", said, "tanh"),
        said.get("reverse", False),
        said.get("merge_fn", "concat"),
    )


def used(layers: Sequence[Sequence[DirectionWeights]], options: Options | None) -> LSTMWeights:
    """The LSTM that a model makes of its cells."""
    if options is None:
        return LSTMWeights(layers, assumed=[BATCH_FIRST, _ASSUMED])
    cell = Cell(options.gate, options.activation, options.activation)
    layers = [[replace(one, cell=cell) for one in layer] for layer in layers]
    return LSTMWeights(layers, merge=options.merge, reverse=options.reverse, assumed=[BATCH_FIRST])


def used_conv(kernel: FloatArray, recurrent: FloatArray, bias: FloatArray, options: Options | None) -> ConvLSTMWeights:
    """The same for a ConvLSTM."""
    if options is None:
        return ConvLSTMWeights(kernel, recurrent, bias, assumed=[_ASSUMED_CONV])
    return ConvLSTMWeights(
        *(kernel, recurrent, bias),
        reverse=options.reverse,
        gate=options.gate,
        candidate=options.activation,
        output=options.activation,
    )


def _function(name: str, said: Mapping[str, Any], default: str) -> Activation:
    found = said.get(name, default)
    if not isinstance(found, str) or found not in _FUNCTIONS:
        known = ", ".join(_FUNCTIONS)
        raise FormatError(f"config, {name}: expected one of jax.nn's {known}, found {str(found)[:80]!r}")
    return _FUNCTIONS[found]
