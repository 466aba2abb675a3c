"""What a lower precision does to the outputs of a model: `fusedlstm check`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ._renamed import renamed
from .lstm import LSTM
from .weights import FloatArray
from .weights.precision import nbytes

TIME, BATCH = 2000, 4
"""Of the random inputs that stand in where there is no data."""
SPANS = 10
ENOUGH = 0.5
"""Seconds to spend on timing a model."""


@renamed(products="activations")
@dataclass(frozen=True)
class Check:
    """Errors of y against the same model in float32."""

    dtype: str
    products: str
    max_error: float
    rms_error: float
    output_rms: float
    edges: npt.NDArray[np.intp]
    """Spans of time: the i-th one is ``edges[i]`` to ``edges[i + 1]``."""
    rms_by_span: npt.NDArray[np.float64]
    max_by_span: npt.NDArray[np.float64]
    bytes_before: int
    bytes_after: int
    seconds_before: float
    """Of one run over all inputs, in float32."""
    seconds_after: float

    @property
    def share(self) -> float:
        """The root-mean-square error as a share of the outputs' root mean square."""
        return self.rms_error / self.output_rms if self.output_rms > 0 else 0.0


def random_inputs(lstm: LSTM) -> FloatArray:
    """Standard normal inputs in the model's layout, the same ones every time."""
    shape = (BATCH, TIME, lstm.input_size) if lstm.batch_first else (TIME, BATCH, lstm.input_size)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


@renamed(products="activations")
def check(lstm: LSTM, dtype: str, products: str | None, x: npt.NDArray[np.floating[Any]]) -> Check:
    """Run `x` in float32 and in another precision, and compare the outputs.

    Parameters
    ----------
    lstm : LSTM
        The model; what it is compared with is its float32 form.
    dtype, products : str
        As in `LSTM.astype`.
    x : ndarray
        As for a call of `lstm`.

    Raises
    ------
    ValueError
        Outputs that are not finite in float32 already, no outputs at all, or what `LSTM.astype` refuses.
    """
    low, full = lstm.astype(dtype, products), lstm.astype("float32")
    (exact, seconds_before), (found, seconds_after) = _timed(full, x), _timed(low, x)
    if not exact.size:
        raise ValueError(f"x: expected at least one row and one step, found shape {x.shape}")
    if not np.isfinite(exact).all():
        raise ValueError("x: expected inputs with finite outputs, found NaN or inf among the outputs in float32")
    time_axis = 1 if exact.ndim == 3 and lstm.batch_first else 0
    error = np.moveaxis(found.astype(np.float64) - exact, time_axis, 0).reshape(exact.shape[time_axis], -1)
    square, largest = (error**2).mean(axis=1), np.abs(error).max(axis=1)
    edges = np.unique(np.linspace(0, len(error), SPANS + 1).astype(np.intp))
    spans = [slice(start, stop) for start, stop in pairwise(edges)]
    return Check(
        dtype=low.dtype,
        products=low.weights.products,
        max_error=float(largest.max()),
        rms_error=float(np.sqrt(square.mean())),
        output_rms=float(np.sqrt((exact.astype(np.float64) ** 2).mean())),
        edges=edges,
        rms_by_span=np.array([np.sqrt(square[span].mean()) for span in spans]),
        max_by_span=np.array([largest[span].max() for span in spans]),
        bytes_before=nbytes(full.weights),
        bytes_after=nbytes(low.weights),
        seconds_before=seconds_before,
        seconds_after=seconds_after,
    )


def _timed(lstm: LSTM, x: npt.NDArray[np.floating[Any]]) -> tuple[FloatArray, float]:
    """Outputs, directions side by side, and the seconds of the fastest run: several, where that takes no time."""
    took: list[float] = []
    while not took or (sum(took) < ENOUGH and len(took) < 5):
        begin = time.perf_counter()
        y = lstm(x)[0]
        took.append(time.perf_counter() - begin)
    return (np.concatenate(y, axis=-1) if isinstance(y, tuple) else y), min(took)


def draw(result: Check, path: str | os.PathLike[str]) -> None:
    """Plot how the error goes on in time; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    for name, values, colour in (("largest", result.max_by_span, "#8d99a3"), ("RMS", result.rms_by_span, "#e4572e")):
        axes.stairs(values, result.edges, color=colour, lw=1.8, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("time step")
    axes.set_ylabel("error of y against float32")
    axes.set_title(f"{result.dtype}: RMS error {result.share:.2%} of the outputs' RMS", loc="left")
    axes.grid(axis="y", color="#e8ecef", lw=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)
