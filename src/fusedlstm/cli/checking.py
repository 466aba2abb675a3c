"""`fusedlstm check`: what a lower precision does to the outputs of an LSTM, or of a whole model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Column, Table

from .. import LSTM, formats
from .._assumed import settled
from .._progress import progress_bar
from ..model import Model
from ..weights import DTYPES, PRODUCTS, LSTMWeights
from . import options
from .feeds import Array, Feeds, shape_option, states_option
from .options import (
    FILE,
    MODEL,
    Piped,
    config_option,
    expect_picture,
    layout_option,
    prefix_option,
    printable,
    products_option,
)
from .runfile import open_array

if TYPE_CHECKING:
    from ..check import Check
    from ..check_model import ModelCheck

RUNS = 50
"""Of a whole model, at most."""
LONG = 10.0
"""Seconds after which no further run begins."""


@click.command()
@click.argument("file", type=MODEL)
@click.option("--dtype", type=click.Choice(DTYPES[1:]), required=True, help="The precision to try.")
@products_option
@click.option(
    "--keep", metavar="NAME", multiple=True, help="A node of a whole model that stays in float32. Once for each."
)
@shape_option
@states_option
@click.option(
    "--data", metavar="X.npy", type=FILE, help="An LSTM's inputs. Default: standard normal, 4 rows of 2,000 steps."
)
@prefix_option
@layout_option
@config_option
@click.option("--png", type=FILE, help="Draw the errors; needs matplotlib.")
def check(
    file: Path | Piped,
    dtype: str,
    products: str | None,
    keep: Sequence[str],
    inputs: Sequence[str],
    states: Sequence[str],
    data: Path | None,
    prefix: str | None,
    batch_first: bool | None,
    config: Any,
    png: Path | None,
) -> None:
    """Tell what a lower precision does to the outputs.

    Of the whole model, where FILE holds one; else, or with --prefix or --data, of an LSTM. Errors are those against the
    same model in float32.
    """
    expect_picture(png)
    of_one = prefix is not None or data is not None or config is not None or batch_first is not None
    contents = formats.open(file, config)  # once: standard input comes once
    if not of_one and contents.graph is not None:
        _check_model(contents, dtype, products, keep, inputs, states, png)
        return
    if keep or inputs or states:
        raise ValueError(
            "--keep, --input, --states: expected a whole model, found an LSTM alone; --data is for its inputs"
        )
    # Random inputs have no order of axes to be wrong about.
    found = {prefix or "": contents.load(LSTMWeights, prefix)}
    (weights,) = settled("LSTM", found, contents.file, True if data is None else batch_first).values()
    _check_lstm(contents, LSTM(weights), dtype, products, data, png)


def _begin(contents: formats.Contents, found: Check | ModelCheck) -> Console:
    console = options.console()
    what = found.dtype + (f" by {found.products}" if len(PRODUCTS[found.dtype]) > 1 else "")
    console.print(f"[bold]{escape(contents.file)}[/]: {what} against float32", soft_wrap=True)
    return console


def _end(console: Console, draw: Callable[[Path], None], png: Path | None) -> None:
    if png is not None:
        draw(png)
        console.print(f"The picture: [bold]{escape(str(png))}[/]", soft_wrap=True)


def _check_model(
    contents: formats.Contents,
    dtype: str,
    products: str | None,
    keep: Sequence[str],
    inputs: Sequence[str],
    states: Sequence[str],
    png: Path | None,
) -> None:
    from .. import check_model as checking

    graph = contents.whole()
    with formats.named(contents.file):
        model = Model(graph)
    low = model.astype(dtype, products, keep=keep)  # what is wrong with these has nothing to do with the inputs
    with progress_bar("checking") as progress:
        feeds = Feeds(model, inputs, states)
        with feeds.guessing():
            found = checking.check_model(model, dtype, products, _runs(feeds, progress), keep, feeds.handed.states)
    console = _begin(contents, found)
    before, after = found.seconds_before * 1e6, found.seconds_after * 1e6
    console.print(f"time  {after:,.4g} µs for {before:,.4g} µs a call, {before / max(after, 1e-6):.2f} times as fast")
    console.print(escape(printable(low.in_words())), soft_wrap=True)
    table = Table(
        Column("output", overflow="fold"),
        "largest error",
        "RMS error",
        "of RMS",
        "share",
        box=None,
        padding=(0, 1, 0, 0),
    )
    for one in found.outputs:
        numbers = f"{one.max_error:.2e}", f"{one.rms_error:.2e}", f"{one.output_rms:.2e}", f"{one.share:.3%}"
        table.add_row(escape(printable(one.name)), *numbers)
    console.print(table)
    for one in found.outputs:
        if one.broken:
            some = f"{one.broken:,} of {one.count:,} numbers"
            told = f"[red]{escape(printable(one.name))}: NaN or inf in one of the two, for {some}[/]"
            console.print(told, soft_wrap=True)
    what = "step" if found.states else "run"
    own = ", each model with its own states" if found.states else ""
    console.print(f"({found.runs} {what}{'s' * (found.runs != 1)}{own}; {escape(feeds.told())})", soft_wrap=True)
    for line in feeds.told_states():
        console.print(line, markup=False, soft_wrap=True)
    _end(console, partial(checking.draw, found), png)


def _runs(feeds: Feeds, progress: Callable[[int, int], None]) -> Iterator[dict[str, Array]]:
    """The inputs of one run after the other: fewer where they take long, and one where each would be the same."""
    begin, count = time.monotonic(), RUNS if feeds.differ else 1
    for k in range(count):
        if k and time.monotonic() - begin > LONG:
            break
        progress(k, count)
        yield feeds.next()


def _check_lstm(
    contents: formats.Contents, lstm: LSTM, dtype: str, products: str | None, data: Path | None, png: Path | None
) -> None:
    from .. import check as checking
    from .._arguments import float32

    x = checking.random_inputs(lstm) if data is None else float32("x", open_array(data))
    found = checking.check(lstm, dtype, products, x)
    console = _begin(contents, found)
    console.print(f"weights        {decimal(found.bytes_after)} for {decimal(found.bytes_before)}")
    before, after = found.seconds_before * 1e3, found.seconds_after * 1e3
    console.print(f"time           {after:.3g} ms for {before:.3g} ms, {before / max(after, 1e-6):.2f} times as fast")
    console.print(f"largest error  {found.max_error:.2e}")
    console.print(
        f"RMS error      {found.rms_error:.2e}, {found.share:.3%} of the outputs' RMS of {found.output_rms:.2g}"
    )
    if data is None:
        console.print("(inputs: standard normal; --data takes your own)")
    table = Table("time", "RMS error", "largest", "", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for start, stop, rms, largest in zip(found.edges, found.edges[1:], found.rms_by_span, found.max_by_span):
        share = float(rms / max(found.rms_by_span.max(), 1e-300))
        bar = "█" * round(24 * share) if isfinite(share) else ""
        table.add_row(f"{start}–{stop}", f"{rms:.2e}", f"{largest:.2e}", bar)
    console.print(table)
    _end(console, partial(checking.draw, found), png)
