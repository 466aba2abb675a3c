"""Time the engines of one case in turn, so that whatever the machine does meanwhile meets all of them."""

from __future__ import annotations

import gc
import os
import platform
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
    engines = [engine(weights, x, state, threads) for engine in (FusedLSTM, *peers)]
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
    """This machine's processor, cores and, where the engine tells, its instruction set."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores"


def versions(peers: Sequence[type[Engine]]) -> dict[str, str]:
    """The version of each engine's package."""
    return {engine.needs[0]: version(engine.needs[0]) for engine in (FusedLSTM, *peers)}
