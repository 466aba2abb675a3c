"""A report on the terminal, within 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from .peers.base import Beside
from .report import Report
from .runner import Row
from .whole.runner import ModelRow, Timed


def results(report: Report, threads: int) -> Table:
    """One line a case: our time with its quartiles, our error, and the best peer's time by ours."""
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("case", "µs", "quartiles", "max err", "rms err", "best peer", "µs", "faster"):
        shown.add_column(name, justify="left" if name in ("case", "best peer") else "right", no_wrap=True)
    for row in (row for row in report.rows if row.threads == threads):
        ours, best = row.ours, row.best_peer
        cells = (row.case.name, number(ours.microseconds), quartiles(ours.quartiles))
        errors = f"{ours.max_error:.0e}", f"{ours.rms_error:.0e}"
        theirs = ("", "") if best is None else (best, number(row.engines[best].microseconds))
        shown.add_row(*cells, *errors, *theirs, _faster(row))
    return shown


def _faster(row: Beside) -> Text:
    """The speed-up; neither won nor lost where the quartiles hold 1."""
    if row.speedup is None:
        return Text("")
    if row.level:
        return Text(row.told)
    return Text(f"{row.told}×", "red" if row.speedup < 1 else "bold green")


def summary(rows: Sequence[Row]) -> str:
    """How often fusedlstm was ahead, and by how much on the average."""
    beside = [(row.speedup, row.level) for row in rows if row.speedup is not None]
    if not beside:
        return 'No peer to compare with; all of them: pip install "fusedlstm[bench]"'
    mean = math.exp(sum(math.log(ratio) for ratio, _ in beside) / len(beside))
    ahead, level = sum(ratio > 1 and not level for ratio, level in beside), sum(level for _, level in beside)
    even = f", level on {level} (≈: the quartiles hold 1)" if level else ""
    return f"Ahead of the best peer on {ahead} of {len(beside)} cases{even}; {mean:.2f}× on the (geometric) average."


def warnings(signs: Sequence[str], absent: Sequence[str]) -> list[str]:
    """What one should know before one believes the times."""
    found = [f"The machine was busy: {'; '.join(signs)}."] if signs else []
    if absent:
        found.append(f"Not among the peers: {', '.join(absent)}. The best of all may be one of them.")
    return found


def low_precision(rows: Sequence[Row]) -> Table:
    """One line a case and engine with narrower weights: time, how much faster than our float32, and errors."""
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("case", "engine", "µs", "our float32", "max err", "rms err"):
        shown.add_column(name, justify="left" if name in ("case", "engine") else "right", no_wrap=True)
    for row in rows:
        for k, (name, one) in enumerate(row.low_precision.items()):
            ratio = f"{row.ours.microseconds / one.microseconds:.2f}×"
            errors = f"{one.max_error:.0e}", f"{one.rms_error:.0e}"
            shown.add_row("" if k else row.case.name, name, number(one.microseconds), ratio, *errors)
    return shown


def blocks(rows: Sequence[Row]) -> str:
    """The cases that are told in nanoseconds a step."""
    told = [(row.case, row.ours.microseconds / row.case.time * 1e3) for row in rows if row.case.per_step]
    return "ns a step: " + ", ".join(f"{case.shape} {ns:,.0f}" for case, ns in told)


def fresh(rows: Sequence[Row]) -> str:
    """Single steps with a sample that has to be put in its place first."""
    told = [f"{row.case.name} {number(row.fresh.microseconds)}" for row in rows if row.fresh is not None]
    return "a step with its sample put in place: " + ", ".join(told)


def model(row: ModelRow) -> Table:
    """One line an engine: median and quartiles, its time by ours, difference, how it came to the model."""
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("engine", "µs", "quartiles", "takes", "difference", "by"):
        shown.add_column(name, justify="left" if name in ("engine", "by") else "right", no_wrap=name != "by")
    for name, one in sorted(row.engines.items(), key=lambda pair: pair[1].microseconds):
        ours = name == next(iter(row.engines))
        shown.add_row(
            Text(name, "bold" if ours else ""),
            number(one.microseconds),
            quartiles(one.quartiles),
            "" if ours else _takes(one, row.ours),
            "" if ours else f"{one.difference:.0e}",
            one.how,
        )
    return shown


def _takes(one: Timed, ours: Timed) -> Text:
    if one.quartiles[0] <= ours.quartiles[1] and ours.quartiles[0] <= one.quartiles[1]:
        return Text("≈")
    ratio = one.microseconds / ours.microseconds
    return Text(f"{ratio:.2f}×", "red" if ratio < 1 else "green")


def number(value: float) -> str:
    """Three digits or so."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def quartiles(both: tuple[float, float]) -> str:
    """From the lower to the upper one."""
    return f"{number(both[0])} - {number(both[1])}"
