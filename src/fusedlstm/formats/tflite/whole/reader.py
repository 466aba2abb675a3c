"""A whole TensorFlow Lite model as a `Graph`: its operators one after another. Nothing of TensorFlow is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.builder import Builder, TooManyError
from ....graph.graph import Graph, Node, Value
from .. import graph as file
from ..graph import CUSTOM, Model, Operator
from . import (
    blocks,
    convolution,
    elementwise,
    indexing,
    lists,
    loops,
    matrix,
    movement,
    normalisation,
    pooling,
    recurrent,
    reductions,
    resizing,
    shapes,
    variables,
)
from .call import Call, dtype_of
from .registry import OPERATORS
from .schema import name_of
from .scope import Scope

__all__ = ["FAMILIES", "Reader", "read_graph"]

FAMILIES = (
    *(blocks, convolution, elementwise, indexing, lists, loops, matrix, movement, normalisation, pooling, recurrent),
    *(reductions, resizing, shapes, variables),
)
_INTEGERS = ("INT8", "UINT8", "INT16", "INT4")
_MOST_OPERATORS = 20_000
_IN_INTEGERS = (
    "models that compute in integers are not supported; convert with float inputs and outputs and without a "
    "representative dataset"
)


def read_graph(model: Model, outputs: Sequence[str] | None = None) -> Graph:
    """The model of a file.

    Parameters
    ----------
    model : Model
        The file.
    outputs : sequence of str, optional
        Names of tensors to cut the model at.

    Raises
    ------
    FormatError
        A file that is damaged. Operators that cannot be run are marked in the graph (`Graph.refusals`).
    """
    model.buffer.renew()
    return Reader(model).read(outputs)


class Reader:
    """One reading of one model.

    Attributes
    ----------
    builder : Builder
        What is written.
    refused : set
        Tensors that cannot be computed.
    variables : Variables
        The model's resource variables.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.builder = Builder()
        self.refused: set[str] = set()
        self.variables = variables.Variables(self)
        self._count = 0

    def read(self, outputs: Sequence[str] | None) -> Graph:
        """The first subgraph, which is the model."""
        if not self.model.graphs:
            raise FormatError("expected a subgraph, found none")
        scope = Scope(self, self.model.graphs[0], {})
        for index in (*scope.graph.ordered_inputs, *scope.graph.ordered_outputs):
            if not 0 <= index < len(scope.graph.tensors):
                raise FormatError(f"expected ends among {len(scope.graph.tensors)} tensors, found {index}")
        for index in dict.fromkeys(scope.graph.ordered_inputs):
            scope.names[index] = self.builder.input(self.input(scope, index))
        wanted = self._wanted(scope, outputs)
        reserved = [self.builder.fresh(scope.title(index)) for index in wanted]
        self.run(scope)
        values = [self._output(scope, index, name) for index, name in zip(wanted, reserved)]
        values += [self._named(tensor, self.builder.fresh(name)) for name, tensor in self.variables.ends.items()]
        return self.builder.finish(values, scope.graph.title)

    def input(self, scope: Scope, index: int) -> Value:
        """An input of the model; sizes that the file marks as open are free."""
        shape = scope.graph.open_shape(index)
        return Value(scope.title(index), dtype_of(scope.graph.kind(index)), shape)

    def run(self, scope: Scope) -> None:
        """Every operator of a subgraph."""
        for one in scope.graph.operators:
            self._count += 1
            if self._count > _MOST_OPERATORS:
                raise TooManyError(f"expected at most {_MOST_OPERATORS} operators, found more")
            if scope.unneeded.isdisjoint(one.outputs[:1]):
                self.step(scope, one)

    def step(self, scope: Scope, one: Operator) -> None:
        """One operator."""
        kind = one.custom if one.code == CUSTOM else name_of(one.code)
        gone = [scope.names[index] for index in one.inputs if scope.names.get(index) in self.refused]
        try:
            if gone:  # what depends on an operator that is refused
                made: Any = list(self.builder.add("Identity", gone[:1], f"{gone[0]}.gone"))
                self.refused.update(made)
                made *= len(one.outputs)
            else:
                made = self._written(scope, one, kind)
        except TooManyError:
            raise
        except FormatError as error:
            base = next((scope.title(index) for index in one.outputs if index >= 0), kind)
            inputs = [scope.names[index] for index in one.inputs if index in scope.names]
            refused = self.builder.refuse(kind, inputs, f"{base}.gone", base, str(error))
            self.refused.add(refused)
            made = [refused] * len(one.outputs)
        for index, name in zip(one.outputs, made):
            if index >= 0 and isinstance(name, str):
                scope.names[index] = name

    def _written(self, scope: Scope, one: Operator, kind: str) -> list[Any]:
        entry = OPERATORS.get(kind)
        if entry is None:
            raise FormatError(_unknown(kind, one.code == CUSTOM))
        graph = scope.graph
        for index in one.inputs:
            if (
                index >= 0
                and graph.kind(index) in _INTEGERS
                and graph.is_quantised(index)
                and not graph.has_data(index)
                and not (kind == "DEQUANTIZE" and _are_rows(graph, index))
            ):
                raise FormatError(
                    f"{graph.name(index)}: expected floats, found {graph.kind(index)} with a scale: {_IN_INTEGERS}"
                )
        least, most = entry.inputs
        if not least <= len(one.inputs) <= most:
            raise FormatError(f"expected {least}{f' to {most}' * (most != least)} inputs, found {len(one.inputs)}")
        if not one.outputs and kind not in ("ASSIGN_VARIABLE", "CALL_ONCE"):
            return []
        if any(index < 0 for index in one.outputs):
            raise FormatError("expected tensors as outputs, found none in a place")
        made = entry.write(Call(scope, kind, one, entry.options))
        several = [made] if isinstance(made, str) or made is None else list(made)
        if len(several) < len(one.outputs):
            raise FormatError(f"expected at most {len(several)} outputs, found {len(one.outputs)}")
        return several

    def _wanted(self, scope: Scope, outputs: Sequence[str] | None) -> list[int]:
        """The tensors that are asked for."""
        if outputs is None:
            return scope.graph.ordered_outputs
        known: dict[str, int] = {}
        for index in range(len(scope.graph.tensors)):
            if index in scope.graph.producers or index in scope.names:
                known.setdefault(scope.title(index), index)
        missing = [name for name in outputs if name not in known]
        if missing:
            raise FormatError(
                f"outputs: expected names of tensors ({', '.join(list(known)[:40])}), found {str(missing[0])[:80]!r}"
            )
        return [known[name] for name in outputs]

    def _output(self, scope: Scope, index: int, name: str) -> Value:
        """An output; what the file says of its shape serves where nothing else is known of it."""
        tensor = scope.tensor(index)
        value = self._named(tensor, name)
        if tensor in self.builder.types or tensor in self.refused:
            return value
        return Value(name, dtype_of(scope.graph.kind(index)), tuple(None for _ in scope.graph.shape(index)))

    def _named(self, tensor: str, name: str) -> Value:
        """A tensor under another name, as an output."""
        self.builder.nodes.append(Node("Identity", (tensor,), (name,), {}))
        if tensor in self.builder.types:
            self.builder.types[name] = self.builder.types[tensor]
        return Value(name)


def _are_rows(graph: file.Graph, index: int) -> bool:
    """Whether a tensor in 8 bits is rows of a table that is constant, as embeddings of dynamic range are."""
    producer = graph.producers.get(index)
    if producer is None or name_of(producer.code) != "GATHER" or not producer.inputs:
        return False
    table = producer.inputs[0]
    if table < 0 or not graph.has_data(table) or graph.kind(table) != graph.kind(index):
        return False
    scales = graph.scales(table)
    plain = not (graph.zeros(table).any() or graph.zeros(index).any())
    return plain and len(scales) == 1 and np.array_equal(scales, graph.scales(index))


def _unknown(kind: str, custom: bool) -> str:
    if kind == "QUANTIZE":
        return _IN_INTEGERS
    if kind.startswith("Flex"):
        return f"TensorFlow's operator {kind[4:]} is not supported"
    return "custom operators are not supported" if custom else "this operator is not supported"
