"""TensorFlow Lite (LiteRT) files, read by a small reader of our own: no library is needed."""

from __future__ import annotations

from ...weights import LSTMWeights
from ..containers.source import Source
from ..contents import Contents
from .graph import Model
from .lstm import lstms

NAME = "TensorFlow Lite"


def read(source: Source) -> Contents | None:
    """Every fused LSTM, by the names of its output tensors."""
    if source.head[4:8] != b"TFL3":  # a flatbuffer names its schema after the root's offset
        return None
    return Contents(NAME, {LSTMWeights: lstms(Model(source.read()))})
