"""What a graph declares of the sizes of its inputs, held against those of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import FormatError
from .dims import Dim, Size, solved, value_of
from .graph import Graph, Value, check_shape
from .operators import Array, TensorType


def input_types(
    graph: Graph, shapes: Mapping[str, Sequence[int]], values: Mapping[str, Array]
) -> dict[str, TensorType]:
    """The type of each input of a call, but of those whose values are known.

    Raises
    ------
    FormatError
        Shapes that the file does not take: sizes of one name that differ, or that are outside of their range.
    """
    found: dict[str, TensorType] = {}
    sizes: dict[str, int] = {}
    inputs = [one for one in graph.inputs if one.name not in values]
    for value in inputs:
        if value.name not in shapes or value.dtype is None:
            raise FormatError(f"input {value.name!r}: expected a shape and a type, found none")
        shape = tuple(shapes[value.name])
        wanted = value.shape
        if wanted is not None and (
            len(shape) != len(wanted)
            or any(
                (type(size) is int and size != found)
                or (isinstance(size, str) and sizes.setdefault(size, found) != found)
                for size, found in zip(wanted, shape)
            )
        ):
            raise _other(value, shape, sizes)
        check_shape(f"input {value.name!r}", shape, value.dtype)
        found[value.name] = TensorType(shape, value.dtype)
    for value in inputs:
        for size, own in zip(value.shape or (), found[value.name].shape):
            if isinstance(size, Dim):
                _follow(value, size, own, found[value.name].shape, sizes)
    for name, least, most in graph.ranges:
        size = sizes.get(name, least)
        if size < least or (most is not None and size > most):
            upto = f"{least} to {most}" if most is not None else f"{least} or more"
            raise FormatError(f"{_where(graph, name)}: expected {upto}, found {size}")
    return found


def _follow(value: Value, size: Dim, own: int, shape: Sequence[Size], sizes: dict[str, int]) -> None:
    """A size that follows from others: one of them may follow from it in turn."""
    wanted = value_of(size, sizes)
    if wanted is None:
        answer = solved(size, own, sizes)
        if answer is None:
            return
        name, wanted = answer[0], own if answer[1] is not None else -1
        if answer[1] is not None:
            sizes[name] = answer[1]
    if wanted != own:
        raise _other(value, shape, sizes)


def _other(value: Value, shape: Sequence[Size], sizes: Mapping[str, int]) -> FormatError:
    named = ", ".join(
        str(sizes.get(size, size) if isinstance(size, str) else "?" if size is None else size)
        for size in value.shape or ()
    )
    return FormatError(f"input {value.name!r}: expected shape ({named}), found {tuple(shape)}")


def _where(graph: Graph, name: str) -> str:
    """The input and the axis that a size is of."""
    for value in graph.inputs:
        for axis, size in enumerate(value.shape or ()):
            if size == name:
                return f"input {value.name!r}, axis {axis}"
    return f"size {name!r}"
