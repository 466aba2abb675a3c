"""Where the tensors of a plan lie: views of storages, whose places are settled when all steps are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .operators import DType

Sizes = tuple[int, ...]
_BYTES = {"f": 4, "i": 8, "b": 1}
LINE = 64
"""Storages begin at cache lines."""


def element_of(dtype: DType) -> str:
    """How elements are held while a model runs: floats as float32, whole numbers as int64, truth values as bytes."""
    return "f" if dtype.kind == "f" else "b" if dtype.kind == "b" else "i"


class Storage:
    """Memory of one tensor, for the steps from its first to its last use."""

    __slots__ = ("base", "bytes", "first", "last", "offset")

    def __init__(self, size: int, base: int = 0) -> None:
        self.bytes = size
        self.base = base  # 0: the arena; else an input, output or constant
        self.offset = 0
        self.first = self.last = -1


class Tensor:
    """A view: shape and strides in elements."""

    __slots__ = ("element", "offset", "shape", "storage", "strides")

    def __init__(self, storage: Storage, element: str, shape: Sizes, strides: Sizes, offset: int = 0) -> None:
        self.storage = storage
        self.element = element
        self.shape = shape
        self.strides = strides
        self.offset = offset

    @property
    def size(self) -> int:
        """How many elements."""
        return math.prod(self.shape)

    def view(self, shape: Sizes, strides: Sizes, offset: int = 0) -> Tensor:
        """Another view of the same storage; `offset` is from this one's first element."""
        return Tensor(self.storage, self.element, shape, strides, self.offset + offset)

    def transposed(self, axes: Sequence[int]) -> Tensor:
        """The axes in another order."""
        return self.view(tuple(self.shape[k] for k in axes), tuple(self.strides[k] for k in axes))

    def sliced(self, axis: int, start: int, count: int, step: int = 1) -> Tensor:
        """Some places along one axis."""
        shape, strides = list(self.shape), list(self.strides)
        offset, shape[axis], strides[axis] = start * strides[axis], count, strides[axis] * step
        return self.view(tuple(shape), tuple(strides), offset if count else 0)

    def broadcast(self, shape: Sizes) -> Tensor:
        """NumPy's rule: axes of size 1 are repeated, new ones come in front."""
        if shape == self.shape:
            return self
        missing = len(shape) - len(self.shape)
        strides = (0,) * missing + tuple(
            0 if own == 1 and size != 1 else stride
            for own, size, stride in zip(self.shape, shape[missing:], self.strides)
        )
        return self.view(shape, strides)

    def reshaped(self, shape: Sizes) -> Tensor | None:
        """The same elements in another shape, if strides can say it."""
        if shape == self.shape:
            return self
        strides = reshape_strides(self.shape, self.strides, shape)
        return None if strides is None else self.view(shape, strides)

    @property
    def contiguous(self) -> bool:
        """Whether the elements follow each other in the order of the axes."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides)):
            if size != 1:
                if stride != expected:
                    return False
                expected *= size
        return True

    def resolve(self) -> tuple[int, int, str, Sizes, Sizes]:
        """As the engine takes it."""
        place = self.storage.offset + self.offset * _BYTES[self.element]
        return self.storage.base, place, self.element, self.shape, self.strides


def same_place(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same memory in the same order."""
    return (
        one.storage is other.storage
        and one.offset == other.offset
        and all(size == 1 or left == right for size, left, right in zip(one.shape, one.strides, other.strides))
    )


def bytes_of(element: str, count: int) -> int:
    """The size of a storage."""
    return _BYTES[element] * count


def dense_strides(shape: Sizes, order: Sequence[int] | None = None) -> Sizes:
    """Strides without gaps, the axes in `order` from the outermost to the innermost."""
    strides, step = [1] * len(shape), 1
    for axis in reversed(range(len(shape)) if order is None else order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def order_of(tensor: Tensor) -> list[int]:
    """Its axes from the largest stride to the smallest; axes of size 1 stay where they are among the others."""
    axes = [axis for axis in range(len(tensor.shape)) if tensor.shape[axis] != 1]
    ranked = iter(sorted(axes, key=lambda axis: -abs(tensor.strides[axis])))
    return [axis if tensor.shape[axis] == 1 else next(ranked) for axis in range(len(tensor.shape))]


def reshape_strides(shape: Sizes, strides: Sizes, wanted: Sizes) -> Sizes | None:
    """Strides of the same elements in another shape, or None if they need a copy."""
    old = [(size, stride) for size, stride in zip(shape, strides) if size != 1]
    if any(size == 0 for size in wanted):
        return (1,) * len(wanted)
    found: list[int] = []
    at, left = 0, 1
    stride = 1
    for size in wanted:
        if size == 1:
            found.append(1)
            continue
        if left == 1:  # a new run of old axes, as many as this and the next wanted ones need
            if at == len(old):
                return None
            left, stride = old[at]
            at += 1
        while left % size:  # join the next old axis, if it lies inside this one
            if at == len(old) or stride != old[at][0] * old[at][1]:
                return None
            left *= old[at][0]
            stride = old[at][1]
            at += 1
        left //= size
        found.append(stride * left)
    return tuple(found) if left == 1 and at == len(old) else None


def place(storages: Sequence[Storage]) -> int:
    """Give each storage its place in the arena, those in use at the same time beside each other; the arena's size."""
    placed: list[Storage] = []
    total = 0
    for one in sorted(storages, key=lambda one: -one.bytes):
        start = 0
        for other in placed:  # by offset
            if other.first <= one.last and one.first <= other.last:
                if other.offset >= start + one.bytes:
                    break
                start = max(start, -(-(other.offset + other.bytes) // LINE) * LINE)
        one.offset = start
        total = max(total, start + one.bytes)
        index = len(placed)
        while index and placed[index - 1].offset > start:
            index -= 1
        placed.insert(index, one)
    return total
