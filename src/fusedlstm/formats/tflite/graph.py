"""A TFLite model's operators, and its constant tensors as float32 arrays.

The numbers of fields, types and operators are those of TensorFlow's tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import FloatArray
from ..containers.flatbuffer import Buffer, Table, Tables

CUSTOM = 32
DEQUANTIZE, LSTM, UNIDIRECTIONAL, BIDIRECTIONAL, REVERSE, WHILE = 6, 16, 44, 52, 105, 119

_TYPES = (
    *("FLOAT32", "FLOAT16", "INT32", "UINT8", "INT64", "STRING", "BOOL", "INT16", "COMPLEX64", "INT8", "FLOAT64"),
    *("COMPLEX128", "UINT64", "RESOURCE", "VARIANT", "UINT32", "UINT16", "INT4", "BFLOAT16"),
)
_STORED = {"FLOAT32": "<f4", "FLOAT16": "<f2", "FLOAT64": "<f8", "INT8": "i1", "UINT8": "u1", "BOOL": "?"}
_STORED |= {f"{kind}INT{8 * size}": f"<{kind.lower() or 'i'}{size}" for kind in ("", "U") for size in (2, 4, 8)}
_MAX_RANK = 8


@dataclass
class Operator:
    """One operator; tensors go by their index in the graph, -1 for none."""

    code: int
    inputs: list[int]
    outputs: list[int]
    table: Table
    custom: str = ""

    @property
    def options(self) -> Table | None:
        """Its options, whose fields depend on their type."""
        return self.table.table(4)

    @property
    def options_type(self) -> int:
        """Which options these are, by their number in the schema."""
        return int(self.table.number(3, "B", 0))


@dataclass
class Graph:
    """One subgraph."""

    model: Model
    tensors: Tables
    inputs: set[int]
    outputs: set[int]
    ordered_inputs: list[int] = field(default_factory=list)
    ordered_outputs: list[int] = field(default_factory=list)
    title: str = ""
    operators: list[Operator] = field(default_factory=list)
    producers: dict[int, Operator] = field(default_factory=dict)
    consumers: dict[int, list[Operator]] = field(default_factory=dict)

    def add(self, operator: Operator) -> None:
        """Take an operator, and note which tensors it makes and reads."""
        for index in (*operator.inputs, *operator.outputs):
            if not -1 <= index < len(self.tensors):
                raise FormatError(f"expected one of {len(self.tensors)} tensors, found index {index}")
        self.operators.append(operator)
        for index in {*operator.outputs} - {-1}:
            if index in self.producers:
                raise FormatError(f"{self.name(index)}: expected one operator that makes it, found two")
            self.producers[index] = operator
        for index in {*operator.inputs} - {-1}:
            self.consumers.setdefault(index, []).append(operator)

    def name(self, index: int) -> str:
        """What to call a tensor in a message."""
        return f"tensor {self.tensors[index].string(3)!r}"

    def kind(self, index: int) -> str:
        """A tensor's type."""
        number = int(self.tensors[index].number(1, "b", 0))
        return _TYPES[number] if 0 <= number < len(_TYPES) else f"number {number}"

    def shape(self, index: int) -> tuple[int, ...]:
        """A tensor's shape."""
        shape = self.tensors[index].numbers(0, "<i4")
        found = () if shape is None else tuple(int(size) for size in shape[: _MAX_RANK + 1])
        if len(found) > _MAX_RANK or any(size < 0 for size in found):
            raise FormatError(f"{self.name(index)}: expected a shape, found {found}")
        return found

    def open_shape(self, index: int) -> tuple[int | None, ...]:
        """A tensor's shape, None for sizes that are open."""
        shape = self.shape(index)
        signature = self.tensors[index].numbers(7, "<i4")
        if signature is None or not len(signature):
            return shape
        if len(signature) != len(shape) or any(size < -1 for size in signature):
            raise FormatError(f"{self.name(index)}: expected a signature for shape {shape}, found {signature[:8]}")
        return tuple(None if size == -1 else int(size) for size in signature)

    def has_data(self, index: int) -> bool:
        """Whether a tensor's values are in the file."""
        return self.model.bytes_of(self.tensors[index]) is not None

    def is_state(self, index: int) -> bool:
        """Whether a tensor is a variable, zero when the model is loaded."""
        return bool(self.tensors[index].number(5, "?", False)) and self.model.bytes_of(self.tensors[index]) is None

    def constant(self, index: int) -> FloatArray:
        """A constant tensor, dequantised.

        Raises
        ------
        FormatError
            It is not a constant, is stored in a way that is not known, or its bytes do not fit its shape.
        """
        producer, by_operator = self.producers.get(index), False
        if producer is not None and producer.code == DEQUANTIZE and len(producer.inputs) == 1:
            index, producer, by_operator = producer.inputs[0], self.producers.get(producer.inputs[0]), True
        if index < 0 or index in self.inputs or producer is not None:
            source = "an input of the graph" if producer is None else f"the output of operator {producer.code}"
            raise FormatError(f"{self.name(index)}: expected a constant, found {source}")
        stored, scale = self.stored(index), self.tensors[index].table(4)
        if stored.dtype.kind == "f":
            return stored.astype(np.float32)
        if scale is None or self.kind(index) not in ("INT8", "UINT8"):
            raise FormatError(f"{self.name(index)}: expected floats or 8-bit integers, found {self.kind(index)}")
        return self._dequantized(index, stored, scale, by_operator)

    def is_quantised(self, index: int) -> bool:
        """Whether a tensor has a scale."""
        return len(self.scales(index)) > 0

    def scales(self, index: int) -> npt.NDArray[np.generic]:
        """The scales of a tensor's integers."""
        return self._quantisation(index, 2, "<f4")

    def zeros(self, index: int) -> npt.NDArray[np.generic]:
        """Their zero points."""
        return self._quantisation(index, 3, "<i8")

    def _quantisation(self, index: int, field: int, dtype: str) -> npt.NDArray[np.generic]:
        how = self.tensors[index].table(4)
        found = None if how is None else how.numbers(field, dtype)
        return np.zeros(0, dtype) if found is None else found

    def dequantised(self, index: int, by_operator: bool) -> FloatArray:
        """A constant of 8-bit integers as floats: of any scales and zero points by DEQUANTIZE, else as operators do."""
        how = self.tensors[index].table(4)
        if how is None:
            raise FormatError(f"{self.name(index)}: expected the scale of its integers, found none")
        zero = how.numbers(3, "<i8")
        if not by_operator and (self.kind(index) != "INT8" or (zero is not None and zero.any())):
            raise FormatError(
                f"{self.name(index)}: expected int8 with zero points of 0, which is all that operators honour, found "
                f"{self.kind(index)}, zero points {None if zero is None else zero[:4]}"
            )
        return self._dequantized(index, self.stored(index), how, True)

    def stored(self, index: int) -> npt.NDArray[np.generic]:
        """A constant tensor as it lies in the file."""
        tensor, kind, shape = self.tensors[index], self.kind(index), self.shape(index)
        if kind not in _STORED:
            raise FormatError(f"{self.name(index)}: expected floats or 8-bit integers, found {kind}")
        if tensor.table(6) is not None or tensor.number(10, "I", 0):
            raise FormatError(
                f"{self.name(index)}: expected a dense tensor in the file, found a sparse or external one"
            )
        where = self.model.bytes_of(tensor)
        if where is None and 0 in shape and not tensor.number(5, "?", False):
            return np.zeros(shape, _STORED[kind])
        if where is None or tensor.number(5, "?", False):
            raise FormatError(f"{self.name(index)}: expected a constant, found no data or a variable")
        count, dtype = math.prod(shape), np.dtype(_STORED[kind])
        if where[1] != count * dtype.itemsize:
            raise FormatError(
                f"{self.name(index)}: expected {count * dtype.itemsize} bytes for {kind} {shape}, found {where[1]}"
            )
        return self.model.buffer.array(_STORED[kind], count, where[0]).reshape(shape)

    def _dequantized(self, index: int, stored: npt.NDArray[np.generic], how: Table, by_operator: bool) -> FloatArray:
        scale, zero = how.numbers(2, "<f4"), how.numbers(3, "<i8")
        axis = int(how.number(6, "i", 0))
        if scale is None or how.number(4, "B", 0):
            raise FormatError(f"{self.name(index)}: expected the scale of its integers, found none")
        if zero is None or not len(zero):
            zero = np.zeros(len(scale), np.int64)
        expected = (1,) if len(scale) == 1 else stored.shape[axis : axis + 1] if 0 <= axis < stored.ndim else ()
        if scale.shape != expected or zero.shape != scale.shape:
            raise FormatError(
                f"{self.name(index)}: expected one scale and zero point, or as many as the size of axis {axis} of "
                f"{stored.shape}, found {len(scale)} and {len(zero)}"
            )
        # The runtime's LSTM reads bytes as int8 and takes one scale, whatever the tensor says.
        if not by_operator and (zero.any() or stored.dtype != np.int8 or len(scale) > 1):
            raise FormatError(
                f"{self.name(index)}: expected int8 with one scale and a zero point of 0, which is all that the "
                f"operator honours, found {stored.dtype}, {len(scale)} scale(s), zero points {zero[:4]}"
            )
        along = [1] * stored.ndim
        if len(scale) > 1:
            along[axis] = -1
        shifted = stored.astype(np.int32) - zero.reshape(along)
        with np.errstate(over="ignore", invalid="ignore"):
            result: FloatArray = np.multiply(shifted, scale.reshape(along), dtype=np.float32)
        return result


