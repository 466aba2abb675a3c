"""How our pictures look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, OURS, OTHER = "#22303c", "#8d99a3", "#e8ecef", "#e4572e", "#3a7ca5"
PEER_COLOURS = ("#3a7ca5", "#7fb069", "#e6aa68", "#8e6c8a", "#5f7a86", "#c1666b")
BY_THREADS = (OURS, "#f5b29c", "#3a7ca5", "#a9c7da")


def marks(low: float, high: float, digits: Sequence[float]) -> list[float]:
    """Ticks of a logarithmic axis."""
    every = (digit * 10.0**power for power in range(-2, 7) for digit in digits)
    return [mark for mark in every if low <= mark <= high]


def figure_of(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.14)
    return Figure(figsize=(width, height), dpi=160, facecolor="white", layout=layout)


def title(axes: Axes, title: str, words: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, color=INK, pad=22)
    axes.annotate(words, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", fontsize=8, color=FAINT)


def handles(axes: Axes, entries: Sequence[tuple[str, str]], where: str = "lower right") -> None:
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=colour, label=label) for label, colour in entries]
    axes.legend(handles=handles, loc=where, frameon=False, fontsize=8.5)


def clean(axes: Axes, grid: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(axis=grid, color=GRID, lw=0.8)
    axes.set_axisbelow(True)
