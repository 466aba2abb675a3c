"""Whole models on the command line: what `info` says of one, `profile`, and `run --input`."""

from __future__ import annotations

import ast
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
import numpy.typing as npt

from .._files import replacing
from .._model_parts import TensorSpec
from ..formats import Contents
from ..graph import type_text
from ..model import Model
from .options import MODEL, Piped, printable
from .runfile import open_array

Array = npt.NDArray[Any]
Command = TypeVar("Command", bound=Callable[..., Any])
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}
MOST_NAME = (1 << 16) - 1
"""Bytes of a name in a zip archive."""
_RANDOM = np.random.default_rng(0)


def _pairs(context: click.Context, option: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    for one in values:
        if "=" not in one:
            raise click.BadParameter(f"expected NAME=VALUE, found {one!r}")
    return values


def _inputs(what: str) -> Callable[[Command], Command]:
    return click.option("--input", "inputs", metavar="NAME=VALUE", multiple=True, callback=_pairs, help=what)


input_option = _inputs("An input of a whole model: a .npy file, or a number such as 16000. Once for each input.")
shape_option = _inputs(
    "An input: a .npy file, a number such as 16000, or a shape such as [1,576] to make it up. Default: made up, "
    "where the file says its shape."
)


@click.command(short_help="Show where the time of a whole model goes.")
@click.argument("file", type=MODEL)
@shape_option
@click.option("--runs", type=click.IntRange(1), default=100, show_default=True, help="Calls to take the median of.")
def profile(file: Path | Piped, inputs: Sequence[str], runs: int) -> None:
    """Show where the time of a whole model goes, by its nodes as FILE names them.

    Inputs that are not given are made up: standard normal numbers, and zeros for whole numbers. Sizes that FILE leaves
    free are 1.
    """
    model = Model.load(file)
    arrays = feed_for(model, inputs)
    with guessing(model, inputs, arrays):
        times = model.profile(*arrays.values(), runs=runs)
    total = sum(one.microseconds for one in times)
    click.echo(f"{click.style(str(file), bold=True)}: {total:,.1f} µs a call, median of {runs}")
    click.echo(", ".join(f"{printable(name)} {type_text(one.dtype, one.shape)}" for name, one in arrays.items()))
    width = max((len(one.operator) for one in times), default=0)
    click.echo(click.style(f"{'µs':>10}   share {'':12} {'operator':{width}} node", bold=True))
    for one in times:
        bar = "█" * round(12 * one.share)
        click.echo(f"{one.microseconds:10,.2f} {one.share:7.1%} {bar:12} {one.operator:{width}} {printable(one.name)}")


def feed_for(model: Model, inputs: Sequence[str]) -> dict[str, Array]:
    """Every input in the model's order: what was written, and the rest made up."""
    given = _named(model, inputs)
    return {name: _given(model, name, given[name]) if name in given else _made_up(model, name) for name in model.inputs}


@contextmanager
def guessing(model: Model, inputs: Sequence[str], arrays: Mapping[str, Array]) -> Iterator[None]:
    """Let errors say which inputs were made up."""
    try:
        yield
    except ValueError as error:
        named = _named(model, inputs)
        made = [f"{printable(k)} as {type_text(one.dtype, one.shape)}" for k, one in arrays.items() if k not in named]
        if not made:
            raise
        raise ValueError(f"{error}; made up {', '.join(made)}: --input says what it is") from error


def run_model(file: Path | Piped, inputs: Sequence[str], output: Path) -> None:
    """Run a whole model and write its outputs: one to an .npy file, several by their names to an .npz file."""
    model = Model.load(file)
    given = _named(model, inputs)
    expected = {".npy": "one output", ".npz": ""}.get(output.suffix)
    if expected is None or (expected and len(model.outputs) > 1):
        raise ValueError(f"{output}: expected a name that ends with .npz, as there may be several outputs")
    for name in model.outputs if expected == "" else ():
        if "\0" in name or len(f"{name}.npy".encode()) > MOST_NAME:
            short = f"{name[:60]!r}{'...' if len(name) > 60 else ''}"
            raise ValueError(f"output {short}: expected a name for {output}, of {MOST_NAME:,} bytes and no NUL")
    found = model.run({name: _given(model, name, value, made_up=False) for name, value in given.items()})
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


def _named(model: Model, inputs: Sequence[str]) -> dict[str, str]:
    """What was written for each input; names and values may have an "=" themselves."""
    found: dict[str, str] = {}
    for one in inputs:
        cuts = [k for k, letter in enumerate(one) if letter == "=" and one[:k] in model.inputs]
        if not cuts:
            raise ValueError(f"--input {one.partition('=')[0]}: expected one of {', '.join(model.inputs)}")
        name, value = one[: cuts[-1]], one[cuts[-1] + 1 :]
        if name in found:
            raise click.BadParameter(f"expected {name!r} once, found it twice")
        found[name] = value
    return found


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


def _given(model: Model, name: str, text: str, made_up: bool = True) -> Array:
    """An array for what was written: a file, a number, or a shape."""
    dtype = model.inputs[name].dtype
    if made_up and text.startswith("["):
        try:
            shape = ast.literal_eval(text)
            array = np.zeros(shape, dtype)
        except (ValueError, SyntaxError, TypeError, MemoryError):
            raise ValueError(f"--input {name}: expected a shape such as [1,576], found {text!r}") from None
        return _filled(array)
    if dtype.kind == "b":
        if text not in _TRUTHS:
            return open_array(Path(text))
        return np.array(_TRUTHS[text])
    try:
        number = float(text) if dtype.kind == "f" else int(text)
    except ValueError:
        return open_array(Path(text))
    try:
        return np.array(number, dtype)
    except OverflowError:
        raise ValueError(f"--input {name}: expected {dtype}, found {text}") from None


def _made_up(model: Model, name: str) -> Array:
    spec = model.inputs[name]
    return _filled(np.zeros([1 if size is None else size for size in spec.shape], spec.dtype))


def _filled(array: Array) -> Array:
    return _RANDOM.standard_normal(array.shape).astype(array.dtype) if array.dtype.kind == "f" else array
