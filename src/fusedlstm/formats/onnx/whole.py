"""A whole ONNX model as a `Graph`. The onnx library parses the file and does nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import FormatError
from ...graph.graph import MAX_DEPTH, MAX_NODES, Graph, Node, Value, node
from ...graph.operators import OPERATORS
from ..containers.need import need
from ..containers.protobuf import parse
from ..containers.source import Source
from .order import ordered
from .tensors import Array, External, attributes, dtype_of, to_array
from .upgrade import NEWEST, OLDEST, Old, upgraded

_MAX_BYTES = 2**31 - 1  # protobuf's own limit
_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def read_graph(source: Source, outputs: Sequence[str] | None = None, external_data: bool = False) -> Graph:
    """The model in a file.

    Parameters
    ----------
    source : Source
        The file.
    outputs : sequence of str, optional
        Tensors to cut the graph at; what lies behind them does not matter. By default the file's outputs.
    external_data : bool
        Whether tensors may lie in other files beside it.

    Raises
    ------
    FormatError
        A file that is damaged or hostile. Operators that cannot be run are marked in the graph (`Graph.refusals`).
    """
    if source.size > _MAX_BYTES:
        raise FormatError(f"expected at most {_MAX_BYTES} bytes, found {source.size}")
    model = parse(source.read(), need("onnx", "onnx").ModelProto())
    return from_proto(model, outputs, External(source.path.parent if external_data and source.path else None))


def from_proto(model: Any, outputs: Sequence[str] | None = None, external: External | None = None) -> Graph:
    """The graph of a ModelProto."""
    return _Reader(model, external or External(None)).read(outputs)


class _Scope:
    """What the names of one graph or function are called in the whole."""

    def __init__(self, outer: _Scope | None, versions: dict[str, int], outer_attributes: dict[str, Any] | None) -> None:
        self.outer = outer
        self.versions = versions
        self.attributes = outer_attributes  # of the node that calls the function; None outside of functions
        self.names: dict[str, str] = {}
        self.ranks: dict[str, int] = {}

    def find(self, name: str) -> str:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        raise FormatError(f"tensor {name!r}: used, but defined nowhere")


class _Reader:
    def __init__(self, model: Any, external: External) -> None:
        self.model = model
        self.external = external
        self.functions = {(one.domain, one.name): one for one in model.functions}
        self.taken: set[str] = set()
        self.constants: dict[str, Array] = {}
        self.count = 0

    def read(self, outputs: Sequence[str] | None) -> Graph:
        versions, outermost = _versions(self.model.opset_import), self.model.graph
        self.taken.update(name for one in outermost.node for name in one.output)
        self.taken.update(one.name for one in (*outermost.input, *outermost.initializer))
        graph = self.graph(outermost, _Scope(None, versions, None), 0)
        if outputs is not None:
            known = {one.name: one for one in graph.outputs}
            graph = graph.replace(outputs=tuple(known.get(name, Value(name)) for name in outputs))
        wanted, kept = {one.name for one in graph.outputs}, []
        for one in reversed(graph.nodes):
            if wanted.intersection(one.outputs):
                kept.append(one)
                wanted.update(_uses(one))
        for value in graph.inputs:
            if value.dtype is None and value.name in wanted:
                raise FormatError(f"input {value.name!r}: expected a tensor, found another kind of value")
        constants = {name: value for name, value in self.constants.items() if name in wanted}
        return Graph(graph.inputs, graph.outputs, kept[::-1], constants, graph.name)

    def define(self, scope: _Scope, name: str, inner: bool) -> str:
        """A name of the whole for a name that a graph defines."""
        if name in scope.names:
            raise FormatError(f"tensor {name!r}: expected one definition, found two")
        if not name:
            raise FormatError("tensor '': expected a name, found none")
        scope.names[name] = self.fresh(name) if inner else name
        return scope.names[name]

    def fresh(self, name: str) -> str:
        """A name that nothing has, in graphs inside nodes and in functions."""
        found, k = name, 1
        while found in self.taken:
            k += 1
            found = f"{name}~{k}" if k < 50 else f"{name}~{len(self.taken)}"
        self.taken.add(found)
        return found

    def graph(self, proto: Any, scope: _Scope, depth: int) -> Graph:
        """One graph, with those inside its nodes; constants go to the outermost one."""
        if depth > MAX_DEPTH:
            raise FormatError(f"expected graphs at most {MAX_DEPTH} deep inside nodes, found deeper ones")
        inner = depth > 0
        nodes: list[Node] = []
        stored = {one.name for one in proto.initializer}
        for one in (*proto.input, *proto.value_info, *proto.output):
            if one.type.tensor_type.HasField("shape"):
                scope.ranks[one.name] = len(one.type.tensor_type.shape.dim)
        inputs = [_value(one, self.define(scope, one.name, inner)) for one in proto.input if one.name not in stored]
        for one in proto.initializer:
            scope.ranks[one.name] = len(one.dims)
            name = self.define(scope, one.name, inner)
            try:
                self.constants[name] = to_array(one.name, one, self.external)
            except FormatError as error:
                nodes.append(Node("Constant", (), (name,), {}, "", str(error)))
        for one in proto.sparse_initializer:
            name = self.define(scope, one.values.name, inner)
            nodes.append(
                Node("Constant", (), (name,), {}, "", f"tensor {name!r}: sparse initializers are not supported")
            )
        nodes += self.nodes(proto.node, scope, depth, inner)
        outputs = [_value(one, scope.find(one.name)) for one in proto.output]
        if inner:  # of a graph that is never run alone, only the names matter
            outputs = [Value(one.name) for one in outputs]
        return Graph.unchecked(inputs, outputs, nodes, proto.name)

    def nodes(self, protos: Any, scope: _Scope, depth: int, inner: bool) -> list[Node]:
        made: list[Node] = []
        for one in ordered(protos):
            self.count += 1
            if self.count > MAX_NODES:
                raise FormatError(f"expected at most {MAX_NODES} nodes, found more")
            inputs = [scope.find(name) if name else "" for name in one.input]
            given: dict[str, Any] = {}
            reason = ""
            try:
                for name, value in attributes(one.attribute, scope.attributes):
                    if name in given:
                        raise FormatError(f"expected attribute {name!r} once, found it twice")
                    given[name] = self.plain(value, scope, depth)
            except _Unreadable as error:
                reason = str(error)
            function = self.functions.get((one.domain, one.op_type))
            if function is not None:
                made += self.call(function, one, inputs, given, scope, depth)
                continue
            outputs = [self.define(scope, name, inner) if name else "" for name in one.output]
            made += self.node(one, inputs, outputs, given, scope, reason)
        return made

    def plain(self, value: Any, scope: _Scope, depth: int) -> Any:
        """An attribute's value; graphs and tensors are read."""
        if hasattr(value, "initializer"):
            return self.graph(value, _Scope(scope, scope.versions, scope.attributes), depth + 1)
        if hasattr(value, "data_type"):
            try:
                return to_array(value.name, value, self.external)
            except FormatError as error:
                raise _Unreadable(str(error)) from error
        return value

    def call(
        self, function: Any, one: Any, inputs: list[str], given: dict[str, Any], scope: _Scope, depth: int
    ) -> list[Node]:
        """The nodes of a function in the place of a node that calls it."""
        if depth > MAX_DEPTH:
            raise FormatError(f"function {function.name!r}: expected calls at most {MAX_DEPTH} deep, found deeper ones")
        for name, value in attributes(function.attribute_proto, None):
            given.setdefault(name, self.plain(value, scope, depth))
        inside = _Scope(None, _versions(function.opset_import), given)
        for k, name in enumerate(function.input):
            inside.names[name] = inputs[k] if k < len(inputs) else ""
        made = self.nodes(function.node, inside, depth + 1, True)
        for name, formal in zip(one.output, function.output):
            if name:
                made.append(node("Identity", [inside.find(formal)], self.define(scope, name, depth > 0)))
        return made

    def node(
        self, one: Any, inputs: list[str], outputs: list[str], given: dict[str, Any], scope: _Scope, reason: str
    ) -> list[Node]:
        """What a node means in the operator set that graphs use."""
        domain = "" if one.domain == "ai.onnx" else one.domain
        op, version = (f"{domain}." if domain else "") + one.op_type, scope.versions.get(domain, 0)
        refused = Node(op, tuple(inputs), tuple(outputs), {}, one.name, reason)
        if not reason and domain == "" and not OLDEST <= version <= NEWEST:
            reason = f"expected operator set {OLDEST} to {NEWEST}, found {version}"
        if not reason and op in _RANDOM:
            reason = "random operators are not supported"
        old = Old(op, version, list(inputs), list(outputs), given, lambda name: _rank(scope, name), self.fresh)
        try:
            if not reason:
                made = [_made(entry, one.name) for entry in upgraded(old).made]
                for name, value in old.constants.items():
                    self.constants[name] = value
                return made
        except FormatError as error:
            reason = str(error).removeprefix(f"{refused.title}: ")
        return [Node(op, refused.inputs, refused.outputs, {}, one.name, reason)]


