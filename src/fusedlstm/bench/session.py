"""A process of its own for each number of threads: some engines fix theirs when they start.

The process is pinned to as many CPUs as there are threads, each on a core of its own where there are enough, so that
one-thread figures are not helped by a second core and do not wander.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from .cases import Case
from .peers import Engine
from .runner import Row, measure


class Session:
    """Measure cases with a number of threads, in another process.

    Parameters
    ----------
    peers : sequence of Engine classes
        Whom to run beside fusedlstm.
    threads : int
        Threads for every engine.
    duration : float
        About how many seconds to time each case.
    """

    def __init__(self, peers: Sequence[type[Engine]], threads: int, duration: float) -> None:
        self._arguments = peers, threads, duration
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), prepare, (threads,))

    def measure(self, case: Case) -> Row:
        """Measure one case, as `runner.measure` does."""
        try:
            return self._pool.submit(measure, case, *self._arguments).result()
        except BrokenProcessPool as crash:
            raise ImportError(f"{case.name}: an engine crashed; find which with --peers, and leave it out") from crash

    def __enter__(self) -> Session:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._pool.shutdown(cancel_futures=True)


def prepare(threads: int) -> None:
    """Pin this process and set what engines read when they start; to be called before they are imported."""
    if find_spec("jax") is not None:
        os.environ["KERAS_BACKEND"] = "jax"
    if threads == 1:  # read by JAX when it starts; with more it takes as many as there are CPUs to run on
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, pick_cpus(sorted(os.sched_getaffinity(0)), threads))


def pick_cpus(allowed: Sequence[int], count: int, topology: str = "/sys/devices/system/cpu") -> list[int]:
    """Choose the last `count` of the CPUs allowed (the first ones serve interrupts), on different cores if possible."""
    cores: dict[str, list[int]] = {}
    for cpu in allowed:
        siblings = Path(topology) / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        core = siblings.read_text().strip() if siblings.exists() else str(cpu)
        cores.setdefault(core, []).append(cpu)
    order = sorted((place, -cpu) for cpus in cores.values() for place, cpu in enumerate(cpus))
    return sorted(-cpu for _, cpu in order[:count])
