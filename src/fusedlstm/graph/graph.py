"""A model as data: nodes with ONNX's operator names and meaning, constants as NumPy arrays, inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import FormatError
from .dims import Dim, Size
from .operators import OPERATORS, Array, DType, TensorType
from .precision import FLOAT32, Precision

OPSET = 22
"""The operator set of ONNX whose names and meaning are used. Readers bring older ones up to it; operators that a newer
one added (RMSNormalization, Swish, Attention) have the meaning of the first set that has them."""

_WITH_GRAPHS = frozenset(name for name, entry in OPERATORS.items() if entry.graphs)
MAX_NODES = 50_000
MAX_RANK = 32
MAX_DEPTH = 40
MAX_BYTES, MAX_ELEMENTS = 1 << 32, 1 << 29
"""Of one tensor; with fewer elements it has fewer bytes in any case."""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output: a name, a dtype and a shape.

    Parameters
    ----------
    name : str
        As the file has it.
    dtype : numpy.dtype, optional
        None where it is not known.
    shape : tuple, optional
        Of each size a number, or what it is called, or None if it is free and has no name. None: nothing is known.
    """

    name: str
    dtype: DType | None = None
    shape: tuple[Size, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One application of an operator.

    Parameters
    ----------
    op : str
        The operator: ONNX's name, or one of a domain: ``"fusedlstm.LSTM"``.
    inputs, outputs : tuple of str
        Names of tensors; "" for what is left out.
    attributes : dict
        All that the operator has, with its defaults: numbers, text, tuples, arrays, dtypes, and `Graph` for If and the
        like.
    name : str
        As the file has it; for messages.
    refused : str
        Why it cannot be run, "" if it can: an operator or option that is not known. Such a node may stand in a graph:
        what it leads to may not be wanted.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    refused: str = ""

    @property
    def title(self) -> str:
        """What to call it in a message."""
        return f"{self.op} node {self.name or next(iter(self.outputs), '')!r}"


def node(op: str, inputs: Sequence[str], outputs: Sequence[str] | str, name: str = "", **attributes: Any) -> Node:
    """A node with checked and complete attributes.

    Raises
    ------
    FormatError
        An attribute or a number of inputs that the operator does not take.
    """
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    inputs = tuple(inputs)
    while inputs and not inputs[-1]:
        inputs = inputs[:-1]
    made = Node(op, inputs, outputs, attributes, name)
    entry = OPERATORS.get(op)
    if entry is None:
        raise FormatError(f"{made.title}: expected an operator of docs/operators.md, found {op}")
    try:
        for what, found, (least, most) in (
            ("inputs", len(inputs), entry.inputs),
            ("outputs", len(outputs), entry.outputs),
        ):
            if not least <= found <= most:
                raise ValueError(f"expected {least}{f' to {most}' * (most != least)} {what}, found {found}")
        missing = [index for index in range(entry.inputs[0]) if not inputs[index]]
        if missing:
            raise ValueError(f"expected input {missing[0]}, found none")
        return Node(op, inputs, outputs, entry.complete(attributes), name)
    except ValueError as error:
        raise FormatError(f"{made.title}: {error}") from error


@dataclass(frozen=True, eq=False)
class Graph:
    """A model, or a branch or body inside one; checked when it is made.

    Parameters
    ----------
    inputs, outputs : sequence of Value
        In the order of the file.
    nodes : sequence of Node
        Each after those whose outputs it takes. Those of a graph inside a node may take any tensor that is defined
        around it.
    constants : dict
        Read-only arrays by name.
    name : str
        As the file has it.
    types : dict
        What is known of tensors by name; filled by `passes.fold`.
    precision : Precision
        What the weights are held in; that of the outermost graph counts.
    ranges : sequence of tuples
        The name of a free size, the least and the most that the file takes; None: no most.

    Raises
    ------
    FormatError
        A name that is used before it is defined, or defined twice anywhere (graphs inside nodes share one set of
        names); attributes that an operator does not take; sizes past the bounds of this module.
    """

    inputs: Sequence[Value]
    outputs: Sequence[Value]
    nodes: Sequence[Node]
    constants: Mapping[str, Array] = field(default_factory=dict)
    name: str = ""
    types: Mapping[str, TensorType] = field(default_factory=dict, repr=False)
    precision: Precision = FLOAT32
    ranges: Sequence[tuple[str, int, int | None]] = ()

    def __post_init__(self) -> None:
        for part in ("inputs", "outputs", "nodes"):
            object.__setattr__(self, part, tuple(getattr(self, part)))
        constants = {name: _constant(name, value) for name, value in self.constants.items()}
        object.__setattr__(self, "constants", constants)
        _check(self)

    @classmethod
    def unchecked(
        cls, inputs: Sequence[Value], outputs: Sequence[Value], nodes: Sequence[Node], name: str = ""
    ) -> Graph:
        """A graph inside another, without constants: checked as part of the whole."""
        return cls((), (), ()).replace(inputs=tuple(inputs), outputs=tuple(outputs), nodes=tuple(nodes), name=name)

    def replace(self, **changes: Any) -> Graph:
        """A copy with other parts, which are trusted: for passes."""
        copy = object.__new__(Graph)
        copy.__dict__.update({name: getattr(self, name) for name in self.__dataclass_fields__})
        copy.__dict__.update(changes)
        return copy

    def walk(self) -> Iterator[tuple[Graph, Node]]:
        """Every node with the graph that it is in, those of graphs inside nodes after the node."""
        for one in self.nodes:
            yield self, one
            for inner in graphs_of(one):
                yield from inner.walk()

    def input_types(self) -> dict[str, TensorType]:
        """Of each input what the file declares; sizes that it leaves open are symbols."""
        found = {}
        for one in self.inputs:
            if one.dtype is not None and one.shape is not None:
                shape = tuple(
                    size if isinstance(size, (int, Dim)) else Dim.symbol(f"{one.name}.{axis}" if size is None else size)
                    for axis, size in enumerate(one.shape)
                )
                found[one.name] = TensorType(shape, one.dtype)
        return found

    def constant_types(self) -> dict[str, TensorType]:
        """Of each constant its type; kept, as each call's shapes ask for them."""
        found: dict[str, TensorType] | None = self.__dict__.get("_constant_types")
        if found is None:
            found = {name: TensorType(value.shape, value.dtype) for name, value in self.constants.items()}
            self.__dict__["_constant_types"] = found
        return found

    @property
    def refusals(self) -> tuple[str, ...]:
        """Of each node that cannot be run, what it is and why."""
        return tuple(f"{one.title}: {one.refused}" for _, one in self.walk() if one.refused)

    def __str__(self) -> str:
        from .listing import listing

        return listing(self)


def graphs_of(one: Node) -> list[Graph]:
    """The graphs inside a node."""
    if one.op not in _WITH_GRAPHS:
        return []
    return [value for value in one.attributes.values() if isinstance(value, Graph)]


def captures(graph: Graph) -> list[str]:
    """Names that a graph inside a node takes from around it, in order of use."""
    own = {one.name for one in graph.inputs} | graph.constants.keys()
    found: dict[str, None] = {}
    for one in graph.nodes:
        taken = [*one.inputs, *(name for inner in graphs_of(one) for name in captures(inner))]
        found.update((name, None) for name in taken if name and name not in own)
        own.update(one.outputs)
    found.update((one.name, None) for one in graph.outputs if one.name not in own)
    return list(found)


def prune(nodes: Sequence[Node], used: set[str]) -> list[Node]:
    """The nodes that lead to what is used; `used` is extended by all that they take."""
    kept = []
    for one in reversed(nodes):
        if any(name in used for name in one.outputs):
            kept.append(one)
            used.update(one.inputs)
            for graph in graphs_of(one):
                used.update(value.name for value in graph.outputs)
                prune(graph.nodes, used)
    kept.reverse()
    return kept


def _constant(name: str, value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.ndim > MAX_RANK:
        raise FormatError(f"constant {name!r}: expected numbers, found {array.dtype} of shape {array.shape}")
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _check(graph: Graph) -> None:
    """Names, order, attributes and bounds, of the graphs inside as well."""
    defined: set[str] = set()
    count = 0

    def define(name: str, where: str) -> None:
        if not isinstance(name, str) or not name:
            raise FormatError(f"{where}: expected a name, found {name!r}")
        if name in defined:
            raise FormatError(f"tensor {name!r}: expected one definition, found two")
        defined.add(name)

    def visit(graph: Graph, around: set[str], depth: int) -> None:
        nonlocal count
        if depth > MAX_DEPTH:
            raise FormatError(f"expected graphs at most {MAX_DEPTH} deep inside nodes, found deeper ones")
        visible = set(around)
        for value in graph.inputs:
            define(value.name, "input")
            visible.add(value.name)
            if value.shape is not None:
                check_shape(f"input {value.name!r}", value.shape, value.dtype)
        for name in graph.constants:
            define(name, "constant")
            visible.add(name)
        for one in graph.nodes:
            count += 1
            if count > MAX_NODES:
                raise FormatError(f"expected at most {MAX_NODES} nodes, found more")
            for name in one.inputs:
                if name and name not in visible:
                    raise FormatError(f"{one.title}: expected {name!r} to be defined before it, found it nowhere")
            entry = OPERATORS.get(one.op)
            if entry is None and not one.refused:
                raise FormatError(f"{one.title}: expected an operator of docs/operators.md, found {one.op}")
            if entry is not None and not one.refused and one.attributes.keys() != entry.attributes.keys():
                raise FormatError(f"{one.title}: expected attributes {list(entry.attributes)}")
            for inner in graphs_of(one):
                visit(inner, visible, depth + 1)
            for name in filter(None, one.outputs):
                define(name, one.title)
                visible.add(name)
        for value in graph.outputs:
            if value.name not in visible:
                raise FormatError(f"output {value.name!r}: expected it to be computed, found it nowhere")

    visit(graph, set(), 0)


def check_shape(where: str, shape: Sequence[Size], dtype: DType | None) -> None:
    """Refuse a shape past the bounds.

    Raises
    ------
    FormatError
        A negative size, too many of them, or more bytes than `MAX_BYTES`.
    """
    if len(shape) > MAX_RANK:
        raise FormatError(f"{where}: expected at most {MAX_RANK} dimensions, found {len(shape)}")
    total = 1 if dtype is None else dtype.itemsize
    for size in shape:
        if type(size) is int:
            if size < 0:
                raise FormatError(f"{where}: expected sizes of 0 or more, found {tuple(shape)}")
            total *= size or 1
    if total > MAX_BYTES:
        raise FormatError(f"{where}: expected at most {MAX_BYTES} bytes, found shape {tuple(shape)}")
