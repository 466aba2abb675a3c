"""TensorFlow Lite (LiteRT) files, read by a small reader of our own: no library is needed."""

from __future__ import annotations

from functools import partial

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
    model = Model(source.read())
    tensors = {
        graph.tensors[index].string(3): partial(graph.stored, index)
        for graph in reversed(model.graphs)
        for index in reversed(range(len(graph.tensors)))
        if model.bytes_of(graph.tensors[index]) is not None
    }
    return Contents(NAME, {LSTMWeights: lstms(model)}, tensors)