class _Unreadable(FormatError):
    """An attribute that makes its node one that cannot be run."""


def _made(entry: tuple[str, Sequence[str], Sequence[str], dict[str, Any]], name: str) -> Node:
    op, inputs, outputs, given = entry
    if op not in OPERATORS:
        advice = '; load the float file and model.astype("int8")' if "Quant" in op or "QLinear" in op else ""
        raise FormatError(f"this operator is not supported{advice}")
    known = OPERATORS[op].attributes
    for key, value in given.items():
        if key in known and known[key].kind == "a dtype":
            given[key] = dtype_of(value) if value or known[key].default is not None else None
    while outputs and not outputs[-1]:
        outputs = outputs[:-1]
    return node(op, inputs, outputs, name, **given)


def _versions(imports: Any) -> dict[str, int]:
    return {"" if one.domain == "ai.onnx" else one.domain: int(one.version) for one in imports}


def _rank(scope: _Scope, name: str) -> int | None:
    return next((scope.ranks[own] for own, known in scope.names.items() if known == name and own in scope.ranks), None)


def _value(info: Any, name: str) -> Value:
    """An input or output as the file declares it."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.elem_type:
        return Value(name)
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or None
            for dim in tensor.shape.dim
        )
    try:
        return Value(name, dtype_of(tensor.elem_type), shape)
    except FormatError as error:
        raise FormatError(f"tensor {name!r}: {error}") from error


def _uses(one: Node) -> Iterator[str]:
    yield from one.inputs
    for value in one.attributes.values():
        if isinstance(value, Graph):
            yield from (output.name for output in value.outputs)
            for inner in value.nodes:
                yield from _uses(inner)
