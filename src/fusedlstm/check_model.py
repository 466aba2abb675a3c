"""What a lower precision does to the outputs of a whole model: `fusedlstm check`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .model import Model
from .pairing import pair_states

Array = npt.NDArray[Any]
ENOUGH = 0.5
"""Seconds to spend on timing a model."""


@dataclass(frozen=True)
class OutputError:
    """Of one output over all runs, against the same model in float32."""

    name: str
    max_error: float
    rms_error: float
    output_rms: float

    @property
    def share(self) -> float:
        """The root-mean-square error as a share of the output's root mean square."""
        return self.rms_error / self.output_rms if self.output_rms > 0 else 0.0


@dataclass(frozen=True)
class ModelCheck:
    """A model in a precision against its float32."""

    dtype: str
    products: str
    outputs: tuple[OutputError, ...]
    states: bool
    """Whether the runs were steps, each model with its own states."""
    seconds_before: float
    """Of one call in float32: the fastest."""
    seconds_after: float


def check_model(
    model: Model, dtype: str, products: str | None, feeds: Sequence[Mapping[str, Array]], keep: Sequence[str] = ()
) -> ModelCheck:
    """Run a model on inputs in float32 and in another precision, and compare every output.

    States that the model takes and gives back are handed over from run to run, each model its own, so that errors add
    up as they do in use.

    Parameters
    ----------
    model : Model
        Compared is its float32 form.
    dtype, products, keep : str
        As in `Model.astype`.
    feeds : sequence of dict
        The inputs of each run, as for `Model.run`.

    Raises
    ------
    ValueError
        Outputs that are not finite in float32 already, or what `Model.astype` refuses.
    """
    low, full = model.astype(dtype, products, keep=keep), model.astype("float32")
    try:
        pairs = pair_states(model.inputs, model.outputs)
    except ValueError:  # more than one way: the file does not say which
        pairs = {}
    states: list[dict[str, Array]] = [{}, {}]
    names = list(model.outputs)
    square, largest, power, count = (dict.fromkeys(names, 0.0) for _ in range(4))
    for feed in feeds:
        exact, found = (one.run({**feed, **own}) for one, own in zip((full, low), states, strict=True))
        states = [{to: made[at] for to, at in pairs.items()} for made in (exact, found)]
        for name in names:
            if not np.isfinite(exact[name]).all():
                raise ValueError(f"output {name!r}: expected finite numbers in float32, found NaN or inf")
            error = found[name].astype(np.float64) - exact[name]
            square[name] += float((error**2).sum())
            power[name] += float((exact[name].astype(np.float64) ** 2).sum())
            largest[name] = max(largest[name], float(np.abs(error).max(initial=0.0)))
            count[name] += error.size
    rms = {name: (square[name] / max(count[name], 1)) ** 0.5 for name in names}
    errors = [OutputError(name, largest[name], rms[name], (power[name] / max(count[name], 1)) ** 0.5) for name in names]
    before, after = _seconds(full, low, feeds[-1])
    precision = low.graph.precision
    return ModelCheck(precision.dtype, precision.products, tuple(errors), bool(pairs), before, after)


def _seconds(full: Model, low: Model, feed: Mapping[str, Array]) -> tuple[float, float]:
    """The fastest call of each, in turn."""
    best = [float("inf")] * 2
    stop = time.perf_counter() + ENOUGH
    while time.perf_counter() < stop:
        for k, one in enumerate((full, low)):
            begin = time.perf_counter()
            one.run(feed)
            best[k] = min(best[k], time.perf_counter() - begin)
    return best[0], best[1]


def draw(result: ModelCheck, path: str | os.PathLike[str]) -> None:
    """Plot the error of each output as a share of the output; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.4 + 0.5 * len(result.outputs)), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    for k, one in enumerate(result.outputs):
        scale = max(one.output_rms, 1e-300)
        axes.barh(k, max(one.max_error / scale, 1e-9), 0.7, color="#d5dbe0", label="largest" if k == 0 else None)
        axes.barh(k, max(one.share, 1e-9), 0.4, color="#e4572e", label="RMS" if k == 0 else None)
    axes.set_xscale("log")
    axes.set_yticks(range(len(result.outputs)), [one.name for one in result.outputs])
    axes.invert_yaxis()
    axes.set_xlabel("error against float32, by the output's RMS")
    faster = result.seconds_before / result.seconds_after
    axes.set_title(f"{result.dtype}: {faster:.2f} times as fast", loc="left")
    axes.grid(axis="x", color="#e8ecef", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)
