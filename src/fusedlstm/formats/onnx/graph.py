"""The names of an ONNX graph, and its tensors as NumPy arrays with nothing taken on trust."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import FormatError

Array = npt.NDArray[Any]

# TensorProto.DataType: how it lies in raw_data, and the typed field that may hold it instead.
# bfloat16 and float16 are bit patterns when they lie in int32_data.
FLOAT16, BFLOAT16 = 10, 16
DTYPES = {
    1: ("<f4", "float_data"),
    2: ("<u1", "int32_data"),
    3: ("<i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("|b1", "int32_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    FLOAT16: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    BFLOAT16: ("<u2", "int32_data"),
}
MAX_RANK = 32
_IGNORES_VALUES = ("Shape", "Size", "RandomNormalLike", "RandomUniformLike", "EyeLike")
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_KINDS = {
    1: "f",
    2: "i",
    3: "s",
    4: "t",
    5: "g",
    6: "floats",
    7: "ints",
    8: "strings",
}  # AttributeProto.type → its field


Branches = tuple[tuple[int, str, str], ...]
"""The Ifs around a graph: how deep each lies, its first output, and which branch of it leads here."""


class Inside(NamedTuple):
    """A graph of a model, and the Ifs around it."""

    scope: Scope
    branches: Branches


def graphs(model: Any) -> Iterator[Inside]:
    """The graph, its functions, and the graphs inside their nodes (Loop, If, Scan)."""
    roots = (*reversed(model.functions), model.graph)
    waiting = [Inside(Scope(one), ()) for one in roots]
    while waiting:
        inside = waiting.pop()
        yield inside
        for node in reversed(inside.scope.graph.node):
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs):
                    if graph.node:
                        branch = (len(inside.branches), next(iter(node.output), ""), attribute.name)
                        path = (*inside.branches, branch) if is_op(node, "If") else inside.branches
                        waiting.append(Inside(inside.scope.inner(graph), path))


class Scope:
    """What the nodes of one graph see by name: its inputs, tensors and nodes, then those of the graphs around it."""

    def __init__(self, graph: Any, outer: Scope | None = None) -> None:
        self.outer = outer
        self.graph = graph
        self.inputs = {one if isinstance(one, str) else one.name for one in graph.input}
        self.tensors: dict[str, Any] = {}
        self.nodes: dict[str, Any] = {}
        self.sparse: set[str] = {one.values.name for one in getattr(graph, "sparse_initializer", ())}
        for tensor in getattr(graph, "initializer", ()):
            self._define(self.tensors, tensor.name, tensor)
        for node in graph.node:
            for output in filter(None, node.output):
                self._define(self.nodes, output, node)
        described = (one for one in (*graph.input, *getattr(graph, "value_info", ())) if not isinstance(one, str))
        self._types = {one.name: one.type.tensor_type for one in described}
        self._inner: dict[int, Scope] = {}

    def find(self, name: str) -> Scope:
        """The scope that defines a name."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.tensors or name in scope.nodes or name in scope.inputs or name in scope.sparse:
                return scope
            scope = scope.outer
        raise FormatError(f"tensor {name!r}: used, but defined nowhere")

    def inner(self, graph: Any) -> Scope:
        """The scope of a graph inside one of this graph's nodes, the same one each time."""
        if id(graph) not in self._inner:
            self._inner[id(graph)] = Scope(graph, self)
        return self._inner[id(graph)]

    @cached_property
    def runtime(self) -> set[str]:
        """Names of this graph whose values depend on the values, not just the shapes, of the model's inputs."""
        found = self.inputs - self.tensors.keys() - self.sparse
        around: list[set[str]] = []
        outer = self.outer
        while outer is not None:
            around.append(outer.runtime)
            outer = outer.outer
        for node in self.graph.node:  # a valid graph has its nodes in order of computation
            inputs = [] if is_op(node, *_IGNORES_VALUES) else [*filter(None, node.input), *_captured(node)]
            if any(one in names for one in inputs for names in (found, *around)):
                found.update(node.output)
        return found

    def declared_shape(self, name: str) -> list[int | None] | None:
        """The sizes of a tensor as the file declares them, None for those that it leaves open."""
        declared = self.find(name)._types.get(name)
        if declared is None or not declared.HasField("shape"):
            return None
        return [int(dim.dim_value) if dim.HasField("dim_value") else None for dim in declared.shape.dim]

    def declared_size(self, name: str, axis: int) -> int | None:
        """The size of one axis where the file declares it."""
        sizes = self.declared_shape(name) or []
        return sizes[axis] if -len(sizes) <= axis < len(sizes) else None

    def _define(self, where: dict[str, Any], name: str, value: Any) -> None:
        if name in self.tensors or name in self.nodes or (where is self.nodes and name in self.inputs):
            raise FormatError(f"tensor {name!r}: expected one definition, found two")
        where[name] = value


