"""The command line: info, convert, check, run, profile, demo, bench."""

from __future__ import annotations

import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from .. import LSTM, __version__
from .._files import expect_no_other_format
from .._progress import progress_bar
from ..errors import AssumptionWarning
from ..model import Model
from ..weights import DTYPES
from . import models
from .benchmark import bench
from .checking import check
from .demonstration import demo
from .feeds import input_option
from .info import info
from .options import (
    FILE,
    MODEL,
    STATED_BY,
    Piped,
    config_option,
    layout_option,
    prefix_option,
    printable,
    products_option,
)
from .runfile import open_array, read_state, run_file, write_state


class OneLineErrors(click.Group):
    """Bad input is told in one line on stderr, with exit code 1; what was assumed in a line as well."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        assumed: list[AssumptionWarning] = []
        with warnings.catch_warnings():
            shown = warnings.showwarning

            def show(message: Warning | str, *rest: Any, **named: Any) -> None:
                if isinstance(message, AssumptionWarning):
                    assumed.append(message)
                else:
                    shown(message, *rest, **named)

            warnings.showwarning = show
            warnings.simplefilter("always", AssumptionWarning)
            result = self._invoke(ctx)
        for one in assumed:
            click.echo(f"Warning: {printable(str(one))} (here {STATED_BY[one.argument]})", err=True)
        return result

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly
        except MemoryError as error:
            raise click.ClickException("out of memory") from error
        except OSError as error:
            told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise click.ClickException(printable(told)) from error
        except (ValueError, TypeError, ImportError) as error:
            raise click.ClickException(printable(" ".join(str(error).split()))) from error


def _now(token: str) -> str:
    """An option of an earlier version by the name that it has now."""
    if token == "activations":
        click.echo("--activations is called --products now; the old name goes with version 0.2", err=True)
    return "products" if token == "activations" else token


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _now})
@click.version_option(__version__, prog_name="fusedlstm")
def cli() -> None:
    """Run trained models and LSTMs from the file that the training framework wrote."""


def main() -> None:
    """Entry point of the `fusedlstm` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets a "?", not a traceback
    cli(prog_name="fusedlstm")


@cli.command(short_help="Write an LSTM, or the model, in the native form.")
@click.argument("source", metavar="IN", type=MODEL)
@click.argument("target", metavar="OUT", type=FILE)
@prefix_option
@layout_option
@config_option
@click.option("--dtype", type=click.Choice(DTYPES), help="Round the weights. Default: as IN has them.")
@products_option
@click.option("--whole", is_flag=True, help="Write the whole model, not an LSTM of it alone.")
@click.option("--force", is_flag=True, help="Overwrite OUT.")
def convert(
    source: Path | Piped,
    target: Path,
    prefix: str | None,
    batch_first: bool | None,
    config: Any,
    dtype: str | None,
    products: str | None,
    whole: bool,
    force: bool,
) -> None:
    """Write an LSTM of IN, or with --whole the whole model, to OUT in the native form.

    The native form is a safetensors file that says all there is to know, its layout and precision as well, and that
    needs no library to be read.
    """
    expect_no_other_format(target)
    if whole:
        if prefix or config or batch_first is not None:
            raise ValueError("--whole: expected no --prefix, --config or layout, which are for one LSTM")
        model = Model.load(source)
        model = model if dtype is None and products is None else model.astype(dtype or "float32", products)
        found: Model | LSTM = model
        parameters = models.parameters(model)
    else:
        found = lstm = LSTM.load(source, prefix, batch_first=batch_first, config=config, dtype=dtype, products=products)
        parameters = lstm.weights.num_parameters
    if target.exists():
        if isinstance(source, Path) and target.samefile(source):
            raise ValueError(f"{target}: expected another file than IN")
        if not force:
            raise ValueError(f"{target}: exists already; --force overwrites it")
    found.save(target)
    told = f"{target}: {found}, {parameters:,} parameters, {decimal(target.stat().st_size)}"
    click.echo(printable(told))


def _numbers(context: click.Context, option: click.Parameter, value: str | None) -> list[int] | None:
    try:
        return None if value is None else [int(number) for number in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"expected whole numbers such as 7,3,5, found {value!r}") from None


@cli.command()
@click.argument("file", type=MODEL)
@click.argument("x", metavar="[IN.npy]", type=FILE, required=False)
@click.option("-o", "--output", metavar="OUT", type=FILE, required=True, help="Where to write y, or a model's outputs.")
@input_option
@prefix_option
@layout_option
@config_option
@click.option("--state-in", metavar="NPZ", type=FILE, help="The initial state, h and c. Default: zeros.")
@click.option("--state-out", metavar="NPZ", type=FILE, help="Where to write the final state, h and c.")
@click.option("--lengths", metavar="N,N,...", callback=_numbers, help="Valid steps of each row of the batch.")
def run(
    file: Path | Piped,
    x: Path | None,
    output: Path,
    inputs: tuple[str, ...],
    prefix: str | None,
    batch_first: bool | None,
    config: Any,
    state_in: Path | None,
    state_out: Path | None,
    lengths: list[int] | None,
) -> None:
    """Run an LSTM of FILE over an array, or the whole model.

    With --input the whole model of FILE runs, on arrays by its inputs' names, and OUT.npz gets its outputs by theirs.

    IN.npy is of floating point, (batch, time, input) or (time, input), and may be larger than memory; OUT.npy gets y,
    float32. Shapes, state and lengths mean what they mean in torch.nn.LSTM.
    """
    if inputs:
        if x is not None or prefix or config or state_in or state_out or lengths or batch_first is not None:
            raise ValueError("--input: expected a whole model's inputs alone; other arguments are for one LSTM")
        models.run_model(file, inputs, output)
        return
    if x is None:
        raise ValueError(
            "expected IN.npy for an LSTM, or --input NAME=VALUE for a whole model; `fusedlstm info` shows both"
        )
    lstm = LSTM.load(file, prefix, batch_first=batch_first, config=config)
    array = open_array(x)
    state = None if state_in is None else read_state(state_in)
    with progress_bar("running") as progress:
        state = run_file(lstm, array, output, state, lengths, progress)
    if state_out is not None:
        write_state(state_out, state)


cli.add_command(demo)
cli.add_command(info)
cli.add_command(models.profile)
cli.add_command(bench)
cli.add_command(check)
