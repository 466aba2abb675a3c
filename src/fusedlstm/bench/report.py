"""What a run measured: kept as JSON, told as Markdown (and by `plots` as pictures)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fusedlstm

from .bound import BOUND_TARGETS, Limits
from .cases import Case
from .peers import Engine
from .runner import Figures, Row

SETTINGS = ("FUSEDLSTM_ISA", "ONEDNN_MAX_CPU_ISA")
"""Environment variables that hold an engine to an instruction set."""


@dataclass(frozen=True)
class Report:
    """One run of the bench."""

    about: dict[str, Any]
    """Where and when: cpu, isa, cores, system, date, seconds, versions, environment."""
    rows: list[Row]
    limits: Limits | None = None

    @property
    def threads(self) -> list[int]:
        """The numbers of threads that were measured."""
        return sorted({row.threads for row in self.rows})

    def select(self, threads: int, *kinds: str) -> list[Row]:
        """Rows by number of threads and kinds of case."""
        return [row for row in self.rows if row.threads == threads and row.case.kind in kinds]

    def row(self, name: str, threads: int) -> Row | None:
        """One row, if there is such."""
        return next((row for row in self.rows if (row.case.name, row.threads) == (name, threads)), None)

    def bound_share(self, row: Row) -> float | None:
        """The bound's time by ours: 1 is the machine's limit. None without limits."""
        return None if self.limits is None else self.limits.bound(row.case, row.threads) / row.ours.microseconds

    def bound_target(self, row: Row) -> float | None:
        """The share of the bound to reach."""
        return BOUND_TARGETS.get(row.case.kind) if row.threads == 1 else None

    @property
    def title(self) -> str:
        """The machine in one line."""
        about = self.about
        settings = "".join(f", {name}={value}" for name, value in about["environment"].items())
        return f"{about['cpu']}, {about['cores']} cores, {about['isa']}{settings}"

    def as_json(self) -> str:
        """Everything, for a file."""
        rows = [asdict(row) for row in self.rows]
        limits = None if self.limits is None else asdict(self.limits)
        bounds = None
        if self.limits is not None:
            bounds = [
                {
                    "case": row.case.name,
                    "threads": row.threads,
                    "microseconds": self.limits.bound(row.case, row.threads),
                }
                for row in self.rows
            ]
        return json.dumps({**self.about, "limits": limits, "bounds": bounds, "rows": rows}, indent=1) + "\n"


def about(peers: Sequence[type[Engine]], duration: float) -> dict[str, Any]:
    """Where and when this is."""
    cpu = fusedlstm.cpu_info()
    return {
        "cpu": cpu["model"],
        "isa": cpu["isa"],
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": datetime.now().isoformat(" ", "minutes"),
        "seconds": duration,
        "environment": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "versions": {"fusedlstm": fusedlstm.__version__} | {peer.name: version(peer.needs[0]) for peer in peers},
    }


def load(path: Path) -> Report:
    """Read what `as_json` wrote.

    Raises
    ------
    ValueError
        It is something else.
    """
    try:
        stored = json.loads(path.read_text())
        rows = [_row(**row) for row in stored.pop("rows")]
        limits = stored.pop("limits")
        del stored["bounds"]
        return Report(stored, rows, None if limits is None else Limits(**limits))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: expected the report.json of fusedlstm bench --report") from error


def _row(
    case: dict[str, Any],
    threads: int,
    engines: dict[str, dict[str, Any]],
    left_out: dict[str, str],
    low_precision: dict[str, dict[str, Any]] | None = None,
) -> Row:
    def figures(found: dict[str, dict[str, Any]]) -> dict[str, Figures]:
        return {name: Figures(**{**one, "quartiles": tuple(one["quartiles"])}) for name, one in found.items()}

    targets = case.pop("targets")
    measured = Case(**case, targets=None if targets is None else tuple(targets))
    return Row(measured, threads, figures(engines), left_out, figures(low_precision or {}))
