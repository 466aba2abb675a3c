"""A whole exported program as a `Graph`: its nodes one after another. Nothing of PyTorch is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.builder import TooManyError
from ....graph.graph import Graph, Node, Value
from ....graph.operators import Array, TensorType
from ...contents import FREE_PARAMETERS, MAX_PARAMETERS
from . import (
    activations,
    arithmetic,
    attention,
    convolution,
    creation,
    functions,
    indexing,
    matrix,
    movement,
    normalisation,
    parts,
    pooling,
    recurrent,
    reductions,
    shapes,
)
from .call import Call
from .operation import Operation
from .program import Program
from .registry import OPERATORS
from .schema import Meta, Ref
from .views import Places
from .writer import Writer

__all__ = ["FAMILIES", "Reader", "read_graph"]

FAMILIES = (
    *(activations, arithmetic, attention, convolution, creation, functions, indexing, matrix, movement),
    *(normalisation, parts, pooling, recurrent, reductions, shapes),
)
_MOST_NODES, _MOST_EACH = 1000, 10
"""Of the graph: so many, and so many for each of the program's."""

Reads = Mapping[str, Callable[[], Any]]


def justified(size: int) -> int:
    """Bytes of tensors that a file of some bytes may stand for: names may share bytes, as tied modules do."""
    return 4 * (FREE_PARAMETERS + MAX_PARAMETERS * size)


def read_graph(program: Program, tensors: Reads, outputs: Sequence[str] | None = None, most: int = 1 << 32) -> Graph:
    """The model of a program.

    Parameters
    ----------
    program : Program
        What its JSON says.
    tensors : mapping
        What reads each of its tensors.
    outputs : sequence of str, optional
        Names of nodes' outputs to cut the model at.
    most : int
        Bytes of tensors that the file justifies.

    Raises
    ------
    FormatError
        A file that is damaged. Operators that cannot be run are marked in the graph (`Graph.refusals`).
    """
    return Reader(program, tensors, most).read(outputs)


