"""What a lower precision does to the outputs of a whole model: `fusedlstm check`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._handed import handed_over
from .model import Model

Array = npt.NDArray[Any]
ENOUGH = 0.5
"""Seconds to spend on timing a model."""


@dataclass(frozen=True)
class OutputError:
    """Of one output over all runs, against the same model in float32."""

    name: str
    max_error: float
    """NaN or inf where an output is finite in one of the two and NaN or inf in the other; alike in both: no error."""
    rms_error: float
    output_rms: float
    """In float32, of what is finite."""
    broken: int = 0
    """Numbers that are NaN or inf in one of the two, and something else in the other."""
    count: int = 0
    """All numbers of all runs."""

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
    states: Mapping[str, str]
    """The output of each state input; with some, the runs were steps, each model with its own states."""
    runs: int
    seconds_before: float
    """Of one call in float32: the fastest."""
    seconds_after: float


class _Errors:
    """Of one output, run after run."""

    def __init__(self) -> None:
        self.square = self.power = self.largest = 0.0
        self.count = self.finite = self.broken = 0

    def add(self, exact: Array, found: Array) -> None:
        """One more run."""
        wanted = exact.astype(np.float64)
        with np.errstate(invalid="ignore"):
            error = found.astype(np.float64) - wanted
        error[(exact == found) | (np.isnan(wanted) & np.isnan(found))] = 0.0
        finite = np.isfinite(wanted)
        self.square += float((error**2).sum())
        self.power += float((wanted[finite] ** 2).sum())
        self.largest = float(np.maximum(self.largest, np.abs(error).max(initial=0.0)))  # keeps a NaN
        self.broken += int((~np.isfinite(error)).sum())
        self.finite += int(finite.sum())
        self.count += error.size

    def told(self, name: str) -> OutputError:
        """All of them."""
        rms, power = (self.square / max(self.count, 1)) ** 0.5, (self.power / max(self.finite, 1)) ** 0.5
        return OutputError(name, self.largest, rms, power, self.broken, self.count)


def check_model(
    model: Model,
    dtype: str,
    products: str | None,
    feeds: Iterable[Mapping[str, Array]],
    keep: Sequence[str] = (),
    states: Mapping[str, str] | None = None,
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
    feeds : iterable of dict
        The inputs of each run, as for `Model.run`; one is asked for after the other.
    states : dict, optional
        The output that belongs to each state input. Default: as `Model.stream` finds them; none where there is more
        than one way.

    Raises
    ------
    ValueError
        Outputs without a finite number in float32 already, or what `Model.astype` refuses.
    """
    low, full = model.astype(dtype, products, keep=keep), model.astype("float32")
    pairs = handed_over(model, states).states
    own: list[dict[str, Array]] = [{}, {}]
    errors = {name: _Errors() for name in model.outputs}
    runs, feed = 0, dict[str, Array]()
    for feed in map(dict, feeds):
        exact, found = (one.run({**feed, **state}) for one, state in zip((full, low), own, strict=True))
        own = [{to: made[at] for to, at in pairs.items()} for made in (exact, found)]
        for name, one in errors.items():
            one.add(exact[name], found[name])
        runs += 1
    for name, one in errors.items():
        if one.count and not one.finite:
            raise ValueError(f"output {name!r}: expected finite numbers in float32, found NaN or inf alone")
    before, after = _seconds(full, low, feed)
    precision = low.graph.precision
    outputs = tuple(one.told(name) for name, one in errors.items())
    return ModelCheck(precision.dtype, precision.products, outputs, pairs, runs, before, after)


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
        largest, share = (
            max(error, 1e-9) if np.isfinite(error) else 1e-9 for error in (one.max_error / scale, one.share)
        )
        axes.barh(k, largest, 0.7, color="#d5dbe0", label="largest" if k == 0 else None)
        axes.barh(k, share, 0.4, color="#e4572e", label="RMS" if k == 0 else None)
    axes.set_xscale("log")
    axes.set_yticks(range(len(result.outputs)), [_label(one) for one in result.outputs])
    axes.invert_yaxis()
    axes.set_xlabel("error against float32, by the output's RMS")
    faster = result.seconds_before / result.seconds_after
    axes.set_title(f"{result.dtype}: {faster:.2f} times as fast", loc="left")
    axes.grid(axis="x", color="#e8ecef", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def _label(one: OutputError) -> str:
    """A name that fits beside the bars, and is no formula."""
    name = one.name if len(one.name) <= 40 else f"{one.name[:18]}...{one.name[-18:]}"
    return name.replace("$", r"\$") + (" (NaN or inf)" if one.broken else "")
