"""What an ONNX graph computes from constants alone: exporters rearrange trained weights in the graph.

Only the operators that they use for that (https://onnx.ai/onnx/operators/); everything else is not a constant here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import FormatError
from .elementwise import ELEMENTWISE, compute
from .graph import BFLOAT16, DTYPES, MAX_RANK, Array, Scope, attributes, describe, is_op, to_array

_MAX_DEPTH = 100
_COPIES = 16  # bytes that folding may produce, as a multiple of the file's


_NUMBERS = {"value_float": float, "value_floats": float, "value_int": int, "value_ints": int}


class NotConstantError(FormatError):
    """A tensor that depends on the model's inputs, or on an operator that is not folded."""


class Constants:
    """The constant tensors of a graph, folded when asked for.

    Parameters
    ----------
    file_size : int
        Bounds what folding may allocate: a few nested Concat can double a tensor without end.
    """

    def __init__(self, file_size: int) -> None:
        self.budget = file_size
        self._left = max(file_size, 1 << 16) * _COPIES
        self._known: dict[tuple[Scope, str], Array] = {}

    def get(self, scope: Scope, name: str, depth: int = 0) -> Array:
        """The value of a tensor.

        Raises
        ------
        NotConstantError
            It has none before the model runs.
        FormatError
            It is damaged, or folding it takes more than the file justifies.
        """
        home = scope.find(name)
        key = (home, name)
        if key not in self._known:
            if depth > _MAX_DEPTH:
                raise FormatError(f"tensor {name!r}: expected at most {_MAX_DEPTH} operators in a row, found more")
            self._known[key] = self._compute(home, name, depth)
        return self._known[key]

    def _compute(self, home: Scope, name: str, depth: int) -> Array:
        if name in home.tensors:
            return to_array(name, home.tensors[name])
        if name in home.sparse:
            raise NotConstantError(f"tensor {name!r}: sparse initializers are not supported")
        if name not in home.nodes:
            raise NotConstantError(f"expected a constant, found the graph's input {name!r}")
        node = home.nodes[name]
        if is_op(node, "Constant"):
            return _constant(name, node)
        return self._fold(home, name, node, depth)

    def taken(self, home: Scope, node: Any, name: str, depth: int = 0) -> list[tuple[Scope, str]]:
        """What an If hands on as its output `name`: of both branches, or of the one that a constant condition takes."""
        graphs: list[Any] = [attributes(node).get(which) for which in ("then_branch", "else_branch")]
        at = list(node.output).index(name)
        if len(node.input) != 1 or not all(hasattr(graph, "node") and at < len(graph.output) for graph in graphs):
            raise FormatError(
                f"{describe(node)}: expected a condition and two branches of {at + 1} outputs, found others"
            )
        try:
            condition = self.get(home, node.input[0], depth + 1)
        except NotConstantError:
            condition = np.zeros(0)
        if condition.size == 1:
            graphs = [graphs[0 if condition.any() else 1]]
        return [(home.inner(graph), graph.output[at].name) for graph in graphs]

    def _fold(self, home: Scope, name: str, node: Any, depth: int) -> Array:
        if is_op(node, "If") and len(branches := self.taken(home, node, name, depth)) == 1:
            return self.get(*branches[0], depth + 1)
        if not is_op(node, *self._folds):
            raise NotConstantError(f"expected a constant, found the output of {describe(node)}, which is not folded")
        inputs = [self.get(home, one, depth + 1) if one else None for one in node.input]
        try:
            return self._folds[node.op_type](Call(name, node, inputs, self._spend))
        except NotConstantError:
            raise
        except FormatError as error:
            raise FormatError(f"{describe(node)}: {error}") from error
        except ValueError as error:  # what NumPy says of them
            raise FormatError(f"{describe(node)}: its inputs do not fit together ({error})") from error

    @property
    def _folds(self) -> dict[str, Callable[[Call], Array]]:
        """The operators that are folded."""
        return FOLD

    def _spend(self, count: int, itemsize: int) -> None:
        self._left -= count * itemsize
        if self._left < 0:
            raise FormatError("expected constants of a size that the file justifies, found far larger ones")


