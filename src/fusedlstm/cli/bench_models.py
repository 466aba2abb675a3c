"""`fusedlstm bench FILE`: a whole model beside other engines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import _progress
from ..bench import busy, report, terminal
from ..bench.report import Report
from ..bench.whole import runner
from ..bench.whole.engines import PEERS as WHOLE
from ..model import Model
from . import options
from .feeds import Feeds
from .options import Piped, printable
from .peers import chosen_of


def one_file(
    file: Path | Piped,
    inputs: Sequence[str],
    states: Sequence[str],
    peers: str,
    threads: Sequence[int],
    seconds: float,
    written: Path | None,
) -> None:
    """Measure one model and tell every engine's figures."""
    chosen = chosen_of(peers, WHOLE)
    with TemporaryDirectory() as made, _progress.progress_bar("timing") as progress:
        if isinstance(file, Piped):
            name, path = str(file), Path(made) / "stdin"
            path.write_bytes(file.getvalue())
        else:
            name, path = file.name, file
        feeds = Feeds(Model.load(path), inputs, states)
        with feeds.guessing():
            feeds.model.run(feed := feeds.next())
        about, watch = {**report.about_models(seconds, chosen), "inputs": feeds.about()}, busy.Watch()
        models = [(name, path, feed)]
        rows = runner.rows_of(models, threads, seconds, Path(made), progress, chosen, feeds.handed.states)
    about |= watch.seen()
    console = options.console()
    console.print(Report(about, []).title)
    console.print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    console.print(feeds.told(), markup=False, soft_wrap=True)
    for line in feeds.told_states():
        console.print(line, markup=False, soft_wrap=True)
    for row in rows:
        what = "a step of a stream" if row.stream else "a call"
        console.print(f"\n[bold]{what}[/], {row.threads} thread{'s' * (row.threads > 1)}: median µs")
        console.print(terminal.model(row))
    told = dict.fromkeys(f"left out: {peer}: {why}" for row in rows for peer, why in row.left_out.items())
    for line in told:
        console.print(printable(line), markup=False, soft_wrap=True)
    for line in terminal.warnings(busy.signs(about, {row.title: row for row in rows}), []):
        console.print(f"\n[yellow]{line}[/]")
    if written is not None:
        written.write_text(runner.as_json(about, rows))


def one_and_all() -> list[int]:
    """One thread, and as many as there are CPUs to run on."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return list(dict.fromkeys((1, available)))
