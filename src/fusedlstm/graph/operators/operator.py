"""What an operator is: one entry with its attributes, its shape rule, its meaning in NumPy and how it is lowered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...errors import FormatError
from ..dims import Dim, Size

Array = Any
"""An ndarray: NumPy's own types for what its functions return would be longer than the functions here."""
Shape = tuple[Size, ...]
DType = np.dtype[Any]
Attributes = Mapping[str, Any]

BOOL, INT32, INT64 = np.dtype(np.bool_), np.dtype(np.int32), np.dtype(np.int64)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
REQUIRED: Any = object()
MANY = 1 << 20


class TensorType(NamedTuple):
    """The shape and dtype of a tensor; sizes are ints, or `Dim` where they are not known yet."""

    shape: Shape
    dtype: DType


class UnknownError(Exception):
    """A shape that depends on values which are not known before the model runs."""


class Call:
    """What a shape rule is told of one node: attributes, and of each input its shape, dtype and value if known."""

    __slots__ = ("attributes", "dtypes", "outputs", "shapes", "values")

    def __init__(
        self,
        attributes: Mapping[str, Any],
        shapes: Sequence[Shape | None],
        dtypes: Sequence[DType | None],
        values: Sequence[Array | None],
        outputs: int,
    ) -> None:
        self.attributes = attributes
        self.shapes: Any = shapes
        self.dtypes: Any = dtypes
        self.values = values
        self.outputs = outputs

    def has(self, index: int) -> bool:
        """Whether an input is there."""
        return index < len(self.shapes) and self.shapes[index] is not None

    def ints(self, index: int) -> tuple[Size, ...]:
        """The whole numbers of an input that must be known.

        Raises
        ------
        UnknownError
            They are not.
        """
        value = self.values[index]
        if value is None:
            raise UnknownError
        if value.dtype.kind not in "iuO":
            raise ValueError(f"expected whole numbers as input {index}, found {value.dtype}")
        return tuple(value.reshape(-1).tolist())


@dataclass(frozen=True)
class Attribute:
    """What an attribute may be."""

    kind: str
    default: Any = REQUIRED
    choices: tuple[Any, ...] = ()
    least: int | None = None

    def check(self, name: str, value: Any) -> Any:
        """The value as it is kept: lists as tuples.

        Raises
        ------
        ValueError
            It is of another kind, or not one of the choices.
        """
        if value is None and self.default is None:
            return None
        found = _KINDS[self.kind](value)
        if found is None:
            raise ValueError(f"attribute {name}: expected {self.kind}, found {str(value)[:60]!r}")
        if self.choices and found not in self.choices:
            raise ValueError(f"attribute {name}: expected {' or '.join(map(str, self.choices))}, found {found!r}")
        if self.least is not None and min(found if isinstance(found, tuple) else (found,), default=0) < self.least:
            raise ValueError(f"attribute {name}: expected {self.least} or more, found {found}")
        return found


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, np.integer)) and abs(int(value)) < 1 << 63 else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float, np.number)) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _several(one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) > MANY:
            return None
        found = tuple(map(one, value))
        return None if any(item is None for item in found) else found

    return check


_KINDS: dict[str, Callable[[Any], Any]] = {
    "a whole number": _integer,
    "a number": _number,
    "text": _text,
    "whole numbers": _several(_integer),
    "numbers": _several(_number),
    "texts": _several(_text),
    "a tensor": lambda value: value if isinstance(value, np.ndarray) else None,
    "a dtype": lambda value: value if isinstance(value, np.dtype) else None,
    "a graph": lambda value: value if hasattr(value, "nodes") else None,
    "an object": lambda value: value,
}


def integer(default: Any = REQUIRED, least: int | None = None) -> Attribute:
    """An attribute that is a whole number."""
    return Attribute("a whole number", default, least=least)


def flag(default: int = 0) -> Attribute:
    """An attribute that is 0 or 1."""
    return Attribute("a whole number", default, (0, 1))


def integers(default: Any = None, least: int | None = None) -> Attribute:
    """An attribute that is a list of whole numbers."""
    return Attribute("whole numbers", default, least=least)


def number(default: Any = REQUIRED) -> Attribute:
    """An attribute that is a number."""
    return Attribute("a number", default)


def text(*choices: str, required: bool = False) -> Attribute:
    """An attribute that is one of a few words, the first by default."""
    return Attribute("text", REQUIRED if required else choices[0], choices)


