"""Measure whole models of ours beside their peers: python benchmarks/models.py [DIR] --json models.json

Made on the spot, and the real files that DIR has (suite/models.py names them). report.py tells the result.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import click
from suite.models import cases_in

import fusedlstm as fl
from fusedlstm.bench import busy, report
from fusedlstm.bench.whole import runner


@click.command(help=__doc__)
@click.argument(
    "folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False, exists=True), required=False
)
@click.option("--json", "written", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--threads", default="1,2", show_default=True, help="Numbers of threads, one after the other.")
@click.option("--seconds", type=float, default=1.0, show_default=True, help="Time for each model.")
@click.option("--only", metavar="WORD", default="", help="Models whose names have this word.")
def main(folder, written, threads, seconds, only):
    about, watch = report.about_models(seconds), busy.Watch()
    with TemporaryDirectory() as made:
        models = []
        for case, path in cases_in(folder, Path(made)):
            if only in case.name:
                types = {name: one.dtype for name, one in fl.Model.load(path).inputs.items()}
                models.append((case.name, path, case.feed(types)))
        counts = [int(one) for one in threads.split(",")]
        rows = runner.rows_of(models, counts, seconds, Path(made), lambda done, total: click.echo(f"{done}/{total}"))
    about |= watch.seen()
    written.write_text(runner.as_json(about, rows))
    for sign in busy.signs(about, {row.title: row for row in rows}):
        click.echo(f"The machine was busy: {sign}")


if __name__ == "__main__":
    main()
