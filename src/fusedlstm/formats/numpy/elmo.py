"""ELMo's weights in HDF5: the bidirectional language model of Peters et al. 2018 (https://arxiv.org/abs/1802.05365).

``RNN_0`` reads forward, ``RNN_1`` backward; each is a stack of TensorFlow 1 LSTMCells with a projection,
``RNN_{way}/RNN/MultiRNNCell/Cell{k}/LSTMCell``: ``W_0`` (input + P, 4H) over x and h, gates i, g, f, o; ``B`` (4H,);
``W_P_0`` (H, P). The directions never meet, so they are two LSTMs.

What the weights leave to the code and its options, and every published model has: 1 is added to the forget gate's bias,
each layer but the first adds its input to its output, cell state and projection are clipped at 3.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import partial

import numpy as np

from ...errors import FormatError
from ...weights import Cell, DirectionWeights, LSTMWeights, reorder_gates
from ..containers.hdf5 import Hdf5, opened
from ..containers.source import Source
from ..contents import Contents

NAME = "ELMo HDF5 file"

_FORGET_BIAS, _CELL = 1.0, Cell(cell_clip=3.0, projection_clip=3.0)
_VARIABLES = ("B", "W_0", "W_P_0")
_PLACE = re.compile(r"(RNN_[01])/RNN/MultiRNNCell/Cell(\d{1,3})/LSTMCell/(.+)")


def read(source: Source) -> Contents | None:
    """The directions: ``RNN_0`` forward, ``RNN_1`` backward."""
    file = opened(source)
    if file is None or not any("MultiRNNCell" in path for path in file.datasets):
        return None
    stacks: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for dataset in sorted(file.datasets):
        if match := _PLACE.fullmatch(dataset):
            stacks[match[1]][int(match[2])].append(match[3])
    found = {way: partial(_stack, file, way, cells) for way, cells in sorted(stacks.items())}
    return Contents(NAME, {LSTMWeights: found}, file.tensors)


def _stack(file: Hdf5, way: str, cells: Mapping[int, list[str]]) -> LSTMWeights:
    if sorted(cells) != list(range(len(cells))):
        raise FormatError(f"{way!r}: expected cells numbered from 0, found {sorted(cells)}")
    file.renew()
    for k, variables in cells.items():
        if tuple(variables) != _VARIABLES:  # peepholes, say
            raise FormatError(f"{way!r}, cell {k}: expected {', '.join(_VARIABLES)}, found {', '.join(variables)}")
    layers = [[_direction(file, f"{way}/RNN/MultiRNNCell/Cell{k}/LSTMCell")] for k in range(len(cells))]
    return LSTMWeights(layers, reverse=way == "RNN_1", residual=[k > 0 for k in range(len(layers))])


def _direction(file: Hdf5, cell: str) -> DirectionWeights:
    projection = file.shape(f"{cell}/W_P_0")
    both = file.shape(f"{cell}/W_0")
    if len(projection) != 2 or len(both) != 2 or both[1] != 4 * projection[0] or both[0] <= projection[1]:
        raise FormatError(f"{cell!r}: expected W_0 (input + P, 4H) beside W_P_0 (H, P), found {both} and {projection}")
    if file.shape(f"{cell}/B") != both[1:]:
        raise FormatError(f"'{cell}/B': expected shape {both[1:]}, found {file.shape(f'{cell}/B')}")
    weight = reorder_gates(file.read(f"{cell}/W_0").T, "igfo")
    bias = reorder_gates(file.read(f"{cell}/B"), "igfo")
    np.split(bias, 4)[1][...] += _FORGET_BIAS
    inputs = both[0] - projection[1]
    weight_hr = file.read(f"{cell}/W_P_0").T
    return DirectionWeights(weight[:, :inputs], weight[:, inputs:], bias, weight_hr, cell=_CELL)
