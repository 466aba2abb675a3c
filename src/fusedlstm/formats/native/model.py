"""The native form of a whole model: the graph as JSON in the metadata, its arrays as tensors (`graph` reads them).

Written is the graph as the file had it, not the simplified one: ONNX's operators of one set mean the same for ever,
what our passes make of them is ours to change. Attributes are all written, so that no default decides anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import FormatError
from ...graph import FLOAT32, OPERATORS, OPSET, Graph, Node, Value
from ...graph.dims import Dim, Size, parsed
from ...graph.graph import prune
from ...graph.operators import Array, Attribute
from ...weights import Activation, LSTMWeights
from ..containers.safetensors import NUMBERS, Safetensors, Stored
from ..pieces import Pieces
from . import lstm, narrow
from .graph import FIELDS_OF_NODE, FIELDS_OF_PRECISION, VERSION, Reader
from .stored import MODEL_KEY

_STORED_AS = {np.dtype(number): kind for kind, number in NUMBERS.items() if kind != "BF16"}
_RESERVED = "__metadata__"  # by the container


def described(graph: Graph) -> tuple[dict[str, Stored], dict[str, str]]:
    """The tensors and the metadata of a file that holds a graph."""
    writer = _Writer()
    said: dict[str, Any] = {"version": 1, "opset": OPSET, **writer.graph(graph)}
    said |= {"constants": writer.constants, "lstms": writer.lstms}
    if graph.precision != FLOAT32:
        held = graph.precision
        said |= {"version": VERSION, "precision": {name: getattr(held, name) for name in FIELDS_OF_PRECISION}}
    if graph.ranges:
        said["ranges"] = list(map(list, graph.ranges))
    return writer.tensors, {MODEL_KEY: json.dumps(said, allow_nan=False, ensure_ascii=False, separators=(",", ":"))}


class _Writer:
    def __init__(self) -> None:
        self.tensors: dict[str, Stored] = {}
        self.constants: dict[str, str] = {}  # those of graphs inside nodes too, as all share one set of names
        self.written: dict[Any, str] = {}
        self.lstms: list[dict[str, Any]] = []
        self.places: dict[int, int] = {}  # of LSTMs in that list

    def graph(self, graph: Graph) -> dict[str, Any]:
        for name, array in graph.constants.items():
            self.constants[name] = self.tensor(name, array)
        return {
            "inputs": [_described(one) for one in graph.inputs],
            "outputs": [_described(one) for one in graph.outputs],
            "nodes": [self.node(one) for one in graph.nodes],
            "name": graph.name,
        }

    def node(self, one: Node) -> dict[str, Any]:
        if one.refused:
            raise FormatError(f"{one.title}: {one.refused}")
        known = OPERATORS[one.op].attributes
        said = {name: self.attribute(one, known[name], name, value) for name, value in one.attributes.items()}
        return dict(zip(FIELDS_OF_NODE, (one.op, one.inputs, one.outputs, said, one.name)))

    def attribute(self, one: Node, known: Attribute, name: str, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, Graph):
            return self.graph(value)
        if isinstance(value, LSTMWeights):
            return self.lstm(one, value)
        if isinstance(value, Activation):
            return [value.name, value.alpha, value.beta]
        if isinstance(value, np.ndarray):
            return self.tensor(f"{one.outputs[0]}.{name}", value)
        if isinstance(value, np.dtype):
            return value.name
        if known.kind == "numbers":
            return [_number(item) for item in value]
        return _number(value) if known.kind == "a number" else value

    def lstm(self, one: Node, weights: LSTMWeights) -> int:
        if id(weights) not in self.places:
            tensors = narrow.stored(lstm.tensors(weights), weights.dtype)
            title = one.name or next(filter(None, one.outputs), "lstm")
            names = {name: self.tensor(f"{title}.{name}", array, kind) for name, (kind, array) in tensors.items()}
            self.places[id(weights)] = len(self.lstms)
            self.lstms.append({**lstm.describe(weights), "tensors": names})
        return self.places[id(weights)]

    def tensor(self, name: str, array: Array, kind: str | None = None) -> str:
        """Under which name an array is stored; one that several names have is stored once."""
        array = np.asarray(array)
        if kind is None:
            kind = _STORED_AS.get(array.dtype.newbyteorder("<"))
            if kind is None:
                raise FormatError(f"constant {name!r}: expected numbers of 8 to 64 bits, found {array.dtype}")
            array = array.astype(NUMBERS[kind], copy=False)
        same = (array.__array_interface__["data"][0], kind, array.shape, array.strides)
        if same in self.written:
            return self.written[same]
        own, k = name, 1
        while own in self.tensors or own == _RESERVED:
            k += 1
            own = f"{name}~{k}" if k < 50 else f"{name}~{len(self.tensors)}"
        self.tensors[own], self.written[same] = (kind, array), own
        return own


def _described(value: Value) -> list[Any]:
    dtype = None if value.dtype is None else np.dtype(value.dtype).name
    return [value.name, dtype, None if value.shape is None else list(map(_size, value.shape))]


def _size(size: Size) -> Any:
    """A number, a name or None; what follows from others as a list that holds the expression."""
    if not isinstance(size, Dim):
        return size
    with suppress(ValueError):
        if parsed(repr(size)) == size:
            return [repr(size)]
    return str(size)


def _number(value: float) -> float | str:
    """A number as JSON can say it, which has no infinity."""
    return value if math.isfinite(value) else repr(float(value))


class Whole:
    """The model of a file, read when it is asked for.

    Parameters
    ----------
    file : Safetensors
        Whose metadata have `MODEL_KEY`.
    """

    def __init__(self, file: Safetensors) -> None:
        self._file = file
        self.lstms = Pieces(lambda: self.complete, alone=False)

    @cached_property
    def complete(self) -> Graph:
        """The model.

        Raises
        ------
        FormatError
            A newer version, or anything that is not as `described` writes it.
        """
        return Reader(self._file).read()

    def graph(self, outputs: Sequence[str] | None, external_data: bool = False) -> Graph:
        """The model, cut at `outputs` where they are given; no other file belongs to it."""
        return self.complete if outputs is None else _cut(self.complete, outputs)


def _cut(graph: Graph, outputs: Sequence[str]) -> Graph:
    """What leads to some tensors, which become the outputs.

    Raises
    ------
    FormatError
        One that the graph does not compute.
    """
    known, used = {one.name: one for one in graph.outputs}, set(outputs)
    nodes = prune(graph.nodes, used)
    constants = {name: value for name, value in graph.constants.items() if name in used}
    return Graph(
        graph.inputs,
        [known.get(name, Value(name)) for name in outputs],
        nodes,
        constants,
        graph.name,
        precision=graph.precision,
        ranges=graph.ranges,
    )
