"""ELMo's weights in HDF5: the bidirectional language model of Peters et al. 2018 (https://arxiv.org/abs/1802.05365).

``RNN_0`` reads forward, ``RNN_1`` backward; each is a stack of TensorFlow 1 LSTMCells with a projection,
``RNN_{way}/RNN/MultiRNNCell/Cell{k}/LSTMCell``: ``W_0`` (input + P, 4H) over x and h, gates i, g, f, o; ``B`` (4H,);
``W_P_0`` (H, P). The directions never meet, so they are two LSTMs.

What the weights leave to the code and to ``options.json`` beside them, and every published model has: 1 is added to the
forget gate's bias, each layer but the first adds its input to its output, cell state and projection are clipped at 3.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...errors import FormatError
from ...weights import BATCH_FIRST, Assumption, Cell, DirectionWeights, LSTMWeights, reorder_gates
from ..containers.hdf5 import Hdf5, opened
from ..containers.json import stated
from ..containers.source import Config, Source
from ..contents import Contents

NAME = "ELMo HDF5 file"

_PUBLISHED = {"forget_bias": 1.0, "cell_clip": 3.0, "proj_clip": 3.0, "use_skip_connections": True}
_SIZES = ("projection_dim", "dim", "n_layers")
_ASSUMED = Assumption(
    "config",
    "taken as every published ELMo (forget_bias 1.0, cell_clip and proj_clip 3, skip connections)",
    'config="options.json", the file beside the weights, or config={} if so',
)
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
    found = {way: partial(_stack, file, way, cells, source.config) for way, cells in sorted(stacks.items())}
    return Contents(NAME, {LSTMWeights: found}, file.tensors, configured=True)


def _stack(file: Hdf5, way: str, cells: Mapping[int, list[str]], config: Config | None) -> LSTMWeights:
    if sorted(cells) != list(range(len(cells))):
        raise FormatError(f"{way!r}: expected cells numbered from 0, found {sorted(cells)}")
    file.renew()
    for k, variables in cells.items():
        if tuple(variables) != _VARIABLES:  # peepholes, say
            raise FormatError(f"{way!r}, cell {k}: expected {', '.join(_VARIABLES)}, found {', '.join(variables)}")
    options = _options(config)
    layers = [[_direction(file, f"{way}/RNN/MultiRNNCell/Cell{k}/LSTMCell", options)] for k in range(len(cells))]
    sizes = (layers[0][0].output_size, layers[0][0].hidden_size, len(layers))
    for name, size in zip(_SIZES, sizes):
        if options.get(name, size) != size:
            raise FormatError(f"config, {name}: expected {size}, as in the file, found {str(options[name])[:80]}")
    return LSTMWeights(
        layers,
        reverse=way == "RNN_1",
        residual=[k > 0 for k in range(len(layers))] if options["use_skip_connections"] else None,
        assumed=[BATCH_FIRST] if config is not None else [BATCH_FIRST, _ASSUMED],
    )


def _options(config: Config | None) -> dict[str, Any]:
    """What the weights leave out: of a dict what is not as published, of ``options.json`` all but the bias."""
    said = {} if config is None else stated(config)
    if isinstance(said, Mapping) and isinstance(said.get("lstm"), Mapping):
        said = {"cell_clip": None, "proj_clip": None, "use_skip_connections": False} | dict(said["lstm"])
    if not isinstance(said, Mapping) or not said.keys() <= {*_PUBLISHED, *_SIZES}:
        names = ", ".join((*_PUBLISHED, *_SIZES))
        raise FormatError(f"config: expected ELMo's options.json or a dict with any of {names}, found {str(said)[:80]}")
    options = _PUBLISHED | dict(said)
    for name in ("cell_clip", "proj_clip"):
        options[name] = math.inf if options[name] is None else options[name]
    for name in ("forget_bias", "cell_clip", "proj_clip"):
        if type(options[name]) not in (int, float) or math.isnan(options[name]):
            raise FormatError(f"config, {name}: expected a number, found {str(options[name])[:80]!r}")
    if type(options["use_skip_connections"]) is not bool:
        raise FormatError(f"config, use_skip_connections: expected true or false, found {str(said)[:80]}")
    return options


def _direction(file: Hdf5, cell: str, options: Mapping[str, Any]) -> DirectionWeights:
    projection = file.shape(f"{cell}/W_P_0")
    both = file.shape(f"{cell}/W_0")
    if len(projection) != 2 or len(both) != 2 or both[1] != 4 * projection[0] or both[0] <= projection[1]:
        raise FormatError(f"{cell!r}: expected W_0 (input + P, 4H) beside W_P_0 (H, P), found {both} and {projection}")
    if file.shape(f"{cell}/B") != both[1:]:
        raise FormatError(f"'{cell}/B': expected shape {both[1:]}, found {file.shape(f'{cell}/B')}")
    weight = reorder_gates(file.read(f"{cell}/W_0").T, "igfo")
    bias = reorder_gates(file.read(f"{cell}/B"), "igfo")
    np.split(bias, 4)[1][...] += options["forget_bias"]
    inputs = both[0] - projection[1]
    weight_hr = file.read(f"{cell}/W_P_0").T
    clips = Cell(cell_clip=options["cell_clip"], projection_clip=options["proj_clip"])
    return DirectionWeights(weight[:, :inputs], weight[:, inputs:], bias, weight_hr, cell=clips)
