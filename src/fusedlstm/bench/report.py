"""The bench's results as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from .runner import Row


def table(rows: Sequence[Row]) -> Table:
    """One line per case: µs per call of each engine, the best peer's by fusedlstm's, the largest difference of y."""
    engines = list(rows[0].microseconds)
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("case", "T×batch", "shape", *engines):
        shown.add_column(name, justify="left" if name in ("case", "shape") else "right", no_wrap=True)
    if len(engines) > 1:
        shown.add_column("speed-up", justify="right", no_wrap=True)
        shown.add_column("differ", justify="right", no_wrap=True)
    for row in rows:
        cells = [row.case.name, f"{row.case.time}×{row.case.batch}", row.case.shape]
        cells += [f"{us:.1f}" if us < 100 else f"{us:,.0f}" for us in row.microseconds.values()]
        shown.add_row(*cells, *_comparison(row))
    return shown


def summary(rows: Sequence[Row]) -> Text:
    """How often fusedlstm was ahead, and by how much on the average."""
    ratios = [row.speedup for row in rows if row.speedup is not None]
    if not ratios:
        return Text("No peer to compare with: pip install torch, or onnxruntime and onnx.")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    ahead = sum(ratio > 1 for ratio in ratios)
    return Text(f"Ahead of the best peer on {ahead} of {len(ratios)} cases; {mean:.2f}× on the (geometric) average.")


def as_json(rows: Sequence[Row], **about: Any) -> dict[str, Any]:
    """Everything that was measured, for a file."""
    measured = [
        {**asdict(row.case), "microseconds": row.microseconds, "max_abs_difference": row.difference} for row in rows
    ]
    return {**about, "cases": measured}


def _comparison(row: Row) -> list[Text]:
    if row.speedup is None:
        return []
    difference = max(row.difference.values())
    return [
        Text(f"{row.speedup:.2f}×", "bold green" if row.speedup > 1 else "red"),
        Text(f"{difference:.0e}", "" if row.agree else "bold red"),
    ]
