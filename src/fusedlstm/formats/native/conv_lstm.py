"""The native form of a ConvLSTM: its arrays, and in the metadata, as JSON, all the rest.

The arrays do not have the names that PyTorch gives an LSTM's, so that no reader takes them for one.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from ...errors import FormatError
from ...weights import Activation, ConvLSTMWeights, FloatArray
from ..containers.json import parse_python
from .lstm import is_number

KEY = "fusedlstm_conv_lstm"
"""Of the metadata."""
VERSION = 1
"""Raised when an older reader would get other numbers from it."""

_STORED_AS = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel", "bias": "bias"}
_ACTIVATIONS = ("gate", "candidate", "output")
_OPTIONS = tuple(field.name for field in fields(ConvLSTMWeights) if field.name not in {*_STORED_AS, "assumed"})
_MAX_LENGTH = 10_000


def arrays(weights: ConvLSTMWeights) -> dict[str, FloatArray]:
    """The tensors to store."""
    found = {stored: getattr(weights, name) for name, stored in _STORED_AS.items()}
    return {name: array for name, array in found.items() if array is not None}


def metadata(weights: ConvLSTMWeights) -> dict[str, str]:
    """What goes beside them."""
    options: dict[str, Any] = {name: getattr(weights, name) for name in _OPTIONS}
    for name in _ACTIVATIONS:
        function: Activation = options[name]
        options[name] = [function.name, function.alpha, function.beta]
    return {KEY: json.dumps({"version": VERSION, **options})}


def assemble(text: str, tensors: dict[str, FloatArray]) -> ConvLSTMWeights:
    """Both together again; whatever `metadata` does not write is refused."""
    stored = parse_python(f"metadata {KEY!r}", text) if len(text) < _MAX_LENGTH else None
    if not isinstance(stored, dict) or type(stored.get("version")) is not int:
        raise FormatError(f"metadata {KEY!r}: expected a JSON object with a version, found {text[:99]!r}")
    if stored.pop("version") != VERSION:
        raise FormatError(
            f"metadata {KEY!r}: expected version {VERSION}, found another (written later?): {text[:99]!r}"
        )
    if stored.keys() != set(_OPTIONS):
        raise FormatError(f"metadata {KEY!r}: expected {', '.join(_OPTIONS)}, found {', '.join(map(str, stored))}")
    names = _STORED_AS.values()
    if not set(names) - {"bias"} <= tensors.keys() <= set(names):
        raise FormatError(f"tensors: expected {', '.join(names)}, found {', '.join(tensors)}")
    for name in _ACTIVATIONS:
        match stored[name]:
            case [str() as function, alpha, beta] if is_number(alpha) and is_number(beta):
                stored[name] = Activation(function, alpha, beta)
            case other:
                raise FormatError(f"{name}: expected a name, alpha and beta, found {str(other)[:80]!r}")
    for name in ("channels_first", "reverse", "flip_output"):
        if type(stored[name]) is not bool:
            raise FormatError(f"{name}: expected true or false, found {str(stored[name])[:80]!r}")
    for name in ("strides", "dilation"):
        if not isinstance(stored[name], list):
            raise FormatError(f"{name}: expected a list, found {str(stored[name])[:80]!r}")
    arrays_by_field: dict[str, Any] = {name: tensors.get(key) for name, key in _STORED_AS.items()}
    return ConvLSTMWeights(**arrays_by_field, **stored)
