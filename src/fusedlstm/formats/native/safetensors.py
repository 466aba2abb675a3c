"""The native form: a safetensors file that says all there is to know of an LSTM or a ConvLSTM.

It holds ``weight_ih_l0``, ``weight_hh_l0``, ``weight_hr_l0`` as PyTorch calls them, ``bias_l0`` for the sum of the
biases, and in the metadata under ``fusedlstm`` what the tensors do not say (see `lstm`); all float32 but for matrices
of a lower precision (see `narrow`). A ConvLSTM's have other names (see `conv_lstm`). A whole model's graph is in the
metadata, and its constants are the tensors (see `model`).
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..._files import expect_no_other_format, replacing
from ...weights import ConvLSTMWeights, FloatArray, LSTMWeights
from ..containers.safetensors import opened, serialise
from ..containers.source import Source
from ..contents import Contents
from . import conv_lstm, lstm, narrow, stored

if TYPE_CHECKING:
    from ...graph import Graph

NAME = "safetensors file"


def read(source: Source) -> Contents | None:
    """The LSTM, the ConvLSTM or the model of a file whose metadata say that it is ours."""
    file = opened(source)
    if file is None or not {lstm.KEY, conv_lstm.KEY, stored.MODEL_KEY} & file.metadata.keys():
        return None
    tensors = {name: partial(file.read, name) for name in file.shapes}
    if conv_lstm.KEY in file.metadata:
        text = file.metadata[conv_lstm.KEY]
        found = {"": lambda: conv_lstm.assemble(text, {name: read() for name, read in tensors.items()})}
        return Contents(NAME, {ConvLSTMWeights: found}, tensors)
    if stored.MODEL_KEY in file.metadata:
        from .model import Whole  # and with it all that graphs need

        whole = Whole(file)
        hint = "it holds a whole model (Model.load)"
        return Contents(NAME, {LSTMWeights: whole.lstms}, tensors, hint=hint, graph=whole.graph)
    return Contents(NAME, {LSTMWeights: stored.lstms(file, lstm.parse(file.metadata[lstm.KEY]))}, tensors)


def save(what: LSTMWeights | ConvLSTMWeights | Graph, path: str | os.PathLike[str]) -> None:
    """Write the native form; the file is either written whole or left as it was.

    Parameters
    ----------
    what : LSTMWeights, ConvLSTMWeights or Graph
        Kept bit for bit.
    path : path-like
        An existing file is replaced.

    Raises
    ------
    OSError
        It cannot be written.
    ValueError
        The name has the suffix of another format, or a graph is too large to describe.
    """
    expect_no_other_format(Path(os.fsdecode(path)))
    content = serialised(what)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def serialised(what: LSTMWeights | ConvLSTMWeights | Graph) -> bytes:
    """What `save` writes."""
    if isinstance(what, LSTMWeights):
        return _file(lstm.tensors(what), what.dtype, {lstm.KEY: lstm.metadata(what)})
    if isinstance(what, ConvLSTMWeights):
        return _file(conv_lstm.arrays(what), "float32", conv_lstm.metadata(what))
    from .model import described

    return serialise(*described(what))


def _file(tensors: dict[str, FloatArray], dtype: str, metadata: dict[str, str]) -> bytes:
    return serialise(narrow.stored(tensors, dtype), metadata)
