"""One operator of a model: its options, its inputs as tensors of the graph, and the nodes that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....errors import FormatError
from ....graph.builder import Builder
from ....graph.operators import Array, Shape
from ..graph import Graph, Operator
from .schema import ACTIVATIONS

if TYPE_CHECKING:
    from .scope import Scope

FLOAT32, INT32, INT64, BOOL = (np.dtype(name) for name in ("float32", "int32", "int64", "bool"))
_DTYPES = {"FLOAT32", "FLOAT16", "FLOAT64", "INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"}


def dtype_of(kind: str) -> np.dtype[Any]:
    """The dtype of a type of the schema; floats of 16 bits are computed as 32.

    Raises
    ------
    FormatError
        A type that NumPy does not have.
    """
    if kind == "BOOL":
        return BOOL
    if kind not in _DTYPES:
        raise FormatError(f"expected numbers, found {kind}, which is not supported")
    return FLOAT32 if kind == "FLOAT16" else np.dtype(kind.lower())


@dataclass(frozen=True)
class Call:
    """One operator.

    Parameters
    ----------
    scope : Scope
        The subgraph that it stands in, with what its tensors are called in the graph.
    kind : str
        Its name.
    operator : Operator
        As the file has it.
    options_type : int
        The type that its options must have.
    """

    scope: Scope
    kind: str
    operator: Operator
    options_type: int

    # What the file says.

    @property
    def graph(self) -> Graph:
        """The subgraph in the file."""
        return self.scope.graph

    @property
    def builder(self) -> Builder:
        """Where nodes are written."""
        return self.scope.reader.builder

    @property
    def base(self) -> str:
        """What to call tensors that it makes."""
        return next((self.scope.title(index) for index in self.operator.outputs if index >= 0), self.kind)

    def option(self, field: int, kind: str, default: Any) -> Any:
        """An option, by its number in the schema."""
        table = self.operator.options
        if table is None:
            return default
        if self.operator.options_type != self.options_type:
            raise FormatError(f"expected options of type {self.options_type}, found {self.operator.options_type}")
        return table.number(field, kind, default)

    def has(self, k: int) -> bool:
        """Whether there is an input `k`."""
        return k < len(self.operator.inputs) and self.operator.inputs[k] >= 0

    def index(self, k: int) -> int:
        """The number of an input's tensor."""
        if not self.has(k):
            raise FormatError(f"expected an input {k}, found none")
        return self.operator.inputs[k]

    # Inputs.

    def input(self, k: int) -> str:
        """An input as a tensor of the graph."""
        return self.scope.tensor(self.index(k))

    def inputs(self) -> list[str]:
        """All inputs."""
        return [self.input(k) for k in range(len(self.operator.inputs))]

    def value(self, k: int) -> Array | None:
        """The value of an input that is constant."""
        return self.builder.constants.get(self.input(k))

    def array(self, k: int, what: str) -> Array:
        """The value of an input that has to be constant."""
        found = self.value(k)
        if found is None:
            raise FormatError(f"{what} (input {k}): expected a constant, found one that is computed")
        return found

    def ints(self, k: int, what: str) -> tuple[int, ...]:
        """The whole numbers of an input that has to be constant."""
        found = self.array(k, what)
        if found.dtype.kind not in "iu" or found.size > 64:
            raise FormatError(f"{what} (input {k}): expected a few whole numbers, found {found.dtype} {found.shape}")
        return tuple(int(one) for one in found.reshape(-1))

    def whole(self, k: int, what: str) -> int:
        """The one whole number of an input that has to be constant."""
        found = self.ints(k, what)
        if len(found) != 1:
            raise FormatError(f"{what} (input {k}): expected one whole number, found {len(found)}")
        return found[0]

    def int64(self, k: int) -> str:
        """An input of whole numbers as ONNX takes those that say shapes and places."""
        found = self.value(k)
        if found is not None:
            return self.constant(found.astype(np.int64))
        return self.op("Cast", self.input(k), to=INT64)

    def rank(self, k: int) -> int:
        """How many dimensions an input has."""
        shape = self.shape(self.input(k))
        return len(self.graph.shape(self.index(k))) if shape is None else len(shape)

    def axis(self, value: int, rank: int) -> int:
        """An axis from 0."""
        if not -rank <= value < rank:
            raise FormatError(f"axis: expected one of {rank}, found {value}")
        return value % rank

    def shape(self, name: str) -> Shape | None:
        """What is known of a tensor's shape."""
        return self.builder.shape(name)

    def kind_of(self, k: int) -> np.dtype[Any]:
        """The dtype of an input."""
        known = self.builder.types.get(self.input(k))
        return dtype_of(self.graph.kind(self.index(k))) if known is None else known.dtype

    def made_kind(self, k: int = 0) -> np.dtype[Any]:
        """The dtype of an output, as the file has it."""
        return dtype_of(self.graph.kind(self.operator.outputs[k]))

    # Nodes.

    def constant(self, value: npt.ArrayLike) -> str:
        """A constant; whole numbers are given as int64."""
        return self.builder.constant(value, f"{self.base}/constant")

    def int_list(self, *values: int) -> str:
        """A constant list of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def like(self, k: int, value: float) -> str:
        """A number of the type of an input."""
        return self.constant(np.array(value, self.kind_of(k)))

    def ops(self, op: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """A node with several outputs."""
        return list(self.builder.add(op, inputs, self.base, outputs, **attributes))

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        return self.ops(op, inputs, 1, **attributes)[0]

    def reshape(self, x: str, *sizes: int) -> str:
        """Another shape: 0 keeps a size, -1 takes what is left."""
        return self.op("Reshape", x, self.int_list(*sizes))

    def transpose(self, x: str, *perm: int) -> str:
        """Axes in another order."""
        return self.op("Transpose", x, perm=perm)

    def slice(self, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Some places along one axis."""
        return self.op("Slice", x, self.int_list(start), self.int_list(stop), self.int_list(axis), self.int_list(step))

    def squeeze(self, x: str, *axes: int) -> str:
        """Without some axes of one."""
        return self.op("Squeeze", x, self.int_list(*axes)) if axes else x

    def unsqueeze(self, x: str, *axes: int) -> str:
        """With new axes of one."""
        return self.op("Unsqueeze", x, self.int_list(*axes))

    def activated(self, x: str, field: int | None) -> str:
        """Behind the activation that an operator has fused."""
        if field is None:
            return x
        number = int(self.option(field, "b", 0))
        name = ACTIVATIONS[number] if 0 <= number < len(ACTIVATIONS) else str(number)
        if name == "NONE":
            return x
        if name == "RELU":
            return self.op("Relu", x)
        if name == "TANH":
            return self.op("Tanh", x)
        if name in ("RELU6", "RELU_N1_TO_1"):
            low, high = (0.0, 6.0) if name == "RELU6" else (-1.0, 1.0)
            return self.op("Clip", x, *(self.constant(np.array(one, np.float32)) for one in (low, high)))
        raise FormatError(f"fused activation: expected one of {', '.join(ACTIVATIONS[:5])}, found {name}")
