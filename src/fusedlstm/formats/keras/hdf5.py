"""Keras weights in HDF5: ``.weights.h5`` of Keras 3, and the legacy ``.h5`` (whole model, or weights only).

The legacy layout groups variables by the model's layers and names each by a path:
``model_weights/enc/enc/lstm_cell/kernel:0``, in a nested model ``model_weights/outer/enc/lstm_cell/kernel:0`` or
``model_weights/outer/outer/enc/lstm_cell/kernel``, in a Bidirectional ``.../forward_lstm/lstm_cell/kernel:0``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import FormatError
from ...weights import ConvLSTMWeights, LSTMWeights
from ..containers.hdf5 import Hdf5, opened
from ..containers.source import Source
from ..contents import Contents, Readers
from . import config as configuration
from . import conv_lstm, lstm, stored

NAME = "Keras HDF5 file"

_VARIABLES = ("kernel", "recurrent_kernel", "bias")
_WAYS = ("forward_", "backward_")


@dataclass(frozen=True)
class _Cell:
    """A recurrent cell: the path that its variables share, from the model's layer on, and their datasets by name."""

    path: str
    variables: Mapping[str, str]


def read(source: Source) -> Contents | None:
    """Every LSTM and ConvLSTM by its Keras name, or by its storage path where a ``.weights.h5`` has no names."""
    file = opened(source)
    if file is None:
        return None
    root = _legacy_root(file)
    if root is None:
        return stored.contents(NAME, file)
    cells, (layers, version) = _cells(file, root), _configured(file, root)
    found: dict[type, Readers[Any]] = {
        LSTMWeights: _lstms(file, cells, layers, version),
        ConvLSTMWeights: _conv_lstms(file, cells, layers, version),
    }
    return Contents(NAME, found, file.tensors)


def _lstms(
    file: Hdf5, cells: Sequence[_Cell], layers: Sequence[configuration.Layer], version: str | None
) -> dict[str, lstm.Reader]:
    shaped = [cell for cell in cells if _looks_like_lstm(file, cell)]
    found = lstm.Found()
    for layer in layers:
        if configuration.is_lstm(layer.item):
            inside = _belonging(layer, cells)
            shaped = [cell for cell in shaped if cell not in inside]
            found.add(layer.prefix, layer.prefix, partial(_described, file, layer, inside, version))
    # What no configuration describes: weights only, or inside a class of the user's own (not that class itself).
    others = {layer.prefix: layer for layer in layers}
    for prefix, places in _places(shaped).items():
        described = partial(_described, file, others[prefix], (), version) if prefix in others else None
        found.add(prefix, places[0][1].path, described or partial(_undescribed, file, places))
    return found.readers


def _conv_lstms(
    file: Hdf5, cells: Sequence[_Cell], layers: Sequence[configuration.Layer], version: str | None
) -> dict[str, conv_lstm.Reader]:
    shaped = {
        cell.path: _ordered(cell)
        for cell in cells
        if conv_lstm.looks_like_conv_lstm([file.shape(path) for path in _ordered(cell)])
    }
    found = lstm.Found()
    for layer in layers:
        if conv_lstm.is_conv_lstm(layer.item):
            inside = _belonging(layer, [_Cell(path, {}) for path in shaped])
            places = [shaped.pop(cell.path) for cell in inside if cell.path in shaped]
            found.add(layer.prefix, layer.prefix, partial(conv_lstm.described, file, layer, places, version))
    for name in shaped:
        found.add(name, name, conv_lstm.undescribed)
    return found.readers


def _legacy_root(file: Hdf5) -> str | None:
    """The group of the legacy layout that the layers are in; None in Keras 3's layout."""
    root = "model_weights" if "model_weights" in file.groups else ""
    return root if any(file.has_attribute(root, name) for name in ("layer_names", "layer_names0")) else None


def _configured(file: Hdf5, root: str) -> tuple[list[configuration.Layer], str | None]:
    """The layers of the configuration, if there is one, and the version of Keras that wrote it."""
    text = file.text("", "model_config")
    layers = [] if text is None else configuration.layers(configuration.parse(text))
    return layers, file.text("", "keras_version") or file.text(root, "keras_version")


