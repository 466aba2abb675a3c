"""Keras 3 ``.keras`` files, a zip of ``config.json`` and ``model.weights.h5``.

The configuration is data: it says what each layer is and computes, and nothing it names is imported. A mask that the
model computes on the way (Masking, Embedding) is not part of an LSTM: give `mask` or `lengths` when calling it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import FormatError
from ...weights import LSTMWeights
from ..containers.hdf5 import Hdf5
from ..containers.source import Source
from ..containers.zip import opened
from ..contents import Contents
from ..pieces import Pieces
from . import config as configuration
from .stated import stated
from .stored import contents, of_file

if TYPE_CHECKING:
    from ...graph import Graph

NAME = "Keras file"

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def read(source: Source) -> Contents | None:
    """Every LSTM and ConvLSTM by its Keras name, those of nested models as ``outer/enc``."""
    archive = opened(source)
    if archive is None or _CONFIG not in archive or not {_METADATA, _WEIGHTS} & set(archive.names):
        return None
    if _WEIGHTS not in archive:
        raise FormatError(f"zip member {_WEIGHTS!r}: expected in a .keras file, found {', '.join(archive.names)}")
    model = configuration.parse(archive.read(_CONFIG))
    metadata = configuration.parse(archive.read(_METADATA)) if _METADATA in archive else None
    version = configuration.version(metadata.get("keras_version") if isinstance(metadata, dict) else None)
    file = Hdf5(archive.read(_WEIGHTS))
    variables = of_file(file)
    found = contents(NAME, variables, file.tensors, model, version, stated(source))

    def graph(outputs: Sequence[str] | None, external_data: bool) -> Graph:
        from .model.weights import Stored
        from .model.whole import read_graph

        return read_graph(model, version, Stored(variables), outputs)

    return replace(found, graph=graph, pieces={LSTMWeights: Pieces(lambda: graph(None, False))})
