"""`fusedlstm bench FILE` and `bench --models`: whole models beside other engines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from .. import _progress
from ..bench import report, terminal
from ..bench.peers import installed
from ..bench.report import Report
from ..bench.session import Session
from ..bench.whole import report as whole_report
from ..bench.whole.cases import ModelCase, cases_in
from ..bench.whole.convert import forms
from ..bench.whole.engine import Feed
from ..bench.whole.engines import PEERS
from ..bench.whole.runner import Measured, ModelRow, measure
from ..model import Model
from .models import feed_for


def one_file(file: Path, inputs: Sequence[str], threads: Sequence[int], seconds: float, folder: Path | None) -> None:
    """Measure one model and tell every engine's figures."""
    feed = feed_for(Model.load(file), inputs)
    rows = _measured([(ModelCase(file.name, {}, None), file, feed)], threads, seconds)
    console = _told(rows)
    for row in rows:
        what = "a step of a stream" if row.stream else "a call"
        console.print(f"\n[bold]{what}[/], {row.threads} thread{'s' * (row.threads > 1)}: median µs")
        console.print(terminal.model(row))
    _end(rows, console, seconds, folder)


def one_and_all() -> list[int]:
    """One thread, and as many as there are CPUs to run on."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return list(dict.fromkeys((1, available)))


def all_models(models: Path | None, threads: Sequence[int], seconds: float, folder: Path | None) -> None:
    """Measure the models that are made, and those of a folder."""
    if find_spec("onnx") is None:
        raise ImportError("--models needs onnx: pip install onnx")
    with TemporaryDirectory() as made:
        cases = []
        for case, path in cases_in(models, Path(made)):
            feed = case.feed({name: one.dtype for name, one in Model.load(path).inputs.items()})
            cases.append((case, path, feed))
        rows = _measured(cases, threads, seconds)
    console = _told(rows)
    console.print(terminal.models(rows))
    _end(rows, console, seconds, folder)


def _measured(cases: Sequence[tuple[ModelCase, Path, Feed]], threads: Sequence[int], seconds: float) -> list[ModelRow]:
    rows: list[ModelRow] = []
    with TemporaryDirectory() as made, _progress.progress_bar("timing") as progress:
        total, done = (1 + len(threads)) * len(cases), 0
        models = []
        for case, path, feed in cases:
            progress(done, total)
            folder = Path(made) / str(done)  # one file may be there with several sizes
            folder.mkdir()
            found, failed = forms(path, feed, folder)
            models.append(Measured(case.name, path, feed, found, failed, case.aim, case.aim_of_stream, case.against))
            done += 1
        for count in threads:
            with Session(count) as session:
                for model in models:
                    progress(done, total)
                    rows += session.run(measure, model.name, model, count, seconds)
                    done += 1
        progress(done, total)
    return rows


def _told(rows: Sequence[ModelRow]) -> Console:
    console = Console(highlight=False)
    console.print(_title(), soft_wrap=True)
    return console


def _title() -> str:
    versions = {"fusedlstm": version("fusedlstm")}
    for peer in PEERS:
        if installed(peer):
            try:
                versions[peer.name] = version(peer.needs[0].replace("_", "-"))
            except PackageNotFoundError:
                versions[peer.name] = "of unknown version"
    machine = Report(report.about([], 0), []).title
    return f"{machine}: {', '.join(' '.join(one) for one in versions.items())}"


def _end(rows: Sequence[ModelRow], console: Console, seconds: float, folder: Path | None) -> None:
    told = dict.fromkeys(f"left out: {peer}: {why}" for row in rows for peer, why in row.left_out.items())
    for line in told:
        console.print(line, markup=False, soft_wrap=True)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        whole_report.write(rows, report.about([], seconds), _title(), folder)
        console.print(f"\nThe report: [bold]{folder / 'models.md'}[/]", soft_wrap=True)
