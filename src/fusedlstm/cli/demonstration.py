"""``fusedlstm demo``: the forecast of CO2, or an application of the gallery."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from .._progress import progress_bar
from .options import FILE, expect_picture

NO_PICTURE = 'The same as a picture: pip install "fusedlstm[plot]" and run this again.'


@click.command(short_help="Forecast CO2, or run an application of the gallery.")
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="The names of what can be run, with a line on each.")
@click.option("--png", type=FILE, help="Where to draw. Default: fusedlstm-NAME.png, if matplotlib is installed.")
def demo(name: str | None, listed: bool, png: Path | None) -> None:
    """Forecast the CO2 over Hawaii with a PyTorch model, or run the application NAME of the gallery."""
    if listed:
        _show_list()
        return
    with_picture = find_spec("matplotlib") is not None
    expect_picture(png)
    target = png or Path(f"fusedlstm-{name or 'demo'}.png")
    if name is None:
        _forecast(target, with_picture, asked=png is not None)
        return
    from ..demo import gallery

    if gallery.run(name, target):
        click.echo(f"The picture: {target}")
    else:
        click.echo('The picture needs matplotlib: pip install "fusedlstm[plot]" and run this again.')


def _show_list() -> None:
    from ..demo import gallery

    programs = gallery.applications()
    width = max(map(len, programs), default=0)
    click.echo(f"{'':{width}}  without a name: the CO2 over Hawaii, forecast a year ahead")
    for name, program in programs.items():
        click.echo(f"{name:{width}}  {gallery.title(program)}")


def _forecast(target: Path, with_picture: bool, asked: bool) -> None:
    from .. import demo as forecast
    from ..demo.terminal import show

    with progress_bar("forecasting") as progress:
        result = forecast.run(progress)
    console = Console(highlight=False)
    show(result, console)
    if not with_picture:
        console.print(f"\n{NO_PICTURE}", markup=False)
        return
    from ..demo.picture import save

    try:
        save(result, target)
    except OSError:
        if asked:
            raise
        return  # nobody asked for it, and this folder cannot be written
    console.print(f"\nThe picture of all {len(result.dates)} years: [bold]{escape(str(target))}[/]", soft_wrap=True)
