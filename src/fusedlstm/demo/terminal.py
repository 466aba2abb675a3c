"""The demo's chart in the terminal: the forecast as a braille line, the measurements as dots on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import WEIGHTS, Dates, Floats, Result

FORECAST, OBSERVED, FAINT = "bold orange1", "bold cyan", "bright_black"
HEIGHT, MARGIN, YEAR_WIDTH = 16, 5, 18
BARS_FROM = 72  # columns, where there is room for bars beside the errors
# Bits of a braille character: dots are numbered down the left column, then the right, the lowest row last.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def chart(result: Result, console: Console) -> Text:
    """The last held-out years, as many as fit the console's width."""
    years = _years_shown(result, console)
    dates, observed = result.dates[-years:], result.observed[-years:]
    forecast = result.forecasts["LSTM"][-years:]
    plain = console.options.ascii_only
    line_mark, point_mark, up, tick, corner, along, start = "*o|++-:" if plain else "⠤●│┤└─┊"

    low = np.floor(min(observed.min(), forecast.min()) / 2) * 2
    high = np.ceil(max(observed.max(), forecast.max()) / 2) * 2
    width = years * YEAR_WIDTH
    first, last = dates[[0, -1], 0].astype("datetime64[Y]")
    day_0, day_n = first.astype("datetime64[D]"), (last + 1).astype("datetime64[D]")

    def columns(when: Dates, dots: int) -> Floats:
        position: Floats = (when - day_0).astype(float) / (day_n - day_0).astype(float) * width * dots
        return position

    def rows(ppm: Floats, dots: int) -> npt.NDArray[np.int64]:
        position: npt.NDArray[np.int64] = np.rint((high - ppm) / (high - low) * (HEIGHT * dots - 1)).astype(np.int64)
        return position

    cells: dict[tuple[int, int], tuple[str, str]] = {}
    for k in range(1, years):
        cells.update({(r, k * YEAR_WIDTH): (start, FAINT) for r in range(HEIGHT)})
    braille: dict[tuple[int, int], int] = {}
    for when, ppm in zip(dates, forecast, strict=True):
        weeks = columns(when, 2)
        x = np.linspace(weeks[0], weeks[-1], 40 * YEAR_WIDTH)  # fine enough to leave no gap in the line
        y = rows(np.interp(x, weeks, ppm), 4)
        for dot_x, dot_y in zip(x.astype(int).tolist(), y.tolist(), strict=True):
            cell = dot_y // 4, dot_x // 2
            braille[cell] = braille.get(cell, 0) | _BITS[dot_y % 4][dot_x % 2]
    for cell, bits in braille.items():
        cells[cell] = (line_mark if plain else chr(0x2800 + bits), FORECAST)
    every = slice(None, None, 4)
    where = zip(rows(observed[:, every], 1).flat, columns(dates[:, every], 1).astype(int).flat, strict=True)
    cells.update({(int(r), int(c)): (point_mark, OBSERVED) for r, c in where})

    text = Text(no_wrap=True)
    text.append("ppm".rjust(MARGIN - 1), FAINT).append("  ")
    text.append(line_mark * 3, FORECAST).append(" forecast on 1 January\n")
    text.append(" " * (MARGIN + 1)).append(point_mark, OBSERVED).append("   measured, every 4th week\n")
    labels = np.arange(low, high + 1, 2)
    ticks = {r: f"{ppm:.0f}" for r, ppm in zip(rows(labels, 1).tolist(), labels, strict=True)}
    for r in range(HEIGHT):
        text.append(ticks.get(r, "").rjust(MARGIN - 1) + (tick if r in ticks else up), FAINT)
        for c in range(width):
            mark, style = cells.get((r, c), (" ", ""))
            text.append(mark, style)
        text.append("\n")
    text.append(" " * (MARGIN - 1) + corner + along * width + "\n", FAINT)
    text.append(" " * MARGIN + "".join(str(when[0])[:4].center(YEAR_WIDTH) for when in dates))
    return text


def _years_shown(result: Result, console: Console) -> int:
    return max(1, min(len(result.dates), (console.width - MARGIN - 1) // YEAR_WIDTH))


def show(result: Result, console: Console) -> None:
    """Print what was done, the chart and the errors."""
    years, weeks = result.observed.shape
    console.print(f"[bold]CO2 over Mauna Loa, forecast a year ahead[/]; {years} years never seen in training")
    console.print(f"Data: {result.source}\n", style="bright_black")
    console.print(chart(result, console))
    shown = _years_shown(result, console)
    if shown < years:
        console.print(f"(shown: the last {shown} of {years}; a wider terminal shows more)", style=FAINT)
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(f"error over {years} years")
    table.add_column("RMSE", justify="right", no_wrap=True)
    table.add_column("MAE ppm", justify="right", no_wrap=True)
    roomy = console.width >= BARS_FROM
    block = "#" if console.options.ascii_only else "━"
    for method in result.forecasts:
        name, style = ("LSTM", FORECAST) if method == "LSTM" else (f"naive: {method}", "")
        bar = Text(block * round(10 * result.rmse(method)) if roomy else "", style or FAINT)
        table.add_row(Text(name, style), f"{result.rmse(method):.3f}", f"{result.mae(method):.3f}", bar)
    console.print(table)
    console.print(
        f"\nRMSE in PyTorch, where it was trained: {result.pytorch_rmse:.6f} ppm; here: {result.rmse('LSTM'):.6f} ppm\n"
        f"{WEIGHTS.name}, written by torch.save: {result.hidden_size} units, loaded in {result.load_ms:.1f} ms\n"
        f"{years} forecasts of {weeks} weeks, each week from the one before: {result.step_us:.1f} µs a step (median)"
    )
