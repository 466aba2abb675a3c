"""A report on whole models, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusedlstm.bench import Report, busy
from fusedlstm.bench.terminal import number
from fusedlstm.bench.whole.engines import Ours
from fusedlstm.bench.whole.runner import ModelRow, Timed

from .models import aim_of, contenders, missed

METHOD = """\
Times are medians in microseconds, through each engine's Python API, arrays in NumPy's memory at both ends; below ours,
the quartiles. The engines take turns in a process pinned to as many CPUs as there are threads; each has all threads or
one, whichever is faster, and of several conversions of the file the fastest. Outputs are compared with ours first: the
difference is the largest, of the largest number in each output. In a stream's step the states are handed over from call
to call. "faster" is beside the best peer, ≈ where the quartiles of the ratio hold 1. Aims are our own
(benchmarks/suite/models.py), about the best peer or the one they name; those in brackets are missed, and with a
question mark a peer that may be the best was not installed."""


def load(path: Path) -> tuple[dict[str, Any], list[ModelRow]]:
    """Read what ``fusedlstm bench FILE --json`` or models.py wrote: where and when, and the rows.

    Raises
    ------
    ValueError
        It is something else.
    """

    def timed(one: dict[str, Any]) -> Timed:
        return Timed(**{**one, "quartiles": tuple(one["quartiles"])})

    try:
        stored = json.loads(path.read_text())
        rows = [
            ModelRow(**{**row, "engines": {name: timed(one) for name, one in row["engines"].items()}})
            for row in stored.pop("models")
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: expected what fusedlstm bench FILE --json writes") from error
    return stored, rows


def title(about: dict[str, Any]) -> str:
    """The machine and the engines in one line."""
    return f"{Report(about, []).title}: {', '.join(f'{name} {version}' for name, version in about['versions'].items())}"


def markdown(about: dict[str, Any], rows: Sequence[ModelRow], pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The whole report; `pictures` are (file name, what it shows)."""
    signs = busy.signs(about, {f"{row.title}, {row.threads}": row for row in rows})
    absent = list(dict.fromkeys(peer for row in rows for peer in contenders(row)))
    parts = [title(about), METHOD]
    if signs:
        parts.append(f"> **The machine was busy**: {'; '.join(signs)}.")
    if absent:
        parts.append(f"> **Not installed**: {', '.join(absent)}. One of them may be the best peer of some models.")
    parts += [f"![{words}]({name})" for name, words in pictures]
    return "\n\n".join([*parts, _table(rows), *_left_out(rows)]) + "\n"


def told_aim(row: ModelRow, names: dict[str, str] | None = None) -> str:
    """What was aimed at, and beside whom if that is not the best; in brackets if it was missed."""
    found = aim_of(row)
    if found is None:
        return ""
    aim, against = found
    told = f"{aim:g}" + (f" × {(names or {}).get(against, against)}" if against else "")
    if missed(row):
        return f"({told})"
    return told + (" ?" if (not against and contenders(row)) or against in contenders(row) else "")


def _table(rows: Sequence[ModelRow]) -> str:
    peers = list(dict.fromkeys(name for row in rows for name in row.engines if name != Ours.name))
    lines = [
        f"| model | threads | fusedlstm | {' | '.join(peers)} | faster | aim | difference |",
        f"|:--|--:|--:|{'--:|' * len(peers)}--:|--:|--:|",
    ]
    for row in rows:
        times = [number(row.engines[name].microseconds) if name in row.engines else "" for name in peers]
        apart = max((one.difference for one in row.engines.values()), default=0.0)
        ours = f"**{number(row.ours.microseconds)}**<br><sub>{' – '.join(map(number, row.ours.quartiles))}</sub>"
        cells = [row.title, str(row.threads), ours, *times, row.told]
        lines.append(f"| {' | '.join([*cells, told_aim(row), f'{apart:.0e}'])} |")
    return "\n".join(lines)


def _left_out(rows: Sequence[ModelRow]) -> list[str]:
    absent: dict[str, list[str]] = {}
    for row in rows:
        for peer, why in row.left_out.items():
            absent.setdefault(f"{peer}: {why}", []).append(row.name)
    lines = [f"- {why} ({', '.join(dict.fromkeys(names))})" for why, names in absent.items()]
    return ["Left out:", "\n".join(lines)] if lines else []
