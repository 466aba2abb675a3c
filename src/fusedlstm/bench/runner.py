"""Check the engines of one case, then time them in turn: whatever the machine does meanwhile meets all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise, repeat
from typing import Any

import numpy as np

from ..weights import FloatArray, LSTMWeights
from . import oracle
from .cases import Case, State
from .peers import Engine, FreshSample, FusedLSTM
from .peers.base import Beside, Timeable, calls_in, fastest, seconds

ROUND_SECONDS = 2e-3
MIN_ROUNDS = 5
QUIET_SECONDS = 0.01
CLOCK_IS_NOTHING = 1e-4  # seconds a call, from which on reading the clock around each one costs nothing
STEPS_LONGER = 4  # times the duration for single steps: quantiles need many calls
FAR_BEHIND = 3  # times the fastest: such an engine may get two rounds only
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
BEYOND = 5  # a high quantile is told only where at least this many calls were slower


@dataclass(frozen=True)
class Figures:
    """One engine on one case."""

    microseconds: float
    """Median time of a call."""
    quartiles: tuple[float, float]
    """Of the same times: how noisy they were."""
    max_error: float
    """Of y, against float64."""
    rms_error: float
    setting: str = ""
    """Which way of calling the engine this was, where there is a choice."""
    latency: dict[str, float] = field(default_factory=dict)
    """For single steps: quantiles of calls timed one by one, in microseconds. The clock itself costs about 0.05."""


@dataclass(frozen=True)
class Row(Beside):
    """One case, measured with one number of threads."""

    case: Case
    threads: int
    engines: dict[str, Figures]
    """By name; fusedlstm's first."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Peers that cannot run this case or got it wrong, and why."""
    low_precision: dict[str, Figures] = field(default_factory=dict)
    """Engines with narrower weights, ours first; `engines` has none of them."""
    fresh: Figures | None = None
    """Ours again, for single steps of a stream: with a sample that has to be put in its place first."""

    @property
    def ours(self) -> Figures:
        """fusedlstm's."""
        return self.engines[FusedLSTM.name]


def measure(case: Case, peers: Sequence[type[Engine]], threads: int = 1, duration: float = 1.0) -> Row:
    """Check every engine against float64, then time those that pass, round by round.

    Parameters
    ----------
    case : Case
        What to run.
    peers : sequence of Engine classes
        Whom to run beside fusedlstm.
    threads : int
        Threads for every engine.
    duration : float
        About how many seconds to time, four times that for single steps; five rounds at least, two for an engine that
        is far behind.

    Raises
    ------
    ValueError
        fusedlstm itself is wrong.
    """
    weights, (x, state) = case.weights(), case.inputs()
    expected = oracle.lstm(weights, x, state)
    engines: list[Engine] = []
    errors: list[tuple[float, float]] = []
    left_out: dict[str, str] = {}
    fresh: list[type[Engine]] = [FreshSample] if case.kind == "step" and not case.bidirectional else []
    kinds: list[type[Engine]] = [FusedLSTM, *fresh, *peers]
    for kind in kinds:
        try:
            engine = _make(kind, weights, x, state, threads)
            error = max(oracle.errors(engine.y(), expected) for _ in range(2))  # twice: it must start afresh
        except Exception as problem:  # a peer's, of any kind: it must not end the run
            if kind is FusedLSTM:
                raise
            first_line = str(problem).strip().partition("\n")[0]
            left_out[kind.name] = f"{type(problem).__name__}: {first_line[:200]}"
            continue
        if error[0] <= kind.tolerance:
            engines.append(engine)
            errors.append(error)
        elif kind is FusedLSTM:
            raise ValueError(f"{case.name}: fusedlstm is off by {error[0]:.1e}; its times would mean nothing")
        else:
            left_out[kind.name] = f"wrong: off by {error[0]:.1e}"

    times, steps = times_in_turn(engines, threads, duration, one_by_one=case.kind == "step")
    figures: dict[str, Figures] = {}
    low_precision: dict[str, Figures] = {}
    for engine, error, record, calls in zip(engines, errors, times, steps, strict=True):
        setting = f"{engine.setting} ({engine.note})" if engine.note else engine.setting
        low, median, high = quartiles(record)
        (low_precision if engine.low_precision else figures)[engine.name] = Figures(
            median, (low, high), *error, setting=setting, latency=_quantiles(calls)
        )
    return Row(case, threads, figures, left_out, low_precision, figures.pop(FreshSample.name, None))


