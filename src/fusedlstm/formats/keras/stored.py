"""What Keras 3 stores: the variables of each object by number, under a path of attribute names.

``layers/lstm/cell/vars/0`` and so on, in ``.weights.h5`` and inside of ``.keras``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ...errors import FormatError
from ...weights import ConvLSTMWeights, LSTMWeights
from ..containers.hdf5 import Hdf5
from ..contents import Contents, Readers
from . import config as configuration
from . import conv_lstm, lstm

_TENSORFLOW_2_13 = "_layer_checkpoint_dependencies"
_WAYS = ("/forward_layer", "/backward_layer")
_CELL = re.compile(rf"(?P<layer>.*?)(?P<way>{'|'.join(_WAYS)})?/cell(?:/cells/(?P<stacked>[^/]+))?")


def contents(name: str, file: Hdf5, model: object = None, version: str | None = None) -> Contents:
    """Every LSTM and ConvLSTM in a file of this layout.

    Parameters
    ----------
    name : str
        What to call the format.
    file : Hdf5
        The variables.
    model : object, optional
        The model's configuration, where there is one.
    version : str, optional
        Keras's, where the file says it.
    """
    layers = _known_layers(file, model)
    found: dict[type, Readers[Any]] = {
        LSTMWeights: _lstms(file, layers, version),
        ConvLSTMWeights: _conv_lstms(file, layers, version),
    }
    return Contents(name, found, file.tensors)


def _lstms(file: Hdf5, layers: Sequence[configuration.Layer], version: str | None) -> dict[str, lstm.Reader]:
    """Every LSTM, by the configuration and by what lies in the file.

    Without a configuration (weights only, or a model class of the user's own) an LSTM is known by where its variables
    are and by their shapes, and is taken to have the standard activations, as nothing says more.
    """
    found = lstm.Found()
    stored = _cells(file)
    for layer in layers:
        # A class of the user's own that holds an LSTM's variables is listed too, to be refused by its name.
        if configuration.is_lstm(layer.item) or layer.path in stored:
            found.add(layer.prefix, layer.path, partial(_described, file, layer, version))
    for path in sorted(stored.keys() - {layer.path for layer in layers}):
        found.add(_names(file, path), path, partial(_undescribed, file, stored[path]))
    return found.readers


def _conv_lstms(file: Hdf5, layers: Sequence[configuration.Layer], version: str | None) -> dict[str, conv_lstm.Reader]:
    """Every ConvLSTM, as `_lstms` does it."""
    cells = {
        owner.removesuffix("/vars").removesuffix("/cell"): variables
        for owner, variables in _numbered(file).items()
        if conv_lstm.looks_like_conv_lstm([file.shape(path) for path in variables])
    }
    found = lstm.Found()
    for layer in layers:
        if conv_lstm.is_conv_lstm(layer.item):
            inside = [path for path in cells if f"{path}/".startswith(f"{layer.path}/")]
            places = [cells.pop(path) for path in inside]
            found.add(layer.prefix, layer.path, partial(conv_lstm.described, file, layer, places, version))
    for path in cells:
        found.add(path, path, conv_lstm.undescribed)
    return found.readers


def _known_layers(file: Hdf5, model: object) -> list[configuration.Layer]:
    """The layers of a configuration, if there is one, that fits the layout of a file."""
    layers = [] if model is None else configuration.layers(model)
    if layers and _TENSORFLOW_2_13 in file.groups:
        raise FormatError(
            f"{_TENSORFLOW_2_13!r}: expected the layout of Keras 3, found that of TensorFlow 2.12 and 2.13, which "
            "numbers layers differently; load the model there and save it as .h5"
        )
    return layers


def _numbered(file: Hdf5) -> dict[str, lstm.Variables]:
    """The variables of each object of Keras 3, in their order, by the group that holds them."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path in file.datasets:
        owner, _, number = path.rpartition("/")
        if owner.rpartition("/")[2] == "vars" and number.isascii() and number.isdigit():
            groups[owner].append(path)
    return {
        group: sorted(paths, key=lambda path: int(path.rpartition("/")[2])) for group, paths in sorted(groups.items())
    }


def _described(file: Hdf5, layer: configuration.Layer, version: str | None) -> LSTMWeights:
    """An LSTM that the configuration describes."""
    expected = configuration.recurrent(layer.item, version)  # refuses what is not computed here before anything is read
    ways = _WAYS if len(expected.directions) == 2 else ("",)
    inside = _stacked_names(len(expected.directions[0])) if expected.stacked else [""]
    grid: list[list[lstm.Variables]] = [[] for _ in inside]
    for d, way in enumerate(ways):
        for k, name in enumerate(inside):
            group = f"{layer.path}{way}/cell{f'/cells/{name}' if name else ''}/vars"
            count = 3 if expected.directions[d][k].use_bias else 2
            stored = sorted(path for path in file.datasets if path.rpartition("/")[0] == group)
            if stored != [f"{group}/{n}" for n in range(count)]:
                raise FormatError(f"{group!r}: expected {count} variables, found {stored}")
            grid[k].append(stored)
    return lstm.read(file, grid, expected)


def _cells(file: Hdf5) -> dict[str, dict[tuple[str, str], lstm.Variables]]:
    """The LSTM cells of a file, and any other cells beside them in the same layer, by the layer's path.

    A cell that is called lstm_cell is one whatever its shapes, so that wrong shapes are an error, not an absence.
    """
    layers: dict[str, dict[tuple[str, str], lstm.Variables]] = defaultdict(dict)
    lstms = set()
    for group, variables in _numbered(file).items():
        owner = group.removesuffix("vars").removesuffix("/")
        cell = _CELL.fullmatch(owner)
        called_lstm = (file.text(group, "name") or "").startswith("lstm_cell")
        # Three variables of an LSTM's shapes are nothing else; two could be, unless they are where cells are.
        sure = cell is not None or called_lstm or len(variables) == 3
        if called_lstm or (sure and lstm.looks_like_lstm([file.shape(path) for path in variables])):
            lstms.add(cell["layer"] if cell else owner)
        if cell:
            layers[cell["layer"]][cell["way"] or "", cell["stacked"] or ""] = variables
        else:
            layers[owner].setdefault(("", ""), variables)
    return {path: cells for path, cells in layers.items() if path in lstms}


def _undescribed(file: Hdf5, cells: Mapping[tuple[str, str], lstm.Variables]) -> LSTMWeights:
    """An LSTM known by where its variables are and by their shapes alone."""
    ways = sorted({way for way, _ in cells}, reverse=True)
    names = sorted({name for _, name in cells})
    if names != [""]:
        names = _stacked_names(len(names))
    grid = [[(way, name) for way in ways] for name in names]
    if ways not in ([""], list(_WAYS)) or {key for row in grid for key in row} != cells.keys():
        raise FormatError(f"expected one LSTM cell, a stack of them or one in each direction, found {list(cells)}")
    return lstm.read(file, [[cells[key] for key in row] for row in grid])


def _stacked_names(count: int) -> list[str]:
    return [f"lstm_cell_{k}" if k else "lstm_cell" for k in range(count)]


def _names(file: Hdf5, path: str) -> str:
    """The Keras names that lead to a layer, where the file has them (earlier Keras 3 wrote none), else its path."""
    parts = path.removesuffix("/layer").split("/")  # TimeDistributed's inside
    names = [file.text("/".join([*parts[:k], "vars"]), "name") for k in range(1, len(parts) + 1)]
    return "/".join(name for name in names if name) if names[-1] else path
