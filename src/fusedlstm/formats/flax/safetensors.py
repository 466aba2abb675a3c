"""safetensors files of a Flax tree, flattened into names such as ``encoder.cell.ii.kernel``."""

from __future__ import annotations

from functools import partial

from ..containers.safetensors import opened
from ..containers.source import Source
from ..contents import Contents
from .params import contents
from .tree import unflattened

NAME = "safetensors file"


def read(source: Source) -> Contents | None:
    """Every LSTM and ConvLSTM by its path in the tree; none where the tensors are another framework's."""
    file = opened(source)
    if file is None:
        return None
    tensors = {name: partial(file.read, name) for name in file.shapes}
    return contents(unflattened(tensors), NAME, tensors, source.config)
