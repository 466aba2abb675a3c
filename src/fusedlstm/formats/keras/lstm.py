"""LSTM weights as Keras lays them out, and as Keras 3 stores them.

kernel (input, 4U), recurrent_kernel (U, 4U), bias (4U,), gates i, f, c, o along the last axis, x @ kernel
(https://keras.io/api/layers/recurrent_layers/lstm/); CuDNNLSTM keeps what cuDNN takes (see `_from_cudnn`). Keras 3
stores the variables of each object by number, under a path of attribute names: ``layers/lstm/cell/vars/0``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import PLAIN, DirectionWeights, LSTMWeights
from ..containers.hdf5 import Hdf5
from . import config as configuration

Source = Callable[[], Hdf5]
Reader = Callable[[], LSTMWeights]
Variables = Sequence[str]
"""The datasets of one cell: kernel, recurrent_kernel and, if there is one, bias."""
Arrays = Sequence[npt.NDArray[Any]]
"""Their content."""

_TENSORFLOW_2_13 = "_layer_checkpoint_dependencies"
_WAYS = ("/forward_layer", "/backward_layer")
_CELL = re.compile(rf"(?P<layer>.*?)(?P<way>{'|'.join(_WAYS)})?/cell(?:/cells/(?P<stacked>[^/]+))?")


class Found:
    """The readers of a file's LSTMs by prefix, where a prefix that is taken gives way to the storage path."""

    def __init__(self) -> None:
        self.readers: dict[str, Callable[[], Any]] = {}

    def add(self, prefix: str, path: str, reader: Callable[[], Any]) -> None:
        """Enter one LSTM."""
        key = path if prefix in self.readers else prefix
        if key in self.readers:
            raise FormatError(f"expected a name of its own for each LSTM, found two called {key!r}")
        self.readers[key] = reader


def stored_lstms(source: Source, model: object = None, version: str | None = None) -> dict[str, Reader]:
    """Every LSTM in a file of Keras 3's layout, given the model's configuration and Keras's version where there are.

    Without a configuration (weights only, or a model class of the user's own) an LSTM is known by where its variables
    are and by their shapes, and is taken to have the standard activations, as nothing says more.
    """
    found = Found()
    file = source()
    layers = known_layers(file, model)
    stored = _cells(file)
    for layer in layers:
        # A class of the user's own that holds an LSTM's variables is listed too, to be refused by its name.
        if configuration.is_lstm(layer.item) or layer.path in stored:
            found.add(layer.prefix, layer.path, partial(_described, source, layer, version))
    for path in sorted(stored.keys() - {layer.path for layer in layers}):
        found.add(_names(file, path), path, partial(_undescribed, source, stored[path]))
    return found.readers


def known_layers(file: Hdf5, model: object) -> list[configuration.Layer]:
    """The layers of a configuration, if there is one, that fits the layout of a file."""
    layers = [] if model is None else configuration.layers(model)
    if layers and _TENSORFLOW_2_13 in file.groups:
        raise FormatError(
            f"{_TENSORFLOW_2_13!r}: expected the layout of Keras 3, found that of TensorFlow 2.12 and 2.13, which "
            "numbers layers differently; load the model there and save it as .h5"
        )
    return layers


def numbered(file: Hdf5) -> dict[str, Variables]:
    """The variables of each object of Keras 3, in their order, by the group that holds them."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path in file.datasets:
        owner, _, number = path.rpartition("/")
        if owner.rpartition("/")[2] == "vars" and number.isascii() and number.isdigit():
            groups[owner].append(path)
    return {
        group: sorted(paths, key=lambda path: int(path.rpartition("/")[2])) for group, paths in sorted(groups.items())
    }


def read(
    source: Source, grid: Iterable[Iterable[Variables]], expected: configuration.Recurrent | None = None
) -> LSTMWeights:
    """Read the variables of ``grid[layer][direction]`` and hold them against what the configuration says."""
    file = source()
    arrays = [
        [
            _arrays(file, variables, expected.directions[d][k].units if expected else None)
            for d, variables in enumerate(directions)
        ]
        for k, directions in enumerate(grid)
    ]
    return assemble(arrays, expected)


def assemble(grid: Sequence[Sequence[Arrays]], expected: configuration.Recurrent | None = None) -> LSTMWeights:
    """The LSTM of ``grid[layer][direction]``; standard activations and no options where no configuration tells."""
    layers = []
    for k, cells in enumerate(grid):
        known = [direction[k] for direction in expected.directions] if expected else [None] * len(cells)
        directions = list(starmap(_direction, zip(cells, known, strict=True)))
        layers.append(_apart(directions) if k and len(directions) == 2 else directions)
    if expected is None:
        return LSTMWeights(layers, padding="repeat" if len(layers[0]) == 1 else "zero")
    return LSTMWeights(layers, batch_first=not expected.time_major, **expected.options)


def looks_like_lstm(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether variables of these shapes, in Keras's order, can be an LSTM cell's (a GRU's have 3U columns)."""
    if len(shapes) not in (2, 3) or len(shapes[0]) != 2 or len(shapes[1]) != 2:
        return False
    units, width = shapes[1]
    return units > 0 and width == 4 * units == shapes[0][1] and shapes[2:] in ([], [(width,)], [(2 * width,)])


def _arrays(file: Hdf5, variables: Variables, units: int | None) -> Arrays:
    """The variables of a cell, of the shapes that fit its units (those of the recurrent kernel if unknown)."""
    if len(variables) not in (2, 3):
        raise FormatError(f"expected kernel, recurrent_kernel and perhaps bias, found {list(variables)}")
    if units is None:
        units = (file.shape(variables[1]) or (0,))[0]
    inputs = (file.shape(variables[0]) or (0,))[0]
    for path, shape in zip(variables, ((inputs, 4 * units), (units, 4 * units), (4 * units,)), strict=False):
        found = file.shape(path)
        if found != shape and (len(shape) == 2 or found != (8 * units,)):  # the bias of a CuDNNLSTM
            raise FormatError(f"{path!r}: expected shape {shape} for {units} units, found {found}")
    return [file.read(path) for path in variables]


