"""TensorFlow Lite (LiteRT) files, read by a small reader of our own: no library is needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ...graph import Graph
from ...weights import LSTMWeights
from ..containers.source import Source
from ..contents import Contents
from ..pieces import Pieces
from .graph import WHILE, Model
from .lstm import lstms
from .whole.reader import read_graph

NAME = "TensorFlow Lite"
_LOOPS = (
    "in its loops (WHILE) no LSTM was recognised; they run as a whole model (Model.load), and for an LSTM alone load "
    "the .keras file"
)


def read(source: Source) -> Contents | None:
    """Every fused LSTM, by the names of its output tensors; those of loops and plain operators by the last one's."""
    if source.head[4:8] != b"TFL3":  # a flatbuffer names its schema after the root's offset
        return None
    model = Model(source.read())
    tensors = {
        graph.tensors[index].string(3): partial(graph.stored, index)
        for graph in reversed(model.graphs)
        for index in reversed(range(len(graph.tensors)))
        if model.bytes_of(graph.tensors[index]) is not None
    }

    def whole(outputs: Sequence[str] | None, external_data: bool) -> Graph:
        return read_graph(model, outputs)

    loops = any(one.code == WHILE for graph in model.graphs for one in graph.operators)
    return Contents(
        NAME,
        {LSTMWeights: lstms(model)},
        tensors,
        hint=_LOOPS * loops,
        graph=whole,
        pieces={LSTMWeights: Pieces(lambda: whole(None, False))},
    )
