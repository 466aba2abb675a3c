"""A report as pictures, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .markdown import number, size
from .peers import FusedLSTM
from .report import Report
from .runner import Row
from .whole.runner import ModelRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, OURS, OTHER = "#22303c", "#8d99a3", "#e8ecef", "#e4572e", "#3a7ca5"
HEADINGS = {"step": "single steps", "sequence": "sequences", "batch": "batches", "block": "blocks of 4,800 steps"}
PEER_COLOURS = ("#3a7ca5", "#7fb069", "#e6aa68", "#8e6c8a", "#5f7a86", "#c1666b")
BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 7}
BY_THREADS = (OURS, "#f5b29c", "#3a7ca5", "#a9c7da")


def draw(report: Report, folder: Path) -> list[tuple[str, str]]:
    """Draw what the report has figures for: the names of the files and what they show."""
    if find_spec("matplotlib") is None:
        return []
    drawn = []
    for name, words, make in (
        ("speed.png", "Speed against the best peer of each case", _speed),
        ("bound.png", "Speed against the machine's limits", _bound),
        ("latency.png", "Latency of single steps", _latency),
    ):
        figure = make(report)
        if figure is not None:
            figure.savefig(folder / name)
            drawn.append((name, words))
    return drawn


def _speed(report: Report) -> Figure | None:
    """Bars from 1, the best peer, to where we are: to the right ahead, to the left behind; ticks are targets."""
    rows = [row for row in report.rows if row.speedup is not None]
    if not rows:
        return None
    places, y = {}, 0.0
    kinds = dict.fromkeys(row.case.kind for row in rows)
    for kind in kinds:
        y += 0.9  # room for the heading
        for name in dict.fromkeys(row.case.name for row in rows if row.case.kind == kind):
            places[name] = y
            y += 1
    ratios = [row.speedup for row in rows if row.speedup is not None]
    targets = [target for row in rows if (target := row.case.target(row.threads)) is not None]
    low, high = min(*ratios, 0.85), max(*ratios, *targets, 2.0)

    threads = report.threads
    figure = _figure(10, 1.4 + y * (0.1 + 0.16 * len(threads)))
    axes = figure.subplots()
    thick = 0.78 / len(threads)
    for row in rows:
        j, ratio, target = threads.index(row.threads), row.speedup or 1.0, row.case.target(row.threads)
        y_bar = places[row.case.name] - 0.39 + (j + 0.5) * thick
        axes.barh(y_bar, ratio - 1, thick * 0.9, left=1, color=BY_THREADS[j % len(BY_THREADS)])
        end = max(ratio, 1.0)
        if target is not None:
            axes.plot([target] * 2, [y_bar - thick / 2, y_bar + thick / 2], color=INK, lw=1.6, solid_capstyle="butt")
            if end < target < 1.9 * end:
                end = target  # the words would run into the tick
        axes.annotate(
            f"{ratio:.2f}×  {row.best_peer}", (end, y_bar), (6, 0), textcoords="offset points",
            va="center", fontsize=7.5, color=INK if ratio >= 1 else OURS,
        )  # fmt: skip
    for kind in kinds:
        first = min(places[row.case.name] for row in rows if row.case.kind == kind)
        axes.text(low / 1.05, first - 0.62, HEADINGS[kind], fontsize=8.5, style="italic", color=FAINT, va="center")
    axes.set_xscale("log", base=2)
    axes.set_xlim(low / 1.06, high * 1.5)
    marks = [mark for mark in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32) if low <= mark <= high * 1.2]
    axes.set_xticks(marks, [f"{mark:g}×" for mark in marks])
    axes.minorticks_off()
    axes.axvline(1, color=INK, lw=1.2)
    axes.set_yticks(list(places.values()), list(places))
    axes.set_ylim(y - 0.4, -0.1)
    axes.tick_params(axis="y", length=0)
    _handles(axes, [(f"{count} thread{'s' if count > 1 else ''}", BY_THREADS[j]) for j, count in enumerate(threads)])
    _title(axes, "How many times as fast as the best peer", f"Upright ticks are targets.  {report.title}")
    _clean(axes, "x")
    return figure


def _bound(report: Report) -> Figure | None:
    """Left, the roofline; right, each case's share of its bound."""
    rows = report.select(1, "sequence", "batch", "block")
    if report.limits is None or not rows:
        return None
    figure = _figure(12, 1.9 + 0.34 * max(len(rows), 10))
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
    _title(right, "Share of the bound", "Bound: multiply-adds, weights read, cell updates; the tick is the target.")
    _clean(right, "x")
    return figure


def _roofline(axes: Axes, report: Report, rows: Sequence[Row]) -> None:
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
    axes.set_yticks(_marks(bottom, limits.gflops * 1.4, (1, 2, 5)))
    axes.set_xticks(_marks(x[0], x[-1], (1, 2, 5)))
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
    _handles(axes, [(FusedLSTM.name, OURS), ("best peer", OTHER)], where="lower right")
    _title(axes, "Roofline, one thread", "Slopes: reading weights again and again, by the size of what is read.")
    _clean(axes, "both")


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