def _direction(arrays: Arrays, known: configuration.Cell | None) -> DirectionWeights:
    kernel, recurrent_kernel, *biases = arrays
    bias = biases[0] if biases else None
    if bias is not None and bias.shape == (8 * len(recurrent_kernel),):
        if known is not None and not known.cudnn:
            raise FormatError(f"bias: expected 4 values for each unit, found 8 (of a CuDNNLSTM), shape {bias.shape}")
        kernel, recurrent_kernel, bias = _from_cudnn(kernel, recurrent_kernel, bias)
    elif known is not None and known.cudnn:
        raise FormatError(f"bias: expected 8 values for each unit of a CuDNNLSTM, found {[a.shape for a in biases]}")
    return DirectionWeights(kernel.T, recurrent_kernel.T, bias, cell=PLAIN if known is None else known.variant)


def _from_cudnn(*arrays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """CuDNNLSTM's variables as LSTM has them.

    Each gate's matrices are cuDNN's (U, input) and (U, U) by rows, in variables of the shape (input, U) and (U, U);
    the first half of the bias belongs to the input, the second to the recurrence.
    """
    *kernels, bias = arrays
    plain = [
        np.hstack([gate.reshape(gate.shape[::-1]).T for gate in np.split(kernel, 4, axis=1)]) for kernel in kernels
    ]
    return *plain, np.add(*np.split(bias, 2))


def _apart(directions: Sequence[DirectionWeights]) -> list[DirectionWeights]:
    """A layer of two stacks that run apart, each cell of which takes the outputs of its own direction only.

    The layer below passes on both directions' outputs; the other's meet weights of zero.
    """
    forward, backward = directions
    wide = [
        np.hstack([forward.weight_ih, np.zeros_like(forward.weight_ih)]),
        np.hstack([np.zeros_like(backward.weight_ih), backward.weight_ih]),
    ]
    return [replace(one, weight_ih=weight) for one, weight in zip(directions, wide)]


def _described(source: Source, layer: configuration.Layer, version: str | None) -> LSTMWeights:
    """An LSTM that the configuration describes."""
    expected = configuration.recurrent(layer.item, version)  # refuses what is not computed here before anything is read
    ways = _WAYS if len(expected.directions) == 2 else ("",)
    inside = _stacked_names(len(expected.directions[0])) if expected.stacked else [""]
    grid: list[list[Variables]] = [[] for _ in inside]
    file = source()
    for d, way in enumerate(ways):
        for k, name in enumerate(inside):
            group = f"{layer.path}{way}/cell{f'/cells/{name}' if name else ''}/vars"
            count = 3 if expected.directions[d][k].use_bias else 2
            stored = sorted(path for path in file.datasets if path.rpartition("/")[0] == group)
            if stored != [f"{group}/{n}" for n in range(count)]:
                raise FormatError(f"{group!r}: expected {count} variables, found {stored}")
            grid[k].append(stored)
    return read(source, grid, expected)


def _cells(file: Hdf5) -> dict[str, dict[tuple[str, str], Variables]]:
    """The LSTM cells of a file, and any other cells beside them in the same layer, by the layer's path.

    A cell that is called lstm_cell is one whatever its shapes, so that wrong shapes are an error, not an absence.
    """
    layers: dict[str, dict[tuple[str, str], Variables]] = defaultdict(dict)
    lstms = set()
    for group, variables in numbered(file).items():
        owner = group.removesuffix("vars").removesuffix("/")
        cell = _CELL.fullmatch(owner)
        called_lstm = (file.text(group, "name") or "").startswith("lstm_cell")
        # Three variables of an LSTM's shapes are nothing else; two could be, unless they are where cells are.
        sure = cell is not None or called_lstm or len(variables) == 3
        if called_lstm or (sure and looks_like_lstm([file.shape(path) for path in variables])):
            lstms.add(cell["layer"] if cell else owner)
        if cell:
            layers[cell["layer"]][cell["way"] or "", cell["stacked"] or ""] = variables
        else:
            layers[owner].setdefault(("", ""), variables)
    return {path: cells for path, cells in layers.items() if path in lstms}


def _undescribed(source: Source, cells: Mapping[tuple[str, str], Variables]) -> LSTMWeights:
    """An LSTM known by where its variables are and by their shapes alone."""
    ways = sorted({way for way, _ in cells}, reverse=True)
    names = sorted({name for _, name in cells})
    if names != [""]:
        names = _stacked_names(len(names))
    grid = [[(way, name) for way in ways] for name in names]
    if ways not in ([""], list(_WAYS)) or {key for row in grid for key in row} != cells.keys():
        raise FormatError(f"expected one LSTM cell, a stack of them or one in each direction, found {list(cells)}")
    return read(source, [[cells[key] for key in row] for row in grid])


def _stacked_names(count: int) -> list[str]:
    return [f"lstm_cell_{k}" if k else "lstm_cell" for k in range(count)]


def _names(file: Hdf5, path: str) -> str:
    """The Keras names that lead to a layer, where the file has them (earlier Keras 3 wrote none), else its path."""
    parts = path.removesuffix("/layer").split("/")  # TimeDistributed's inside
    names = [file.text("/".join([*parts[:k], "vars"]), "name") for k in range(1, len(parts) + 1)]
    return "/".join(name for name in names if name) if names[-1] else path
