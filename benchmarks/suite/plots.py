"""A report as pictures, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusedlstm.bench import FusedLSTM
from fusedlstm.bench.terminal import number
from fusedlstm.bench.whole.runner import ModelRow

from . import targets
from .roofline import bound_picture
from .style import BY_THREADS, FAINT, INK, OTHER, OURS, PEER_COLOURS, clean, figure_of, handles, marks, title
from .told import Told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADINGS = {"step": "single steps", "sequence": "sequences", "batch": "batches", "block": "blocks of 4,800 steps"}
AXES_POINTS = 560  # about, of the picture of speeds from left to right
BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 7}


def draw(report: Told, folder: Path) -> list[tuple[str, str]]:
    """Draw what the report has figures for: the names of the files and what they show."""
    if find_spec("matplotlib") is None:
        return []
    drawn = []
    for name, words, make in (
        ("speed.png", "Speed against the best peer of each case", _speed),
        ("bound.png", "Speed against the machine's limits", bound_picture),
        ("latency.png", "Latency of single steps", _latency),
    ):
        figure = make(report)
        if figure is not None:
            figure.savefig(folder / name)
            drawn.append((name, words))
    return drawn


def _speed(report: Told) -> Figure | None:
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
    aims = [target for row in rows if (target := targets.speed_up(row)) is not None]
    low, high = min(*ratios, 0.85), max(*ratios, *aims, 2.0)

    threads = report.threads
    figure = figure_of(10, 1.4 + y * (0.1 + 0.16 * len(threads)))
    axes = figure.subplots()
    thick = 0.78 / len(threads)
    for row in rows:
        j, ratio, target = threads.index(row.threads), row.speedup or 1.0, targets.speed_up(row)
        y_bar = places[row.case.name] - 0.39 + (j + 0.5) * thick
        axes.barh(y_bar, ratio - 1, thick * 0.9, left=1, color=BY_THREADS[j % len(BY_THREADS)])
        end = max(ratio, 1.0)
        words = f"{'≈ ' if row.level else ''}{ratio:.2f}×  {row.best_peer}"
        if target is not None:
            axes.plot([target] * 2, [y_bar - thick / 2, y_bar + thick / 2], color=INK, lw=1.6, solid_capstyle="butt")
            # In logarithms: the words are so wide, and would run into the tick.
            wide = (10 + 4.4 * len(words)) / AXES_POINTS * np.log(high * 1.5 * 1.06 / low)
            if np.log(end) - 0.01 < np.log(target) < np.log(end) + wide:
                end = max(end, target)
        axes.annotate(
            words, (end, y_bar), (6, 0), textcoords="offset points",
            va="center", fontsize=7.5, color=INK if ratio >= 1 or row.level else OURS,
        )  # fmt: skip
    for kind in kinds:
        first = min(places[row.case.name] for row in rows if row.case.kind == kind)
        axes.text(low / 1.05, first - 0.62, HEADINGS[kind], fontsize=8.5, style="italic", color=FAINT, va="center")
    axes.set_xscale("log", base=2)
    axes.set_xlim(low / 1.06, high * 1.5)
    ticks = [mark for mark in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32) if low <= mark <= high * 1.2]
    axes.set_xticks(ticks, [f"{mark:g}×" for mark in ticks])
    axes.minorticks_off()
    axes.axvline(1, color=INK, lw=1.2)
    axes.set_yticks(list(places.values()), list(places))
    axes.set_ylim(y - 0.4, -0.1)
    axes.tick_params(axis="y", length=0)
    handles(axes, [(f"{count} thread{'s' if count > 1 else ''}", BY_THREADS[j]) for j, count in enumerate(threads)])
    words = f"Upright ticks are targets of our own; ≈: the quartiles hold 1.  {report.title}"
    if report.doubtful:
        words += f"\nNot measured everywhere, and may be the best: {', '.join(report.doubtful)}."
    title(axes, "How many times as fast as the best peer", words)
    clean(axes, "x")
    return figure


def _latency(report: Told) -> Figure | None:
    """From the median to the slowest thousandth of the steps, engine by engine."""
    rows = report.select(report.threads[0], "step")
    if not rows:
        return None
    lines = max(len(row.engines) for row in rows)
    columns = min(2, len(rows))
    figure = figure_of(5.5 * columns + 0.5, 1.3 + 0.33 * (lines + 2) * -(-len(rows) // columns))
    grid = figure.subplots(-(-len(rows) // columns), columns, squeeze=False).ravel()
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
        low, high = min(told), max(told) * 1.25
        low /= 1.5 * (high / low) ** 0.08  # room for the words
        decades = np.log10(high / low)
        ticks = marks(low, high, (1, 1.5, 2, 3, 5, 7) if decades < 1.2 else (1, 2, 5) if decades < 2.4 else (1,))
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, [f"{mark:,g}" for mark in ticks])
        axes.minorticks_off()
        axes.set_yticks(range(len(ranked)), [name for name, _ in ranked])
        axes.set_ylim(len(ranked) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        for label, (name, _) in zip(axes.get_yticklabels(), ranked, strict=True):
            label.set_color(OURS if name == FusedLSTM.name else INK)
        axes.set_title(f"{row.case.name}  ({row.case.shape})", loc="left", fontsize=10, color=INK)
        clean(axes, "x")
    figure.suptitle("How long a single step takes, in microseconds", x=0.01, ha="left", fontsize=14, color=INK)
    count = rows[0].threads
    words = (
        f"● half of the steps are faster, ◆ 99 %, | 99.9 %.  {count} thread{'s' if count > 1 else ''}.  {report.title}"
    )
    figure.supxlabel(words, x=0.01, ha="left", fontsize=8, color=FAINT)
    return figure


def whole_models(rows: Sequence[ModelRow], machine: str) -> Figure:
    """Bars of every engine's time by ours, a group for each model: what is right of 1 takes longer than we do."""
    peers = list(dict.fromkeys(name for row in rows for name in row.engines))[1:]
    figure = figure_of(10, 1.6 + 0.22 * sum(len(row.engines) for row in rows) + 0.25 * len(rows))
    axes = figure.subplots()
    y, places = 0.0, {}
    for row in rows:
        of_peers = [(name, one.microseconds / row.ours.microseconds) for name, one in row.engines.items()][1:]
        name = f"{row.title}\n{number(row.ours.microseconds)} µs, {row.threads} thr."
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
    title(axes, "How many times as long as fusedlstm", f"The line is fusedlstm; left of it is faster.  {machine}")
    clean(axes, "x")
    return figure
