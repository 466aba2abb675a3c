"""Time the engines of one case in turn, so that whatever the machine does meanwhile meets all of them."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

import fusedlstm

from .cases import Case
from .peers import Engine, FusedLSTM

ROUND_SECONDS = 2e-3
MIN_ROUNDS = 5
TOLERANCE = 1e-4  # two float32 engines differ by about 1e-6; more than this is another function


@dataclass(frozen=True)
class Row:
    """One case, measured."""

    case: Case
    microseconds: dict[str, float]
    """Median time of one call, by engine; fusedlstm's first."""
    difference: dict[str, float]
    """Largest absolute difference of a peer's y from fusedlstm's."""

    @property
    def speedup(self) -> float | None:
        """The best peer's time by fusedlstm's; None without peers."""
        ours, *peers = self.microseconds.values()
        return min(peers) / ours if peers else None

    @property
    def agree(self) -> bool:
        """Whether every peer computed the same function."""
        return all(difference <= TOLERANCE for difference in self.difference.values())


def measure(case: Case, peers: Sequence[type[Engine]], threads: int = 1, seconds: float = 1.0) -> Row:
    """Check that all engines agree on a case, then time them round by round.

    Parameters
    ----------
    case : Case
        What to run.
    peers : sequence of Engine classes
        Whom to run beside fusedlstm.
    threads : int
        Threads for every engine.
    seconds : float
        About how long to time; every engine gets five rounds at least.
    """
    weights, (x, state) = case.weights(), case.inputs()
    kinds: list[type[Engine]] = [FusedLSTM, *peers]
    engines = [kind(weights, x, state, threads) for kind in kinds]
    ours, *theirs = [engine.run(1) for engine in engines]
    difference = {peer.name: float(np.abs(y - ours).max()) for peer, y in zip(peers, theirs, strict=True)}

    calls = [_calls_per_round(engine) for engine in engines]
    times: list[list[float]] = [[] for _ in engines]
    stop = time.perf_counter() + seconds
    collecting = gc.isenabled()
    gc.disable()
    try:
        while len(times[0]) < MIN_ROUNDS or time.perf_counter() < stop:
            for engine, n, record in zip(engines, calls, times, strict=True):
                if threads > 1:
                    time.sleep(0.02)  # the last engine's threads may still be spinning, waiting for work
                record.append(_seconds(engine, n) / n * 1e6)
    finally:
        if collecting:
            gc.enable()
    medians = {engine.name: float(np.median(record)) for engine, record in zip(engines, times, strict=True)}
    return Row(case, medians, difference)


def _seconds(engine: Engine, times: int) -> float:
    engine.run(1)  # brings its weights back into the caches
    start = time.perf_counter()
    engine.run(times)
    return time.perf_counter() - start


def _calls_per_round(engine: Engine) -> int:
    n = 1
    while _seconds(engine, n) < ROUND_SECONDS:
        n *= 2
    return n


def machine() -> str:
    """This machine's processor, its cores and the instruction set that fusedlstm uses."""
    cpu = fusedlstm.cpu_info()
    return f"{cpu['model']}, {os.cpu_count()} cores, {cpu['isa']}"


def versions(peers: Sequence[type[Engine]]) -> dict[str, str]:
    """The version of each engine's package."""
    return {"fusedlstm": fusedlstm.__version__} | {peer.name: version(peer.needs[0]) for peer in peers}