def _latency(report: Report) -> Figure | None:
    """From the median to the slowest thousandth of the steps, engine by engine."""
    rows = report.select(report.threads[0], "step")
    if not rows:
        return None
    lines = max(len(row.engines) for row in rows)
    figure = _figure(11, 1.3 + 0.33 * (lines + 2) * ((len(rows) + 1) // 2))
    grid = figure.subplots((len(rows) + 1) // 2, 2, squeeze=False).ravel()
    for axes in grid[len(rows) :]:
        axes.set_visible(False)
    for axes, row in zip(grid, rows, strict=False):
        ranked = sorted(row.engines.items(), key=lambda item: item[1].latency.get("p50", np.inf))
        for k, (name, one) in enumerate(ranked):
            colour = OURS if name == FusedLSTM.name else OTHER
            told = list(one.latency.values())
            axes.plot([told[0], told[-1]], [k, k], color=colour, lw=1.4, alpha=0.55, solid_capstyle="butt")
            for value, mark in zip(told, ("o", "D", "|"), strict=False):
                size = {"o": 7, "D": 4.5, "|": 10}[mark]
                axes.plot(value, k, mark, ms=size, color=colour, mew=1.8 if mark == "|" else 0)
            axes.annotate(
                number(told[0]),
                (told[0], k),
                (-7, 0),
                textcoords="offset points",
                va="center",
                ha="right",
                fontsize=7.5,
            )
        axes.set_xscale("log")
        told = [value for one in row.engines.values() for value in one.latency.values()]
        low, high = min(told) / 1.6, max(told) * 1.25
        marks = _marks(low, high, (1, 1.5, 2, 3, 5, 7))
        axes.set_xlim(low, high)
        axes.set_xticks(marks, [f"{mark:,g}" for mark in marks])
        axes.minorticks_off()
        axes.set_yticks(range(len(ranked)), [name for name, _ in ranked])
        axes.set_ylim(len(ranked) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        for label, (name, _) in zip(axes.get_yticklabels(), ranked, strict=True):
            label.set_color(OURS if name == FusedLSTM.name else INK)
        axes.set_title(f"{row.case.name}  ({row.case.shape})", loc="left", fontsize=10, color=INK)
        _clean(axes, "x")
    figure.suptitle("How long a single step takes, in microseconds", x=0.01, ha="left", fontsize=14, color=INK)
    count = rows[0].threads
    words = (
        f"● half of the steps are faster, ◆ 99 %, | 99.9 %.  {count} thread{'s' if count > 1 else ''}.  {report.title}"
    )
    figure.supxlabel(words, x=0.01, ha="left", fontsize=8, color=FAINT)
    return figure


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


def whole_models(rows: Sequence[ModelRow], machine: str) -> Figure:
    """Bars of every engine's time by ours, a group for each model: what is right of 1 takes longer than we do."""
    peers = list(dict.fromkeys(name for row in rows for name in row.engines))[1:]
    figure = _figure(10, 1.6 + 0.22 * sum(len(row.engines) for row in rows) + 0.25 * len(rows))
    axes = figure.subplots()
    y, places = 0.0, {}
    for row in rows:
        of_peers = [(name, one.microseconds / row.ours.microseconds) for name, one in row.engines.items()][1:]
        name = f"{row.name}{', stream' if row.stream else ''}\n{number(row.ours.microseconds)} µs, {row.threads} thr."
        places[name] = y + max(len(of_peers) - 1, 0) / 2
        for peer, ratio in sorted(of_peers, key=lambda pair: pair[1]):
            axes.barh(y, ratio - 1, 0.85, left=1, color=PEER_COLOURS[peers.index(peer) % len(PEER_COLOURS)])
            axes.annotate(f"{ratio:.2f}× {peer}", (max(ratio, 1), y), (5, 0), **BESIDE)
            y += 1
        y += 1
    most = max(one.microseconds / row.ours.microseconds for row in rows for one in row.engines.values())
    axes.set(xscale="log", xlim=(None, 2 * most), ylim=(y - 0.6, -0.8))
    axes.axvline(1, color=INK, lw=1.2)
    axes.set_yticks(list(places.values()), list(places), fontsize=7)
    _title(axes, "How many times as long as fusedlstm", f"The line is fusedlstm; left of it is faster.  {machine}")
    _clean(axes, "x")
    return figure


def _marks(low: float, high: float, digits: Sequence[float]) -> list[float]:
    """Ticks of a logarithmic axis."""
    every = (digit * 10.0**power for power in range(-2, 7) for digit in digits)
    return [mark for mark in every if low <= mark <= high]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.14)
    return Figure(figsize=(width, height), dpi=160, facecolor="white", layout=layout)


def _title(axes: Axes, title: str, words: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, color=INK, pad=22)
    axes.annotate(words, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", fontsize=8, color=FAINT)


def _handles(axes: Axes, entries: Sequence[tuple[str, str]], where: str = "lower right") -> None:
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=colour, label=label) for label, colour in entries]
    axes.legend(handles=handles, loc=where, frameon=False, fontsize=8.5)


def _clean(axes: Axes, grid: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(axis=grid, color=GRID, lw=0.8)
    axes.set_axisbelow(True)
