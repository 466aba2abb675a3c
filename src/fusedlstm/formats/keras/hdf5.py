"""Keras weights in HDF5: ``.weights.h5`` of Keras 3, and the legacy ``.h5`` (whole model, or weights only)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import FormatError
from ...weights import LSTMWeights
from ..containers.hdf5 import Hdf5, opened
from ..containers.source import Source
from ..contents import Contents
from ..pieces import Pieces
from . import config as configuration
from . import legacy, stored
from .keras1 import Keras1, has_names
from .stated import stated
from .variables import Variables

if TYPE_CHECKING:
    from ...graph import Graph

NAME = "Keras HDF5 file"
_KERAS1 = (
    "expected a model of Keras 2 or 3, found one of Keras {}, whose layers have other names and options; its LSTMs "
    "alone are read (LSTM.load), or save it again: load it in Keras 2.0 to 2.2, then model.save(new_path)"
)


def read(source: Source) -> Contents | None:
    """Every LSTM and ConvLSTM by its Keras name, or by its storage path where a ``.weights.h5`` has no names."""
    file = opened(source)
    if file is None:
        return None
    root = _legacy_root(file)
    if root is None:
        return stored.contents(NAME, stored.of_file(file), file.tensors, stated=stated(source))
    text = file.text("", "model_config")
    model = None if text is None else configuration.parse(text)
    version = file.text("", "keras_version") or file.text(root, "keras_version")
    variables: Variables = file
    if has_names(file.datasets):
        variables, version = Keras1(file), version or "1"
    found = legacy.contents(NAME, variables, file.tensors, root, model, version, stated(source), _unclear(version))
    if model is None:
        return found

    def graph(outputs: Sequence[str] | None, external_data: bool) -> Graph:
        from .model.weights import Named
        from .model.whole import read_graph

        if (version or "").partition(".")[0] == "1":
            raise FormatError(_KERAS1.format(version))
        return read_graph(model, version, Named.of_file(variables, root), outputs)

    return replace(found, graph=graph, pieces={LSTMWeights: Pieces(lambda: graph(None, False))})


def _legacy_root(file: Hdf5) -> str | None:
    """The group of the legacy layout that the layers are in; None in Keras 3's layout."""
    root = "model_weights" if "model_weights" in file.groups else ""
    return root if any(file.has_attribute(root, name) for name in ("layer_names", "layer_names0")) else None


def _unclear(version: str | None) -> str:
    """Why this Keras's default of recurrent_activation is not known: it became sigmoid with 2.3."""
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})", version or "")
    if numbers and (int(numbers[1]), int(numbers[2])) >= (2, 3):
        return ""
    found = f"Keras {version}" if version else "a Keras that is not named, perhaps before 2.3"
    return f"{found}, whose recurrent_activation may be hard_sigmoid or sigmoid"
