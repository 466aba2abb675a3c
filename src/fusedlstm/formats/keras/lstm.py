"""LSTM weights as Keras lays them out.

kernel (input, 4U), recurrent_kernel (U, 4U), bias (4U,), gates i, f, c, o along the last axis, x @ kernel
(https://keras.io/api/layers/recurrent_layers/lstm/); CuDNNLSTM keeps what cuDNN takes (see `_from_cudnn`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import PLAIN, DirectionWeights, LSTMWeights
from ..containers.hdf5 import Hdf5
from . import config as configuration

Reader = Callable[[], LSTMWeights]
Variables = Sequence[str]
"""The datasets of one cell: kernel, recurrent_kernel and, if there is one, bias."""
Arrays = Sequence[npt.NDArray[Any]]
"""Their content."""


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


def read(
    file: Hdf5, grid: Iterable[Iterable[Variables]], expected: configuration.Recurrent | None = None
) -> LSTMWeights:
    """Read the variables of ``grid[layer][direction]`` and hold them against what the configuration says."""
    file.renew()
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