def _cells(file: Hdf5, root: str) -> list[_Cell]:
    owners: dict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted(file.datasets):
        owner, _, name = path.rpartition("/")
        name = re.sub(r":\d+$", "", name)  # TensorFlow's output number
        if name in _VARIABLES and path.startswith(root):
            owners[owner[len(root) :].removeprefix("/")][name] = path
    return [_Cell(owner, variables) for owner, variables in owners.items() if "recurrent_kernel" in variables]


def _looks_like_lstm(file: Hdf5, cell: _Cell) -> bool:
    return "kernel" in cell.variables and lstm.looks_like_lstm([file.shape(path) for path in _ordered(cell)])


def _ordered(cell: _Cell) -> list[str]:
    return [cell.variables[name] for name in _VARIABLES if name in cell.variables]


def _belonging(layer: configuration.Layer, cells: Sequence[_Cell]) -> list[_Cell]:
    """The cells of a layer: in the group of the outermost model, those whose path has most of the layer's names."""
    group, *nested = layer.names
    inside = [cell for cell in cells if f"{cell.path}/".startswith(f"{group}/")]
    for start in range(len(nested)):  # Keras 2 leaves the names of nested models out
        names = "/".join(nested[start:])
        named = [cell for cell in inside if f"/{names}/" in f"{cell.path[len(group) :]}/"]
        if named:
            return named
    return [] if nested else inside


def _described(file: Hdf5, layer: configuration.Layer, cells: Sequence[_Cell], version: str | None) -> LSTMWeights:
    """An LSTM that the configuration describes."""
    expected = configuration.recurrent(layer.item, version)  # refuses what is not computed here before anything is read
    grid: list[list[list[str]]] = [[] for _ in expected.directions[0]]
    for d, direction in enumerate(expected.directions):
        for k, one in enumerate(direction):
            fitting = [
                cell
                for cell in cells
                if (len(expected.directions) == 1 or _is_forward(cell, layer) == (d == 0))
                and (not expected.stacked or cell.path.endswith(f"/{one.name}"))
            ]
            names = set(_VARIABLES if one.use_bias else _VARIABLES[:2])
            if len(fitting) != 1 or set(fitting[0].variables) != names:
                stored = sorted(path for cell in fitting for path in cell.variables.values())
                raise FormatError(f"layer {layer.prefix!r}: expected one each of {sorted(names)}, found {stored}")
            grid[k].append(_ordered(fitting[0]))
    return lstm.read(file, grid, expected)


def _is_forward(cell: _Cell, layer: configuration.Layer) -> bool:
    inside = f"/{cell.path}".rpartition(f"/{layer.names[-1]}/")[2]
    return any(part.startswith(_WAYS[0]) for part in inside.split("/"))


def _places(cells: Sequence[_Cell]) -> dict[str, list[tuple[str, _Cell]]]:
    """Cells by the layer that their paths tell of, each with its direction ("" if the layer has one)."""
    places: dict[str, list[tuple[str, _Cell]]] = defaultdict(list)
    for cell in cells:
        group, *names = cell.path.split("/")
        if group in names:  # the path repeats the layer's name, after that of the model perhaps
            names = names[names.index(group) + 1 :]
        if names and re.fullmatch(r"lstm_cell(_\d+)?", names[-1]):
            names.pop()
        way = next((way for way in (*_WAYS, "stacked_rnn_cells") if names and names[-1].startswith(way)), "")
        places["/".join([group, *names[:-1]] if way else [group, *names])].append((way, cell))
    return places


def _undescribed(file: Hdf5, cells: Sequence[tuple[str, _Cell]]) -> LSTMWeights:
    """An LSTM known by its variables' names and shapes alone."""
    by_way = {way: _ordered(cell) for way, cell in cells}
    ways = ("",) if "" in by_way else _WAYS
    if len(by_way) != len(cells) or set(by_way) != set(ways):
        raise FormatError(
            "expected one LSTM cell or one in each direction (a stack of cells needs the model's configuration: save "
            f"the whole model), found {[cell.path for _, cell in cells]}"
        )
    return lstm.read(file, [[by_way[way] for way in ways]])
