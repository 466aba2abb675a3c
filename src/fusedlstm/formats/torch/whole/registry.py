"""Which operators are known: what each writes into the graph, by its name in PyTorch without ``torch.ops.aten``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .call import Call

Write = Callable[[Call], Any]
"""Writes the nodes of one operator; gives the names of its outputs: one, several, or none."""

OPERATORS: dict[str, Write] = {}
"""Operators by name and overload: ``add.Tensor``."""


def operator(*names: str) -> Callable[[Write], Write]:
    """Enter operators: decorates what writes one."""

    def enter(write: Write) -> Write:
        for name in names:
            if name in OPERATORS:
                raise RuntimeError(f"{name} is entered twice")
            OPERATORS[name] = write
        return write

    return enter
