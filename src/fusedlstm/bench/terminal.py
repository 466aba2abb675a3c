"""A report on the terminal, within 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from .compare import Change
from .markdown import number, percent
from .report import Report
from .runner import Row
from .whole.runner import ModelRow


def results(report: Report, threads: int) -> Table:
    """One line a case: our time and error, the best peer's, and what was aimed at."""
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    names = ("case", "µs", "max err", "rms err", "best peer", "µs", "faster", "target")
    for name in (*names, "bound") if report.limits else names:
        shown.add_column(name, justify="left" if name in ("case", "best peer") else "right", no_wrap=True)
    for row in (row for row in report.rows if row.threads == threads):
        best, speedup, share = row.best_peer, row.speedup, report.bound_share(row)
        ours, aim = row.ours, row.case.target(threads)
        cells: list[str | Text] = [
            row.case.name,
            number(ours.microseconds),
            f"{ours.max_error:.0e}",
            f"{ours.rms_error:.0e}",
        ]
        if best is None or speedup is None:
            cells += [""] * 4
        else:
            style = "red" if speedup < 1 else "yellow" if aim is not None and speedup < aim else "bold green"
            cells += [best, number(row.engines[best].microseconds), Text(f"{speedup:.2f}×", style)]
            cells.append("" if aim is None else f"{aim:g}×")
        shown.add_row(*cells, *([percent(share)] if share is not None else []))
    return shown


def summary(rows: Sequence[Row]) -> str:
    """How often fusedlstm was ahead, and by how much on the average."""
    ratios = [row.speedup for row in rows if row.speedup is not None]
    if not ratios:
        return 'No peer to compare with; all of them: pip install "fusedlstm[bench]"'
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    ahead = sum(ratio > 1 for ratio in ratios)
    return f"Ahead of the best peer on {ahead} of {len(ratios)} cases; {mean:.2f}× on the (geometric) average."


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
    told = [(row.case, row.ours.microseconds / row.case.time * 1e3) for row in rows if row.case.target_ns is not None]
    return "ns a step: " + ", ".join(f"{case.shape} {ns:,.0f} (target {case.target_ns:,.0f})" for case, ns in told)


def changes(found: Sequence[Change]) -> Table:
    """One line a case that was in the stored report too."""
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("case", "threads", "µs", "time, then = 1", "compared"):
        shown.add_column(name, justify="left" if name in ("case", "compared") else "right", no_wrap=True)
    for one in found:
        style = "bold red" if one.slower else "green" if one.factor < 1 / 1.05 else ""
        how = f"relative to {one.beside}" if one.beside else "absolute times: no peer in common"
        factor = Text(f"{one.factor:.2f}", style)
        shown.add_row(one.row.case.name, str(one.row.threads), number(one.row.ours.microseconds), factor, how)
    return shown


def models(rows: Sequence[ModelRow]) -> Table:
    """One line a whole model: our time, the best peer's, their ratio, the aim, and how far apart the outputs are."""
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("model", "thr", "µs", "best peer", "µs", "faster", "target", "difference"):
        shown.add_column(name, justify="left" if name in ("model", "best peer") else "right", no_wrap=name != "model")
    for row in rows:
        best, ratio = row.best_peer, row.speedup
        name = row.name + (", stream" if row.stream else "")
        if best is None or ratio is None:
            shown.add_row(name, str(row.threads), number(row.ours.microseconds))
            continue
        peer = row.engines[best]
        style = "red" if ratio < 1 else "yellow" if row.missed else "bold green"
        shown.add_row(
            *(name, str(row.threads), number(row.ours.microseconds), best, number(peer.microseconds)),
            Text(f"{ratio:.2f}×", style),
            "" if row.aim is None else f"{row.aim:g}×" + (f" {row.against}" if row.against else ""),
            f"{peer.difference:.0e}",
        )
    return shown


def model(row: ModelRow) -> Table:
    """One line an engine: median and quartiles, its time by ours, difference, how it came to the model."""
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("engine", "µs", "quartiles", "takes", "difference", "by"):
        shown.add_column(name, justify="left" if name in ("engine", "by") else "right", no_wrap=name != "by")
    for name, one in sorted(row.engines.items(), key=lambda pair: pair[1].microseconds):
        ours = name == next(iter(row.engines))
        low, high = map(number, one.quartiles)
        ratio = one.microseconds / row.ours.microseconds
        shown.add_row(
            Text(name, "bold" if ours else ""),
            number(one.microseconds),
            f"{low} - {high}",
            "" if ours else Text(f"{ratio:.2f}×", "red" if ratio < 1 else "green"),
            "" if ours else f"{one.difference:.0e}",
            one.how,
        )
    return shown
