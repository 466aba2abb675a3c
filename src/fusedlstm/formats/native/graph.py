"""A graph from JSON and tensors, as `model` writes them; whatever it does not write is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import FormatError
from ...graph import FLOAT32, OPERATORS, OPSET, Graph, Node, Precision, Value, checked_keep, node
from ...graph.dims import Dim, Size, parsed
from ...graph.graph import MAX_NODES, check_shape
from ...graph.operators import Array, Attribute, DType
from ...weights import PRODUCTS, Activation, LSTMWeights
from ..containers.json import parse
from ..containers.safetensors import NUMBERS, Safetensors
from . import lstm
from .stored import MODEL_KEY, Part, lstms

VERSION = 2
"""Raised when an older reader would get other numbers from it; 1 has no precision."""

_FIELDS = ("inputs", "outputs", "nodes", "name")
FIELDS_OF_PRECISION = ("dtype", "products", "keep")
FIELDS_OF_NODE = ("op", "inputs", "outputs", "attributes", "name")
_DTYPES = {np.dtype(kind).name: np.dtype(kind) for kind in NUMBERS.values() if np.dtype(kind).kind in "fiub"}


class Reader:
    """Reads the model of a file whose metadata have `MODEL_KEY`."""

    def __init__(self, file: Safetensors) -> None:
        self._file = file
        self._known = file.shapes
        self._arrays: dict[str, Array] = {}
        self._said: list[Any] = []
        self._lstms: dict[int, LSTMWeights] = {}
        self._count = 0

    def read(self) -> Graph:
        """The model.

        Raises
        ------
        FormatError
            A newer version, or anything that is not as it is written.
        """
        said = parse(f"metadata {MODEL_KEY!r}", self._file.metadata[MODEL_KEY].encode())
        version = said.pop("version", None)
        if type(version) is not int or version > VERSION or version < 1:
            later = " (written by a later fusedlstm?)" if type(version) is int and version > VERSION else ""
            raise FormatError(
                f"metadata {MODEL_KEY!r}: expected version 1 or {VERSION}, found {_short(version)}{later}"
            )
        if (opset := said.pop("opset", None)) != OPSET:
            raise FormatError(f"metadata {MODEL_KEY!r}: expected operator set {OPSET}, found {_short(opset)}")
        precision = FLOAT32 if version == 1 else _precision(said.pop("precision", None))
        constants = _object(said.pop("constants", None), "constants")
        self._said = _list(said.pop("lstms", None), "lstms")
        ranges = tuple(map(_range, _list(said.pop("ranges", []), "ranges")))
        inside = self._graph(said)
        return Graph(
            inside.inputs,
            inside.outputs,
            inside.nodes,
            {name: self._tensor(stored, f"constant {name!r}") for name, stored in constants.items()},
            inside.name,
            precision=precision,
            ranges=ranges,
        )

    def _graph(self, said: Any) -> Graph:
        """One graph, unchecked: names and order are checked when the whole is made."""
        said = _fields(said, _FIELDS, "graph")
        inputs, outputs = ([_value(one) for one in _list(said[what], what)] for what in ("inputs", "outputs"))
        nodes = [self._node(one) for one in _list(said["nodes"], "nodes")]
        name = _text(said["name"], "name")
        return Graph.unchecked(inputs, outputs, nodes, name)

    def _node(self, said: Any) -> Node:
        self._count += 1
        if self._count > MAX_NODES:
            raise FormatError(f"expected at most {MAX_NODES} nodes, found more")
        said = _fields(said, FIELDS_OF_NODE, "node")
        op, name = _text(said["op"], "op"), _text(said["name"], "name")
        inputs, outputs = ([_text(one, what) for one in _list(said[what], what)] for what in ("inputs", "outputs"))
        where = f"{_short(op)} node {_short(name or ''.join(outputs[:1]))}"
        entry = OPERATORS.get(op)
        if entry is None:
            raise FormatError(f"{where}: expected an operator of docs/operators.md")
        given: dict[str, Any] = {}
        for key, value in _object(said["attributes"], f"{where}: attributes").items():
            if key not in entry.attributes:
                raise FormatError(f"{where}: attribute {_short(key)}: expected none such")
            given[key] = self._attribute(entry.attributes[key], key, value, where)
        return node(op, inputs, outputs, name, **given)

    def _attribute(self, known: Attribute, name: str, value: Any, where: str) -> Any:
        if value is None:
            return None
        where = f"{where}: attribute {name}"
        if known.kind == "a graph":
            return self._graph(value)
        if known.kind == "a tensor":
            return self._tensor(value, where)
        if known.kind == "a dtype":
            return _dtype(value, where)
        if known.kind == "a number":
            return _float(value, where)
        if known.kind == "numbers":
            return [_float(one, where) for one in _list(value, where)]
        if known.kind == "an object":
            return self._lstm(value, where) if name == "weights" else _activation(value, where)
        return value  # text and whole numbers, which the operator checks

    def _lstm(self, place: Any, where: str) -> LSTMWeights:
        if type(place) is not int or not 0 <= place < len(self._said):
            raise FormatError(f"{where}: expected one of {len(self._said)} LSTMs, found {_short(place)}")
        if place not in self._lstms:
            said = dict(_object(self._said[place], "lstms"))
            names = _object(said.pop("tensors", None), "lstms: tensors")
            for stored in names.values():
                self._expect(stored, where)
            found = lstms(Part(self._file, names, self._known), lstm.checked(said, str(said)[:200]))
            if list(found) != [""]:
                raise FormatError(f"{where}: expected one LSTM, found {len(found)}")
            try:
                self._lstms[place] = found[""]()
            except ValueError as error:
                raise FormatError(f"{where}: {error}") from error
        return self._lstms[place]

    def _tensor(self, stored: Any, where: str) -> Array:
        stored = self._expect(stored, where)
        if stored not in self._arrays:
            self._arrays[stored] = self._file.read(stored)
        return self._arrays[stored]

    def _expect(self, stored: Any, where: str) -> str:
        if type(stored) is not str or stored not in self._known:
            raise FormatError(f"{where}: expected the name of a tensor of this file, found {_short(stored)}")
        return stored


def _size(said: Any, where: str) -> Size:
    """A size as `described` writes it."""
    if said is None or (type(said) is int and said >= 0) or (type(said) is str and said):
        return said
    try:
        (text,) = said
        found = parsed(text)
        if isinstance(found, Dim):
            return found
    except (TypeError, ValueError):
        pass
    raise FormatError(f"{where}: expected sizes, names of sizes or null, found {_short(said)}")


def _range(said: Any) -> tuple[str, int, int | None]:
    """The name of a free size, the least and the most that it may be."""
    match said:
        case [str() as name, least, most] if type(least) is int and (most is None or type(most) is int):
            return name, least, most
    raise FormatError(f"ranges: expected a name, the least and the most, found {_short(said)}")


def _value(said: Any) -> Value:
    if len(_list(said, "input or output")) != 3:
        raise FormatError(f"input or output: expected a name, a dtype and a shape, found {_short(said)}")
    name, dtype, shape = said
    where = f"input or output {_short(name)}"
    if shape is not None:
        shape = [_size(size, where) for size in _list(shape, where)]
        check_shape(where, shape, None)
    kind = None if dtype is None else _dtype(dtype, where)
    return Value(_text(name, where), kind, None if shape is None else tuple(shape))


def _activation(said: Any, where: str) -> Activation:
    match said:
        case [str() as name, alpha, beta] if lstm.is_number(alpha) and lstm.is_number(beta):
            try:
                return Activation(name, alpha, beta)
            except ValueError as error:
                raise FormatError(f"{where}: {error}") from error
    raise FormatError(f"{where}: expected a name, alpha and beta, found {_short(said)}")


def _dtype(said: Any, where: str) -> DType:
    if type(said) is not str or said not in _DTYPES:
        raise FormatError(f"{where}: expected one of {', '.join(_DTYPES)}, found {_short(said)}")
    return _DTYPES[said]


def _float(said: Any, where: str) -> float:
    if lstm.is_number(said) or said in ("inf", "-inf", "nan"):
        return float(said)
    raise FormatError(f"{where}: expected a number, found {_short(said)}")


def _text(said: Any, where: str) -> str:
    if type(said) is not str:
        raise FormatError(f"{where}: expected text, found {_short(said)}")
    try:
        said.encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"{where}: expected text, found half of a character") from error
    return said


def _list(said: Any, where: str) -> list[Any]:
    if type(said) is not list:
        raise FormatError(f"{where}: expected a list, found {_short(said)}")
    return said


def _object(said: Any, where: str) -> dict[str, Any]:
    if type(said) is not dict:
        raise FormatError(f"{where}: expected an object, found {_short(said)}")
    return said


def _fields(said: Any, names: Sequence[str], where: str) -> dict[str, Any]:
    """An object that has just these entries."""
    if _object(said, where).keys() != set(names):
        raise FormatError(f"{where}: expected {', '.join(names)}, found {_short(', '.join(said))}")
    return said  # type: ignore[no-any-return]


def _short(said: Any) -> str:
    return ascii(said[:99] if isinstance(said, str) else said)[:99]


def _precision(said: Any) -> Precision:
    said = _fields(said, FIELDS_OF_PRECISION, "precision")
    dtype, products = _text(said["dtype"], "dtype"), _text(said["products"], "products")
    if products not in PRODUCTS.get(dtype, ()):
        raise FormatError(f"metadata {MODEL_KEY!r}: expected a precision, found {_short(dtype)} by {_short(products)}")
    try:
        return Precision(dtype, products, checked_keep([_text(one, "keep") for one in _list(said["keep"], "keep")]))
    except ValueError as error:
        raise FormatError(f"metadata {MODEL_KEY!r}: {error}") from error
