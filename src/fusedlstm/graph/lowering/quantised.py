"""Integers that stand for floats, exactly as ONNX defines them.

Products of numbers of 8 bits are summed by the kernels for float32, in parts so short that every sum is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ... import _core
from ...errors import FormatError
from ..graph import Node
from ..operators import Array
from ..operators.convolution import geometry
from ..operators.lowers import lowers
from ..operators.operator import axis_of
from ..operators.quantised import shifted
from ..plan import Plan
from ..tensors import Sizes, Tensor
from .elementwise import emit_map, narrow
from .matrix import multiply

_EXACT = 256  # products of two numbers up to 255 whose sum is below 2^24
_ADVICE = 'load the float file and model.astype("int8")'


def _spread(values: Tensor, shape: Sizes, axis: int) -> Tensor:
    """A scale or zero point for each element: one for all, or one for each index of an axis."""
    if values.size == 1:
        return values.view(shape, (0,) * len(shape))
    if len(values.shape) > 1:
        return values.broadcast(shape)
    at = axis_of(axis, len(shape))
    if values.shape[0] != shape[at]:
        raise FormatError(f"expected a value for each of {shape[at]}, found {values.shape[0]}")
    return values.view(shape, tuple(values.strides[0] if k == at else 0 for k in range(len(shape))))


def _blocks(tensor: Tensor, axis: int, block: int) -> Tensor:
    """The axis as two, the second one within blocks."""
    size = tensor.shape[axis]
    if size % block:
        raise FormatError(f"blocks of {block} that do not fill {size} elements are not supported")
    shape = (*tensor.shape[:axis], size // block, block, *tensor.shape[axis + 1 :])
    step = tensor.strides[axis]
    return tensor.view(shape, (*tensor.strides[:axis], step * block, step, *tensor.strides[axis + 1 :]))


def _each(node: Node, x: Tensor, y: Tensor, others: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """x, y and what belongs to each of their elements, of one shape."""
    axis, block = node.attributes["axis"], node.attributes["block_size"]
    if not block or others[0].size == 1:
        return x, y, [_spread(one, x.shape, axis) for one in others]
    at = axis_of(axis, len(x.shape))
    x, y = _blocks(x, at, block), _blocks(y, at, block)

    def repeated(one: Tensor) -> Tensor:
        if one.size == 1:
            return _spread(one, x.shape, axis)
        strides = (*one.strides[: at + 1], 0, *one.strides[at + 1 :])
        return one.view(x.shape, strides)

    return x, y, [repeated(one) for one in others]


def _zero(plan: Plan, names: tuple[str, ...], index: int) -> Tensor:
    given = index < len(names) and names[index]
    return plan.read(names[index]) if given else plan.constant(np.zeros((), np.int64))


def _limits(plan: Plan, name: str) -> tuple[float, float]:
    limits = np.iinfo(plan.types[name].dtype)
    if limits.bits > 32:
        raise FormatError(f"numbers of {limits.bits} bits are not supported")
    return float(limits.min), float(limits.max)


@lowers("QuantizeLinear")
def _quantize(plan: Plan, node: Node) -> None:
    x, scale = map(plan.read, node.inputs[:2])
    if x.element != "f":
        floats = plan.scratch("f", x.shape)
        emit_map(plan, "ToFloat", [x], floats)
        x = floats
    y = plan.write(node.outputs[0], like=x)
    x, y, (scale, zero) = _each(node, x, y, [scale, _zero(plan, node.inputs, 2)])
    plan.emit("quantise", y, (x, scale, zero), _limits(plan, node.outputs[0]))


@lowers("DequantizeLinear")
def _dequantize(plan: Plan, node: Node) -> None:
    x, scale = map(plan.read, node.inputs[:2])
    y = plan.write(node.outputs[0], like=x)
    x, y, (scale, zero) = _each(node, x, y, [scale, _zero(plan, node.inputs, 2)])
    plan.emit("dequantise", y, (x, zero, scale))


@lowers("DynamicQuantizeLinear")
def _dynamic(plan: Plan, node: Node) -> None:
    x = plan.read(node.inputs[0])
    y, scale, zero = (
        plan.write(name, like=x) if name else plan.scratch(element, shape)
        for name, element, shape in zip(plan.wanted(node, 3), "ifi", (x.shape, (), ()))
    )
    plan.emit("dynamic", x, y, scale, zero)


def _floats(plan: Plan, name: str, zero: str, axis: int) -> Tensor:
    """A tensor of 8 bits less its zero point, as floats that are whole numbers."""
    if plan.types[name].dtype.itemsize > 1:
        raise FormatError(f"products of {plan.types[name].dtype} are not supported; {_ADVICE}")
    x = plan.read(name)
    y = plan.scratch("f", x.shape)
    less = _spread(_zero(plan, (zero,), 0), x.shape, axis)
    one = plan.constant(np.ones((), np.float32)).view(x.shape, (0,) * len(x.shape))
    plan.emit("dequantise", y, (x, less, one))
    return y


def _constant(plan: Plan, name: str, zero: str, axis: int) -> Array | None:
    """The same of a constant."""
    w, less = plan.value(name), plan.value(zero) if zero else None
    if w is None or (zero and less is None) or w.dtype.itemsize > 1:
        return None
    return shifted(w, less, axis)


def _parts(count: int, most: int = _EXACT) -> Iterator[tuple[int, int]]:
    for start in range(0, max(count, 1), most):
        yield start, min(most, count - start)


def _sum(plan: Plan, y: Tensor, spans: Iterator[tuple[int, int]], part: Callable[[Tensor, int, int], None]) -> None:
    """y, whole numbers: the sum of what ``part(floats, start, count)`` makes of each span."""
    floats = plan.scratch("f", y.shape)
    more: Tensor | None = None
    for start, count in spans:
        part(floats, start, count)
        if start == 0:
            emit_map(plan, "ToWhole", [floats], y)
            continue
        more = more or plan.scratch("i", y.shape)
        emit_map(plan, "ToWhole", [floats], more)
        emit_map(plan, "Add", [y, more], y)


def _product(plan: Plan, names: tuple[str, str, str, str], y: Tensor) -> None:
    """y = (x - its zero point) (w - its zero point), names: x, w and the zero points."""
    x_name, w_name, x_zero, w_zero = names
    x = _floats(plan, x_name, x_zero, -2)
    constant, parts = _constant(plan, w_name, w_zero, -1), [plan.value(one) for one in (w_name, w_zero) if one]
    if len(x.shape) < 2 or len(plan.shape(w_name)) < 2:
        raise FormatError(f"products of vectors of whole numbers are not supported; {_ADVICE}")
    if constant is not None and (constant.ndim > 2 or not constant.size):
        constant = None
    w = x if constant is not None else _floats(plan, w_name, w_zero, -1)

    def part(z: Tensor, start: int, count: int) -> None:
        some = x.sliced(len(x.shape) - 1, start, count)
        if constant is None:
            multiply(plan, some, w.sliced(len(w.shape) - 2, start, count), z)
            return
        key = ("whole", w_name, w_zero, start)
        made = plan.packed.get(key, lambda: packed(constant[start : start + count]), *parts)
        plan.emit("product", made, some, z, None, None)

    _sum(plan, y, _parts(x.shape[-1]), part)


def _convolution(plan: Plan, node: Node, names: tuple[str, str, str, str], y: Tensor) -> None:
    x_name, w_name, x_zero, w_zero = names
    w, parts = _constant(plan, w_name, w_zero, 0), [plan.value(one) for one in (w_name, w_zero) if one]
    if w is None:
        raise FormatError("weights that are computed are not supported")
    x = _floats(plan, x_name, x_zero, 1)
    taps, groups = math.prod(w.shape[2:]), node.attributes["group"]
    if taps > _EXACT:
        raise FormatError(f"windows of {taps} places are not supported; {_ADVICE}")
    strides, dilations, before, _, _ = geometry(node.attributes, x.shape[2:], w.shape[2:])
    windows = tuple((size, strides[k], dilations[k], before[k], 1) for k, size in enumerate(w.shape[2:])), "zeros"
    order = (0, *range(2, len(x.shape)), 1)
    each, channels, last = len(w) // groups, w.shape[1], len(x.shape) - 1
    beside = plan.dense(x.transposed(order))

    def windows_of(g: int, start: int, count: int) -> _core.PackedWeights:
        return _windows(w[g * each : (g + 1) * each, start : start + count])

    def part(z: Tensor, start: int, count: int) -> None:
        for g in range(groups):
            key = ("whole", w_name, w_zero, groups, g, start)
            made = plan.packed.get(key, partial(windows_of, g, start, count), *parts)
            some = beside.sliced(last, g * channels + start, count)
            plan.emit("product", made, some, z.transposed(order).sliced(last, g * each, each), windows, None)

    _sum(plan, y, _parts(channels, _EXACT // taps), part)


def _windows(w: Array) -> _core.PackedWeights:
    return packed(np.moveaxis(w, 1, -1).reshape(len(w), -1).T)


def packed(weights: Array) -> _core.PackedWeights:
    """Whole numbers (inputs, outputs), whose sums float32 holds exactly."""
    return _core.PackedWeights(np.ascontiguousarray(weights.T, np.float32), None, "float32", "float32")


@lowers("MatMulInteger", "ConvInteger")
def _integer(plan: Plan, node: Node) -> None:
    y = plan.write(node.outputs[0])
    x, w, x_zero, w_zero = (*node.inputs, "", "")[:4]
    if node.op == "MatMulInteger":
        _product(plan, (x, w, x_zero, w_zero), y)
    else:
        _convolution(plan, node, (x, w, x_zero, w_zero), y)
    narrow(plan, node.outputs[0], y)


@lowers("QLinearMatMul", "QLinearConv")
def _linear(plan: Plan, node: Node) -> None:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = (*node.inputs, "")[:9]
    scale, zero = plan.read(y_scale), plan.read(y_zero)
    if scale.size != 1 or zero.size != 1:
        raise FormatError(f"outputs of several scales are not supported; {_ADVICE}")
    y = plan.write(node.outputs[0])
    sums = plan.scratch("i", y.shape)
    whole = node.op == "QLinearMatMul"
    if whole:
        _product(plan, (x, w, x_zero, w_zero), sums)
    else:
        _convolution(plan, node, (x, w, x_zero, w_zero), sums)
    if bias:
        emit_map(plan, "Add", [sums, _spread(plan.read(bias), sums.shape, 1)], sums)
    rows = _spread(plan.read(x_scale), sums.shape, -2 if whole else 1)
    columns = _spread(plan.read(w_scale), sums.shape, -1 if whole else 1)
    plan.emit("requantise", y, (sums, rows, columns, scale, zero), _limits(plan, node.outputs[0]))
