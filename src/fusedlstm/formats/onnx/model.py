"""ONNX files. The onnx library parses them and does nothing else: tensors are decoded and constants folded here.

External data is opened only for whole models, where the caller asks for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from ...errors import FormatError
from ...weights import LSTMWeights
from ..containers.need import need
from ..containers.protobuf import BYTES, VARINT, Buffer, fields, parse
from ..containers.source import Source
from ..contents import Contents
from ..pieces import Pieces
from .fold import Constants
from .graph import Array, Inside, Scope, graphs, is_op, to_array
from .lstm import lstms

if TYPE_CHECKING:
    from ...graph import Graph

NAME = "ONNX"

_MAX_BYTES = 2**31 - 1  # protobuf's own limit
_MODEL = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES}
_GRAPH = 7
_TELLING = ("GRU", "RNN", "Sigmoid", "HardSigmoid", "Tanh")
_IN_GRAPH = {1, 2, 5, 10, 11, 12, 13, 14, 15, 16}


def read(source: Source) -> Contents | None:
    """Every LSTM node, by its name and by the names of its outputs; cells that were taken apart by the last node's."""
    if source.head[:1] != b"\x08" or not _is_model(source.map()):
        return None
    if source.size > _MAX_BYTES:
        raise FormatError(f"expected at most {_MAX_BYTES} bytes, found {source.size}")
    model = parse(source.read(), need("onnx", "onnx").ModelProto())
    inside = list(graphs(model))

    def graph(outputs: Sequence[str] | None, external_data: bool) -> Graph:
        from .tensors import External
        from .whole import from_proto

        folder = source.path.parent if external_data and source.path is not None else None
        return from_proto(model, outputs, External(folder))

    return Contents(
        NAME,
        {LSTMWeights: lstms(inside, source.size)},
        _tensors(inside),
        hint=_hint([one.scope for one in inside]),
        graph=graph,
        pieces={LSTMWeights: Pieces(lambda: graph(None, False))},
    )


def _tensors(inside: list[Inside]) -> dict[str, Callable[[], Array]]:
    """The initializers and constants of all graphs; where two have the same name, the first in the file's order."""
    found: dict[str, Callable[[], Array]] = {}
    for one in inside:
        for name, tensor in one.scope.tensors.items():
            found.setdefault(name, partial(to_array, name, tensor))
        for name, node in one.scope.nodes.items():
            if is_op(node, "Constant"):
                found.setdefault(name, partial(Constants(0).get, one.scope, name))
    return found


def _hint(scopes: list[Scope]) -> str:
    """What there is where there is no LSTM operator."""
    count = Counter(node.op_type for scope in scopes for node in scope.graph.node if is_op(node, *_TELLING))
    if other := [name for name in ("GRU", "RNN") if count[name]]:
        return f"it has {' and '.join(other)} operators"
    gates = count["Sigmoid"] + count["HardSigmoid"]
    if gates >= 3 and count["Tanh"] >= 2:
        return (
            f"it has no LSTM operator, but {gates} Sigmoid and {count['Tanh']} Tanh, in which no LSTM was recognised; "
            "load the file of the training framework"
        )
    return ""


def _is_model(data: Buffer) -> bool:
    """Whether a file is a ModelProto: ir_version first, then only its fields up to a graph. A few reads, no parsing."""
    try:
        for index, (number, wire, start, stop) in enumerate(islice(fields(data, 0, len(data)), 64)):
            if _MODEL.get(number) != wire or (index == 0 and not _is_version(data[start:stop])):
                return False
            if number == _GRAPH:
                first = next(fields(data, start, min(stop, len(data))), None)
                return first is None or (first[0] in _IN_GRAPH and first[1] == BYTES)
    except FormatError:
        pass
    return False


def _is_version(value: bytes) -> bool:
    return len(value) == 1 and value[0] > 0
