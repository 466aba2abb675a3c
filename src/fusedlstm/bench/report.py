"""What a run measured, kept as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fusedlstm

from . import busy
from .cases import Case
from .peers import PEERS, Engine, installed
from .runner import Figures, Row
from .whole.engine import WholeEngine
from .whole.engines import PEERS as WHOLE

SETTINGS = ("FUSEDLSTM_ISA", "ONEDNN_MAX_CPU_ISA")
"""Environment variables that hold an engine to an instruction set."""


@dataclass(frozen=True)
class Report:
    """One run of the bench."""

    about: dict[str, Any]
    """Where and when: cpu, isa, cores, system, date, seconds, versions, environment, and what else the machine did."""
    rows: list[Row]

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

    @property
    def busy(self) -> list[str]:
        """What says that the machine was busy meanwhile."""
        return busy.signs(self.about, {f"{row.case.name}, {row.threads}": row for row in self.rows})

    @property
    def absent(self) -> list[str]:
        """Peers that were not there, or not asked for."""
        return [peer.name for peer in PEERS if peer.name not in self.about["versions"]]

    @property
    def title(self) -> str:
        """The machine in one line."""
        about = self.about
        settings = "".join(f", {name}={value}" for name, value in about["environment"].items())
        return f"{about['cpu']}, {about['cores']} cores, {about['isa']}{settings}"

    def as_json(self) -> str:
        """Everything, for a file."""
        return json.dumps({**self.about, "rows": [asdict(row) for row in self.rows]}, indent=1) + "\n"


def about(peers: Sequence[type[Engine]], duration: float) -> dict[str, Any]:
    """Where and when this is."""
    return _about({peer.name: peer.needs[0] for peer in peers}, duration)


def about_models(duration: float, peers: Sequence[type[WholeEngine]] = WHOLE) -> dict[str, Any]:
    """The same where whole models are measured, with every peer that is installed."""
    return _about({peer.name: peer.needs[0] for peer in peers if installed(peer)}, duration)


def _about(modules: dict[str, str], duration: float) -> dict[str, Any]:
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
        "versions": {"fusedlstm": fusedlstm.__version__} | {name: _version(module) for name, module in modules.items()},
    }


def _version(module: str) -> str:
    try:
        return version(module.replace("_", "-"))
    except PackageNotFoundError:
        return "of unknown version"


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
        stored["versions"]["fusedlstm"]
        return Report(stored, rows)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: expected what fusedlstm bench --json writes") from error


def _row(
    case: dict[str, Any],
    threads: int,
    engines: dict[str, dict[str, Any]],
    left_out: dict[str, str],
    low_precision: dict[str, dict[str, Any]],
    fresh: dict[str, Any] | None = None,
) -> Row:
    def figures(found: dict[str, dict[str, Any]]) -> dict[str, Figures]:
        return {name: _figures(one) for name, one in found.items()}

    again = None if fresh is None else _figures(fresh)
    return Row(Case(**case), threads, figures(engines), left_out, figures(low_precision), again)


def _figures(one: dict[str, Any]) -> Figures:
    return Figures(**{**one, "quartiles": tuple(one["quartiles"])})
