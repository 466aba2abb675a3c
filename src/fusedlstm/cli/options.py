"""What several commands take."""

from __future__ import annotations

import io
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..weights import PRODUCTS

PICTURES = (".png", ".svg", ".pdf")
STATED_BY = {"batch_first": "--batch-first or --time-first", "config": "--config"}  # by the argument of LSTM.load


def _config(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """A path, or the object that is written out."""
    if value is None or not value.lstrip().startswith("{"):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"expected a file or a JSON object, found {value!r} ({error})") from None


class Piped(io.BytesIO):
    """What came through standard input, as a file with a name for messages."""

    name = "<stdin>"

    def __str__(self) -> str:
        """Its name."""
        return self.name


def printable(name: str) -> str:
    """A name as it is written; characters that would move the cursor as their codes."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in name)


def console() -> Console:
    """Where results are printed; what is piped is not cut to the width of a terminal, unless COLUMNS says one."""
    found = Console(highlight=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found = Console(highlight=False, width=10_000)
    return found


def expect_picture(path: Path | None) -> None:
    """Refuse what could not be drawn, before the work.

    Raises
    ------
    ImportError, ValueError
        There is no matplotlib; the folder is not there, or the name is of no picture.
    """
    if path is None:
        return
    if find_spec("matplotlib") is None:
        raise ImportError('--png needs matplotlib: pip install "fusedlstm[plot]"')
    if path.suffix.lower() not in PICTURES:
        raise ValueError(f"--png: expected a name that ends with {', '.join(PICTURES)}, found {path}")
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"--png: expected a file in a folder that is there, found {path}")


class Model(click.Path):
    """A weights file, or "-" for standard input."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, or all that is piped in."""
        return Piped(sys.stdin.buffer.read()) if value == "-" else super().convert(value, param, ctx)


FILE = click.Path(path_type=Path)  # that it exists is for open() to say: bad input is exit code 1, not 2
MODEL = Model(path_type=Path)
prefix_option = click.option("--prefix", help="Which LSTM, if the file holds several; `fusedlstm info` lists them.")
layout_option = click.option(
    "--batch-first/--time-first",
    default=None,
    help="The layout of x, for files that do not say, such as PyTorch's. Default: batch first.",
)
config_option = click.option(
    "--config",
    metavar="FILE|JSON",
    callback=_config,
    help="What else FILE leaves out: the model's configuration in a file (model.json, model.keras, options.json), or "
    """written out, such as '{"activation": "relu"}'.""",
)
products_option = click.option(
    "--products",
    type=click.Choice(list(dict.fromkeys(name for names in PRODUCTS.values() for name in names))),
    help="What x and h are rounded to: int16, int16/int8 (x and h) or int8 beside int8 weights, float32 "
    "or bfloat16 beside bfloat16 ones. Default: the first; the others are faster in batches, less accurate.",
)
