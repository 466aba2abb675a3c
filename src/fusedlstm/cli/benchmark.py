"""`fusedlstm bench`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from .. import _progress
from ..bench import bound, compare, plots, report, terminal
from ..bench.cases import BLOCKS, CASES, Case
from ..bench.markdown import markdown
from ..bench.peers import LOW_PRECISION, PEERS, Engine, FusedLSTM, installed
from ..bench.report import Report
from ..bench.runner import Row, measure
from ..bench.session import Session
from .models import shape_option

FILE = click.Path(path_type=Path)
TRIES = 3
"""How often a case must look slower than the stored one before it is believed."""


def _cases(context: click.Context, option: click.Parameter, value: str | None) -> list[Case]:
    known = {case.name: case for case in (*CASES, *BLOCKS)}
    names = list(known) if value is None else value.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(known)}")
    return [known[name] for name in names]


def _peers(context: click.Context, option: click.Parameter, value: str) -> list[type[Engine]]:
    known = {peer.name: peer for peer in PEERS}
    if value in ("all", "none"):
        return [peer for peer in PEERS if value == "all" and installed(peer)]
    for name in value.split(","):
        if name not in known:
            raise click.BadParameter(f"{name}: expected all, none or some of {', '.join(known)}")
        if not installed(known[name]):
            raise click.BadParameter(f"{name} is not installed: pip install {known[name].install}")
    return [known[name] for name in value.split(",")]


def _threads(context: click.Context, option: click.Parameter, value: str | None) -> list[int]:
    if value is None:
        return [] if context.params.get("file") is not None else [1]
    try:
        numbers = [int(number) for number in value.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise click.BadParameter(f"expected numbers such as 1,2, found {value!r}")
    return numbers


@click.command()
@click.argument("file", type=FILE, required=False)
@shape_option
@click.option("--cases", metavar="NAME,...", callback=_cases, help="Which cases. Default: all twenty.")
@click.option(
    "--peers", metavar="NAME,...", default="all", callback=_peers,
    help="all that are installed (the default), none, or names.",
)  # fmt: skip
@click.option(
    "--low-precision", is_flag=True, help="Time float16, bfloat16 and int8 weights too, ours and the peers'.",
)  # fmt: skip
@click.option(
    "--threads", metavar="N,...", callback=_threads,
    help="How many threads for every engine; several numbers are measured one after the other. Default: 1, with FILE "
    "one and all.",
)  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0), default=1.0, show_default=True, help="Time for each case.")
@click.option(
    "--limits", "limits_file", metavar="FILE", type=FILE,
    help="The machine's limits, as benchmarks/limits.py writes them: shows how near to them each case is.",
)  # fmt: skip
@click.option(
    "--report",
    "folder",
    metavar="DIR",
    type=FILE,
    help="Write report.json, report.md and pictures (models.md with --models) to DIR.",
)
@click.option(
    "--compare", "stored_file", metavar="FILE", type=FILE,
    help="A report.json from this machine: exit code 1 if a case is now slower by more than 5 %.",
)  # fmt: skip
@click.option(
    "--models", metavar="[DIR]", is_flag=False, flag_value="", default=None,
    help="Whole models instead: made on the spot, and the real files that DIR has.",
)  # fmt: skip
def bench(
    file: Path | None,
    inputs: Sequence[str],
    cases: list[Case],
    peers: list[type[Engine]],
    low_precision: bool,
    threads: list[int],
    seconds: float,
    limits_file: Path | None,
    folder: Path | None,
    stored_file: Path | None,
    models: str | None,
) -> None:
    """Time fusedlstm beside the engines installed here.

    With FILE: that whole model, beside whatever of ONNX Runtime, OpenVINO, LiteRT, tract, PyTorch and Keras can run
    it; outputs are compared first. Without: LSTMs of twenty shapes.

    Every engine's output is checked against float64 first. FUSEDLSTM_ISA=avx2 holds fusedlstm to AVX2, and
    ONEDNN_MAX_CPU_ISA=AVX2 does it with PyTorch and OpenVINO.
    """
    if file is not None or models is not None:
        from . import bench_models

        if file is not None:
            bench_models.one_file(file, inputs, threads or bench_models.one_and_all(), seconds, folder)
        else:
            bench_models.all_models(Path(models) if models else None, threads, seconds, folder)
        return
    about = report.about(peers, seconds)
    if low_precision:
        peers = [*peers, *(engine for engine in LOW_PRECISION if installed(engine))]
    limits = None if limits_file is None else bound.load(limits_file, about["cpu"], about["isa"])
    stored = None if stored_file is None else report.load(stored_file)
    if stored is not None:
        compare.expect_same_machine(stored, about)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)  # before the minutes that follow

    console = Console(highlight=False)
    console.print(Report(about, []).title)
    console.print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    absent = [peer.name for peer in PEERS if not installed(peer)]
    if absent:
        console.print(f"not installed: {', '.join(absent)}")
    with _progress.progress_bar("timing") as progress:
        rows = _measure(cases, peers, threads, seconds, stored, about["versions"], progress)
    found = Report(about, rows, limits)

    _tell(found, console)
    if folder is not None:
        pictures = plots.draw(found, folder)
        (folder / "report.json").write_text(found.as_json())
        (folder / "report.md").write_text(markdown(found, pictures))
        console.print(f"\nThe report: [bold]{folder / 'report.md'}[/]", soft_wrap=True)
    if stored is not None:
        _hold_against(stored, found, console)
    wrong = sorted(
        {f"{name} on {row.case.name}" for row in rows for name, why in row.left_out.items() if "wrong" in why}
    )
    if wrong:
        raise ValueError(f"not timed, because the output is wrong: {', '.join(wrong)}")


def _measure(
    cases: list[Case],
    peers: list[type[Engine]],
    threads: list[int],
    seconds: float,
    stored: Report | None,
    versions: dict[str, str],
    progress: Callable[[int, int], None],
) -> list[Row]:
    def factor(row: Row) -> float:
        change = None if stored is None else compare.change(row, stored, versions)
        return 0.0 if change is None else change.factor

    rows: list[Row] = []
    total = len(threads) * len(cases)
    progress(0, total)
    for number in threads:
        with Session(number) as session:
            for case in cases:
                once = partial(session.run, measure, case.name, case, peers, number, seconds)
                tries = [once()]
                while len(tries) < TRIES and factor(tries[-1]) > compare.TOLERANCE:
                    tries.append(once())  # a noisy moment, or true?
                rows.append(min(tries, key=factor))
                progress(len(rows), total)
    return rows


def _tell(found: Report, console: Console) -> None:

    for threads in found.threads:
        rows = [row for row in found.rows if row.threads == threads]
        console.print(
            f"\n[bold]{threads} thread{'s' if threads > 1 else ''}[/]: median µs a call, error against float64"
        )
        console.print(terminal.results(found, threads))
        console.print(terminal.summary(rows))
        if any(row.low_precision for row in rows):
            console.print("\nlow precision")
            console.print(terminal.low_precision(rows))
        if threads == 1 and any(row.case.kind == "block" for row in rows):
            console.print(terminal.blocks(rows))
        how = {row.ours.setting for row in rows if row.case.kind == "step"}
        if how:
            console.print(f"single steps: {FusedLSTM.name} through {', '.join(sorted(how))}")
        for row in rows:
            for name, why in row.left_out.items():
                console.print(f"left out: {name} on {row.case.name}: {why}", markup=False)


def _hold_against(stored: Report, found: Report, console: Console) -> None:

    pairs: list[Any] = [compare.change(row, stored, found.about["versions"]) for row in found.rows]
    changes = [change for change in pairs if change is not None]
    version = stored.about["versions"][FusedLSTM.name]
    console.print(f"\nCompared with the report of {stored.about['date']} (fusedlstm {version})")
    console.print(terminal.changes(changes))
    slower = [f"{change.row.case.name} (threads: {change.row.threads})" for change in changes if change.slower]
    if slower:
        raise click.ClickException(f"slower by more than 5 % (measured {TRIES} times): {', '.join(slower)}")
    if not changes:
        raise ValueError(f"no case in common with the report of {stored.about['date']}")
