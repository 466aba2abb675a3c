"""Train the model that `fusedlstm demo` runs: weekly CO2 at Mauna Loa, a year ahead, week by week.

    pip install torch statsmodels
    python examples/train_demo.py            # about half a minute on one core

Writes, into src/fusedlstm/data:

- ``co2.pt``: the trained network's state dict, by ``torch.save``, and nothing else;
- ``co2.json``: what a program around the LSTM needs (head, scale), the series, and the error that PyTorch itself
  reached on the held-out years, which the demo has to reach too.

The network sees the concentration relative to its mean over the past 52 weeks, so the level, which only ever rises,
never leaves the range it was trained on. It learns on its own forecasts: two years of data warm the state, then it
runs for a year on what it predicted itself. Everything from 1990 on is held out: settings were chosen with 1985-1989
as validation years, then the network was trained once on everything before 1990.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import statsmodels.api as sm
import torch
from torch import nn

HELD_OUT_FROM = "1990-01-01"
YEAR = 52  # weeks
WARM_UP = 2 * YEAR
SCALE = 3.0  # ppm; about half the height of the seasonal wave
HIDDEN, STEPS, BATCH = 32, 800, 32


def load_series() -> tuple[np.ndarray, np.ndarray]:
    """Dates and weekly ppm; the 59 missing weeks, all before 1986, are interpolated."""
    series = sm.datasets.co2.load_pandas().data["co2"].interpolate().round(2)
    return series.index.values.astype("datetime64[D]"), series.to_numpy()


def season(dates: np.ndarray) -> np.ndarray:
    """Where in the year each week lies, as a point on a circle, (weeks, 2)."""
    angle = 2 * np.pi * (dates - dates.astype("datetime64[Y]")).astype(float) / 365.25
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


class Forecaster(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, ppm, seasons, weeks_ahead):
        """Forecast from known weeks, then from forecasts.

        ppm (batch, 51 + known); seasons (batch, known + weeks_ahead - 1, 2), from the 52nd week of ppm on.
        Returns the forecast of the week after each known one (batch, known), of which the last is the first week
        ahead, and of all weeks ahead (batch, weeks_ahead).
        """
        base, ppm = ppm[:, :1], ppm - ppm[:, :1]  # float32 holds small numbers best
        mean = ppm.unfold(1, YEAR, 1).mean(2)
        known = mean.shape[1]
        relative = (ppm[:, YEAR - 1 :] - mean) / SCALE
        y, state = self.lstm(torch.cat([relative[..., None], seasons[:, :known]], 2))
        next_week = self.head(y)[..., 0] * SCALE + mean

        past, mean, latest = list(ppm[:, -YEAR:].T), mean[:, -1], next_week[:, -1]
        ahead = [latest]
        for k in range(weeks_ahead - 1):
            mean = mean + (latest - past[k]) / YEAR
            past.append(latest)
            x = torch.cat([((latest - mean) / SCALE)[:, None], seasons[:, known + k]], 1)
            y, state = self.lstm(x[:, None], state)
            latest = self.head(y[:, 0])[:, 0] * SCALE + mean
            ahead.append(latest)
        return next_week + base, torch.stack(ahead, 1) + base


def train(ppm: torch.Tensor, seasons: torch.Tensor) -> Forecaster:
    net = Forecaster()
    optimiser = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=STEPS)
    length = YEAR - 1 + WARM_UP + YEAR
    for step in range(STEPS):
        weeks = torch.randint(0, len(ppm) - length + 1, (BATCH, 1)) + torch.arange(length)
        # A random extra slope, -0.5 to 1.5 ppm a year: growth has to be read from the data, not learnt by heart.
        truth = ppm[weeks] + (2 * torch.rand(BATCH, 1) - 0.5) * torch.arange(length) / YEAR
        seen = truth[:, :-YEAR] + 0.3 * torch.randn(BATCH, length - YEAR)
        next_week, ahead = net(seen, seasons[weeks[:, YEAR - 1 : -1]], YEAR)
        # The state needs about half a year to settle: no loss there.
        settled = (next_week - truth[:, YEAR : YEAR + WARM_UP])[:, YEAR // 2 :]
        loss = settled.square().mean() + (ahead - truth[:, -YEAR:]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: loss {loss.item():.3f}")
    return net


def held_out_rmse(net: Forecaster, ppm: torch.Tensor, seasons: torch.Tensor, dates: np.ndarray) -> float:
    """Each 1 January from HELD_OUT_FROM on: forecast 52 weeks from everything known by then."""
    errors = []
    for year in np.arange(np.datetime64(HELD_OUT_FROM, "Y"), dates[-1].astype("datetime64[Y]") + 1):
        start = int(np.searchsorted(dates, year.astype("datetime64[D]")))
        if start + YEAR > len(dates):
            break
        with torch.no_grad():
            _, ahead = net(ppm[None, :start], seasons[None, YEAR - 1 : start + YEAR - 1], YEAR)
        errors.append(ahead[0] - ppm[start : start + YEAR])
    return torch.cat(errors).square().mean().sqrt().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src/fusedlstm/data")
    out = parser.parse_args().out
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    dates, series = load_series()
    ppm, seasons = torch.tensor(series, dtype=torch.float32), torch.tensor(season(dates), dtype=torch.float32)
    first_held_out = int(np.searchsorted(dates, np.datetime64(HELD_OUT_FROM)))
    net = train(ppm[:first_held_out], seasons[:first_held_out])
    rmse = held_out_rmse(net, ppm, seasons, dates)
    print(f"held-out RMSE {rmse:.4f} ppm")

    out.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), out / "co2.pt")
    about = {
        "title": "Weekly atmospheric CO2 at Mauna Loa, Hawaii, in ppm; missing weeks interpolated",
        "source": "Keeling and Whorf (Scripps, CDIAC) by way of statsmodels; public domain",
        "held_out_from": HELD_OUT_FROM,
        "pytorch_rmse": rmse,
        "scale": SCALE,
        "head_weight": net.head.weight[0].tolist(),
        "head_bias": net.head.bias.tolist(),
        "first_week": str(dates[0]),
        "ppm": series.tolist(),
    }
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in about.items())
    (out / "co2.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