class Model:
    """The whole file."""

    def __init__(self, data: bytes) -> None:
        self.buffer = Buffer(data)
        root = self.buffer.root()
        codes = [self._code(one) for one in root.tables(1)]
        self._buffers = root.tables(4)
        self.graphs = [self._graph(one, codes) for one in root.tables(2)]

    def bytes_of(self, tensor: Table) -> tuple[int, int] | None:
        """Where a tensor's data start in the file, and how many bytes they are; None where there are none."""
        index = int(tensor.number(2, "I", 0))
        if index >= len(self._buffers):
            raise FormatError(f"expected one of {len(self._buffers)} buffers, found index {index}")
        one = self._buffers[index]
        offset, size = int(one.number(1, "Q", 0)), int(one.number(2, "Q", 0))
        if offset > 1:  # data behind the flatbuffer, in files larger than 2 GB
            return offset, size
        found = one.vector(0)
        return None if found is None or found[1] == 0 else found

    @staticmethod
    def _code(one: Table) -> tuple[int, str]:
        """The newer field has room for more than 127 operators; the older one is as large as it gets then."""
        code = max(int(one.number(0, "b", 0)), int(one.number(3, "i", 0)))
        return code, one.string(1) if code == CUSTOM else ""

    def _graph(self, one: Table, codes: list[tuple[int, str]]) -> Graph:
        inputs, outputs = one.integers(1), one.integers(2)
        graph = Graph(self, one.tables(0), set(inputs), set(outputs), inputs, outputs, one.string(4))
        places: set[int] = set()
        for operator in one.tables(3):
            if operator.position in places:
                raise FormatError(f"operator at byte {operator.position}: expected once, found twice in one list")
            places.add(operator.position)
            index = int(operator.number(0, "I", 0))
            if index >= len(codes):
                raise FormatError(f"expected one of {len(codes)} operator codes, found index {index}")
            code, custom = codes[index]
            graph.add(Operator(code, operator.integers(1), operator.integers(2), operator, custom))
        return graph
