"""One call of one layer: what its configuration says, what it is given, and the nodes that it writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ....errors import FormatError
from ....graph.builder import Builder
from ....graph.operators import Array, Shape, TensorType
from .weights import Weights

if TYPE_CHECKING:
    from .whole import Reader

T = TypeVar("T")
REQUIRED: Any = object()
_MOST = 64  # constants in one argument
INT32, INT64, FLOAT32, BOOL = (np.dtype(name) for name in ("int32", "int64", "float32", "bool"))


@dataclass(frozen=True)
class Tensor:
    """What flows between layers.

    Parameters
    ----------
    name : str
        Of the graph's tensor.
    mask : str
        The tensor (batch, time) that says which steps are valid; "" where all are.
    """

    name: str
    mask: str = ""


@dataclass(frozen=True)
class Held:
    """What all calls of one layer share.

    Parameters
    ----------
    weights : Weights
        Its variables.
    memory : dict
        What was made of them; by what it is for.
    """

    weights: Weights
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One call of one layer.

    Parameters
    ----------
    reader : Reader
        Who reads the model: for layers inside of this one.
    name : str
        The layer's, with those of the models around it.
    kind : str
        Its class.
    config : mapping
        What it says of itself.
    version : str or None
        Keras's.
    held : Held
        Its variables, and what calls share.
    inputs : sequence of Tensor
        What it is called with.
    arguments : mapping
        What else it is called with, by name: numbers, texts, `Tensor`, lists of them.
    positional : sequence
        All positional arguments as they are, for Keras's own operators.
    """

    reader: Reader
    name: str
    kind: str
    config: Mapping[str, Any]
    version: str | None
    held: Held
    inputs: Sequence[Tensor] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    positional: Sequence[Any] = ()

    # What it is given.

    @property
    def graph(self) -> Builder:
        """Where nodes are written."""
        return self.reader.graph

    @property
    def keras3(self) -> bool:
        """Whether Keras 3 wrote the model."""
        return not (self.version or "2").startswith(("1", "2"))

    @property
    def x(self) -> Tensor:
        """The one input."""
        if len(self.inputs) != 1:
            raise FormatError(f"expected one input, found {len(self.inputs)}")
        return self.inputs[0]

    @property
    def mask(self) -> str:
        """The mask of the first input, or the one that the call is given."""
        return next(iter(self.masks()), "")

    def masks(self) -> list[str]:
        """The mask of each input, or what the call is given."""
        given = self.arguments.get("mask")
        if given is None:
            return [one.mask for one in self.inputs]
        found = self.several("mask", given, 2 if len(self.inputs) > 1 else None)
        return [one.name if one else "" for one in found]

    def several(self, what: str, given: Any, rank: int | None) -> list[Tensor | None]:
        """Tensors of an argument, each of `rank` dimensions if given: Keras 2 adds an axis for several constants."""
        found: list[Tensor | None] = []
        for one in given if isinstance(given, (list, tuple)) else [given]:
            if one is not None and not isinstance(one, Tensor):
                raise FormatError(f"{what}: expected tensors of the model, found {str(one)[:80]!r}")
            array = self.graph.constants.get(one.name) if one else None
            if array is not None and rank is not None and array.ndim == rank + 1 and len(array) <= _MOST:
                found += [Tensor(self.constant(part)) for part in array]
            else:
                found.append(one)
        return found

    def with_(self, **changes: Any) -> Call:
        """The same with other parts."""
        return replace(self, **changes)

    def once(self, make: Callable[[], T], key: str = "") -> T:
        """What is made of the layer's variables once, however often it is called."""
        if key not in self.held.memory:
            self.held.memory[key] = make()
        found: T = self.held.memory[key]
        return found

    # What its configuration says.

    def value(self, key: str, default: Any = REQUIRED) -> Any:
        """Anything."""
        found = self.config.get(key, default)
        if found is REQUIRED:
            raise FormatError(f"{key}: expected in the configuration, found none")
        return found

    def flag(self, key: str, default: Any = False) -> bool:
        """True or false."""
        found = self.value(key, default)
        if not isinstance(found, bool):
            raise FormatError(f"{key}: expected true or false, found {str(found)[:80]!r}")
        return found

    def whole(self, key: str, default: Any = REQUIRED, least: int = 1) -> int:
        """A whole number."""
        return whole(key, self.value(key, default), least)

    def number(self, key: str, default: Any = REQUIRED) -> float:
        """A number."""
        return number(key, self.value(key, default))

    def choice(self, key: str, *choices: Any, default: Any = REQUIRED) -> Any:
        """One of a few words."""
        found = self.value(key, default)
        if not any(found == one and type(found) is type(one) for one in choices):
            raise FormatError(f"{key}: expected {', '.join(map(str, choices))}, found {str(found)[:80]!r}")
        return found

    def sizes(self, key: str, rank: int, default: Any = REQUIRED, least: int = 1) -> tuple[int, ...]:
        """A whole number for each of some dimensions, or one for all."""
        found = self.value(key, default)
        found = [found] * rank if isinstance(found, int) else found
        if not isinstance(found, (list, tuple)) or len(found) != rank:
            raise FormatError(f"{key}: expected {rank} whole numbers, found {str(found)[:80]!r}")
        return tuple(whole(key, one, least) for one in found)

    def only(self, key: str, *usual: Any) -> None:
        """Refuse what an option says, if it is not the usual."""
        found = self.config.get(key, usual[0])
        if found not in usual:
            raise FormatError(f"{key}: expected {usual[0]!r}, found {str(found)[:80]!r}, which is not supported")

    # What it writes.

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output."""
        return self.ops(op, inputs, 1, **attributes)[0]

    def ops(self, op: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> tuple[str, ...]:
        """A node of several outputs."""
        return self.graph.add(op, inputs, f"{self.name}.{op}", outputs, self.name, **attributes)

    def constant(self, value: Any) -> str:
        """A constant."""
        return self.graph.constant(value, f"{self.name}.constant")

    def scalar(self, value: float, like: str) -> str:
        """A number of the type of a tensor."""
        return self.constant(np.asarray(value, self.dtype(like)))

    def ints(self, *values: int) -> str:
        """A list of whole numbers as a constant."""
        if any(abs(one) >= 1 << 63 for one in values):
            raise FormatError(f"expected whole numbers of 64 bits, found {str(values)[:80]}")
        return self.constant(np.asarray(values, np.int64))

    def _type(self, name: str) -> TensorType:
        found = self.graph.types.get(name)
        if found is None:
            raise FormatError("expected an input whose shape is known, found one that depends on values")
        return found

    def shape(self, name: str) -> Shape:
        """The shape of a tensor."""
        return self._type(name).shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """The type of a tensor's numbers."""
        return self._type(name).dtype

    def typed(self, name: str, shape: Shape, like: str) -> str:
        """A tensor whose shape follows from others that are not known yet, though it is known here."""
        self.graph.types[name] = TensorType(tuple(shape), self.dtype(like))
        return name

    def rank(self, name: str) -> int:
        """How many dimensions a tensor has."""
        return len(self.shape(name))

    def expect_rank(self, name: str, *ranks: int) -> Shape:
        """The shape of a tensor that must have so many dimensions."""
        shape = self.shape(name)
        if len(shape) not in ranks:
            raise FormatError(f"expected {' or '.join(map(str, ranks))} dimensions, found shape {shape}")
        return shape

    def axis(self, axis: Any, rank: int, what: str = "axis") -> int:
        """An axis counted from the front."""
        found = whole(what, axis, -rank)
        if found >= rank:
            raise FormatError(f"{what}: expected an axis of {rank} dimensions, found {found}")
        return found + rank if found < 0 else found

    def cast(self, x: str, dtype: np.dtype[Any]) -> str:
        """A tensor in another type."""
        return x if self.dtype(x) == dtype else self.op("Cast", x, to=dtype)

    def reshape(self, x: str, *sizes: int) -> str:
        """0 keeps a size, -1 takes what is left."""
        return self.op("Reshape", x, self.ints(*sizes))

    def unsqueeze(self, x: str, *axes: int) -> str:
        """New axes."""
        return self.op("Unsqueeze", x, self.ints(*axes))

    def squeeze(self, x: str, *axes: int) -> str:
        """Without axes of one element."""
        return self.op("Squeeze", x, self.ints(*axes))

    def transpose(self, x: str, *order: int) -> str:
        """Axes in another order."""
        return x if list(order) == list(range(len(order))) else self.op("Transpose", x, perm=order)

    def slice(self, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
        """Part of an axis."""
        return self.op("Slice", x, self.ints(start), self.ints(end), self.ints(axis), self.ints(step))

    def flip(self, x: str, axis: int) -> str:
        """An axis turned round."""
        return self.slice(x, axis, -1, -(1 << 62), -1)

    def size(self, x: str, axis: int) -> str:
        """A size of a tensor as a list of one number, known or not."""
        size = self.shape(x)[axis]
        if type(size) is int:
            return self.ints(size)
        return self.slice(self.op("Shape", x), 0, axis, axis + 1)

    def affine(self, x: str, scale: Array | float | None, shift: Array | float | None) -> str:
        """``x * scale + shift``, each where it is given."""
        for op, value in (("Mul", scale), ("Add", shift)):
            if value is not None:
                x = self.op(op, x, self.constant(np.asarray(value, np.float32)))
        return x


def whole(key: str, value: Any, least: int = 1) -> int:
    """A whole number of a configuration."""
    if type(value) is not int or not least <= value < 1 << 40:
        raise FormatError(f"{key}: expected a whole number of {least} or more, found {str(value)[:80]!r}")
    return value


def number(key: str, value: Any) -> float:
    """A number of a configuration; Keras 2 writes some as arrays."""
    if isinstance(value, Mapping) and "value" in value:
        value = value["value"]
    if isinstance(value, Mapping) and isinstance(value.get("config"), Mapping):
        value = value["config"].get("value")
    if type(value) not in (int, float) or not math.isfinite(value):
        raise FormatError(f"{key}: expected a number, found {str(value)[:80]!r}")
    return float(value)
