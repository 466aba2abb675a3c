"""The demo: a small LSTM, trained and saved by PyTorch, forecasts the CO2 above Hawaii a year ahead.

examples/train_demo.py made the two files in ``fusedlstm/data``; nothing from 1990 on was used for training. Each
1 January from 1990 on the forecast takes everything measured by then and runs 52 weeks on its own output.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import formats
from .._arguments import State
from ..lstm import LSTM

WEIGHTS = Path(__file__).parents[1] / "data" / "co2.pt"
ABOUT = WEIGHTS.with_suffix(".json")
WEEKS = 52

Floats = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Result:
    """What the demo found: one row per held-out year, one column per week."""

    dates: Dates
    """The held-out weeks, (years, 52)."""
    observed: Floats
    """What was measured, ppm."""
    forecasts: dict[str, Floats]
    """Forecasts by method, the LSTM's first."""
    history: tuple[Dates, Floats]
    """The weeks before, which the network was trained on."""
    hidden_size: int
    load_ms: float
    step_us: float
    """Median time of one step of the LSTM."""
    pytorch_rmse: float
    """The LSTM's error as PyTorch measured it when the file was made."""
    source: str

    def rmse(self, method: str) -> float:
        """Root mean square error over all held-out weeks, ppm."""
        return float(np.sqrt(np.mean((self.forecasts[method] - self.observed) ** 2)))

    def mae(self, method: str) -> float:
        """Mean absolute error over all held-out weeks, ppm."""
        return float(np.mean(np.abs(self.forecasts[method] - self.observed)))


class Forecaster:
    """The loaded LSTM and what surrounds it: its inputs from the series, and the linear layer behind it.

    The network sees the concentration relative to its mean over the past 52 weeks, and the season.
    """

    def __init__(self) -> None:
        about = json.loads(ABOUT.read_text())
        self.ppm = np.array(about["ppm"])
        self.dates: Dates = np.datetime64(about["first_week"]) + 7 * np.arange(len(self.ppm))
        self.held_out_from = np.datetime64(about["held_out_from"])
        self.pytorch_rmse: float = about["pytorch_rmse"]
        self.source: str = about["source"]
        self._scale, self._head, self._bias = about["scale"], np.array(about["head_weight"]), about["head_bias"][0]
        angle = 2 * np.pi * (self.dates - self.dates.astype("datetime64[Y]")).astype(float) / 365.25
        self._season = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        formats.open(WEIGHTS)  # imports the reader, which is not to be timed
        start = time.perf_counter()
        self.lstm = LSTM.load(WEIGHTS, batch_first=True)
        self.load_ms = (time.perf_counter() - start) * 1e3
        self.step_seconds: list[float] = []

    def observe(self, first: int, stop: int, state: State | None) -> tuple[Floats, State]:
        """Feed the measured weeks ``first:stop``; the last output and the state to go on from."""
        means = np.lib.stride_tricks.sliding_window_view(self.ppm[first - WEEKS + 1 : stop], WEEKS).mean(axis=1)
        relative = (self.ppm[first:stop] - means) / self._scale
        y, state = self.lstm(np.column_stack([relative, self._season[first:stop]]).astype(np.float32), state=state)
        return y[-1].astype(float), state

    def year_ahead(self, start: int, y: Floats, state: State) -> Floats:
        """Forecast the 52 weeks from `start`, each from the forecasts before it."""
        ppm = list(self.ppm[start - WEEKS : start])
        mean = float(np.mean(ppm))
        for k in range(WEEKS):
            ppm.append(float(self._head @ y + self._bias) * self._scale + mean)
            if k == WEEKS - 1:
                break
            mean += (ppm[-1] - ppm[-1 - WEEKS]) / WEEKS
            x = np.array([[(ppm[-1] - mean) / self._scale, *self._season[start + k]]], np.float32)
            clock = time.perf_counter()
            out, state = self.lstm(x, state=state)
            self.step_seconds.append(time.perf_counter() - clock)
            y = out[0].astype(float)
        return np.array(ppm[-WEEKS:])


def run(progress: Callable[[int, int], None] = lambda done, total: None) -> Result:
    """Forecast every held-out year, beside three naive forecasts.

    Parameters
    ----------
    progress : callable
        Called with the years done and their number.
    """
    model = Forecaster()
    ppm, dates = model.ppm, model.dates
    years = np.arange(model.held_out_from.astype("datetime64[Y]"), dates[-1].astype("datetime64[Y]") + 1)
    starts = [int(i) for i in np.searchsorted(dates, years.astype("datetime64[D]")) if i + WEEKS <= len(ppm)]

    seen, state = WEEKS - 1, None
    lstm = []
    for done, start in enumerate(starts):
        y, state = model.observe(seen, start, state)  # one state goes on with what is measured ...
        lstm.append(model.year_ahead(start, y, state))  # ... and each forecast leaves from it
        seen = start
        progress(done + 1, len(starts))

    def yearly_growth(start: int) -> float:
        last_year, ten_years_before = ppm[start - WEEKS : start], ppm[start - 11 * WEEKS : start - 10 * WEEKS]
        return float(last_year.mean() - ten_years_before.mean()) / 10

    week = np.array(starts)[:, None] + np.arange(WEEKS)
    growth = np.array([[yearly_growth(start)] for start in starts])
    return Result(
        dates=dates[week],
        observed=ppm[week],
        forecasts={
            "LSTM": np.array(lstm),
            "a year ago + 10-year trend": ppm[week - WEEKS] + growth,
            "a year ago": ppm[week - WEEKS],
            "last week": np.repeat(ppm[week[:, :1] - 1], WEEKS, axis=1),
        },
        history=(dates[: starts[0]], ppm[: starts[0]]),
        hidden_size=model.lstm.hidden_size,
        load_ms=model.load_ms,
        step_us=float(np.median(model.step_seconds)) * 1e6,
        pytorch_rmse=model.pytorch_rmse,
        source=model.source,
    )
