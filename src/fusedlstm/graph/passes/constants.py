"""What is known before the model runs is computed: constants, shapes, branches of If whose condition is known.

The same walk serves a file that is loaded, whose open sizes are `Dim`, and a call, whose sizes are numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import FormatError
from ..dims import Dim
from ..evaluate import compute
from ..graph import MAX_ELEMENTS, Graph, Node, Value, check_shape, prune
from ..operators import OPERATORS, Array, Call, TensorType, UnknownError
from ..operators.operator import BOOL, INT64
from .kinds import EXACT, NEVER
from .sizes import ON_SIZES

_FACTOR, _LEAST = 16, 1 << 26  # bytes that folding may make: so many times the constants, or so many
_WORK = 1 << 30  # multiplications that folding may do
_SMALL, _TWICE = 256, 3  # elements that are computed without a look at what will come out; loops inside loops to try


def fold(graph: Graph) -> Graph:
    """The graph with all that constants and declared shapes settle computed, and what is known of each tensor."""
    size = sum(value.nbytes for value in graph.constants.values())
    return Folder(graph, graph.input_types(), {}, max(_FACTOR * size, _LEAST)).run()


class Folder:
    """One walk over a graph.

    Parameters
    ----------
    graph : Graph
        The outermost one.
    inputs : dict
        Types of its inputs, as far as they are known.
    values : dict
        Inputs whose values are known; they become constants.
    room : int
        Bytes that may be made.
    few : float
        Elements of inputs up to which functions of floats that the engine may round otherwise are computed.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[str, TensorType],
        values: Mapping[str, Array],
        room: int,
        few: float = math.inf,
    ) -> None:
        self.graph = graph
        self.types: dict[str, TensorType] = {**graph.constant_types(), **inputs}
        self.known: dict[str, Array] = {**graph.constants, **values}
        self.types.update((name, TensorType(value.shape, value.dtype)) for name, value in values.items())
        self.values = values
        self.never = NEVER - {"fusedlstm.Dense"} if values else NEVER  # what passes made of a product is one again
        self.symbolic: dict[str, Array] = {}  # arrays of sizes, some of them open
        self.alias: dict[str, str] = {}
        self.room, self.few = room, few
        self.work = _WORK
        self.depth = 0
        self.nodes: list[Node] = []

    def run(self) -> Graph:
        """Walk, and put the graph together again."""
        graph = self.graph
        for one in graph.nodes:
            self.step(one)
        for value in graph.outputs:
            if value.name in self.alias:
                self.nodes.append(Node("Identity", (self.find(value.name),), (value.name,), {}))
                if self.find(value.name) in self.types:
                    self.types[value.name] = self.types[self.find(value.name)]
        used = {value.name for value in graph.outputs}
        nodes = prune(self.nodes, used)
        known, types = self.known, self.types
        return graph.replace(
            inputs=tuple(one for one in graph.inputs if one.name not in self.values),
            nodes=tuple(nodes),
            constants={name: known[name] for name in known if name in used},
            types={name: types[name] for name in types if name in used},
        )

    def find(self, name: str) -> str:
        """What a tensor is called now."""
        while name in self.alias:
            name = self.alias[name]
        return name

    def step(self, one: Node) -> None:
        """One node: computed, or kept with what is known of its outputs."""
        inputs = one.inputs
        if self.alias and any(name in self.alias for name in inputs):
            inputs = tuple(map(self.find, inputs))
            one = Node(one.op, inputs, one.outputs, one.attributes, one.name, one.refused)
        if one.refused:
            self.nodes.append(one)
            return
        entry, known = OPERATORS[one.op], self.known
        if entry.graphs:
            self.control(one)
            return
        types = self.types
        if one.op == "Identity" and one.outputs[0] not in known:
            self.alias[one.outputs[0]] = inputs[0]
            return
        shapes: list[Any] = []
        dtypes: list[Any] = []
        values: list[Array | None] = []
        constant = True
        for name in inputs:
            if not name:
                shapes.append(None)
                dtypes.append(None)
                values.append(None)
                continue
            kind = types.get(name)
            if kind is None:
                self.nodes.append(one)
                return
            shapes.append(kind.shape)
            dtypes.append(kind.dtype)
            value = known.get(name)
            if value is None:
                constant = False
                value = self.symbolic.get(name)
            values.append(value)
        if one.op in ("Shape", "Size") and not constant:
            self.sizes(one, shapes[0])
            return
        call = Call(one.attributes, shapes, dtypes, values, len(one.outputs))
        if constant and one.op not in self.never and self.constant(one, entry, call):
            return
        if self.symbolic and self.of_sizes(one, values):
            return
        try:
            found = entry.shape(call)
        except UnknownError:
            self.nodes.append(one)
            return
        except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError, KeyError, AttributeError) as error:
            raise FormatError(f"{one.title}: {error}") from error
        for name, kind in zip(one.outputs, found):
            if name:
                types[name] = kind
                size = math.prod(kind.shape)
                if size > MAX_ELEMENTS or min(kind.shape, default=0) < 0:
                    check_shape(one.title, kind.shape, kind.dtype)
        if one.op == "CastLike":
            one = Node("Cast", inputs[:1], one.outputs, {"to": dtypes[1], "saturate": 1, "round_mode": "up"}, one.name)
        self.nodes.append(one)

    def settle(self, one: Node, arrays: Any) -> None:
        """The outputs of a node are known."""
        for name, array in zip(one.outputs, arrays):
            if name:
                if array.flags.writeable:
                    array.flags.writeable = False
                self.known[name] = array
                self.types[name] = TensorType(array.shape, array.dtype)

    def constant(self, one: Node, entry: Any, call: Call) -> bool:
        """Compute a node all of whose inputs are known, if there is room for its outputs."""
        floats = [value.size for value in call.values if value is not None and value.dtype.kind == "f"]
        if one.op not in EXACT and max(floats, default=0) > self.few:
            return False
        size = sum(value.size for value in call.values if value is not None)
        if size > _SMALL or entry.shape_inputs:
            try:
                found = entry.shape(call)
            except UnknownError:  # what comes out depends on the values: elements, or their places along each axis
                found = [TensorType((size, max(map(len, filter(None, call.shapes)), default=1)), INT64)]
            except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
                raise FormatError(f"{one.title}: {error}") from error
            made = [math.prod(kind.shape) for kind in found]
            room = self.room - sum(count * kind.dtype.itemsize for count, kind in zip(made, found))
            work = self.work - sum(made) * (max(map(max, filter(None, call.shapes)), default=1) if size > _SMALL else 1)
            if min(room, work) < 0:
                return False
            self.room, self.work = room, work
        with np.errstate(all="ignore"):
            self.settle(one, compute(one, call.values))
        return True

    def sizes(self, one: Node, shape: Any) -> None:
        """Shape and Size: known, or an array with open sizes."""
        if one.op == "Shape":
            value: Any = list(shape[one.attributes["start"] : one.attributes["end"]])
        else:
            value = math.prod(shape)
        self.put(one.outputs[0], np.array(value, object), one)

    def put(self, name: str, array: Array, one: Node, dtype: Any = INT64) -> None:
        """An array of sizes: a constant if none is open."""
        self.types[name] = TensorType(array.shape, dtype)
        if any(isinstance(size, Dim) for size in array.reshape(-1).tolist()):
            self.symbolic[name] = array
            self.nodes.append(one)
        else:
            self.settle(Node("", (), (name,)), [array.astype(dtype)])

    def of_sizes(self, one: Node, values: list[Array | None]) -> bool:
        """Compute with open sizes, for the operators that exporters use on shapes."""
        rule = ON_SIZES.get(one.op)
        if rule is None or not any(value is not None and value.dtype.kind == "O" for value in values):
            return False
        if any(value is None and name for value, name in zip(values, one.inputs)):
            return False
        try:
            found = rule(one, values)
        except (FormatError, ValueError, TypeError):
            return False
        if found is None:
            return False
        dtype = one.attributes["to"] if one.op == "Cast" else self.types[one.inputs[one.op == "Where"]].dtype
        for name, array in zip(one.outputs, found):
            if array.dtype == BOOL:
                self.settle(Node("", (), (name,)), [array])
            else:
                self.put(name, array.astype(object), one, dtype)
        # One node may have been kept for each of its outputs.
        while len(self.nodes) > 1 and self.nodes[-1] is one and self.nodes[-2] is one:
            self.nodes.pop()
        return True

    def control(self, one: Node) -> None:
        """Nodes that hold graphs."""
        condition = self.known.get(one.inputs[0]) if one.op == "If" else None
        if condition is None:
            self.inside(one)
            return
        branch = one.attributes["then_branch" if condition.reshape(-1)[:1].all() else "else_branch"]
        for inner in branch.nodes:
            self.step(inner)
        for name, value in zip(one.outputs, branch.outputs):
            self.alias[name] = value.name

    def inside(self, one: Node) -> None:
        """Fold the graphs inside a node that stays; constants go to the outermost graph."""
        attributes, ends = dict(one.attributes), []
        for key, graph in one.attributes.items():
            if not isinstance(graph, Graph):
                continue
            carried = self.carried(one, graph) if self.depth < _TWICE else {}
            found = self.walk_inside(graph, carried)
            if any(self.types.get(output) != carried[name] for name, output in self.handed_on(one, found)):
                self.forget(graph)  # a shape that changes from turn to turn is not known
                found = self.walk_inside(graph, {})
            attributes[key] = found
            ends.append([self.types.get(value.name) for value in found.outputs])
        self.nodes.append(Node(one.op, one.inputs, one.outputs, attributes, one.name))
        if one.op == "If":
            for name, first, second in zip(one.outputs, *ends):
                if first is not None and first == second:
                    self.types[name] = first

    def walk_inside(self, graph: Graph, carried: dict[str, TensorType]) -> Graph:
        """Fold one graph, whose inputs have types as in `carried`."""
        outside, self.nodes = self.nodes, []
        self.depth += 1
        for value in graph.inputs:
            self.types.pop(value.name, None)
        self.types.update(carried)
        for inner in graph.nodes:
            try:
                self.step(inner)
            except FormatError as error:  # a branch that is never taken may be wrong
                reason = str(error).removeprefix(f"{inner.title}: ")
                inputs = tuple(map(self.find, inner.inputs))
                self.nodes.append(Node(inner.op, inputs, inner.outputs, {}, inner.name, reason))
        nodes, self.nodes = self.nodes, outside
        self.depth -= 1
        outputs = tuple(Value(self.find(value.name)) for value in graph.outputs)
        used = {value.name for value in outputs}
        nodes = prune(nodes, used)
        used.update(name for inner in nodes for name in inner.outputs)
        types = {name: self.types[name] for name in used if name in self.types}
        return graph.replace(nodes=tuple(nodes), outputs=outputs, types=types)

    def forget(self, graph: Graph) -> None:
        """Nothing is known of what a graph inside computes."""
        for _, inner in graph.walk():
            for name in inner.outputs:
                for table in (self.known, self.types, self.symbolic, self.alias):
                    table.pop(name, None)

    def carried(self, one: Node, graph: Graph) -> dict[str, TensorType]:
        """What the inputs of a body are, if tensors that it hands on keep their shape."""
        given: list[TensorType | None] = []
        if one.op == "Loop":
            given = [TensorType((), INT64), TensorType((), BOOL), *map(self.types.get, one.inputs[2:])]
        elif one.op == "Scan":
            count = len(one.inputs) - one.attributes["num_scan_inputs"]
            given = [self.types.get(name) for name in one.inputs[:count]]
            axes = one.attributes["scan_input_axes"] or (0,) * one.attributes["num_scan_inputs"]
            for name, axis in zip(one.inputs[count:], axes):
                kind = self.types.get(name)
                if kind is not None:
                    at = axis % max(len(kind.shape), 1)
                    kind = TensorType(kind.shape[:at] + kind.shape[at + 1 :], kind.dtype)
                given.append(kind)
        return {value.name: kind for value, kind in zip(graph.inputs, given) if kind is not None}

    def handed_on(self, one: Node, graph: Graph) -> list[tuple[str, str]]:
        """Inputs of a body whose types are known, with the outputs that they get in the next turn."""
        inputs, outputs = list(graph.inputs), list(graph.outputs)
        if one.op == "Loop":
            inputs, outputs = inputs[2:], outputs[1:]
        elif one.op == "Scan":
            inputs = inputs[: len(one.inputs) - one.attributes["num_scan_inputs"]]
        pairs = zip(inputs, outputs)
        return [(value.name, output.name) for value, output in pairs if value.name in self.types]
