"""What a model says of its inputs and outputs, of a plan, and of where its time goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from .graph import Graph, Node, Value

Array = npt.NDArray[Any]


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
