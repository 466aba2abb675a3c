"""Is it slower than it was? A run against a stored report of the same machine.

Machines wander, so our time is divided by a peer's of the same run: the peer that was fastest then, among those that
ran both times in the same version. Without such a peer the times themselves are compared: a busy machine can fool that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .peers import FusedLSTM
from .report import Report
from .runner import Row

TOLERANCE = 1.05


@dataclass(frozen=True)
class Change:
    """One case, then and now."""

    row: Row
    factor: float
    """Its time now by its time then, or the same of its time by the peer's."""
    beside: str | None
    """The peer that both were divided by; None where the times themselves are compared."""

    @property
    def slower(self) -> bool:
        """Whether it is slower by more than five per cent."""
        return self.factor > TOLERANCE


def expect_same_machine(stored: Report, about: dict[str, Any]) -> None:
    """Refuse a report of another machine or instruction set.

    Raises
    ------
    ValueError
        It is of another.
    """
    for what in ("cpu", "isa"):
        then, now = stored.about.get(what), about[what]
        if then != now:
            raise ValueError(f"--compare: expected a report with the {what} {now}, found {then}")


def change(row: Row, stored: Report, versions: dict[str, str]) -> Change | None:
    """Compare a row with the stored one; None if there is none."""
    then = stored.row(row.case.name, row.threads)
    if then is None:
        return None
    kept = stored.about["versions"]
    common = [
        name
        for name in row.engines
        if name != FusedLSTM.name and name in then.engines and kept.get(name) == versions.get(name)
    ]
    factor = row.ours.microseconds / then.ours.microseconds
    if not common:
        return Change(row, factor, None)
    peer = min(common, key=lambda name: then.engines[name].microseconds)
    return Change(row, factor * then.engines[peer].microseconds / row.engines[peer].microseconds, peer)