def _make(kind: type[Engine], weights: LSTMWeights, x: FloatArray, state: State | None, threads: int) -> Engine:
    """Make an engine; a peer that is faster with one thread than with all may have one."""
    engine = kind(weights, x, state, threads)
    if threads == 1 or not kind.chooses_threads:
        return engine
    engines = {threads: engine, 1: kind(weights, x, state, 1)}
    best = fastest({n: made.call for n, made in engines.items()}, lambda n: engines[n].session())
    if best == 1:
        engines[1].note = "one thread"
    return engines[best]


def quartiles(record: Sequence[float]) -> tuple[float, float, float]:
    """The three of them, the median in the middle."""
    low, median, high = np.quantile(record, (0.25, 0.5, 0.75))
    return float(low), float(median), float(high)


def times_in_turn(
    engines: Sequence[Timeable], threads: int, duration: float, one_by_one: bool = False
) -> tuple[list[list[float]], list[list[int]]]:
    """Microseconds a call of each engine, round by round; and nanoseconds of single calls, if asked for."""
    # With several threads an engine may still be waking its own up, and quantiles need many calls: longer rounds.
    length = ROUND_SECONDS if threads == 1 and not one_by_one else 3 * ROUND_SECONDS
    counts = []
    for engine in engines:
        with engine.session():
            counts.append(calls_in(length, engine.call))
    times: list[list[float]] = [[] for _ in engines]
    steps: list[list[int]] = [[] for _ in engines]
    stop = time.perf_counter() + duration * (STEPS_LONGER if one_by_one else 1)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for k in count():
            late = time.perf_counter() > stop
            if k >= MIN_ROUNDS and late:
                break
            for engine, n, record, calls in zip(engines, counts, times, steps, strict=True):
                if late and k >= 2 and record[-1] > FAR_BEHIND * min(one[-1] for one in times):
                    continue  # more rounds would cost minutes and change nothing
                if threads > 1:
                    _wait_for_quiet()
                with engine.session():
                    if n > 1:  # brings its weights back into the caches, its threads and the CPUs back to speed
                        warm = time.perf_counter() + (length if threads > 1 else 0)
                        engine.call()
                        while time.perf_counter() < warm:
                            engine.call()
                    singles = _one_by_one(engine.call, n) if one_by_one else []
                    calls += singles
                    if one_by_one and length / n > CLOCK_IS_NOTHING:
                        record.append(sum(singles) / n / 1e3)
                    else:
                        record.append(seconds(engine.call, n) / n * 1e6)
    finally:
        if collecting:
            gc.enable()
    return times, steps


def _wait_for_quiet() -> None:
    """Sleep while the last engine's threads spin, waiting for work (ONNX Runtime's: 50 ms); 0.3 s at most."""
    for _ in range(30):
        before = time.process_time()
        time.sleep(QUIET_SECONDS)
        if time.process_time() - before < QUIET_SECONDS / 4:
            return


def _one_by_one(call: Callable[[], Any], n: int) -> list[int]:
    clock = time.perf_counter_ns
    stamps = [clock()]
    for _ in repeat(None, n):
        call()
        stamps.append(clock())
    return [after - before for before, after in pairwise(stamps)]


def _quantiles(nanoseconds: list[int]) -> dict[str, float]:
    slower = {name: len(nanoseconds) * (1 - q) for name, q in QUANTILES.items()}
    told = [name for name in QUANTILES if nanoseconds and (name == "p50" or slower[name] >= BEYOND)]
    return {name: float(np.quantile(nanoseconds, QUANTILES[name])) / 1e3 for name in told}
