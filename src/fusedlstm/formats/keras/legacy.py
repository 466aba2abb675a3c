"""Variables by Keras's own names: the legacy HDF5 layout, and whatever else has kept these names.

The legacy layout groups variables by the model's layers and names each by a path:
``model_weights/enc/enc/lstm_cell/kernel:0``, in a nested model ``model_weights/outer/enc/lstm_cell/kernel:0`` or
``model_weights/outer/outer/enc/lstm_cell/kernel``, in a Bidirectional ``.../forward_lstm/lstm_cell/kernel:0``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import FormatError
from ...weights import ConvLSTMWeights, LSTMWeights
from ..contents import Contents, Readers
from . import config as configuration
from . import conv_lstm, inner, lstm
from .layers import Layer, is_conv_lstm, is_lstm
from .stated import Stated
from .told import Told, told
from .variables import Variables

_VARIABLES = ("kernel", "recurrent_kernel", "bias")
_WAYS = ("forward_", "backward_")


@dataclass(frozen=True)
class _Cell:
    """A recurrent cell: the path that its variables share, from the model's layer on, and their datasets by name."""

    path: str
    variables: Mapping[str, str]


Groups = Mapping[str, list[_Cell]]
"""Cells by the first part of their paths."""


def contents(
    name: str,
    file: Variables,
    tensors: Readers[Any],
    root: str = "",
    model: object = None,
    version: str | None = None,
    stated: Stated | None = None,
    unclear: str = "",
) -> Contents:
    """Every LSTM and ConvLSTM among variables by their names.

    Parameters
    ----------
    name : str
        What to call the format.
    file : Variables
        The variables.
    tensors : readers
        The same by name, as `Contents` has them.
    root : str, optional
        The group that they are in.
    model : object, optional
        The model's configuration, where the file has one.
    version : str, optional
        Keras's, where the file says it.
    stated : Stated, optional
        What the caller states.
    unclear : str, optional
        Why the default of recurrent_activation is not known; empty where it is sigmoid.
    """
    known = told(model, version, stated, unclear)
    cells = _cells(file, root)
    lstms = _lstms(file, cells, known)
    found: dict[type, Readers[Any]] = {
        LSTMWeights: lstms.readers,
        ConvLSTMWeights: _conv_lstms(file, cells, known),
    }
    return Contents(name, found, tensors, configured=stated is not None, parts={LSTMWeights: lstms.parts})


def _lstms(file: Variables, cells: Sequence[_Cell], known: Told) -> lstm.Found:
    shaped = [cell for cell in cells if _looks_like_lstm(file, cell)]
    found, left = lstm.Found(), {cell.path: cell for cell in shaped}
    wanted = [layer for layer in known.layers if is_lstm(layer.item)]
    by_group = _by_group(cells)
    inside = {layer: _belonging(layer, by_group) for layer in wanted}
    claimed = {cell.path for mine in inside.values() for cell in mine}
    owned = Counter(layer.owners[0].path for layer in wanted if layer.owners)
    for layer, mine in inside.items():
        if not mine and layer.owners and owned[layer.owners[0].path] == 1:  # the owner's name alone leads there
            mine = [cell for cell in _in_group(layer, by_group) if cell.path in left and cell.path not in claimed]
        for cell in mine:
            left.pop(cell.path, None)
        reader = partial(_described, file, layer, mine, known)
        if configuration.two_sizes(layer.item):
            inner.enter_directions(found, layer, reader)
        else:
            found.add(layer.prefix, layer.prefix, reader)
        if layer.owners and owned[layer.owners[0].path] == 1:
            found.alias("/".join(layer.names[:-1]), reader)
    # What no configuration describes: weights only, or inside a class of the user's own (not that class itself).
    others = {layer.prefix: layer for layer in known.layers if not is_lstm(layer.item)}
    for prefix, places in _places(left.values()).items():
        if prefix in others and known.stated is None:
            found.add(prefix, places[0][1].path, partial(_described, file, others[prefix], (), known))
        else:
            found.add(prefix, places[0][1].path, partial(_undescribed, file, places, known))
    return found


def _conv_lstms(file: Variables, cells: Sequence[_Cell], known: Told) -> dict[str, conv_lstm.Reader]:
    shaped = {
        cell.path: _ordered(cell)
        for cell in cells
        if conv_lstm.looks_like_conv_lstm([file.shape(path) for path in _ordered(cell)])
    }
    found, by_group = lstm.Found(), _by_group([_Cell(path, {}) for path in shaped])
    for layer in known.layers:
        if is_conv_lstm(layer.item):
            inside = _belonging(layer, by_group)
            places = [shaped.pop(cell.path) for cell in inside if cell.path in shaped]
            found.add(layer.prefix, layer.prefix, partial(conv_lstm.described, file, layer, places, known.version))
    for name, variables in shaped.items():
        found.add(name, name, partial(conv_lstm.undescribed, file, variables, known))
    return found.readers


