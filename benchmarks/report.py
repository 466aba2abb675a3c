"""Tell what `fusedlstm bench --json` measured: python benchmarks/report.py run.json DIR

DIR gets report.md, report.json and pictures (matplotlib), of whole models models.md, models.json and models.png. A
report.json can be told again: it keeps the limits and RTNeural's figures.
"""

from importlib.util import find_spec
from pathlib import Path

import click
from suite import model_tables, plots, told
from suite.tables import markdown

FILE = click.Path(path_type=Path, exists=True)


@click.command(help=__doc__)
@click.argument("run", type=FILE)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--limits", type=FILE, help="What limits.py wrote: shows how near to the machine's limits each case is.")
@click.option("--rtneural", type=FILE, help="What rtneural.py wrote.")
def main(run, folder, limits, rtneural):
    folder.mkdir(parents=True, exist_ok=True)
    if '"models": [' in run.read_text():
        about, rows = model_tables.load(run)
        kept, name = run.read_text(), "models"
        pictures = _models_picture(about, rows, folder)
        text = model_tables.markdown(about, rows, pictures)
    else:
        found = told.load(run, limits, rtneural)
        kept, name = found.as_json(), "report"
        text = markdown(found, plots.draw(found, folder))
    (folder / f"{name}.json").write_text(kept)
    (folder / f"{name}.md").write_text(text)
    click.echo(folder / f"{name}.md")


def _models_picture(about, rows, folder):
    if find_spec("matplotlib") is None:
        return []
    plots.whole_models(rows, model_tables.title(about).partition(": ")[0]).savefig(folder / "models.png")
    return [("models.png", "Time of each engine, relative to ours")]


if __name__ == "__main__":
    main()
