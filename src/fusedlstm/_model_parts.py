"""What a model says of its inputs and outputs, of a plan, and of where its time goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from .graph import Graph, Node, Value
from .graph.tensors import element_of

Array = npt.NDArray[Any]

_HELD: dict[str, np.dtype[Any]] = {"f": np.dtype(np.float32), "i": np.dtype(np.int64), "b": np.dtype(np.bool_)}
_KINDS = {"f": "floating-point numbers", "i": "whole numbers", "b": "truth values"}


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model.

    Parameters
    ----------
    shape : tuple of int or None
        None where a size is free.
    dtype : numpy.dtype
        As the file has it; floating-point numbers are computed as float32, whatever their dtype.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Inputs(dict[str, TensorSpec]):
    """The inputs of a model by name, and how arrays become what the engine takes.

    Parameters
    ----------
    specs : dict
        What the file says of each.
    deciding : collection of str
        Those whose values decide what is computed.
    """

    def __init__(self, specs: Mapping[str, TensorSpec], deciding: Collection[str]) -> None:
        super().__init__(specs)
        self.deciding = frozenset(deciding)
        self.held = {name: held(spec.dtype) for name, spec in specs.items()}
        self.narrow = frozenset(name for name, one in self.held.items() if one.kind == "i" and one != specs[name].dtype)
        """Whole numbers that are held in more bits than they have."""

    def arrays(self, args: Sequence[npt.ArrayLike], named: Mapping[str, npt.ArrayLike]) -> list[Array]:
        """All of them in order, for the arguments of a call."""
        if len(args) > len(self):
            raise TypeError(f"expected {len(self)} inputs ({', '.join(self)}), found {len(args)}")
        found = []
        for k, name in enumerate(self):
            if k < len(args):
                if name in named:
                    raise TypeError(f"input {name!r}: expected once, found twice")
                value = args[k]
            elif name in named:
                value = named[name]
            else:
                raise TypeError(f"input {name!r}: expected {self.describe(name)}, found none")
            found.append(self.array(name, value))
        if len(args) + len(named) > len(found):
            unknown = [name for name in named if name not in self]
            raise TypeError(f"input {unknown[0]!r}: expected one of {', '.join(self)}")
        return found

    def array(self, name: str, value: npt.ArrayLike) -> Array:
        """One of them, contiguous; a copy if it decides, as nobody may change it until there is a plan for it.

        Raises
        ------
        TypeError, ValueError
            It is of another kind of numbers, or of some that do not fit into those of the file.
        """
        wanted = self.held[name]
        if type(value) is np.ndarray and value.dtype is wanted and value.flags.carray and name not in self.narrow:
            return value.copy() if name in self.deciding else value
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"input {name!r}: expected an array without a mask, found a masked array; fill it first")
        array = np.asarray(value)
        dtype = self[name].dtype
        if array.dtype.kind not in {"f": "f", "i": "iu", "b": "b"}[element_of(wanted)]:
            raise TypeError(
                f"input {name!r}: expected {_KINDS[element_of(wanted)]}, found dtype {array.dtype}; convert it with "
                f".astype({dtype.name!r}) if that is what you mean"
            )
        if dtype.kind in "iu" and array.dtype != dtype and array.size:
            limits = np.iinfo(dtype)
            for one in (int(array.min()), int(array.max())):
                if not limits.min <= one <= limits.max:
                    raise ValueError(f"input {name!r}: expected {dtype}, {limits.min} to {limits.max}, found {one}")
        if name in self.deciding:
            array = array.copy()
        with np.errstate(over="ignore"):
            return np.require(array, wanted, ["C", "A"])

    def describe(self, name: str) -> str:
        """What an input is expected to be."""
        spec = self[name]
        shape = ", ".join("?" if size is None else str(size) for size in spec.shape)
        return f"an array ({shape}{',' * (len(spec.shape) == 1)}) of {spec.dtype}"


def held(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which arrays are held while a model runs."""
    return _HELD[element_of(dtype)]


class NodeTime(NamedTuple):
    """What one node of a model costs."""

    name: str
    operator: str
    microseconds: float
    share: float
    """Of the whole call."""


@dataclass(frozen=True)
class Planned:
    """A program for one set of shapes."""

    program: _core.Program
    nodes: Sequence[Node]
    inputs: tuple[int, ...]
    """Which of the model's inputs the program takes: what decided the plan is part of it."""
    call: _core.Call
    """The program with all inputs of the model; None where they are not just what it was planned for."""
    casts: tuple[tuple[int, np.dtype[Any]], ...]
    """Outputs whose dtype in the file is not the one they are computed in."""

    def of(self, given: tuple[Any, ...] | dict[str, Any]) -> tuple[Array, ...] | None:
        """The outputs for inputs in order or by name; None where they are not just what it was planned for."""
        found = self.call.in_order(given) if type(given) is tuple else self.call.by_name(given)  # type: ignore[arg-type]
        return found if found is None or not self.casts else cast(found, self.casts)


def constants_of(inputs: Inputs, values: Mapping[str, Array]) -> dict[str, Array]:
    """Values of inputs as constants of the graph, whose floating-point numbers are float32."""
    return {
        name: values[name].astype(held(spec.dtype) if spec.dtype.kind == "f" else spec.dtype)
        for name, spec in inputs.items()
        if name in values
    }


def spec_of(value: Value, graph: Graph) -> TensorSpec:
    """What the file says of an input or output, and what is known of it besides."""
    kind = graph.types.get(value.name)
    dtype = value.dtype if value.dtype is not None else kind.dtype if kind is not None else np.dtype(np.float32)
    shape = value.shape if value.shape is not None else kind.shape if kind is not None else ()
    return TensorSpec(tuple(size if type(size) is int else None for size in shape), dtype)


def cast(arrays: Sequence[Array], casts: Sequence[tuple[int, np.dtype[Any]]]) -> tuple[Array, ...]:
    """Outputs in the dtypes that the file gives them."""
    found = list(arrays)
    for k, dtype in casts:
        found[k] = found[k].astype(dtype)
    return tuple(found)


def expect_names(state: Mapping[str, npt.ArrayLike], names: Collection[str]) -> None:
    """Refuse what is no state of these names.

    Raises
    ------
    TypeError, ValueError
        No dict, or other names.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state: expected a dict of arrays by name, found {type(state).__name__}")
    if state.keys() != set(names):
        raise ValueError(f"state: expected {', '.join(names)}, found {', '.join(map(str, state))}")


def is_count(value: object) -> bool:
    """Whether it is a whole number from 1."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1
