"""Whole models on the command line: what `info` says of one, `profile`, and `run --input`."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from .._files import replacing
from .._model_parts import TensorSpec
from ..formats import Contents
from ..graph import type_text
from ..model import Model
from .feeds import Feeds, array_for, named, shape_option
from .options import MODEL, Piped, printable

MOST_NAME = (1 << 16) - 1
"""Bytes of a name in a zip archive."""


@click.command(short_help="Show where the time of a whole model goes.")
@click.argument("file", type=MODEL)
@shape_option
@click.option("--runs", type=click.IntRange(1), default=100, show_default=True, help="Calls to take the median of.")
def profile(file: Path | Piped, inputs: Sequence[str], runs: int) -> None:
    """Show where the time of a whole model goes, by its nodes as FILE names them.

    Inputs that are not given are made up: standard normal numbers, and whole numbers that FILE has a use for. Of sizes
    that FILE leaves free, sequences are 20 where it runs with that, and others 1.
    """
    model = Model.load(file)
    feeds = Feeds(model, inputs)
    arrays = feeds.next()
    with feeds.guessing():
        times = model.profile(*arrays.values(), runs=runs)
    total = sum(one.microseconds for one in times)
    click.echo(f"{click.style(str(file), bold=True)}: {total:,.1f} µs a call, median of {runs}")
    click.echo(feeds.told())
    width = max((len(one.operator) for one in times), default=0)
    click.echo(click.style(f"{'µs':>10}   share {'':12} {'operator':{width}} node", bold=True))
    for one in times:
        bar = "█" * round(12 * one.share)
        click.echo(f"{one.microseconds:10,.2f} {one.share:7.1%} {bar:12} {one.operator:{width}} {printable(one.name)}")


def run_model(file: Path | Piped, inputs: Sequence[str], output: Path) -> None:
    """Run a whole model and write its outputs: one to an .npy file, several by their names to an .npz file."""
    model = Model.load(file)
    given = named(model, inputs)
    expected = {".npy": "one output", ".npz": ""}.get(output.suffix)
    if expected is None or (expected and len(model.outputs) > 1):
        raise ValueError(f"{output}: expected a name that ends with .npz, as there may be several outputs")
    for name in model.outputs if expected == "" else ():
        if "\0" in name or len(f"{name}.npy".encode()) > MOST_NAME:
            short = f"{name[:60]!r}{'...' if len(name) > 60 else ''}"
            raise ValueError(f"output {short}: expected a name for {output}, of {MOST_NAME:,} bytes and no NUL")
    found = model.run({name: array_for(model, name, value) for name, value in given.items()})
    with replacing(output) as temporary, open(temporary, "wb") as stream:
        if output.suffix == ".npy":
            np.save(stream, next(iter(found.values())))
        else:
            with zipfile.ZipFile(stream, "w") as archive:  # numpy.savez has names of its own, such as "file"
                for name, one in found.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, one)
    for name, one in found.items():
        click.echo(f"{printable(name)}: {type_text(one.dtype, one.shape)}")


def describe(contents: Contents) -> dict[str, Any]:
    """What `info` says of a whole model; of one that is refused, why."""
    try:
        model = Model(contents.whole())
    except (ValueError, ImportError) as error:
        return {"refused": str(error).removeprefix(f"{contents.file}: ")}
    nodes, left = list(model.graph.walk()), list(model.simplified.walk())

    def specs(of: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
        return [{"name": name, "dtype": one.dtype.name, "shape": list(one.shape)} for name, one in of.items()]

    return {
        "inputs": specs(model.inputs),
        "outputs": specs(model.outputs),
        "nodes": len(nodes),
        "nodes_left": dict(Counter(node.op for _, node in left)),
        "parameters": parameters(model),
        "dtype": model.dtype,
        "weights": model.in_words(),
        "summary": model.summary(),
    }


def parameters(model: Model) -> int:
    """How many numbers of floating point a model holds."""
    found: dict[int, int] = {id(one): one.size for one in model.graph.constants.values() if one.dtype.kind == "f"}
    for of, node in model.graph.walk():
        found |= {id(one): one.size for one in of.constants.values() if one.dtype.kind == "f"}
        held = node.attributes.get("weights")
        found |= {} if held is None else {id(held): held.num_parameters}
    return sum(found.values())


def told(about: dict[str, Any], verbose: bool) -> list[str]:
    """The same as lines of text."""
    if "refused" in about:
        return [f"{click.style('refused', fg='red')} as a whole model (Model.load): {printable(about['refused'])}"]

    def shown(what: str) -> list[str]:
        return [
            f"  {what}  {printable(one['name'])}: {type_text(np.dtype(one['dtype']), one['shape'])}"
            for one in about[f"{what}s"]
        ]

    left, low = about["nodes_left"], about["dtype"] != "float32"
    lines = [
        f"{click.style('whole model', bold=True)}: {about['nodes']:,} nodes, simplified to {sum(left.values()):,}, "
        f"{about['parameters']:,} parameters" + (f", {printable(about['weights'])}" if low else ""),
        *shown("input"),
        *shown("output"),
    ]
    if verbose:
        lines += ["simplified to " + ", ".join(f"{op} x {count}" for op, count in left.items())]
        lines += map(printable, about["summary"].splitlines())
    return lines
