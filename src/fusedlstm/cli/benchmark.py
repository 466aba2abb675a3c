"""`fusedlstm bench`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console

from .. import _progress
from ..bench import busy, report, terminal
from ..bench.cases import BLOCKS, CASES, Case
from ..bench.peers import LOW_PRECISION, PEERS, Engine, FusedLSTM, installed
from ..bench.report import Report
from ..bench.runner import Row, measure
from ..bench.session import Session
from . import options
from .feeds import shape_option, states_option
from .options import FILE, MODEL, Piped
from .peers import chosen_of


def _cases(context: click.Context, option: click.Parameter, value: str | None) -> list[Case] | None:
    if value is None:
        return None
    known = {case.name: case for case in (*CASES, *BLOCKS)}
    names = value.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(known)}")
    return [known[name] for name in names]


def _threads(context: click.Context, option: click.Parameter, value: str | None) -> list[int]:
    if value is None:
        return []
    try:
        numbers = [int(number) for number in value.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise click.BadParameter(f"expected numbers such as 1,2, found {value!r}")
    return numbers


@click.command()
@click.argument("file", type=MODEL, required=False)
@shape_option
@states_option
@click.option("--cases", metavar="NAME,...", callback=_cases, help="Which cases, without FILE. Default: all.")
@click.option(
    "--peers", metavar="NAME,...", default="all",
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
@click.option("--json", "written", metavar="FILE", type=FILE, help="Every figure, for benchmarks/report.py.")
def bench(
    file: Path | Piped | None,
    inputs: Sequence[str],
    states: Sequence[str],
    cases: list[Case] | None,
    peers: str,
    low_precision: bool,
    threads: list[int],
    seconds: float,
    written: Path | None,
) -> None:
    """Time fusedlstm beside the engines installed here.

    With FILE: that whole model, beside whatever of ONNX Runtime, OpenVINO, LiteRT, tract, PyTorch and Keras can run
    it; their outputs are held against ours first. Without: LSTMs of many shapes; every engine's output is checked
    against float64 first.

    FUSEDLSTM_ISA=avx2 holds fusedlstm to AVX2, and
    ONEDNN_MAX_CPU_ISA=AVX2 does it with PyTorch and OpenVINO.
    """
    if written is not None and not written.parent.is_dir():  # before the minutes that follow
        raise ValueError(f"--json: expected a file in a folder that is there, found {written}")
    if file is not None:
        if cases is not None or low_precision:
            raise ValueError(
                "--cases, --low-precision: expected no FILE, as they are for LSTMs made on the spot; `fusedlstm check "
                "FILE` tells of lower precision"
            )
        from .bench_models import one_and_all, one_file

        one_file(file, inputs, states, peers, threads or one_and_all(), seconds, written)
        return
    if inputs or states:
        raise ValueError("--input, --states: expected a FILE with a whole model, found none")
    cases, threads = cases or [*CASES, *BLOCKS], threads or [1]
    chosen = [peer for peer in chosen_of(peers, PEERS) if installed(peer)]
    about, watch = report.about(chosen, seconds), busy.Watch()
    if low_precision:
        chosen += [engine for engine in LOW_PRECISION if installed(engine)]

    console = options.console()
    console.print(Report(about, []).title)
    console.print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    with _progress.progress_bar("timing") as progress:
        rows = _measure(cases, chosen, threads, seconds, progress)
    found = Report({**about, **watch.seen()}, rows)

    _tell(found, console)
    if written is not None:
        written.write_text(found.as_json())
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
    progress: Callable[[int, int], None],
) -> list[Row]:
    rows: list[Row] = []
    total = len(threads) * len(cases)
    progress(0, total)
    for number in threads:
        with Session(number) as session:
            for case in cases:
                rows.append(session.run(measure, case.name, case, peers, number, seconds))
                progress(len(rows), total)
    return rows


def _tell(found: Report, console: Console) -> None:
    for threads in found.threads:
        rows = [row for row in found.rows if row.threads == threads]
        console.print(
            f"\n[bold]{threads} thread{'s' if threads > 1 else ''}[/]: median µs a call, error against float64"
        )
        console.print(terminal.results(found, threads))
        console.print(terminal.summary(rows), markup=False)
        if any(row.low_precision for row in rows):
            console.print("\nlow precision")
            console.print(terminal.low_precision(rows))
        if any(row.fresh is not None for row in rows):
            console.print(terminal.fresh(rows))
        if threads == 1 and any(row.case.kind == "block" for row in rows):
            console.print(terminal.blocks(rows))
        how = {row.ours.setting for row in rows if row.case.kind == "step"}
        if how:
            console.print(f"single steps: {FusedLSTM.name} through {', '.join(sorted(how))}")
        for row in rows:
            for name, why in row.left_out.items():
                console.print(f"left out: {name} on {row.case.name}: {why}", markup=False)
    for line in terminal.warnings(found.busy, found.absent):
        console.print(f"\n[yellow]{line}[/]")
