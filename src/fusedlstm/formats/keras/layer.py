"""Live Keras layers."""

from __future__ import annotations

import sys
from typing import Any

from ...weights import ConvLSTMWeights, LSTMWeights
from . import config as configuration
from . import conv_lstm, layers, lstm

_KERAS = ("keras", "tf_keras", "tensorflow")  # tf_keras takes some of its activations from there


def from_layer(layer: Any) -> LSTMWeights:
    """The weights of a built Keras layer: LSTM, RNN of LSTMCell, or Bidirectional of either.

    Raises
    ------
    TypeError
        Not such a layer.
    ValueError
        The layer has no weights yet, or computes something else (another activation, merge mode, ...).
    """
    kind, item = type(layer), _item(layer)
    if not layers.is_lstm(item) or layers.is_class(item, "LSTMCell"):
        hint = " (use ConvLSTM.from_keras)" if layers.is_conv_lstm(item) else ""
        found = f"{kind.__module__}.{kind.__name__}{hint}"
        raise TypeError(f"expected a keras.layers.LSTM or Bidirectional(LSTM), found {found}")
    expected = configuration.recurrent(item, version_of(kind))
    ways = [layer] if len(expected.directions) == 1 else [layer.forward_layer, layer.backward_layer]
    grid: list[list[lstm.Arrays]] = [[] for _ in expected.directions[0]]
    for way, cells in zip(ways, expected.directions, strict=True):
        for k, cell in enumerate(cells):
            owner = way.cell.cells[k] if expected.stacked else way if cell.cudnn else way.cell
            grid[k].append(_arrays(owner, cell))
    return lstm.assemble(grid, expected)


def from_conv_layer(layer: Any) -> ConvLSTMWeights:
    """The weights of a built Keras ConvLSTM1D or ConvLSTM2D; raises as `from_layer` does."""
    kind, item = type(layer), _item(layer)
    if not layers.is_conv_lstm(item):
        found = f"{kind.__module__}.{kind.__name__}"
        raise TypeError(f"expected a keras.layers.ConvLSTM1D or ConvLSTM2D, found {found}")
    version = version_of(kind)
    conv_lstm.options(item, version)  # refuses what is not computed here
    arrays = _arrays(layer.cell, configuration.Cell(None, layer.filters, layer.use_bias))
    return conv_lstm.assemble(item, version, arrays)


def _item(layer: Any) -> dict[str, Any]:
    """A layer as a configuration has it."""
    kind = type(layer)
    config = layer.get_config() if hasattr(layer, "get_config") else None
    return {"class_name": kind.__name__, "module": kind.__module__, "config": config}


def _arrays(owner: Any, cell: configuration.Cell) -> lstm.Arrays:
    """The variables of a live cell."""
    arrays = [array.astype("float32") for array in owner.get_weights()]
    if len(arrays) != (3 if cell.use_bias else 2):
        raise ValueError(f"layer {owner.name!r}: expected a built layer, found no weights (call it or build it first)")
    if not cell.cudnn:
        check_activations(owner)
    return arrays


def check_activations(owner: Any) -> None:
    """Refuse functions of the user's own: a configuration has only a name, and theirs may be called tanh, too.

    Raises
    ------
    ValueError
        An activation that is not Keras's.
    """
    for function in (getattr(owner, name, None) for name in ("activation", "recurrent_activation")):
        if function is not None and not is_own(function):
            raise ValueError(f"layer {owner.name!r}: expected activations of Keras's own, found {function!r}")


def is_own(thing: Any) -> bool:
    """Whether a class or function comes from Keras."""
    return str(getattr(thing, "__module__", None)).split(".")[0] in _KERAS


def version_of(kind: type) -> str | None:
    """The version of the Keras that a layer's class comes from."""
    module = sys.modules.get(kind.__module__.partition(".")[0])
    return configuration.version(getattr(module, "__version__", None))