class Call:
    """One operator with its inputs and attributes."""

    def __init__(self, name: str, node: Any, inputs: list[Array | None], spend: Callable[[int, int], None]) -> None:
        self.name = name  # of the output that is wanted
        self.node = node
        self.inputs = inputs
        self.spend = spend
        self.attributes = attributes(node)

    def array(self, index: int) -> Array:
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise FormatError(f"expected input {index}, found none")
        return value

    def axis(self, axis: int, data: Array) -> int:
        """The number of an axis, counted from the front."""
        if not -data.ndim <= axis < data.ndim:
            raise FormatError(f"expected one of {data.ndim} axes, found {axis}")
        return axis % data.ndim

    def spend_shape(self, shape: Sequence[int], itemsize: int) -> None:
        """Before making an array of a shape that the file asks for."""
        if any(size < 0 for size in shape):
            raise FormatError(f"expected a shape, found {list(shape)}")
        self.spend(math.prod(shape), itemsize)

    def integer(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise FormatError(f"expected an integer attribute {name!r}, found {value!r}")
        return value

    def integers(self, name: str, index: int | None = None) -> list[int] | None:
        """A list of integers: an attribute in old operator sets, an input in new ones."""
        if index is not None and index < len(self.inputs) and self.inputs[index] is not None:
            value = self.array(index)
            if value.dtype.kind != "i" or value.ndim > 1 or value.size > MAX_RANK:
                raise FormatError(f"expected integers for {name!r}, found {value.dtype} of shape {value.shape}")
            return [int(one) for one in value.reshape(-1)]
        given: list[int] | None = self.attributes.get(name)
        if given is not None and (not isinstance(given, list) or not all(isinstance(one, int) for one in given)):
            raise FormatError(f"expected integers for {name!r}, found {given!r}")
        return given


def _constant(name: str, node: Any) -> Array:
    (kind, value), *more = attributes(node).items() or [("nothing", None)]
    if not more and kind == "value":
        return to_array(name, value)
    numbers = value if isinstance(value, list) else [value]
    if more or kind not in _NUMBERS or not all(isinstance(one, _NUMBERS[kind]) for one in numbers):
        raise NotConstantError(f"{describe(node)}: expected a number or a tensor, found {kind}")
    return np.array(value, np.float32 if _NUMBERS[kind] is float else np.int64)


def _transpose(call: Call) -> Array:
    return np.transpose(call.array(0), call.integers("perm"))


def _reshape(call: Call) -> Array:
    data, shape = call.array(0), call.integers("shape", 1)
    if shape is None:
        raise FormatError("expected a shape, found none")
    if not call.integer("allowzero", 0):
        shape = [data.shape[call.axis(axis, data)] if size == 0 else size for axis, size in enumerate(shape)]
    call.spend(data.size, data.itemsize)
    return data.reshape(shape)


def _unsqueeze(call: Call) -> Array:
    axes = call.integers("axes", 1)
    if axes is None:
        raise FormatError("expected axes, found none")
    return np.expand_dims(call.array(0), tuple(axes))


def _squeeze(call: Call) -> Array:
    axes = call.integers("axes", 1)
    return np.squeeze(call.array(0), None if axes is None else tuple(axes))


def _concat(call: Call) -> Array:
    parts = [call.array(index) for index in range(len(call.inputs))]
    if len({part.dtype for part in parts}) != 1:
        raise FormatError(f"expected one type, found {', '.join(str(part.dtype) for part in parts)}")
    call.spend(sum(part.size for part in parts), parts[0].itemsize)
    return np.concatenate(parts, call.integer("axis", 0))


def _slice(call: Call) -> Array:
    data = call.array(0)
    starts, ends = call.integers("starts", 1), call.integers("ends", 2)
    if starts is None or ends is None:
        raise FormatError("expected starts and ends, found none")
    axes = call.integers("axes", 3) or list(range(len(starts)))
    steps = call.integers("steps", 4) or [1] * len(starts)
    where = [slice(None)] * data.ndim
    for any_axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = call.axis(any_axis, data)
        if where[axis] != slice(None):
            raise FormatError(f"expected each axis once, found {axes}")
        where[axis] = slice(start, end, step)  # NumPy counts from the end and clamps as ONNX does
    return data[tuple(where)]


def _split(call: Call) -> Array:
    data, outputs = call.array(0), list(call.node.output)
    axis = call.axis(call.integer("axis", 0), data)
    if len(outputs) > MAX_RANK:
        raise FormatError(f"expected at most {MAX_RANK} parts, found {len(outputs)}")
    sizes = call.integers("split", 1)
    if sizes is None:
        each = -(-data.shape[axis] // len(outputs))
        sizes = [min(each, data.shape[axis] - each * index) for index in range(len(outputs))]
    if len(sizes) != len(outputs) or min(sizes) < 0 or sum(sizes) != data.shape[axis]:
        raise FormatError(f"expected {len(outputs)} parts of {data.shape[axis]} elements, found {sizes}")
    start = sum(sizes[: outputs.index(call.name)])
    return np.moveaxis(np.moveaxis(data, axis, 0)[start : start + sizes[outputs.index(call.name)]], 0, axis)


def _cast(call: Call) -> Array:
    data, to = call.array(0), call.integer("to", 0)
    dtype = np.dtype(DTYPES[to][0]) if to in DTYPES and to != BFLOAT16 else None
    if dtype is None or (data.dtype.kind == "f" and dtype.kind != "f"):
        raise FormatError(f"expected a cast between numbers, found {data.dtype} to ONNX data type {to}")
    call.spend(data.size, dtype.itemsize)
    with np.errstate(over="ignore"):
        return data.astype(dtype)


def _gather(call: Call) -> Array:
    data, indices = call.array(0), call.array(1)
    axis = call.axis(call.integer("axis", 0), data)
    size = data.shape[axis]
    if indices.dtype.kind != "i":
        raise FormatError(f"expected integer indices, found {indices.dtype}")
    if ((indices < -size) | (indices >= size)).any():
        raise FormatError(f"expected indices into {size} elements along axis {axis}, found others")
    call.spend(indices.size * (data.size // max(size, 1)), data.itemsize)
    return np.take(data, indices, axis)


def _dequantize(call: Call) -> Array:
    data, scale = call.array(0), call.array(1)
    zero = call.array(2) if len(call.inputs) > 2 and call.inputs[2] is not None else np.zeros(scale.shape, data.dtype)
    if call.integer("block_size", 0) or call.integer("output_dtype", 0):
        raise FormatError("expected one scale per tensor or axis, found block_size or output_dtype")
    if data.dtype.kind not in "iu" or scale.dtype.kind != "f" or zero.dtype != data.dtype or zero.shape != scale.shape:
        raise FormatError(
            f"expected integers, their scale and zero point, found {data.dtype} {data.shape}, "
            f"{scale.dtype} {scale.shape} and {zero.dtype} {zero.shape}"
        )
    if scale.size != 1:
        axis = call.axis(call.integer("axis", 1), data)
        if scale.shape != (data.shape[axis],):
            raise FormatError(f"expected {data.shape[axis]} scales along axis {axis}, found shape {scale.shape}")
        along = [1] * data.ndim
        along[axis] = -1
        scale, zero = scale.reshape(along), zero.reshape(along)
    call.spend(data.size, 8 + scale.itemsize)
    shifted = np.subtract(data, zero, dtype=np.int32 if data.itemsize < 4 else np.int64)
    return np.multiply(shifted, scale, dtype=np.promote_types(scale.dtype, np.float32)).astype(scale.dtype)


def _elementwise(call: Call) -> Array:
    return compute(call.node.op_type, call.inputs, call.attributes, lambda shape: call.spend_shape(shape, 16))


FOLD: dict[str, Callable[[Call], Array]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "Identity": lambda call: call.array(0),
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Cast": _cast,
    "Gather": _gather,
    "DequantizeLinear": _dequantize,
}