def _captured(node: Any) -> Iterator[str]:
    """Names that the graphs inside a node use: they may be of the graphs around it."""
    waiting = [graph for one in node.attribute for graph in (one.g, *one.graphs)]
    while waiting:
        for inside in waiting.pop().node:
            yield from filter(None, inside.input)
            waiting += [graph for one in inside.attribute for graph in (one.g, *one.graphs) if graph.node]


def is_op(node: Any, *names: str) -> bool:
    """Whether a node is one of these operators of ONNX itself, not of a vendor's extension."""
    return node.domain in ("", "ai.onnx") and node.op_type in names


def describe(node: Any) -> str:
    """What to call a node in a message."""
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return f"{domain}{node.op_type} node {node.name or next(iter(node.output), '')!r}"


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes as Python values (tensors as they are)."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.name in found:
            raise FormatError(f"{describe(node)}: expected attribute {attribute.name!r} once, found it twice")
        field = _KINDS.get(attribute.type)
        if field is None or attribute.ref_attr_name:
            raise FormatError(f"{describe(node)}: attribute {attribute.name!r} is of a kind that is not supported")
        value = getattr(attribute, field)
        if field in ("floats", "ints"):
            value = list(value)
        elif field == "strings":
            value = [one.decode("utf-8", "replace") for one in value]
        elif field == "s":
            value = value.decode("utf-8", "replace")
        found[attribute.name] = value
    return found


def to_array(name: str, tensor: Any) -> Array:
    """A TensorProto as a NumPy array; bfloat16 comes as float32.

    Raises
    ------
    FormatError
        Data outside the file, of a type that no LSTM needs, or not as many numbers as its shape says.
    """
    where = f"tensor {name!r}"
    if not hasattr(tensor, "data_type"):  # an attribute of another kind
        raise FormatError(f"{where}: expected a tensor, found {type(tensor).__name__}")
    if tensor.data_location or tensor.external_data:
        raise FormatError(
            f"{where}: expected its data inside the file, found external data, which is never opened; save the model "
            "whole: onnx.save(onnx.load(path), new_path), or torch.onnx.export(..., external_data=False)"
        )
    if tensor.HasField("segment"):
        raise FormatError(f"{where}: expected a whole tensor, found a segment of one")
    if tensor.data_type not in DTYPES:
        raise FormatError(f"{where}: expected a number type, found ONNX data type {tensor.data_type}")
    shape = tuple(tensor.dims)
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise FormatError(f"{where}: expected a shape, found {shape}")
    code, field = DTYPES[tensor.data_type]
    dtype = np.dtype(code)
    present = [one for one in _TYPED if len(getattr(tensor, one))]
    if tensor.HasField("raw_data"):
        present.append("raw_data")
    if len(present) > 1 or not set(present) <= {field, "raw_data"}:
        raise FormatError(f"{where}: expected its data in raw_data or {field}, found it in {' and '.join(present)}")
    count = math.prod(shape)
    if present == ["raw_data"]:
        if len(tensor.raw_data) != count * dtype.itemsize:
            raise FormatError(
                f"{where}: expected {count * dtype.itemsize} bytes for shape {shape}, found {len(tensor.raw_data)}"
            )
        values = np.frombuffer(tensor.raw_data, dtype)
    else:
        stored = getattr(tensor, field)
        if len(stored) != count:
            raise FormatError(f"{where}: expected {count} numbers for shape {shape}, found {len(stored)}")
        values = _from_typed(where, stored, dtype)
    if tensor.data_type == BFLOAT16:
        values = (values.astype("<u4") << 16).view("<f4")
    return values.reshape(shape)


def _from_typed(where: str, stored: Any, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f" and dtype.itemsize > 2:
        return np.array(stored, dtype)
    if dtype == np.uint64:
        return np.array(stored, dtype)
    held: dict[str, np.dtype[Any]] = {"f": np.dtype("<u2"), "b": np.dtype("u1")}  # float16 lies here as its bits
    bits = held.get(dtype.kind, dtype)
    values = np.array(stored, np.int64)
    limits = np.iinfo(bits)
    if values.size and not (limits.min <= values.min() and values.max() <= limits.max):
        raise FormatError(f"{where}: expected numbers of {dtype.itemsize} byte(s), found larger ones")
    return values.astype(bits).view(dtype)
