"""A report on whole models: Markdown, JSON and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..markdown import number
from .engines import Ours
from .runner import ModelRow

METHOD = """\
Times are medians in microseconds, through each engine's Python API, arrays in NumPy's memory at both ends. The engines
take turns in a process pinned to as many CPUs as there are threads; each has all threads or one, whichever is faster,
and of several conversions of the file the fastest. Outputs are compared with ours first: the difference is the largest,
of the largest number in each output. In a stream's step the states are handed over from call to call. "faster" is
beside the best peer; aims are about the best peer or the one they name, those in brackets are missed."""


def write(rows: Sequence[ModelRow], about: dict[str, Any], title: str, folder: Path) -> None:
    """models.md, models.json and, where matplotlib is installed, models.png."""
    kept = [asdict(row) for row in rows]
    (folder / "models.json").write_text(json.dumps({**about, "models": kept}, indent=1) + "\n")
    pictures = []
    if find_spec("matplotlib") is not None:
        from ..plots import whole_models

        whole_models(rows, title.partition(": ")[0]).savefig(folder / "models.png")
        pictures = ["![Time of each engine, relative to ours](models.png)", ""]
    (folder / "models.md").write_text("\n".join([*_head(title), *pictures, *_lines(rows)]) + "\n")


def _aim(row: ModelRow) -> str:
    """What was aimed at, and beside whom if that is not the best; in brackets if it was missed."""
    if row.aim is None:
        return ""
    aim = f"{row.aim:g}" + (f" × {row.against}" if row.against else "")
    return f"({aim})" if row.missed else aim


def _head(title: str) -> list[str]:
    return [title, "", METHOD, ""]


def _lines(rows: Sequence[ModelRow]) -> list[str]:
    peers = list(dict.fromkeys(name for row in rows for name in row.engines if name != Ours.name))
    lines = [
        f"| model | threads | fusedlstm | {' | '.join(peers)} | faster | aim | difference |",
        f"|:--|--:|--:|{'--:|' * len(peers)}--:|--:|--:|",
    ]
    for row in rows:
        times = [number(row.engines[name].microseconds) if name in row.engines else "" for name in peers]
        speed = "" if row.speedup is None else f"{row.speedup:.2f}"
        apart = max((one.difference for one in row.engines.values()), default=0.0)
        name = row.name + (", stream" if row.stream else "")
        cells = [name, str(row.threads), f"**{number(row.ours.microseconds)}**", *times, speed]
        lines.append(f"| {' | '.join([*cells, _aim(row), f'{apart:.0e}'])} |")
    absent: dict[str, list[str]] = {}
    for row in rows:
        for peer, why in row.left_out.items():
            absent.setdefault(f"{peer}: {why}", []).append(row.name)
    if absent:
        lines += ["", "Left out:", ""]
        lines += [f"- {why} ({', '.join(dict.fromkeys(names))})" for why, names in absent.items()]
    return lines
