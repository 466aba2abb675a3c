"""`fusedlstm info`: what is in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from . import ConvLSTM, formats
from ._options import MODEL, Piped, config_option
from .errors import FormatError
from .weights import ConvLSTMWeights, LSTMWeights
from .weights.precision import nbytes


@click.command()
@click.argument("file", type=MODEL)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(file: Path | Piped, config: Any, as_json: bool) -> None:
    """Show every LSTM and ConvLSTM in FILE ("-" for standard input): prefix, shape, bytes."""
    contents = formats.open(file, config)
    conv_lstms = contents.listed(ConvLSTMWeights)
    lstms = contents.listed(LSTMWeights) if conv_lstms else contents.expect(LSTMWeights)
    format_name, size = contents.format, contents.size
    found = {prefix: _describe(file, read) for prefix, read in lstms.items()}
    found_conv = {prefix: _describe_conv(file, read) for prefix, read in conv_lstms.items()}
    if as_json:
        about: dict[str, Any] = {"file": str(file), "format": format_name, "bytes": size}
        for name, all_of_them in (("lstms", found), ("conv_lstms", found_conv)):
            about[name] = [{"prefix": prefix, **one} for prefix, one in all_of_them.items()]
        click.echo(json.dumps(about, indent=2))
        return

    console = Console(highlight=False)
    console.print(f"[bold]{escape(str(file))}[/]: {format_name}, {decimal(size)}", soft_wrap=True)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("prefix", overflow="fold", min_width=10)
    for name in ("input→hidden", "layers", "dirs", "parameters", "dtype", "size", "bias", "first"):
        numeric = name in ("layers", "dirs", "parameters", "size")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for prefix, about in found.items():
        if "refused" not in about:
            projection = f", proj {about['proj_size']}" if about["proj_size"] else ""
            table.add_row(
                escape(prefix) or "[dim](root)[/]",
                f"{about['input_size']}→{about['hidden_size']}{projection}",
                str(about["num_layers"]),
                "2" if about["bidirectional"] else "1",
                f"{about['parameters']:,}",
                about["dtype"],
                decimal(about["bytes"]),
                "yes" if about["bias"] else "no",
                ("batch" if about["batch_first"] else "time")
                + (",\nassumed" if "batch_first" in about["assumed"] else ""),
            )
    if table.row_count:
        console.print(table)
    for prefix, about in found.items():
        if about.get("differences"):
            different = ", ".join(about["differences"])
            console.print(f"[bold]{escape(prefix) or '(root)'}[/], unlike torch.nn.LSTM: {escape(different)}")
    for prefix, about in (*found.items(), *found_conv.items()):
        if "config" in about.get("assumed", ()):
            console.print(f"[bold]{escape(prefix) or '(root)'}[/], assumed: {escape(about['assumed']['config'])}")
    for prefix, about in found_conv.items():
        if "refused" not in about:
            name = escape(prefix) or "(root)"
            console.print(f"[bold]{name}[/]: {escape(about['conv_lstm'])}, {about['parameters']:,} parameters")
    for prefix, about in (*found.items(), *found_conv.items()):
        if "refused" in about:
            console.print(f"[red]refused[/] [bold]{escape(prefix) or '(root)'}[/]: {escape(about['refused'])}")


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
