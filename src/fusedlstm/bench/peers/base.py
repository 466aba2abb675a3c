"""What an engine is to the suite, and the rule of what is timed.

A call goes from a new x in NumPy's memory to a y that NumPy can read, through the engine's Python API. An engine that
can share memory with NumPy pays nothing for that; one that cannot has to copy. Weights are packed, graphs compiled and
buffers bound beforehand; the state stays in whatever form the engine carries it from one call to the next.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from itertools import repeat
from typing import Any, ClassVar, Protocol, TypeVar

from ...weights import FloatArray, LSTMWeights
from ..cases import State

Key = TypeVar("Key")


class Timeable(Protocol):
    """What is timed: an engine that is ready to run, of an LSTM or of a whole model."""

    @property
    def call(self) -> Callable[[], Any]:
        """One call, and nothing else."""

    def session(self) -> AbstractContextManager[Any]:
        """What calls are made inside of."""


class Needs(Protocol):
    """A kind of engine that may be installed or not."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Modules to import."""


class Beside:
    """What was measured of ours, and of peers beside it."""

    engines: Mapping[str, Any]
    """Figures with their `microseconds` and `quartiles`, by name; ours first."""

    @property
    def best_peer(self) -> str | None:
        """The fastest peer; None without peers."""
        _, *peers = self.engines
        return min(peers, key=lambda name: float(self.engines[name].microseconds), default=None)

    @property
    def speedup(self) -> float | None:
        """The best peer's time by ours; None without peers."""
        ours, best = next(iter(self.engines.values())), self.best_peer
        return None if best is None else float(self.engines[best].microseconds / ours.microseconds)

    @property
    def level(self) -> bool:
        """Whether the quartiles of the speed-up hold 1: neither is faster."""
        ours, best = next(iter(self.engines.values())), self.best_peer
        if best is None:
            return False
        peer = self.engines[best]
        return bool(peer.quartiles[0] <= ours.quartiles[1] and ours.quartiles[0] <= peer.quartiles[1])

    @property
    def told(self) -> str:
        """The speed-up in two decimals; ≈ where it is level, and nothing without peers."""
        return "" if self.speedup is None else "≈" if self.level else f"{self.speedup:.2f}"

    @property
    def spread(self) -> float:
        """How far the quartiles are apart, as a share of the median: of ours or the best peer's, whichever is more."""
        names = [next(iter(self.engines)), *filter(None, [self.best_peer])]
        both = [self.engines[name] for name in names]
        return float(max((one.quartiles[1] - one.quartiles[0]) / one.microseconds for one in both))


class Engine(ABC):
    """One LSTM with its input in one engine, at the engine's best setting, ready to run.

    Parameters
    ----------
    weights : LSTMWeights
        The LSTM.
    x : ndarray, shape (time, batch, input)
        The input, float32 and contiguous.
    state : tuple of ndarray, optional
        Initial (h, c), each (layers * directions, batch, hidden).
    threads : int
        How many threads it may use.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    """Modules to import, the engine's own first."""
    install: ClassVar[str]
    """What to give to ``pip install``."""

    chooses_threads: ClassVar[bool] = False
    """Whether it may be made with fewer threads than there are, in the same process, and so be faster."""

    low_precision: ClassVar[bool] = False
    """Whether its weights are narrower than float32: such engines are compared among themselves."""
    tolerance: ClassVar[float] = 1e-4
    """The largest error of y that is rounding. float32 is off by about 1e-7 to 1e-6; more is another function."""

    setting: str = ""
    """Which of the engine's ways it runs, where there is a choice."""
    note: str = ""
    """What else was chosen for it."""
    call: Callable[[], Any]
    """One call, and nothing else: this is what is timed."""

    @abstractmethod
    def __init__(self, weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> None: ...

    @abstractmethod
    def y(self) -> FloatArray:
        """Call once, from the initial state: y (time, batch, directions * hidden)."""

    def session(self) -> AbstractContextManager[Any]:
        """What calls are made inside of, such as an inference mode."""
        return nullcontext()


def installed(engine: Needs) -> bool:
    """Whether everything that an engine needs can be imported."""
    return all(find_spec(module) is not None for module in engine.needs)


def seconds(call: Callable[[], Any], times: int) -> float:
    """How long `times` calls take."""
    start = time.perf_counter()
    for _ in repeat(None, times):
        call()
    return time.perf_counter() - start


def calls_in(duration: float, call: Callable[[], Any]) -> int:
    """How many calls, to a power of two, take at least `duration` seconds."""
    n = 1
    while seconds(call, n) < duration:
        n *= 2
    return n


def fastest(
    ways: Mapping[Key, Callable[[], Any]],
    session: Callable[[Key], AbstractContextManager[Any]] = lambda _: nullcontext(),
) -> Key:
    """Which of several ways takes least time, tried quickly in turn; `session` is what a way is run inside of."""
    best = dict.fromkeys(ways, math.inf)
    counts: dict[Key, int] = {}
    for _ in range(3 if len(ways) > 1 else 0):
        for way, call in ways.items():
            with session(way):
                if way not in counts:
                    counts[way] = calls_in(5e-3, call)
                best[way] = min(best[way], seconds(call, counts[way]) / counts[way])
    return min(best, key=lambda way: best[way])
