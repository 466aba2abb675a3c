"""Is it slower than it was? python benchmarks/compare.py before.json after.json [again.json ...]

All of `fusedlstm bench --json` (or report.json), of one machine. Of several runs afterwards each case's best counts,
since a noisy moment can fool one. Exit code 1 if a case is slower by more than 5 %.
"""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from suite import told
from suite.changes import TOLERANCE, changes, differences

from fusedlstm.bench.terminal import number

FILE = click.Path(path_type=Path, exists=True)


@click.command(help=__doc__)
@click.argument("before", type=FILE)
@click.argument("after", type=FILE, nargs=-1, required=True)
def main(before, after):
    try:
        stored, runs = told.load(before), [told.load(path) for path in after]
        differ = dict.fromkeys(line for run in runs for line in differences(stored, run.about))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    console = Console(highlight=False)
    console.print(f"Compared with the run of {stored.about['date']}")
    for line in differ:
        console.print(f"differs: {line}", markup=False, soft_wrap=True)
    found = changes(stored, runs)
    if not found:
        raise click.ClickException("no case in common")
    console.print(table(found))
    slower = [f"{one.row.case.name} (threads: {one.row.threads})" for one in found if one.slower]
    if slower:
        click.echo(f"slower by more than 5 %: {', '.join(slower)}", err=True)
        sys.exit(1)


def table(found):
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("case", "threads", "µs", "time, then = 1", "compared"):
        shown.add_column(name, justify="left" if name in ("case", "compared") else "right", no_wrap=True)
    for one in found:
        style = "bold red" if one.slower else "green" if one.factor < 1 / TOLERANCE else ""
        how = f"relative to {one.beside}" if one.beside else "absolute times: no peer in common"
        factor = Text(f"{one.factor:.2f}", style)
        shown.add_row(one.row.case.name, str(one.row.threads), number(one.row.ours.microseconds), factor, how)
    return shown


if __name__ == "__main__":
    main()
