"""`fusedlstm info`: what is in a file."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.cells import cell_len
from rich.filesize import decimal

from .. import ConvLSTM, formats
from ..errors import FormatError
from ..weights import ConvLSTMWeights, LSTMWeights
from ..weights.precision import nbytes
from . import models
from .options import MODEL, Piped, config_option, printable

COLUMNS = ("in→hidden", "layers", "dirs", "params", "dtype", "size", "bias", "first")
NUMERIC = ("layers", "dirs", "params", "size")


@click.command(short_help="Show the model and the LSTMs in FILE.")
@click.argument("file", type=MODEL)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Of a whole model, list what is computed.")
def info(file: Path | Piped, config: Any, as_json: bool, verbose: bool) -> None:
    """Show what is in FILE ("-" for standard input): the whole model, every LSTM and ConvLSTM."""
    contents = formats.open(file, config)
    model = None if contents.graph is None else models.describe(contents)
    conv_lstms = contents.listed(ConvLSTMWeights)
    lstms = contents.listed(LSTMWeights) if conv_lstms or model else contents.expect(LSTMWeights)
    format_name, size = contents.format, contents.size
    found = {prefix: _describe(file, read) for prefix, read in lstms.items()}
    found_conv = {prefix: _describe_conv(file, read) for prefix, read in conv_lstms.items()}
    if as_json:
        about: dict[str, Any] = {"file": str(file), "format": format_name, "bytes": size}
        for name, all_of_them in (("lstms", found), ("conv_lstms", found_conv)):
            about[name] = [{"prefix": prefix, **one} for prefix, one in all_of_them.items()]
        if model is not None:
            about["model"] = model
        click.echo(json.dumps(about, indent=2))
        return

    click.echo(f"{click.style(str(file), bold=True)}: {format_name}, {decimal(size)}")
    for line in () if model is None else models.told(model, verbose):
        click.echo(line)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in _table({prefix: _row(about) for prefix, about in found.items() if "refused" not in about}, width):
        click.echo(line)
    for prefix, about in found.items():
        if about.get("differences"):
            click.echo(f"{_bold(prefix)}, unlike torch.nn.LSTM: {printable(', '.join(about['differences']))}")
    for prefix, about in (*found.items(), *found_conv.items()):
        if "config" in about.get("assumed", ()):
            click.echo(f"{_bold(prefix)}, assumed: {printable(about['assumed']['config'])}")
    for prefix, about in found_conv.items():
        if "refused" not in about:
            click.echo(f"{_bold(prefix)}: {printable(about['conv_lstm'])}, {about['parameters']:,} parameters")
    for prefix, about in (*found.items(), *found_conv.items()):
        if "refused" in about:
            click.echo(f"{click.style('refused', fg='red')} {_bold(prefix)}: {printable(about['refused'])}")


def _bold(prefix: str) -> str:
    return click.style(_shown(prefix), bold=True)


def _shown(prefix: str) -> str:
    return printable(prefix) or formats.ROOT


def _row(about: dict[str, Any]) -> list[str]:
    projection = f", proj {about['proj_size']}" if about["proj_size"] else ""
    assumed = ", assumed" if "batch_first" in about["assumed"] else ""
    return [
        f"{about['input_size']}→{about['hidden_size']}{projection}",
        str(about["num_layers"]),
        "2" if about["bidirectional"] else "1",
        f"{about['parameters']:,}",
        about["dtype"],
        decimal(about["bytes"]),
        "yes" if about["bias"] else "no",
        ("batch" if about["batch_first"] else "time") + assumed,
    ]


def _table(rows: dict[str, list[str]], width: int | None) -> list[str]:
    """The lines of a table, prefixes in one piece: where that is wider than the terminal, on lines of their own."""
    cells = [["prefix", *COLUMNS], *([_shown(prefix), *row] for prefix, row in rows.items())]
    sizes = [max(map(cell_len, column)) for column in zip(*cells)]
    if not rows:
        return []
    if width is None or sum(sizes) + len(COLUMNS) <= width:
        lines = [" ".join(map(_padded, row, sizes, ("", *COLUMNS))).rstrip() for row in cells]
        return [click.style(lines[0], bold=True), *lines[1:]]
    lines = []
    for prefix, *row in cells[1:]:
        lines += [click.style(prefix, bold=True), *(f"  {name}: {cell}" for name, cell in zip(COLUMNS, row))]
    return lines


def _padded(cell: str, size: int, column: str) -> str:
    space = " " * (size - cell_len(cell))
    return space + cell if column in NUMERIC else cell + space


def _describe(file: Path | Piped, read: Callable[[], LSTMWeights]) -> dict[str, Any]:
    try:
        weights = read()
    except (FormatError, ImportError) as error:
        return {"refused": str(error).removeprefix(f"{file}: ")}
    return {
        "input_size": weights.input_size,
        "hidden_size": weights.hidden_size,
        "num_layers": weights.num_layers,
        "bidirectional": weights.bidirectional,
        "proj_size": weights.proj_size,
        "batch_first": weights.batch_first,
        "bias": any(one.bias is not None for layer in weights.layers for one in layer),
        "parameters": weights.num_parameters,
        "dtype": weights.dtype,
        "products": weights.products,
        "activations": weights.products,  # its former name, for one version more
        "bytes": nbytes(weights),
        "differences": weights.differences,
        "assumed": {one.argument: one.what for one in weights.assumed},
    }


def _describe_conv(file: Path | Piped, read: Callable[[], ConvLSTMWeights]) -> dict[str, Any]:
    try:
        weights = read()
    except (FormatError, ImportError) as error:
        return {"refused": str(error).removeprefix(f"{file}: ")}
    parameters = weights.num_parameters
    assumed = {one.argument: one.what for one in weights.assumed}
    return {"conv_lstm": repr(ConvLSTM(weights)), "parameters": parameters, "bytes": 4 * parameters, "assumed": assumed}
