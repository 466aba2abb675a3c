"""The demo's picture, where matplotlib is installed."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from . import Result

INK, FAINT, ACCENT = "#22303c", "#8d99a3", "#e4572e"
BARS = {"LSTM": ACCENT, "a year ago + 10-year trend": "#3a7ca5", "a year ago": "#c3d3de"}


def save(result: Result, path: str | os.PathLike[str]) -> None:
    """Draw all held-out years: above, forecast and measurements; below, each year's error beside naive forecasts."""
    layout = ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.16)
    figure = Figure(figsize=(11, 6.8), dpi=160, facecolor="white", layout=layout)
    above, below = figure.subplots(2, sharex=True, height_ratios=[2.7, 1])

    dates, ppm = result.history
    recent = dates >= np.datetime64("1987-01-01")
    above.plot(dates[recent], ppm[recent], "o", ms=1.9, mew=0, color=FAINT)
    above.plot(result.dates.ravel(), result.observed.ravel(), "o", ms=1.9, mew=0, color=INK, label="measured, weekly")
    for k, (when, forecast) in enumerate(zip(result.dates, result.forecasts["LSTM"], strict=True)):
        above.plot(when, forecast, color=ACCENT, lw=1.8, alpha=0.9, label=None if k else "forecast made on 1 January")
        above.plot(when[0], forecast[0], "o", ms=4.5, mfc="white", mec=ACCENT, mew=1.4)
    edge = (result.dates[0, 0], 0.965)
    above.axvline(edge[0], color=INK, lw=0.9, ls=(0, (4, 3)))
    for words, side, colour in (("training data", -7, FAINT), ("never seen in training", 7, INK)):
        above.annotate(
            words, edge, (side, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="right" if side < 0 else "left", va="top", color=colour,
        )  # fmt: skip
    above.legend(loc="lower right", frameon=False, markerscale=2)
    above.set_ylabel("CO$_2$, ppm")
    above.set_title("CO$_2$ over Mauna Loa, forecast a year ahead, week by week", loc="left", fontsize=15, pad=28)
    words = (
        f"From each 1 January an LSTM of {result.hidden_size} units runs 52 weeks on its own output; "
        f"it is off by {result.rmse('LSTM'):.2f} ppm (RMSE)"
    )
    above.text(0, 1.035, words, transform=above.transAxes, color=INK)

    for k, (method, colour) in enumerate(BARS.items()):
        error = result.forecasts[method] - result.observed
        middle = result.dates[:, 26] + np.timedelta64(90, "D") * (k - 1)
        label = f"{method}: {result.rmse(method):.2f}"
        below.bar(middle, np.sqrt(np.mean(error**2, axis=1)), np.timedelta64(84, "D"), color=colour, label=label)
    title = f"RMSE of all {len(result.dates)} years"
    below.legend(title=title, loc="upper left", frameon=False, fontsize=8.5, alignment="left")
    below.set_ylabel("RMSE, ppm")

    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e8ecef", lw=0.8)
        axes.set_axisbelow(True)
        axes.margins(x=0.01)
    figure.supxlabel(f"Data: {result.source}", x=0.01, ha="left", fontsize=7, color=FAINT)
    figure.savefig(path)
