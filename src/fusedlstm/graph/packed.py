"""Weights as the kernels want them, packed once for one model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .operators import Array
from .precision import FLOAT32, Precision

_VALUES = 8
"""Values of a constant, one for each shape of a call, whose packed form is kept."""


class Packed:
    """Weights that were packed for one model; all its plans share them.

    Parameters
    ----------
    precision : Precision, optional
        What they are held in.
    threads : int, optional
        What the model's programs may use. Default: as many as the process has set.
    like : Packed, optional
        The same model's for other values of its inputs: its tables are these as well.
    """

    def __init__(self, precision: Precision = FLOAT32, threads: int | None = None, like: Packed | None = None) -> None:
        self.precision, self.threads = precision, threads
        self.tables: Packed = self if like is None else like.tables
        self._made: dict[Any, tuple[tuple[tuple[Array | None, ...], Any], ...]] = {}

    def get(self, key: Any, make: Callable[..., Any], *arrays: Array | None) -> Any:
        """What is packed of some arrays under a key, made when it is first asked for.

        A constant may have another value in another plan, if it follows from the shapes of the call.
        """
        entries = self._made.get(key, ())
        for held, found in entries:
            if all(map(_same, held, arrays)):
                return found
        made = make()
        self._made[key] = (*entries[1 - _VALUES :], (arrays, made))  # other threads may look at those of before
        return made


def _same(one: Array | None, other: Array | None) -> bool:
    """Whether two constants are the same to the bit."""
    if one is other or one is None or other is None:
        return one is other
    return bool(one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes())
