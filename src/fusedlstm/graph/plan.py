"""From a graph whose shapes are known to a program: every tensor gets its place, every node its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import _core
from ..errors import FormatError
from ..weights import PRODUCTS
from ..weights.precision import rounded_matrix
from .graph import Graph, Node
from .operators import OPERATORS, Array
from .packed import Packed
from .tensors import Sizes, Storage, Tensor, bytes_of, dense_strides, element_of, order_of, place, same_place

MOST_PLACES = 1 << 26
"""Elements of a constant, or places along an axis, that the shapes of a call may have made when it is planned."""
_NUMPY = {"f": np.float32, "i": np.int64, "b": np.bool_}


class Plan:
    """What lowering a node uses: `read` tensors, `write` new ones, `alias` views of others, `emit` steps.

    Parameters
    ----------
    graph : Graph
        As `specialise` returns it: every tensor has a type.
    packed : Packed
        The model's weights.
    """

    def __init__(self, graph: Graph, packed: Packed) -> None:
        self.graph, self.packed = graph, packed
        self.types = graph.types
        self.constants = graph.constants
        self._tensors: dict[str, Tensor] = {}
        self._storages: list[Storage] = []
        self._steps: list[tuple[str, tuple[Any, ...]]] = []
        self._nodes: list[Node] = []  # of each step
        self._bases = 1 + len(graph.inputs) + len(graph.outputs)
        self._fixed: list[Array] = []  # constants that steps read
        self._parts: dict[str, tuple[str, Callable[[Tensor], Tensor | None]]] = {}
        self._outputs: dict[str, Tensor] = {}
        for k, value in enumerate(graph.inputs):
            kind = self.types[value.name]
            self._tensors[value.name] = _dense(Storage(0, 1 + k), element_of(kind.dtype), kind.shape)
        first = 1 + len(graph.inputs)
        for k, value in enumerate(graph.outputs):
            kind = self.types[value.name]
            self._outputs.setdefault(value.name, _dense(Storage(0, first + k), element_of(kind.dtype), kind.shape))
        self._fixed_names = {*self.constants, *self._tensors}
        self._into_place()
        from . import lowering  # noqa: F401  (enters how operators are lowered)

        self._node = Node("Identity", (), ())  # of copies where there is none
        for one in graph.nodes:
            self._node = one
            lower = OPERATORS[one.op].lower
            if one.refused or lower is None:
                raise FormatError(f"{one.title}: {one.refused or f'{one.op} has no steps yet'}")
            try:
                lower(self, one)
            except ValueError as error:
                raise FormatError(f"{one.title}: {error}") from error
        self._hand_out()

    # What lowering uses.

    def value(self, name: str) -> Array | None:
        """The array of a constant."""
        return self.constants.get(name)

    def weights(
        self, node: Node, key: tuple[Any, ...], rows: Callable[[], tuple[Array, Array | None]], *arrays: Array | None
    ) -> Any:
        """The weights of a node, rows (outputs, inputs) and a bias of some arrays, in panels; `key` says which part."""
        precision = self.packed.precision

        def pack() -> _core.PackedWeights:
            matrix, bias = rows()
            bias = None if bias is None else np.ascontiguousarray(bias, np.float32)
            return _core.PackedWeights(precision.rows(node, matrix), bias, *precision.of(node))

        return self.packed.get((*key, *precision.of(node)), pack, *arrays)

    def table(self, node: Node) -> _core.PackedTable:
        """The rows that a node looks up, held as it says."""
        dtype, held = node.attributes["dtype"], self.constants[node.inputs[0]]

        def pack() -> _core.PackedTable:
            return _core.PackedTable(rounded_matrix("table", held, dtype), dtype, PRODUCTS[dtype][0])

        found: _core.PackedTable = self.packed.tables.get(("table", node.inputs[0], dtype), pack, held)
        return found

    def shape(self, name: str) -> Sizes:
        """The shape of a tensor."""
        return self.types[name].shape

    def wanted(self, node: Node, count: int) -> list[str]:
        """The outputs of a node, up to `count`; "" for those that nothing takes."""
        return [name if name in self.types else "" for name in (*node.outputs, *("",) * count)[:count]]

    def read(self, name: str) -> Tensor:
        """A tensor that was computed, is an input, or a constant."""
        found = self._tensors.get(name)
        if found is None:
            found = self._tensors[name] = self.constant(self.constants[name])
        return found

    def constant(self, array: Array) -> Tensor:
        """A constant array as a tensor."""
        element = element_of(array.dtype)
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, _NUMPY[element]).reshape(array.shape)
        self._fixed.append(array)
        return _dense(Storage(0, self._bases + len(self._fixed) - 1), element, array.shape)

    def expect_places(self, *counts: int) -> None:
        """Refuse tables that are larger than what they are for."""
        if max(counts) > MOST_PLACES:
            raise FormatError(f"expected at most {MOST_PLACES} elements along an axis, found {max(counts)}")

    def write(self, name: str, order: Sequence[int] | None = None, like: Tensor | None = None) -> Tensor:
        """Memory for an output of the node: without gaps, the axes in `order` or in that of a tensor of its shape.

        Outputs of the model, and what is put together with others afterwards, are where they have to be instead.
        """
        kind = self.types[name]
        found = self._outputs.get(name) or self._part(name)
        if found is None:
            if like is not None and like.shape == kind.shape:
                order = order_of(like)
            found = self.scratch(element_of(kind.dtype), kind.shape, order)
        self._tensors[name] = found
        return found

    def scratch(self, element: str, shape: Sizes, order: Sequence[int] | None = None) -> Tensor:
        """Memory of the arena that has no name."""
        strides = dense_strides(shape, order)
        storage = Storage(bytes_of(element, math.prod(shape)))
        self._storages.append(storage)
        return Tensor(storage, element, shape, strides)

    def alias(self, name: str, tensor: Tensor) -> None:
        """An output that is a view of something that is there."""
        self._tensors[name] = tensor

    def emit(self, step: str, *arguments: Any) -> None:
        """A step: the method of `_core.Program`, its arguments with tensors anywhere in them."""
        index = len(self._steps)
        for one in arguments:
            _use(one, index)
        self._steps.append((step, arguments))
        self._nodes.append(self._node)

    def copy(self, source: Tensor, target: Tensor) -> None:
        """Emit a copy."""
        self.emit("copy", source, target)

    def dense(self, tensor: Tensor, order: Sequence[int] | None = None) -> Tensor:
        """The tensor itself if it has no gaps and its axes are in order, else a copy that does."""
        wanted = dense_strides(tensor.shape, order)
        if all(size == 1 or own == step for size, own, step in zip(tensor.shape, tensor.strides, wanted)):
            return tensor
        made = self.scratch(tensor.element, tensor.shape, order)
        self.copy(tensor, made)
        return made

    # The rest.

    def _into_place(self) -> None:
        """What a Concat puts together, and what an output is a view of, is written to its place at once."""

        def into(name: str, whole: str, part: Callable[[Tensor], Tensor | None]) -> None:
            if name not in self._outputs and name not in self._parts and name not in self._fixed_names:
                self._parts[name] = (whole, part)

        for one in reversed(self.graph.nodes):
            made = one.outputs[0]
            if one.op == "Concat":
                start, axis = 0, one.attributes["axis"]
                for name in one.inputs:
                    size = self.types[name].shape[axis]
                    if one.inputs.count(name) == 1:
                        into(name, made, partial(_slice, part=(axis, start, size)))
                    start += size
            elif made in self._outputs or made in self._parts:
                shape = self.types[one.inputs[0]].shape if one.inputs else ()
                if one.op in ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"):
                    into(one.inputs[0], made, partial(Tensor.reshaped, shape=shape))
                elif one.op == "Transpose":
                    perm = one.attributes["perm"] or tuple(range(len(shape)))[::-1]
                    inverse = sorted(range(len(perm)), key=perm.__getitem__)
                    into(one.inputs[0], made, partial(Tensor.transposed, axes=inverse))

    def _part(self, name: str) -> Tensor | None:
        found = self._parts.get(name)
        return None if found is None else found[1](self.target(found[0]))

    def target(self, name: str) -> Tensor:
        """Where an output lies that is written piece by piece."""
        waiting = [name]  # it may be a part of a part
        while waiting[-1] in self._parts and waiting[-1] not in self._tensors:
            waiting.append(self._parts[waiting[-1]][0])
        for one in reversed(waiting):
            if one not in self._tensors:
                self.write(one)
        return self._tensors[name]

    def _hand_out(self) -> None:
        """Outputs that are views, inputs or constants are copied to where the caller gets them."""
        seen: dict[str, Tensor] = {}
        first = 1 + len(self.graph.inputs)
        for k, value in enumerate(self.graph.outputs):
            self._node = Node("Identity", (value.name,), (value.name,))  # what these copies are, to whoever asks
            own = self._outputs[value.name]
            if value.name in seen:  # named twice
                again = _dense(Storage(0, first + k), own.element, own.shape)
                self.copy(own, again)
                continue
            seen[value.name] = own
            found = self.read(value.name)
            if not same_place(found, own):
                self.copy(found, own)

    def build(self) -> _core.Program:
        """The program."""
        size = place([one for one in self._storages if one.first >= 0])
        inputs = [(element_of(self.types[one.name].dtype), self.types[one.name].shape) for one in self.graph.inputs]
        outputs = [(element_of(self.types[one.name].dtype), self.types[one.name].shape) for one in self.graph.outputs]
        program = _core.Program(size, inputs, outputs, self._fixed, self.packed.threads or 0)
        for one, (method, arguments) in zip(self._nodes, self._steps):
            try:
                getattr(program, method)(*map(_resolved, arguments))
            except ValueError as error:
                raise FormatError(f"{one.title}: {error}") from error
        program.set_nodes(self._nodes)
        return program

    @property
    def nodes(self) -> Sequence[Node]:
        """The node of each step."""
        return self._nodes


def _slice(whole: Tensor, part: tuple[int, int, int]) -> Tensor:
    return whole.sliced(*part)


def _dense(storage: Storage, element: str, shape: Sizes) -> Tensor:
    return Tensor(storage, element, shape, dense_strides(shape))


def _use(argument: Any, index: int) -> None:
    if isinstance(argument, Tensor):
        storage = argument.storage
        if storage.first < 0:
            storage.first = index
        storage.last = index
    elif isinstance(argument, (list, tuple)):
        for one in argument:
            _use(one, index)


def _resolved(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return argument.resolve()
    if isinstance(argument, (list, tuple)):
        return type(argument)(map(_resolved, argument))
    return argument


def plan(graph: Graph, packed: Packed) -> tuple[_core.Program, Sequence[Node]]:
    """The program of a graph whose shapes are known, and the node of each of its steps.

    Raises
    ------
    FormatError
        A node that cannot be run.
    """
    made = Plan(graph, packed)
    return made.build(), made.nodes


__all__ = ["Plan", "plan"]
