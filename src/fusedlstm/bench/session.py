"""A process of its own for each number of threads: some engines fix theirs when they start.

The process is pinned to as many CPUs as there are threads, each on a core of its own where there are enough, so that
one-thread figures are not helped by a second core and do not wander.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

Measured = TypeVar("Measured")


class EngineCrashError(ImportError):
    """An engine ended the process that it was measured in."""


class Session:
    """A process with a number of threads for every engine, in which cases are measured.

    Parameters
    ----------
    threads : int
        Threads for every engine.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, get_context("spawn"), prepare, (self._threads,))

    def run(self, measure: Callable[..., Measured], name: str, *arguments: Any) -> Measured:
        """Measure something there.

        Raises
        ------
        EngineCrashError
            An engine crashed, and the process with it; the next is measured in a new one.
        """
        try:
            return self._pool.submit(measure, *arguments).result()
        except BrokenProcessPool as crash:
            self._pool.shutdown()
            self._pool = self._start()
            raise EngineCrashError(f"{name}: an engine crashed; find which with --peers, and leave it out") from crash

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
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # words on stderr that say nothing here
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