@dataclass(frozen=True)
class Operator:
    """One operator.

    Parameters
    ----------
    name : str
        ONNX's name; of our own, with the domain before it: ``"fusedlstm.Dense"``.
    shape : callable
        ``shape(call) -> [TensorType, ...]``, one for each output. Raises `ValueError` for what does not fit.
    compute : callable
        ``compute(attributes, *inputs) -> array or tuple of arrays``: the meaning, None for inputs that are absent.
    inputs, outputs : (int, int)
        The least and the greatest number of them.
    attributes : dict
        What it takes, by name.
    shape_inputs : tuple of int
        Inputs whose values the shape of the outputs depends on.
    graphs : bool
        Whether it holds graphs: `compute` is then given ``run(graph, inputs)`` after its attributes.
    lower : callable, optional
        What emits its steps.
    live : callable, optional
        How it goes along time, step by step.
    """

    name: str
    shape: Callable[[Call], list[TensorType]]
    compute: Callable[..., Any]
    inputs: tuple[int, int] = (1, 1)
    outputs: tuple[int, int] = (1, 1)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    shape_inputs: tuple[int, ...] = ()
    graphs: bool = False
    lower: Any = None
    live: Any = None

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All attributes, checked, the default where none is given.

        Raises
        ------
        ValueError
            One that is missing, unknown or of another kind.
        """
        for name in given:
            if name not in self.attributes:
                raise ValueError(f"attribute {name}: expected none such, found {str(given[name])[:60]}")
        found = {}
        for name, attribute in self.attributes.items():
            if name in given:
                found[name] = attribute.check(name, given[name])
            elif attribute.default is REQUIRED:
                raise ValueError(f"attribute {name}: expected {attribute.kind}, found none")
            else:
                found[name] = attribute.default
        return found


OPERATORS: dict[str, Operator] = {}
"""Every operator, by name."""


def operator(
    name: str,
    shape: Callable[[Call], list[TensorType]],
    inputs: int | tuple[int, int] = 1,
    outputs: int | tuple[int, int] = 1,
    shape_inputs: tuple[int, ...] = (),
    graphs: bool = False,
    **attributes: Attribute,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter an operator: decorates its meaning in NumPy."""

    def enter(compute: Callable[..., Any]) -> Callable[..., Any]:
        takes, gives = ((one, one) if isinstance(one, int) else one for one in (inputs, outputs))
        if name in OPERATORS:
            raise RuntimeError(f"operator {name} is entered twice")
        OPERATORS[name] = Operator(name, shape, compute, takes, gives, attributes, shape_inputs, graphs)
        return compute

    return enter


def same(call: Call) -> list[TensorType]:
    """The shape rule of what leaves shape and dtype as they are."""
    return [TensorType(call.shapes[0], call.dtypes[0])]


def broadcast_shapes(*shapes: Shape) -> Shape:
    """NumPy's rule, for sizes that may be open."""
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    rank = max(map(len, shapes))
    found = []
    for axis in range(-rank, 0):
        size: Size = 1
        for shape in shapes:
            other = shape[axis] if -axis <= len(shape) else 1
            if (type(other) is int and other == 1) or other == size:
                continue
            if type(size) is int and size == 1:
                size = other
            elif type(size) is int and type(other) is int:
                raise ValueError(f"expected shapes that broadcast, found {' and '.join(map(str, shapes))}")
            elif isinstance(size, Dim) and isinstance(other, Dim):
                size = Dim.unknown("broadcast", size, other)
            elif type(other) is int:  # the open one is this size, or 1
                size = other
        found.append(size)
    return tuple(found)


def same_types(call: Call, first: int = 0) -> DType:
    """The dtype that the inputs from `first` on must share."""
    dtype: DType = call.dtypes[first]
    for other in call.dtypes[first + 1 :]:
        if other is not None and other is not dtype and other != dtype:
            raise ValueError(f"expected inputs of one type, found {dtype} and {other}")
    return dtype


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"expected an axis of {rank} dimensions, found {axis}")
    return axis + rank if axis < 0 else axis


def axes_of(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Several axes counted from the front, each once."""
    found = tuple(axis_of(axis, rank) for axis in axes)
    if len(set(found)) != len(found):
        raise ValueError(f"expected each axis once, found {list(axes)}")
    return found


def expect_rank(call: Call, index: int, *ranks: int) -> Shape:
    """The shape of an input that must have one of these ranks."""
    shape: Shape = call.shapes[index]
    if len(shape) not in ranks:
        raise ValueError(f"expected {' or '.join(map(str, ranks))} dimensions in input {index}, found {shape}")
    return shape


def differ(one: Size, other: Size) -> bool:
    """Whether two sizes are known to differ."""
    return type(one) is int and type(other) is int and one != other


def unsupported(what: str) -> FormatError:
    """An option that is not supported."""
    return FormatError(f"{what} is not supported")
