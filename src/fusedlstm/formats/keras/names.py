"""Keras's variables by their names, wherever the arrays lie: ``enc/lstm_cell/kernel``, with or without ``:0``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ...weights.named import Named
from . import legacy
from .stated import of_config
from .variables import Named as Variables

CONFIGURED = True

_OLD = "an npz file of a Keras that is not named, whose recurrent_activation may be hard_sigmoid or sigmoid"


def find(named: Named) -> Mapping[type, Mapping[str, Callable[[], Any]]]:
    """Every LSTM and ConvLSTM by its layer's name; what nothing says of it is assumed or for the caller to state."""
    shapes = {name: shape for name, shape in named.shapes.items() if "/" in name}
    if not any(name.removesuffix(":0").endswith("/recurrent_kernel") for name in shapes):
        return {}
    # Since TensorFlow 2.3 variables bear the name of the cell as well: no such Keras has hard_sigmoid.
    unclear = "" if any("lstm_cell" in name or "forward_" in name for name in shapes) else _OLD
    whole = replace(named, shapes=shapes)
    return legacy.contents("", Variables(shapes, whole.read), {}, stated=of_config(named.config), unclear=unclear).found
