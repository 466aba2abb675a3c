"""Resource variables: what is assigned once is a constant, what is assigned when the model runs is a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....errors import FormatError
from ....graph.graph import Value
from ....graph.operators import Array
from ..graph import Operator
from .call import Call, dtype_of
from .registry import operator
from .schema import name_of
from .scope import Scope

if TYPE_CHECKING:
    from .reader import Reader

_HANDLE, _ASSIGN, _ONCE = "VAR_HANDLE", "ASSIGN_VARIABLE", "CALL_ONCE"


@dataclass
class Variable:
    """One variable.

    Parameters
    ----------
    name : str
        The file's.
    first : ndarray or None
        What it is when the model is loaded; None: not said.
    changes : bool
        Whether the model assigns it.
    now : str
        The tensor that it is at this point of the model; "" before it was looked at.
    """

    name: str
    first: Array | None = None
    changes: bool = False
    now: str = ""


class Variables:
    """The variables of a model.

    Attributes
    ----------
    ends : dict
        The states' outputs, by their names.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.ends: dict[str, str] = {}
        self._known: dict[str, Variable] = {}
        self._starts: set[int] = set()
        graphs = reader.model.graphs
        for graph in graphs:
            self._starts.update(
                int(one.options.number(0, "i", 0))
                for one in graph.operators
                if name_of(one.code) == _ONCE and one.options is not None
            )
        for number, graph in enumerate(graphs):
            for one in graph.operators:
                if number not in self._starts and name_of(one.code) == _ASSIGN and one.inputs:
                    handle = graph.producers.get(one.inputs[0])
                    if handle is not None and name_of(handle.code) == _HANDLE:
                        self.named(handle).changes = True

    def named(self, handle: Operator) -> Variable:
        """The variable of a VAR_HANDLE operator."""
        table = handle.options
        name = "" if table is None else f"{table.string(0)}/{table.string(1)}".strip("/")
        return self._known.setdefault(name, Variable(name or "variable"))

    def start(self, number: int) -> None:
        """Run the subgraph that gives variables their first values."""
        graphs = self.reader.model.graphs
        if not 0 <= number < len(graphs):
            raise FormatError(f"expected one of {len(graphs)} subgraphs, found {number}")
        graph = graphs[number]
        scope = Scope(self.reader, graph, {})
        for one in graph.operators:
            kind = name_of(one.code)
            if kind == _HANDLE:
                continue
            handle = graph.producers.get(one.inputs[0]) if one.inputs else None
            if kind != _ASSIGN or len(one.inputs) != 2 or handle is None or name_of(handle.code) != _HANDLE:
                raise FormatError(f"expected variables that get constants when the model is loaded, found {kind}")
            value = self.reader.builder.constants.get(scope.tensor(one.inputs[1]))
            self.named(handle).first = value

    def read(self, call: Call, one: Variable) -> str:
        """What a variable is at this point."""
        if one.now:
            return one.now
        if not one.changes:
            if one.first is None:
                raise FormatError(
                    f"variable {one.name!r}: expected its value in the file, found none; convert the model again, with "
                    "its weights frozen"
                )
            one.now = call.builder.constant(one.first, one.name)
            return one.now
        if one.first is None or one.first.any():
            found = "no value" if one.first is None else "other numbers"
            raise FormatError(f"variable {one.name!r}: expected zeros before the model runs, found {found}")
        shape = call.graph.open_shape(call.operator.outputs[0]) or one.first.shape
        value = Value(f"{one.name}.in", dtype_of(call.graph.kind(call.operator.outputs[0])), shape)
        one.now = call.builder.input(value)
        self.ends[f"{one.name}.out"] = one.now
        return one.now

    def assign(self, one: Variable, tensor: str) -> None:
        """What a variable is from here on."""
        one.now = tensor
        if f"{one.name}.out" in self.ends:
            self.ends[f"{one.name}.out"] = tensor


def _variable(call: Call) -> Variable:
    found = call.scope.thing(call.index(0))
    if not isinstance(found, Variable):
        raise FormatError("expected a variable, found something else")
    return found


@operator(_HANDLE, options=111, inputs=0)
def _handle(call: Call) -> list[None]:
    call.scope.things[call.operator.outputs[0]] = call.scope.reader.variables.named(call.operator)
    return [None]


@operator("READ_VARIABLE")
def _read(call: Call) -> str:
    return call.scope.reader.variables.read(call, _variable(call))


@operator(_ASSIGN, inputs=2)
def _assign(call: Call) -> None:
    if call.scope.depth:
        raise FormatError("expected variables to be assigned outside of loops, found one inside")
    call.scope.reader.variables.assign(_variable(call), call.input(1))


@operator(_ONCE, options=103, inputs=0)
def _once(call: Call) -> None:
    call.scope.reader.variables.start(int(call.option(0, "i", 0)))
