"""Speed against the machine's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fusedlstm.bench import FusedLSTM, Row

from .style import FAINT, INK, OTHER, OURS, clean, figure_of, handles, marks, title
from .tables import size
from .told import Told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def bound_picture(report: Told) -> Figure | None:
    """Left, the roofline; right, each case's share of its bound."""
    rows = report.select(1, "sequence", "batch", "block")
    if report.limits is None or not rows:
        return None
    figure = figure_of(12, 1.9 + 0.34 * max(len(rows), 10))
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _roofline(left, report, rows)

    for k, row in enumerate(rows):
        share, target = report.bound_share(row), report.bound_target(row)
        assert share is not None
        right.barh(k, share, 0.72, color=OURS)
        right.text(0.015, k, f"{100 * share:.0f} %", va="center", fontsize=8, color="white")
        if target is not None:
            right.plot([target] * 2, [k - 0.45, k + 0.45], color=INK, lw=1.6, solid_capstyle="butt")
    right.axvline(1, color=INK, lw=1.2)
    right.set_yticks(range(len(rows)), [row.case.name for row in rows])
    right.set_ylim(len(rows) - 0.4, -0.6)
    right.tick_params(axis="y", length=0)
    most = max(1.0, *(report.bound_share(row) or 0 for row in rows))
    right.set_xlim(0, most * 1.04)
    right.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    title(right, "Share of the bound", "Bound: multiply-adds, weights read, cell updates; the tick is the target.")
    clean(right, "x")
    return figure


def _roofline(axes: Axes, report: Told, rows: Sequence[Row]) -> None:
    limits = report.limits
    assert limits is not None
    points = {row.case.name: _intensity(row) for row in rows}
    x = np.geomspace(min(x for x, _ in points.values()) / 2, max(x for x, _ in points.values()) * 3, 200)
    levels = _levels(limits.reads)
    floors: dict[str, float] = {}
    axes.text(x[-1], limits.gflops * 1.05, f"{limits.gflops:.0f} GFLOP/s", ha="right", fontsize=7.5, color=FAINT)
    for row in rows:
        intensity, flops = points[row.case.name]
        best = row.best_peer
        ours = theirs = flops / row.ours.microseconds / 1e3
        if best is not None:
            theirs = flops / row.engines[best].microseconds / 1e3
            axes.plot([intensity] * 2, [theirs, ours], color=OTHER, lw=1, zorder=2)
            axes.plot(intensity, theirs, "o", ms=4.5, mfc="white", mec=OTHER, zorder=3)
        axes.plot(intensity, ours, "o", ms=6, color=OURS, zorder=4)
        points[row.case.name] = intensity, ours
        floors[row.case.name] = min(ours, theirs)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(x[0], x[-1])
    bottom = min(floors.values()) / 1.5
    axes.set_ylim(bottom, limits.gflops * 1.4)
    axes.set_yticks(marks(bottom, limits.gflops * 1.4, (1, 2, 5)))
    axes.set_xticks(marks(x[0], x[-1], (1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    for words, speed in levels:
        axes.plot(x, np.minimum(x * speed, limits.gflops), color=FAINT, lw=1.1, zorder=1)
        start = 1.1 * max(x[0], bottom / speed)
        axes.text(
            start, 1.12 * start * speed, f"{words}: {speed:.0f} GB/s", fontsize=7.5, color=FAINT,
            rotation=np.degrees(np.arctan(speed)), rotation_mode="anchor", transform_rotates_text=True,
        )  # fmt: skip
    _name_points(axes, points, floors, ridge=limits.gflops / levels[-1][1])
    axes.set_xlabel("multiply-add flops a byte of weights read")
    axes.set_ylabel("GFLOP/s")
    handles(axes, [(FusedLSTM.name, OURS), ("best peer", OTHER)], where="lower right")
    title(axes, "Roofline, one thread", "Slopes: reading weights again and again, by the size of what is read.")
    clean(axes, "both")


def _name_points(
    axes: Axes, points: Mapping[str, tuple[float, float]], floors: Mapping[str, float], ridge: float
) -> None:
    """Names apart from each other: left of the ridge in a column with thin lines to the points, right of it upright."""
    left = [name for name in points if points[name][0] < ridge]
    column, y = 1.35 * max((points[name][0] for name in left), default=1.0), 0.0
    for name in sorted(left, key=lambda name: points[name][1]):
        y = max(points[name][1], 1.085 * y)
        axes.annotate(
            name, points[name], (column, y), fontsize=7, color=INK, va="center", zorder=5,
            arrowprops={"arrowstyle": "-", "color": FAINT, "lw": 0.5, "shrinkA": 1, "shrinkB": 4},
        )  # fmt: skip
    x = 0.0
    for name in sorted(set(points) - set(left), key=lambda name: points[name][0]):
        x = max(points[name][0], 1.17 * x)
        axes.annotate(
            name, (x, floors[name]), (0, -8), textcoords="offset points", rotation=90, ha="center", va="top",
            fontsize=7, color=INK,
        )  # fmt: skip


def _intensity(row: Row) -> tuple[float, float]:
    """Flops a byte of weights read, and flops, of one call."""
    case = row.case
    widths = [case.input_size] + [case.hidden_size * case.directions] * (case.num_layers - 1)
    per_layer = 4 * case.hidden_size * case.directions
    recurrent = case.num_layers * per_layer * case.hidden_size
    weights = sum(per_layer * width for width in widths)
    flops = 2.0 * (weights + recurrent) * case.time * case.batch
    return flops / (4.0 * (weights + recurrent * case.time)), flops


def _levels(reads: Sequence[tuple[float, float]]) -> list[tuple[str, float]]:
    """The plateaus of the measured curve, three sizes long at least: up to which size, and how fast."""
    plateaus: list[list[tuple[float, float]]] = []
    for reach, speed in reads:
        if not plateaus or speed < 0.75 * plateaus[-1][0][1]:
            plateaus.append([])
        plateaus[-1].append((reach, speed))
    long = [some for some in plateaus if len(some) >= 3] or plateaus
    return [(f"to {size(some[-1][0])}", float(np.median([speed for _, speed in some]))) for some in long]
