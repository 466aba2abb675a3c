"""LSTM weights as Keras lays them out.

kernel (input, 4U), recurrent_kernel (U, 4U), bias (4U,), gates i, f, c, o along the last axis, x @ kernel
(https://keras.io/api/layers/recurrent_layers/lstm/); CuDNNLSTM keeps what cuDNN takes (see `_from_cudnn`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import DirectionWeights, LSTMWeights
from . import config as configuration
from .stated import ASSUMED, HOW, Stated
from .told import Told
from .variables import Variables

Reader = Callable[[], LSTMWeights]
Paths = Sequence[str]
"""The datasets of one cell: kernel, recurrent_kernel and, if there is one, bias."""
Grid = Sequence[Sequence[Paths]]
"""Those of ``grid[layer][direction]``."""
Arrays = Sequence[npt.NDArray[Any]]
"""Their content."""


class Found:
    """The readers of a file's LSTMs by prefix, where a prefix that is taken gives way to the storage path."""

    def __init__(self) -> None:
        self.readers: dict[str, Callable[[], Any]] = {}
        self.parts: dict[str, Callable[[], Any]] = {}

    def add(self, prefix: str, path: str, reader: Callable[[], Any]) -> None:
        """Enter one LSTM."""
        key = path if prefix in self.readers else prefix
        if key in self.readers:
            raise FormatError(f"expected a name of its own for each LSTM, found two called {key!r}")
        self.readers[key] = reader

    def alias(self, prefix: str, reader: Callable[[], Any]) -> None:
        """Another name for one that was entered, if it is free."""
        self.readers.setdefault(prefix, reader)


def described(file: Variables, grid: Grid, expected: configuration.Recurrent) -> LSTMWeights:
    """Read the variables of ``grid[layer][direction]`` and hold them against what the configuration says."""
    file.renew()
    if len(grid) != len(expected.directions[0]) or any(len(row) != len(expected.directions) for row in grid):
        raise FormatError(
            f"expected the variables of {len(expected.directions[0])} cell(s) in {len(expected.directions)} "
            f"direction(s), found {len(grid)} in {len(grid[0])}"
        )
    arrays = [
        [_arrays(file, paths, expected.directions[d][k]) for d, paths in enumerate(directions)]
        for k, directions in enumerate(grid)
    ]
    return assemble(arrays, expected)


def undescribed(file: Variables, grid: Grid, told: Told) -> LSTMWeights:
    """The LSTM of ``grid[layer][direction]`` that the file has no configuration of: as the caller states it."""
    file.renew()
    for paths in (paths for row in grid for paths in row):
        _check_count(paths)
    unclear = "" if _is_cudnn(file, grid[0][0]) else told.unclear  # whose activations are fixed
    if told.stated is None and (told.owned or unclear):
        found = "none in the model's: a class of one's own holds it" if told.owned else f"weights alone of {unclear}"
        raise FormatError(f"expected the configuration of this LSTM, found {found}; state it with {HOW}")
    says = told.stated or Stated(layer={"class_name": "", "config": {}})
    if unclear and not says.says("recurrent_activation"):
        raise FormatError(f"config: expected recurrent_activation as well, as these are weights of {unclear}")
    units = [[(file.shape(row[d][1]) or (0,))[0] for row in grid] for d in range(len(grid[0]))]
    biased, cudnn = [len(row[0]) == 3 for row in grid], _is_cudnn(file, grid[0][0])
    weights = described(file, grid, replace(says, version=says.version or told.version).recurrent(units, biased, cudnn))
    return weights if told.stated is not None else replace(weights, assumed=[ASSUMED])


def assemble(grid: Sequence[Sequence[Arrays]], expected: configuration.Recurrent) -> LSTMWeights:
    """The LSTM of ``grid[layer][direction]``."""
    layers = []
    for k, cells in enumerate(grid):
        known = [direction[k] for direction in expected.directions]
        directions = list(starmap(_direction, zip(cells, known, strict=True)))
        layers.append(_apart(directions) if k and len(directions) == 2 else directions)
    return LSTMWeights(layers, batch_first=not expected.time_major, **expected.options)


def _is_cudnn(file: Variables, paths: Paths) -> bool:
    """Whether a cell has the two biases of a CuDNNLSTM."""
    return len(paths) == 3 and file.shape(paths[2]) == (8 * (file.shape(paths[1]) or (0,))[0],)


def looks_like_lstm(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether variables of these shapes, in Keras's order, can be an LSTM cell's (a GRU's have 3U columns)."""
    if len(shapes) not in (2, 3) or len(shapes[0]) != 2 or len(shapes[1]) != 2:
        return False
    units, width = shapes[1]
    return units > 0 and width == 4 * units == shapes[0][1] and shapes[2:] in ([], [(width,)], [(2 * width,)])


def _arrays(file: Variables, paths: Paths, cell: configuration.Cell) -> Arrays:
    """The variables of a cell, of the shapes that fit its units."""
    _check_count(paths)
    if (len(paths) == 3) != cell.use_bias:
        with_or_without = "with" if cell.use_bias else "without"
        raise FormatError(
            f"expected {3 if cell.use_bias else 2} variables {with_or_without} a bias, found {len(paths)}"
        )
    units = cell.units
    inputs = (file.shape(paths[0]) or (0,))[0]
    for path, shape in zip(paths, ((inputs, 4 * units), (units, 4 * units), (4 * units,)), strict=False):
        found = file.shape(path)
        if found != shape and (len(shape) == 2 or found != (8 * units,)):  # the bias of a CuDNNLSTM
            raise FormatError(f"{path!r}: expected shape {shape} for {units} units, found {found}")
    return [file.read(path) for path in paths]


def _check_count(paths: Paths) -> None:
    if len(paths) not in (2, 3):
        raise FormatError(f"expected kernel, recurrent_kernel and perhaps bias, found {list(paths)}")


def _direction(arrays: Arrays, known: configuration.Cell) -> DirectionWeights:
    kernel, recurrent_kernel, *biases = arrays
    bias = biases[0] if biases else None
    if bias is not None and bias.shape == (8 * len(recurrent_kernel),):
        if not known.cudnn:
            raise FormatError(f"bias: expected 4 values for each unit, found 8 (of a CuDNNLSTM), shape {bias.shape}")
        kernel, recurrent_kernel, bias = _from_cudnn(kernel, recurrent_kernel, bias)
    elif known.cudnn:
        raise FormatError(f"bias: expected 8 values for each unit of a CuDNNLSTM, found {[a.shape for a in biases]}")
    return DirectionWeights(kernel.T, recurrent_kernel.T, bias, cell=known.variant)


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
