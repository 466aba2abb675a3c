"""What flows from part to part, and the graph that grows with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..graph import Node, node

if TYPE_CHECKING:
    from .part import Part

Shape = tuple[int | None, ...]


class PartError(ValueError):
    """What comes to a part does not fit.

    Parameters
    ----------
    message : str
        With the part before it.
    place : tuple of int
        The number of the part, and of those inside it.
    """

    def __init__(self, message: str, place: tuple[int, ...]) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True)
class Flow:
    """A tensor between two parts.

    Parameters
    ----------
    name : str
        In the graph.
    shape : tuple
        None where a size is free.
    time : int, optional
        The axis of steps, where there is one.
    """

    name: str
    shape: Shape
    time: int | None = None

    def __str__(self) -> str:
        words = ["batch"] + ["free"] * (len(self.shape) - 1)
        if self.time is not None:
            words[self.time] = "time"
            words[1 if self.time == 0 else 0] = "batch"
        shown = ", ".join(word if size is None else str(size) for word, size in zip(words, self.shape))
        return f"({shown}{',' * (len(self.shape) == 1)})"


class Builder:
    """The graph of a `Sequential` while its parts are put into it.

    Parameters
    ----------
    shape : tuple
        Of the input, as far as it is known; parts narrow it.
    lengths : bool
        Whether the lengths of the rows are an input.
    words : bool
        Whether the input is of whole numbers.
    """

    INPUT, LENGTHS, OUTPUT = "input", "lengths", "output"

    def __init__(self, shape: Shape, lengths: bool, words: bool) -> None:
        self.shape = shape
        self.lengths = self.LENGTHS if lengths else ""
        self.nodes: list[Node] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self.words = words
        self.recurrent = False  # whether an LSTM has said which axis is time
        self.title = ""
        self._place: tuple[int, ...] = ()

    def run(self, parts: Sequence[Part], x: Flow) -> Flow:
        """Put parts into the graph; what comes out of the last.

        Raises
        ------
        PartError
            One does not fit to what comes before it.
        """
        above = self._place
        for k, part in enumerate(parts):
            self._place = (*above, k)
            numbered = ".".join(map(str, self._place))
            self.title = part.name or f"{numbered} {part.kind}"
            try:
                x = part.build(self, x)
            except PartError:
                raise
            except ValueError as error:
                raise PartError(f"part {numbered}, {part.title}: {error}", (*above, k)) from error
        self._place = above
        return x

    def add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """A node with the title of the part; its output."""
        name = f"{self.title}.{len(self.nodes)}"
        self.nodes.append(node(op, inputs, name, self.title, **attributes))
        return name

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        """A constant of the part."""
        own = f"{self.title}.{len(self.nodes)}.{name}"
        self.constants[own] = np.asarray(value)
        return own

    def expect(self, x: Flow, axis: int, size: int, what: str) -> Flow:
        """The same tensor, whose size along an axis must be this one.

        Raises
        ------
        ValueError
            It is another.
        """
        axis %= len(x.shape)
        if x.shape[axis] not in (None, size):
            raise ValueError(f"expected {size} {what}, found {x.shape[axis]} in {x}")
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        if x.name == self.INPUT:
            self.shape = shape
        return replace(x, shape=shape)
