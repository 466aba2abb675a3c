"""Is it slower than it was? A run, or the best of several, against an earlier one of the same machine.

Machines wander, so our time is divided by a peer's of the same run: the peer that was fastest then, among those that
ran both times in the same version. Without such a peer the times themselves are compared: a busy machine can fool that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fusedlstm.bench import FusedLSTM, Report, Row

from .bound import float_isa

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


def differences(stored: Report, about: dict[str, Any]) -> list[str]:
    """What differs between two runs of one machine, in words.

    Raises
    ------
    ValueError
        The machine is another, or the kernels of float32 are.
    """
    then, now = stored.about, about
    if then["cpu"] != now["cpu"]:
        raise ValueError(f"expected reports of one machine, found {then['cpu']} and {now['cpu']}")
    if float_isa(then["isa"]) != float_isa(now["isa"]):
        raise ValueError(f"expected reports of one instruction set, found {then['isa']} and {now['isa']}")
    found = []
    if then["isa"] != now["isa"]:
        found.append(f"{then['isa']} then, {now['isa']} now: the same kernels of float32, others of lower precisions")
    for name in ("system", "python", "environment", "seconds"):
        if then.get(name) != now.get(name):
            found.append(f"{name}: {then.get(name)} then, {now.get(name)} now")
    for name in dict.fromkeys((*then["versions"], *now["versions"])):
        old, new = then["versions"].get(name, "absent"), now["versions"].get(name, "absent")
        if old != new:
            found.append(f"{name}: {old} then, {new} now")
    return found


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


def changes(stored: Report, runs: Sequence[Report]) -> list[Change]:
    """Every case of the stored report that a run has: of several runs the one in which it looks best."""
    found: list[Change] = []
    for row in stored.rows:
        tried = [
            one
            for run in runs
            if (again := run.row(row.case.name, row.threads)) is not None
            and (one := change(again, stored, run.about["versions"])) is not None
        ]
        if tried:
            found.append(min(tried, key=lambda one: one.factor))
    return found
