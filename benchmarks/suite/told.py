"""A run with what we hold it against: the machine's limits, and RTNeural."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fusedlstm.bench import Report, Row
from fusedlstm.bench.report import load as load_run

from . import bound, targets
from .bound import Limits

EXTRAS = ("limits", "bounds", "rtneural")


@dataclass(frozen=True)
class Told(Report):
    """One run, and what is told beside it."""

    limits: Limits | None = None
    rtneural: dict[str, Any] | None = None
    """What rtneural.py measured: cpu, compiler, source, measured, and nanoseconds a step by case."""

    def bound_share(self, row: Row) -> float | None:
        """The bound's time by ours: 1 is the machine's limit. None without limits."""
        return None if self.limits is None else self.limits.bound(row.case, row.threads) / row.ours.microseconds

    def bound_target(self, row: Row) -> float | None:
        """The share of the bound to reach."""
        return targets.BOUND.get(row.case.kind) if row.threads == 1 else None

    def rtneural_ns(self, row: Row) -> float | None:
        """RTNeural's nanoseconds a step; it has one thread."""
        return None if self.rtneural is None or row.threads > 1 else self.rtneural["nanoseconds"].get(row.case.name)

    @property
    def doubtful(self) -> list[str]:
        """Peers that may be the best, and were not measured in some case."""
        return [name for name in targets.CONTENDERS if any(name in targets.missing(row) for row in self.rows)]

    def as_json(self) -> str:
        """Everything, for a file."""
        kept = json.loads(super().as_json())
        limits = bounds = None
        if self.limits is not None:
            limits = asdict(self.limits)
            bounds = [
                {
                    "case": one.case.name,
                    "threads": one.threads,
                    "microseconds": self.limits.bound(one.case, one.threads),
                }
                for one in self.rows
            ]
        rows = kept.pop("rows")
        kept |= {"limits": limits, "bounds": bounds, "rtneural": self.rtneural, "rows": rows}
        return json.dumps(kept, indent=1) + "\n"


def load(path: Path, limits: Path | None = None, rtneural: Path | None = None) -> Told:
    """Read what ``fusedlstm bench --json`` or `as_json` wrote; limits and RTNeural's figures from files of their own.

    Raises
    ------
    ValueError
        It is something else, or the limits are another machine's.
    """
    found = load_run(path)
    extras = {name: found.about.pop(name, None) for name in EXTRAS}
    kept = None if extras["limits"] is None else Limits(**extras["limits"])
    if limits is not None:
        kept = bound.load(limits, found.about["cpu"], found.about["isa"])
    beside = extras["rtneural"] if rtneural is None else json.loads(rtneural.read_text())
    return Told(found.about, found.rows, kept, beside)
