"""What Keras 3 stores: the variables of each object by number, under a path of attribute names.

``layers/lstm/cell/vars/0`` and so on, in ``.weights.h5`` and inside of ``.keras``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ...errors import FormatError
from ...weights import ConvLSTMWeights, LSTMWeights
from ..containers.hdf5 import Hdf5
from ..contents import Contents, Readers
from . import config as configuration
from . import conv_lstm, inner, lstm
from .layers import Layer, is_class, is_conv_lstm, is_lstm
from .stated import Stated
from .told import Told, told
from .variables import Moved, Variables

_TENSORFLOW_2_13 = "_layer_checkpoint_dependencies"
_WAYS = ("/forward_layer", "/backward_layer")
_CELL = re.compile(rf"(?P<layer>.*?)(?P<way>{'|'.join(_WAYS)})?/cell(?:/cells/(?P<stacked>[^/]+))?")

Groups = Mapping[str, lstm.Paths]
"""The variables of each object, in their order, by the group that holds them."""
Cells = Mapping[tuple[str, str], lstm.Paths]
"""The variables of the cells of one layer, by direction and by name within a stack."""


def of_file(file: Hdf5) -> Variables:
    """The variables of a file of this layout, which may have been written on Windows: by paths with backslashes."""
    if any("\\" in path for path in file.datasets):
        return Moved([file], lambda path: path.replace("\\", "/"))
    return file


def contents(
    name: str,
    file: Variables,
    tensors: Readers[Any],
    model: object = None,
    version: str | None = None,
    stated: Stated | None = None,
) -> Contents:
    """Every LSTM and ConvLSTM among variables of this layout.

    Parameters
    ----------
    name : str
        What to call the format.
    file : Variables
        The variables.
    tensors : readers
        The same by name, as `Contents` has them.
    model : object, optional
        The model's configuration, where the file has one.
    version : str, optional
        Keras's, where the file says it.
    stated : Stated, optional
        What the caller states.
    """
    known = told(model, version, stated)
    if known.layers and any(path.startswith(f"{_TENSORFLOW_2_13}/") for path in file.datasets):
        raise FormatError(
            f"{_TENSORFLOW_2_13!r}: expected the layout of Keras 3, found that of TensorFlow 2.12 and 2.13, which "
            "numbers layers differently; load the model there and save it as .h5"
        )
    groups = _numbered(file.datasets)
    lstms = _lstms(file, groups, known)
    found: dict[type, Readers[Any]] = {
        LSTMWeights: lstms.readers,
        ConvLSTMWeights: _conv_lstms(file, groups, known),
    }
    return Contents(name, found, tensors, configured=stated is not None, parts={LSTMWeights: lstms.parts})


def _lstms(file: Variables, groups: Groups, known: Told) -> lstm.Found:
    """Every LSTM, by the configuration and by what lies in the file."""
    found, cells = lstm.Found(), _cells(file, groups)
    places = inner.places([layer for layer in known.layers if is_lstm(layer.item)], cells, partial(_name, file))
    owned = Counter(layer.owners[0].path for layer in places if layer.owners)
    own = {layer.path: layer for layer in known.layers if not is_lstm(layer.item)}
    for layer in known.layers:
        if not is_lstm(layer.item):
            continue
        path = places[layer]
        reader = partial(_described, file, groups, layer, path, known)
        if path is not None and configuration.two_sizes(layer.item):
            inner.enter_directions(found, layer, reader)
        else:
            found.add(layer.prefix, layer.path, reader)
        if layer.owners and owned[layer.owners[0].path] == 1:
            found.alias("/".join(layer.names[:-1]), reader)
    for path in sorted(cells.keys() - set(places.values())):
        if path in own and known.stated is None:  # a class of the user's own that is an LSTM
            found.add(own[path].prefix, path, partial(_described, file, groups, own[path], path, known))
        else:
            name = own[path].prefix if path in own else _names(file, path)
            found.add(name, path, partial(_undescribed, file, cells[path], known))
    return found


def _conv_lstms(file: Variables, groups: Groups, known: Told) -> dict[str, conv_lstm.Reader]:
    """Every ConvLSTM, as `_lstms` does it."""
    cells = {
        owner.removesuffix("/vars").removesuffix("/cell"): variables
        for owner, variables in groups.items()
        if conv_lstm.looks_like_conv_lstm([file.shape(path) for path in variables])
    }
    found = lstm.Found()
    for layer in known.layers:
        if is_conv_lstm(layer.item):
            inside = [path for path in cells if f"{path}/".startswith(f"{layer.path}/")]
            places = [cells.pop(path) for path in inside]
            found.add(layer.prefix, layer.path, partial(conv_lstm.described, file, layer, places, known.version))
    for path, variables in cells.items():
        found.add(path, path, partial(conv_lstm.undescribed, file, variables, known))
    return found.readers


def _numbered(datasets: Iterable[str]) -> Groups:
    groups: dict[str, list[str]] = defaultdict(list)
    for path in datasets:
        owner, _, number = path.rpartition("/")
        if owner.rpartition("/")[2] == "vars" and number.isascii() and number.isdigit():
            groups[owner].append(path)
    return {
        group: sorted(paths, key=lambda path: int(path.rpartition("/")[2])) for group, paths in sorted(groups.items())
    }


def _described(
    file: Variables, groups: Groups, layer: Layer, path: str | None, told: Told, way: int | None = None
) -> LSTMWeights:
    """An LSTM that the configuration describes, or one direction of it."""
    expected = configuration.recurrent(layer.item, told.version)  # refuses before anything is read
    if told.stated is not None:
        told.stated.agree(layer.item)
    ways = _WAYS if len(expected.directions) == 2 else ("",)
    if way is not None:
        expected, ways = expected.way(way), (_WAYS[way],)
    inside = _stacked_names(len(expected.directions[0])) if expected.stacked else [""]
    place = inner.expect_place(layer, path)
    grid: list[list[lstm.Paths]] = [[] for _ in inside]
    for d, side in enumerate(ways):
        for k, name in enumerate(inside):
            group = f"{place}{side}/cell{f'/cells/{name}' if name else ''}/vars"
            if is_class(layer.item, "LSTMCell") and group not in groups:
                group = f"{place}/vars"
            count = 3 if expected.directions[d][k].use_bias else 2
            stored = groups.get(group, [])
            if stored != [f"{group}/{n}" for n in range(count)]:
                raise FormatError(f"{group!r}: expected {count} variables, found {list(stored)}")
            grid[k].append(stored)
    untouched = [one for one in layer.owners if f"{one.path}/vars" in groups and place.startswith(f"{one.path}/")]
    return inner.within(layer, lstm.described(file, grid, expected), untouched)


def _cells(file: Variables, groups: Groups) -> dict[str, Cells]:
    """The LSTM cells of a file, and any other cells beside them in the same layer, by the layer's path.

    A cell that is called lstm_cell is one whatever its shapes, so that wrong shapes are an error, not an absence.
    """
    found: dict[str, dict[tuple[str, str], lstm.Paths]] = defaultdict(dict)
    lstms = set()
    for group, variables in groups.items():
        owner = group.removesuffix("vars").removesuffix("/")
        cell = _CELL.fullmatch(owner)
        called_lstm = (file.text(group, "name") or "").startswith("lstm_cell")
        # Three variables of an LSTM's shapes are nothing else; two could be, unless they are where cells are.
        sure = cell is not None or called_lstm or len(variables) == 3
        if called_lstm or (sure and lstm.looks_like_lstm([file.shape(path) for path in variables])):
            lstms.add(cell["layer"] if cell else owner)
        if cell:
            found[cell["layer"]][cell["way"] or "", cell["stacked"] or ""] = variables
        else:
            found[owner].setdefault(("", ""), variables)
    return {path: cells for path, cells in found.items() if path in lstms}


def _undescribed(file: Variables, cells: Cells, told: Told) -> LSTMWeights:
    """An LSTM known by where its variables are and by their shapes alone."""
    ways = sorted({way for way, _ in cells}, reverse=True)
    names = sorted({name for _, name in cells})
    if names != [""]:
        names = _stacked_names(len(names))
    grid = [[(way, name) for way in ways] for name in names]
    if ways not in ([""], list(_WAYS)) or {key for row in grid for key in row} != cells.keys():
        raise FormatError(f"expected one LSTM cell, a stack of them or one in each direction, found {list(cells)}")
    return lstm.undescribed(file, [[cells[key] for key in row] for row in grid], told)


def _stacked_names(count: int) -> list[str]:
    return [f"lstm_cell_{k}" if k else "lstm_cell" for k in range(count)]


def _names(file: Variables, path: str) -> str:
    """The Keras names that lead to a layer, where the file has them (earlier Keras 3 wrote none), else its path."""
    parts = path.removesuffix("/layer").split("/")  # TimeDistributed's inside
    names = [_name(file, "/".join(parts[:k])) for k in range(1, len(parts) + 1)]
    return "/".join(name for name in names if name) if names[-1] else path


def _name(file: Variables, path: str) -> str | None:
    """What the file calls an object."""
    return file.text(f"{path}/vars", "name")
