"""Which operators are known: what each writes into the graph, by its name in the schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .call import Call

Made = str | Sequence[str] | None
Write = Callable[[Call], Any]


@dataclass(frozen=True)
class Entry:
    """One operator.

    Parameters
    ----------
    write : callable
        Writes the nodes of one operator; gives the names of its outputs.
    options : int
        The number of its options' type in the schema; 0 if it reads none.
    inputs : tuple of int
        How many inputs it takes at least and at most.
    """

    write: Write
    options: int
    inputs: tuple[int, int]


OPERATORS: dict[str, Entry] = {}
"""Operators by their names; custom ones by theirs."""


def operator(*names: str, options: int = 0, inputs: int | tuple[int, int] = 1) -> Callable[[Write], Write]:
    """Enter operators: decorates what writes one."""
    least, most = (inputs, inputs) if isinstance(inputs, int) else inputs

    def enter(write: Write) -> Write:
        for name in names:
            if name in OPERATORS:
                raise RuntimeError(f"{name} is entered twice")
            OPERATORS[name] = Entry(write, options, (least, most))
        return write

    return enter
