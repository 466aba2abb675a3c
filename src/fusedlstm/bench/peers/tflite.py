"""A .tflite file written by hand, with the schema that LiteRT brings: enough of it for an LSTM."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from ...weights import DirectionWeights


class Graph:
    """A model of one subgraph. A tensor is an index; a method that adds an operator returns its output."""

    def __init__(self) -> None:
        self._schema = schema = import_module("ai_edge_litert.schema_py_generated")
        self._model, self._graph = schema.ModelT(), schema.SubGraphT()
        self._model.version, self._model.subgraphs = 3, [self._graph]
        self._model.buffers, self._model.operatorCodes = [schema.BufferT()], []
        self._graph.tensors, self._graph.operators, self._graph.inputs, self._graph.outputs = [], [], [], []
        self._codes: dict[int, int] = {}

    @property
    def ends(self) -> tuple[list[int], list[int]]:
        """The input and the output tensors."""
        return self._graph.inputs, self._graph.outputs

    def input(self, shape: Sequence[int]) -> int:
        """Add an input."""
        self._graph.inputs.append(self.tensor(shape))
        return int(self._graph.inputs[-1])

    def outputs(self, tensors: Sequence[int]) -> None:
        """Say what the outputs are."""
        self._graph.outputs = list(tensors)

    def tensor(self, shape: Sequence[int], *, variable: bool = False) -> int:
        """Add a tensor of float32; a variable keeps its values from one run to the next."""
        tensor = self._schema.TensorT()
        tensor.shape, tensor.type, tensor.isVariable = list(shape), self._schema.TensorType.FLOAT32, variable
        tensor.name = f"t{len(self._graph.tensors)}"
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def constant(self, array: npt.NDArray[Any]) -> int:
        """Add a constant, float32 or int32."""
        index = self.tensor(array.shape)
        if array.dtype == np.int32:
            self._graph.tensors[index].type = self._schema.TensorType.INT32
        self._graph.tensors[index].buffer = len(self._model.buffers)
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        return index

    def serialised(self) -> bytes:
        """The file."""
        builder = import_module("flatbuffers").Builder(1 << 16)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def lstm(self, x: int, one: DirectionWeights, h: int, c: int) -> int:
        """Add the fused operator: x (time, batch, input), its state in the variables h and c."""
        none = -1
        inputs = [x]
        inputs += [self.constant(array) for array in np.split(one.weight_ih, 4)]
        inputs += [self.constant(array) for array in np.split(one.weight_hh, 4)]
        inputs += [none] * 3  # peepholes
        inputs += [self.constant(array) for array in np.split(one.arrays["bias"], 4)]
        inputs += [none] * 2  # projection
        inputs += [h, c]
        inputs += [none] * 4  # layer norm
        shape = (*self._shape(x)[:2], one.hidden_size)
        tanh = self._schema.ActivationFunctionType.TANH
        return self._add("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, shape, fusedActivationFunction=tanh, timeMajor=True)

    def cell(self, x: int, h: int, c: int, one: DirectionWeights) -> tuple[int, int]:
        """Add one step of plain operators: h and c, each (batch, hidden)."""
        shape = self._shape(h)
        weights = self.constant(np.concatenate([one.weight_ih, one.weight_hh], axis=1))
        joined = self.concatenate([x, h], axis=1)
        z = self._add("FULLY_CONNECTED", [joined, weights, self.constant(one.arrays["bias"])], (shape[0], 4 * shape[1]))
        split = [self.tensor(shape) for _ in range(4)]
        self._add("SPLIT", [self.constant(np.array(1, np.int32)), z], outputs=split, numSplits=4)
        i, f, o = (self._add("LOGISTIC", [split[k]], shape) for k in (0, 1, 3))
        g = self._add("TANH", [split[2]], shape)
        kept, fresh = self._add("MUL", [f, c], shape), self._add("MUL", [i, g], shape)
        c = self._add("ADD", [kept, fresh], shape)
        return self._add("MUL", [o, self._add("TANH", [c], shape)], shape), c

    def reverse(self, x: int) -> int:
        """Add a reversal of the first axis."""
        return self._add("REVERSE_V2", [x, self.constant(np.array([0], np.int32))], self._shape(x))

    def concatenate(self, tensors: Sequence[int], axis: int) -> int:
        """Add a concatenation."""
        shape = list(self._shape(tensors[0]))
        shape[axis] = sum(self._shape(tensor)[axis] for tensor in tensors)
        return self._add("CONCATENATION", tensors, shape, axis=axis)

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._graph.tensors[tensor].shape)

    def _add(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int] = (),
        *,
        outputs: list[int] | None = None,
        **options: Any,
    ) -> int:
        schema, operator = self._schema, self._schema.OperatorT()
        code = getattr(schema.BuiltinOperator, name)
        if code not in self._codes:
            self._codes[code] = len(self._codes)
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            self._model.operatorCodes.append(entry)
        operator.opcodeIndex, operator.inputs = self._codes[code], list(inputs)
        operator.outputs = outputs or [self.tensor(shape)]
        kind = "".join(part.capitalize() for part in name.split("_")).replace("Lstm", "LSTM") + "Options"
        if hasattr(schema, kind + "T"):
            operator.builtinOptions = getattr(schema, kind + "T")()
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            for option, value in options.items():
                setattr(operator.builtinOptions, option, value)
        self._graph.operators.append(operator)
        return int(operator.outputs[0])
