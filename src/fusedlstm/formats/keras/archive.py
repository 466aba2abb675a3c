"""Keras 3 ``.keras`` files, a zip of ``config.json`` and ``model.weights.h5``, and live Keras layers.

The configuration is data: it says what each layer is and computes, and nothing it names is imported. A mask that the
model computes on the way (Masking, Embedding) is not part of an LSTM: give `mask` or `lengths` when calling it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ...errors import FormatError
from ...weights import ConvLSTMWeights, LSTMWeights
from ..containers.hdf5 import Hdf5
from ..containers.zip import Archive, is_zip
from . import config as configuration
from . import conv_lstm, lstm

NAME = "Keras file"

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_KERAS = ("keras", "tf_keras", "tensorflow")  # tf_keras takes some of its activations from there


def matches(path: Path, head: bytes) -> bool:
    """Whether the file is a zip that holds a Keras configuration."""
    return is_zip(head) and _CONFIG in Archive(path)


def read(path: Path) -> dict[str, lstm.Reader]:
    """Every LSTM by its Keras name, those of nested models as ``outer/enc``."""
    return lstm.stored_lstms(*_content(path))


def read_conv(path: Path) -> dict[str, conv_lstm.Reader]:
    """Every ConvLSTM by its Keras name."""
    return conv_lstm.stored(*_content(path))


def _content(path: Path) -> tuple[lstm.Source, Any, str | None]:
    """The weights, the configuration and the version of Keras that wrote them."""
    archive = Archive(path)
    if _WEIGHTS not in archive:
        raise FormatError(f"zip member {_WEIGHTS!r}: expected in a .keras file, found {', '.join(archive.names)}")
    model = configuration.parse(archive.read(_CONFIG))
    metadata = configuration.parse(archive.read(_METADATA)) if _METADATA in archive else None
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return lambda: Hdf5(Archive(path).read(_WEIGHTS)), model, configuration.version(version)


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
    if not configuration.is_lstm(item):
        hint = " (use ConvLSTM.from_keras)" if conv_lstm.is_conv_lstm(item) else ""
        found = f"{kind.__module__}.{kind.__name__}{hint}"
        raise TypeError(f"expected a keras.layers.LSTM or Bidirectional(LSTM), found {found}")
    expected = configuration.recurrent(item, _version(kind))
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
    if not conv_lstm.is_conv_lstm(item):
        found = f"{kind.__module__}.{kind.__name__}"
        raise TypeError(f"expected a keras.layers.ConvLSTM1D or ConvLSTM2D, found {found}")
    version = _version(kind)
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
    for function in () if cell.cudnn else (owner.activation, owner.recurrent_activation):
        # A configuration has only its name, and the user's own function may be called tanh, too.
        if str(getattr(function, "__module__", None)).split(".")[0] not in _KERAS:
            raise ValueError(f"layer {owner.name!r}: expected activations of Keras's own, found {function!r}")
    return arrays


def _version(kind: type) -> str | None:
    """The version of the Keras that a layer's class comes from."""
    module = sys.modules.get(kind.__module__.partition(".")[0])
    return configuration.version(getattr(module, "__version__", None))
