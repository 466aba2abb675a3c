"""The least time that a case can take on this machine, from limits that were measured on it.

One layer in one direction takes, at least,

    the input projection     flops / FMA peak
    + time steps x (         the recurrent weights' bytes / read bandwidth of the level they fit in,
                             or their flops / FMA peak, where the batch makes that the larger of the two
                             + the cell updates of all units and rows )

A projection of few rows is held back by reading its weights too, so the larger of the two counts there as well. With
several threads, each reads its share of the weights from its own caches and nothing is lost to waiting. A call from
Python, its checks and its allocations count as nothing.

Visiting the weights in alternating order goes below the bound: what was read last is still in the caches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusedlstm.bench import Case


@dataclass(frozen=True)
class Limits:
    """What one core can do with one instruction set at most."""

    measured: str
    """When."""
    gflops: float
    """Fused multiply-adds of float32, each two flops."""
    cell_ns: float
    """The activations and products of one unit's step: three divisions and 60 multiply-adds."""
    reads: Sequence[tuple[float, float]]
    """(bytes, GB/s): how fast a working set of that size is read again and again."""

    def read_seconds(self, size: float, working_set: float) -> float:
        """Time to read `size` bytes of a working set once; between the sizes measured, interpolated."""
        sizes, speeds = np.array(self.reads).T
        return size * float(np.interp(np.log(working_set), np.log(sizes), 1 / speeds)) * 1e-9

    def bound(self, case: Case, threads: int = 1) -> float:
        """The least time of one call, in microseconds."""
        hidden, flops = case.hidden_size, self.gflops * 1e9 * threads
        widths = [case.input_size] + [hidden * case.directions] * (case.num_layers - 1)
        recurrent = 16 * hidden * hidden / threads  # bytes: four gates of float32
        everything = case.directions * sum(16 * hidden * width / threads + recurrent for width in widths)
        resident = everything if case.time == 1 else recurrent
        step = max(self.read_seconds(recurrent, resident), 8 * hidden * hidden * case.batch / flops)
        step += hidden * case.batch * self.cell_ns * 1e-9 / threads
        total = 0.0
        for width in widths:
            rows = case.time * case.batch
            reading = self.read_seconds(16 * hidden * width / threads, everything)
            total += max(reading, 8 * hidden * width * rows / flops) + case.time * step
        return total * case.directions * 1e6


def float_isa(isa: str) -> str:
    """The instruction set that has the float32 kernels of this one: itself, or the one that it extends."""
    return next((base for base in ("avx512", "avx2") if isa.startswith(base)), isa)


def load(path: Path, model: str, isa: str) -> Limits:
    """Read a file of benchmarks/limits.py.

    Raises
    ------
    ValueError
        It is something else, of another machine, or lacks the instruction set.
    """
    try:
        about = json.loads(path.read_text())
        machine, measured, per_isa = about["cpu"], about["measured"], about["isas"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: expected the output of benchmarks/limits.py") from error
    if machine != model:
        raise ValueError(f"{path}: expected the limits of this machine, {model}, found those of {machine}")
    isa = float_isa(isa)
    if isa not in per_isa:
        raise ValueError(f"{path}: expected limits with {isa}, found {', '.join(per_isa)}")
    return Limits(measured, **per_isa[isa])
