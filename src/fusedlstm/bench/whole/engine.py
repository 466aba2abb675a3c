"""What an engine is to a whole model, and how its inputs and outputs are told apart from ours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]
Pairs = Mapping[int, int]
"""Inputs by their places, and the outputs that are handed to them for the next call."""


class WholeEngine(ABC):
    """A whole model in one engine, at its best setting, ready to run.

    Parameters
    ----------
    path : Path
        The file, of one of the kinds that it `reads`.
    feed : dict
        The inputs by our names for them, in the file's order.
    threads : int
        How many threads it may use.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    """Modules to import, the engine's own first."""
    install: ClassVar[str]
    """What to give to ``pip install``."""
    reads: ClassVar[tuple[str, ...]]
    """Kinds of file, as `convert.kind_of` names them."""
    chooses_threads: ClassVar[bool] = True

    pairs: Pairs = MappingProxyType({})
    """States that a call hands over to the next one."""
    setting: str = ""
    """How the model came to it, where that is not from its own file."""
    note: str = ""
    call: Callable[[], Any]
    """One call, and nothing else: this is what is timed."""

    @abstractmethod
    def __init__(self, path: Path, feed: Feed, threads: int) -> None: ...

    @abstractmethod
    def outputs(self) -> list[Array]:
        """Call once."""

    def stream(self, pairs: Pairs) -> None:
        """Hand states over from each call to the next from now on, as a caller would by hand."""
        self.pairs = pairs

    def session(self) -> AbstractContextManager[Any]:
        """What calls are made inside of, such as an inference mode."""
        return nullcontext()


def matched(feed: Feed, names: Sequence[str], shapes: Sequence[Sequence[Any]]) -> list[Array]:
    """Our inputs in the engine's order: by name, by what converters make of names, else by shape, in order.

    Raises
    ------
    ValueError
        They are not as many, or one fits none.
    """
    if len(names) != len(feed):
        inside = "; it keeps states inside" if len(names) < len(feed) else ""
        raise ValueError(f"expected the inputs {', '.join(feed)}, found {', '.join(names) or 'none'}{inside}")
    left, found = dict(feed), dict[int, Array]()

    ways: list[Callable[[str, str], bool]] = [
        lambda own, name: own == name,
        lambda own, name: name.split(":")[0].endswith(own.split(":")[0]),
        lambda own, name: True,
    ]
    for fits in ways:
        for place, name in enumerate(names):
            for own in left:
                if place not in found and fits(own, name) and _may_be(left[own].shape, shapes[place]):
                    found[place] = left.pop(own)
                    break
    if left:
        raise ValueError(f"expected an input for {', '.join(left)}, found {', '.join(names)}")
    return [found[place] for place in range(len(names))]


def _may_be(shape: Sequence[int], said: Sequence[Any]) -> bool:
    """Whether an array fits; sizes that are no positive numbers are free."""
    return len(shape) == len(said) and all(
        not isinstance(size, int) or size < 0 or size == own for own, size in zip(shape, said, strict=True)
    )


def difference(wanted: Sequence[Array], found: Sequence[Array]) -> tuple[float, list[int]]:
    """The largest difference, of the largest number in that output; and which of `found` each of `wanted` is.

    Converters rename and reorder outputs: each is held against the nearest one of its shape that is left.
    """
    left, worst, which = list(range(len(found))), 0.0, []
    for one in wanted:
        fits = [k for k in left if found[k].size == one.size]
        if not fits:
            return float("inf"), []
        apart = {k: _apart(one, found[k].reshape(one.shape)) for k in fits}
        best = min(apart, key=lambda k: apart[k])
        left.remove(best)
        which.append(best)
        worst = max(worst, apart[best])
    return worst, which


def _apart(one: Array, other: Array) -> float:
    """Of the largest finite number; what is NaN or infinite in both alike is the same."""
    wanted, found = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(wanted)
    if not np.array_equal(wanted[~finite], found[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        return float("inf")
    scale = max(float(np.abs(wanted[finite]).max(initial=0.0)), 1e-30)
    return float(np.abs(wanted[finite] - found[finite]).max(initial=0.0)) / scale