def _cells(file: Variables, root: str) -> list[_Cell]:
    owners: dict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted(file.datasets):
        owner, _, name = path.rpartition("/")
        name = re.sub(r":\d+$", "", name)  # TensorFlow's output number
        if name in _VARIABLES and path.startswith(root):
            owners[owner[len(root) :].removeprefix("/")][name] = path
    return [_Cell(owner, variables) for owner, variables in owners.items() if "recurrent_kernel" in variables]


def _looks_like_lstm(file: Variables, cell: _Cell) -> bool:
    return "kernel" in cell.variables and lstm.looks_like_lstm([file.shape(path) for path in _ordered(cell)])


def _ordered(cell: _Cell) -> list[str]:
    return [cell.variables[name] for name in _VARIABLES if name in cell.variables]


def _by_group(cells: Sequence[_Cell]) -> Groups:
    groups: dict[str, list[_Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.path.partition("/")[0]].append(cell)
    return groups


def _in_group(layer: Layer, cells: Groups) -> list[_Cell]:
    """The cells in the group of the outermost model or layer that a layer is in."""
    name = layer.names[0]
    return [cell for cell in cells.get(name.partition("/")[0], ()) if f"{cell.path}/".startswith(f"{name}/")]


def _belonging(layer: Layer, cells: Groups) -> list[_Cell]:
    """The cells of a layer: in the group of the outermost model, those whose path has most of the layer's names."""
    group, *nested = layer.names
    inside = _in_group(layer, cells)
    for start in range(len(nested)):  # Keras 2 leaves the names of nested models out
        names = "/".join(nested[start:])
        named = [cell for cell in inside if f"/{names}/" in f"{cell.path[len(group) :]}/"]
        if named:
            return named
    return [] if nested else inside


def _described(
    file: Variables, layer: Layer, cells: Sequence[_Cell], told: Told, way: int | None = None
) -> LSTMWeights:
    """An LSTM that the configuration describes, or one direction of it."""
    expected = configuration.recurrent(layer.item, told.version)  # refuses before anything is read
    if told.stated is not None:
        told.stated.agree(layer.item)
    sides = (None,) if len(expected.directions) == 1 else (0, 1) if way is None else (way,)
    if way is not None:
        expected = expected.way(way)
    grid: list[list[list[str]]] = [[] for _ in expected.directions[0]]
    for side, direction in zip(sides, expected.directions, strict=True):
        for k, one in enumerate(direction):
            fitting = [
                cell
                for cell in cells
                if (side is None or _is_forward(cell, layer) == (side == 0))
                and (not expected.stacked or cell.path.endswith(f"/{one.name}"))
            ]
            names = set(_VARIABLES if one.use_bias else _VARIABLES[:2])
            if len(fitting) != 1 or set(fitting[0].variables) != names:
                stored = sorted(path for cell in fitting for path in cell.variables.values())
                raise FormatError(f"layer {layer.prefix!r}: expected one each of {sorted(names)}, found {stored}")
            grid[k].append(_ordered(fitting[0]))
    # Variables that lie directly under an owner's name are no part's.
    parents = {path.rpartition("/")[0].rpartition("/")[2] for path in file.datasets} if layer.owners else set()
    return inner.within(
        layer, lstm.described(file, grid, expected), [one for one in layer.owners if one.name in parents]
    )


def _is_forward(cell: _Cell, layer: Layer) -> bool:
    inside = f"/{cell.path}".rpartition(f"/{layer.names[-1]}/")[2]
    return any(part.startswith(_WAYS[0]) for part in inside.split("/"))


def _places(cells: Collection[_Cell]) -> dict[str, list[tuple[str, _Cell]]]:
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


def _undescribed(file: Variables, cells: Sequence[tuple[str, _Cell]], told: Told) -> LSTMWeights:
    """An LSTM known by its variables' names and shapes alone."""
    by_way = {way: _ordered(cell) for way, cell in cells}
    ways = ("",) if "" in by_way else _WAYS
    if len(by_way) != len(cells) or set(by_way) != set(ways):
        raise FormatError(
            "expected one LSTM cell or one in each direction (a stack of cells needs the model's configuration: save "
            f"the whole model), found {[cell.path for _, cell in cells]}"
        )
    return lstm.undescribed(file, [[by_way[way] for way in ways]], told)
