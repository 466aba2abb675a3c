"""Which layers are known: what each writes into the graph, by the name of its class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .call import Call, Tensor

Made = Any
"""What a layer gives: a `Tensor` or the name of one, or a list of them."""


@dataclass(frozen=True)
class Entry:
    """One class of layers.

    Parameters
    ----------
    write : callable
        Writes the nodes of one call.
    carries : bool
        Whether the mask of its first input becomes that of its output, where it says nothing else.
    since : int
        The Keras from which on it does.
    """

    write: Callable[[Call], Made]
    carries: bool
    since: int

    def __call__(self, call: Call) -> list[Tensor]:
        """The outputs of one call."""
        made = self.write(call)
        mask = call.mask if self.carries and (call.keras3 or self.since < 3) else ""
        several = made if isinstance(made, (list, tuple)) else [made]
        return [one if isinstance(one, Tensor) else Tensor(one, mask) for one in several]


LAYERS: dict[str, Entry] = {}
"""Keras's layers by their class."""
OPERATORS: dict[str, Entry] = {}
"""Keras's own operators: classes of ``keras.ops`` and functions of TensorFlow."""


def layer(
    *kinds: str, carries: bool = False, since: int = 2
) -> Callable[[Callable[[Call], Made]], Callable[[Call], Made]]:
    """Enter classes of layers: decorates what writes a call of one."""
    return _enter(LAYERS, kinds, carries, since)


def operator(*kinds: str, carries: bool = False) -> Callable[[Callable[[Call], Made]], Callable[[Call], Made]]:
    """Enter operators."""
    return _enter(OPERATORS, kinds, carries)


def _enter(
    table: dict[str, Entry], kinds: tuple[str, ...], carries: bool, since: int = 2
) -> Callable[[Callable[[Call], Made]], Callable[[Call], Made]]:
    def enter(write: Callable[[Call], Made]) -> Callable[[Call], Made]:
        for kind in kinds:
            if kind in table:
                raise RuntimeError(f"{kind} is entered twice")
            table[kind] = Entry(write, carries, since)
        return write

    return enter