class Reader:
    """One reading of one program.

    Attributes
    ----------
    builder : Writer
        What is written.
    refused : set
        Tensors that cannot be computed.
    places : Places
        What its tensors are in the graph at this point.
    """

    def __init__(self, program: Program, tensors: Reads, most: int) -> None:
        self.program = program
        self.tensors = tensors
        self.builder = Writer(most, _MOST_NODES + _MOST_EACH * len(program.nodes))
        self.refused: set[str] = set()
        self.places = Places(self)
        self._changing = self._mutated()

    def read(self, outputs: Sequence[str] | None) -> Graph:
        """The program's graph."""
        program = self.program
        for one in program.inputs:
            if one.kind == "user_input":
                self._enter(one.name, self.builder.input(self._value(one.name, one.name, one.number)))
        wanted = self._wanted(outputs)
        reserved = [self.builder.fresh(name) for name, _ in wanted]
        states = {}
        for one in program.inputs:
            if one.kind != "user_input" and one.target in self._changing:
                states[one.target] = one.name
                self._enter(one.name, self._state(one.target, one.name))
            elif one.kind != "user_input":
                self._enter(one.name, "", one.target)
        for node in program.nodes:
            self._step(node)
        values = [self._named(self._result(name, value), public) for public, (name, value) in zip(reserved, wanted)]
        returned = {one.target: one.value.name for one in program.outputs if one.kind == "buffer_mutation"}
        for target, name in states.items():
            last = self.places.tensor(returned.get(target, name))
            values.append(self._named(last, self.builder.fresh(f"{target}.out")))
        return self.builder.finish(values).replace(ranges=self._ranges())

    def _ranges(self) -> tuple[tuple[str, int, int | None], ...]:
        """Of the free sizes of inputs."""
        named = {size for one in self.builder.inputs for size in one.shape or () if isinstance(size, str)}
        return tuple((name, *both) for name, both in self.program.ranges.items() if name in named and both != (0, None))

    # What the operators are given.

    def tensor(self, name: str) -> str:
        """What a value of the program is called in the graph."""
        return self.places.tensor(name)

    def meta(self, name: str) -> Meta:
        """The type of a tensor as the file has it."""
        return self.program.meta(name)

    def stored(self, name: str) -> Array:
        """A tensor of the file."""
        if name not in self.tensors:
            raise FormatError(f"tensor {name!r}: expected in the file, found none of that name")
        array = np.asarray(self.tensors[name]())
        if array.dtype.kind not in "fiub":
            raise FormatError(f"tensor {name!r}: expected numbers, found {array.dtype}, which is not supported")
        return array

    # How a program is walked.

    def _enter(self, name: str, tensor: str, stored: str = "") -> None:
        self.places.enter(name, tensor, stored)

    def _value(self, name: str, public: str, number: bool = False) -> Value:
        """An input of the model; the sizes that the file leaves open are free."""
        if number:
            return Value(public, np.dtype(np.int64), ())
        meta = self.meta(name)
        shape = tuple(_symbol(size) for size in meta.shape)
        return Value(public, meta.dtype, shape)

    def _mutated(self) -> set[str]:
        """The buffers that the program changes, by name."""
        found = {one.target for one in self.program.outputs if one.kind == "buffer_mutation"}
        return found | self.places.changed(self.program)

    def _state(self, target: str, name: str) -> str:
        """A buffer that the program changes, as an input."""
        first = self.stored(target)
        if first.any():
            raise FormatError(
                f"buffer {target!r}, which the program changes: expected zeros before it runs, found other numbers"
            )
        return self.builder.input(self._value(name, f"{target}.in"))

    def _step(self, node: Operation) -> None:
        """One node."""
        arguments: dict[str, Any] = {}
        try:
            arguments = node.arguments()
            gone = [one for one in self._taken(arguments) if one in self.refused]
            if gone:
                made: Any = list(self.builder.add("Identity", gone[:1], f"{gone[0]}.gone"))
                self.refused.update(made)
                self.places.spoil(node, arguments, made[0])
                made *= len(node.outputs)
            else:
                made = self._written(node, arguments)
        except TooManyError:
            raise
        except FormatError as error:
            where = f" ({node.where})" if node.where else ""
            base = next(iter(node.outputs), "") or node.kind
            try:
                taken = self._taken(arguments)
            except FormatError:
                taken = []
            refused = self.builder.refuse(node.kind, taken, f"{base}.gone", base, f"{error}{where}")
            self.refused.add(refused)
            self.places.spoil(node, arguments, refused)
            made = [refused] * len(node.outputs)
        for name, tensor in zip(node.outputs, made):
            if name and tensor is not None:
                self._enter(name, tensor)
        self.places.follow(node, arguments)

    def _written(self, node: Operation, arguments: dict[str, Any]) -> Sequence[str | None]:
        functional = self.places.functional(node.kind)
        write = OPERATORS.get(functional)
        if write is None:
            raise FormatError(_unknown(node.target))
        call = Call(self, functional, arguments, node.outputs, node.module or next(iter(node.outputs), ""))
        made = write(call)
        several: list[str | None] = [made] if isinstance(made, str) or made is None else list(made)
        if functional != node.kind:
            several = [self.places.assigned(call, several[0] or "")]
        if len(several) < len(node.outputs):
            raise FormatError(f"expected at most {len(several)} outputs, found {len(node.outputs)}")
        for name, tensor in zip(node.outputs, several):
            if name in self.program.metas and tensor is not None:
                self._check(name, tensor)
        return several

    def _check(self, name: str, tensor: str) -> None:
        """Hold what was written against what the file says of it."""
        meta, kind = self.meta(name), self.builder.types.get(tensor)
        if kind is None:
            self.builder.types[tensor] = TensorType(meta.shape, meta.dtype)
            return
        if kind.dtype != meta.dtype or len(kind.shape) != len(meta.shape):
            raise FormatError(f"expected {meta.dtype} {meta.shape}, found {kind.dtype} {kind.shape}")
        for one, other in zip(kind.shape, meta.shape):
            if type(one) is int and type(other) is int and one != other:
                raise FormatError(f"expected shape {meta.shape}, found {kind.shape}")

    def _taken(self, arguments: Mapping[str, Any]) -> list[str]:
        """The tensors of the graph that a node takes."""
        found = []
        for value in arguments.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, Ref):
                    found.append(self.tensor(one.name))
        return found

    # Outputs.

    def _wanted(self, outputs: Sequence[str] | None) -> list[tuple[str, Any]]:
        """What the model's outputs are called, and what they are."""
        if outputs is None:
            found = []
            users = [one for one in self.program.outputs if one.kind == "user_output"]
            for name, one in zip(self.program.names, users):
                if one.value is not None:
                    found.append((name or (one.value.name if isinstance(one.value, Ref) else "output"), one.value))
            return found
        known = {name: Ref(name) for node in self.program.nodes for name in node.outputs if name}
        known |= {one.name: Ref(one.name) for one in self.program.inputs}
        missing = [name for name in outputs if name not in known]
        if missing:
            shown = ", ".join(list(known)[:40])
            raise FormatError(f"outputs: expected names of nodes ({shown}), found {str(missing[0])[:80]!r}")
        return [(name, known[name]) for name in outputs]

    def _result(self, name: str, value: Any) -> str:
        """A tensor for an output."""
        if isinstance(value, Ref):
            return self.tensor(value.name)
        if isinstance(value, bool | int | float):
            return self.builder.constant(np.array(value), name)
        raise FormatError(f"output {name!r}: expected a tensor or a number, found {str(value)[:80]!r}")

    def _named(self, tensor: str, name: str) -> Value:
        """A tensor under another name, as an output."""
        self.builder.nodes.append(Node("Identity", (tensor,), (name,), {}))
        kind = self.builder.types.get(tensor)
        if kind is None:
            return Value(name)
        self.builder.types[name] = kind
        return Value(name, kind.dtype, tuple(size if type(size) is int else None for size in kind.shape))


def _symbol(size: Any) -> Any:
    """A size as an input declares it: a number, the name of an open one, or the expression."""
    if type(size) is int:
        return size
    text = str(size)
    return text if text.isidentifier() else size


_PACKED = ("_pack_padded_sequence.", "_pad_packed_sequence.", "lstm.data", "gru.data", "rnn_tanh.data", "rnn_relu.data")


def _unknown(target: str) -> str:
    if target.removeprefix("torch.ops.aten.").startswith(_PACKED):
        return (
            "packed sequences are not supported; give layers the padded batch, or load the LSTM alone, which takes "
            "lengths: LSTM.load(file, prefix)(x, lengths=lengths)"
        )
    if target.startswith("torch.ops.higher_order."):
        return f"control flow ({target.rpartition('.')[2]}) is not supported"
    if target.startswith("torch.ops.aten."):
        return "this operator is not supported"
    return "operators that are not PyTorch's own are not supported"
