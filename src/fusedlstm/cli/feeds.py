"""A whole model's inputs on the command line: what --input says, what is made up, and which of them are states."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
import numpy.typing as npt

from .._handed import handed_over
from ..graph import type_text
from ..model import Model
from .making import made_up
from .options import printable
from .runfile import open_array

Array = npt.NDArray[Any]
Command = TypeVar("Command", bound=Callable[..., Any])
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def _pairs(context: click.Context, option: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    for one in values:
        if "=" not in one and not (option.name == "states" and one == "none"):
            raise click.BadParameter(f"expected {option.metavar}, found {one!r}")
    return values


def _inputs(what: str) -> Callable[[Command], Command]:
    return click.option("--input", "inputs", metavar="NAME=VALUE", multiple=True, callback=_pairs, help=what)


input_option = _inputs("An input of a whole model: a .npy file, or a number such as 16000. Once for each input.")
shape_option = _inputs(
    "An input: a .npy file, a number such as 16000, or a shape such as [1,576] to make it up. Default: made up."
)
states_option = click.option(
    "--states", metavar="INPUT=OUTPUT", multiple=True, callback=_pairs,
    help="An input that is a state, and the output that the next run takes for it, once for each; or none. Default: "
    "what Model.stream finds by names and shapes, of inputs that --input gives no data for.",
)  # fmt: skip


class Feeds:
    """Every input of a model for one run after the other, in the model's order.

    Parameters
    ----------
    model : Model
        What runs.
    inputs, states : sequence of str
        As they are written for --input and --states.
    """

    def __init__(self, model: Model, inputs: Sequence[str], states: Sequence[str] = ()) -> None:
        written = named(model, inputs)
        shapes = {name: _shape(model, name, text) for name, text in written.items() if text.startswith("[")}
        self.given = {name: array_for(model, name, text) for name, text in written.items() if name not in shapes}
        self.model, self._written = model, written
        self.handed = handed_over(model, _stated(model, states), self.given)
        missing = {name: shapes.get(name) for name in model.inputs if name not in self.given}
        self._made = made_up(model, missing, self.given, self.handed)
        self._random = np.random.default_rng(0)

    def next(self) -> dict[str, Array]:
        """The inputs of the next run: data as it was given, the rest made up anew."""
        made = {name: one.array(self._random) for name, one in self._made.items()}
        return {name: self.given[name] if name in self.given else made[name] for name in self.model.inputs}

    @property
    def differ(self) -> bool:
        """Whether one run is not like the other: something is made up, or handed over."""
        return bool(self._made or self.handed.states)

    def about(self) -> list[dict[str, Any]]:
        """What is fed, for programs."""
        return [
            {"name": name, "dtype": dtype.name, "shape": list(shape), "made_up": made}
            for name, dtype, shape, made in self._fed()
        ]

    def told(self) -> str:
        """What is fed, in a line."""
        return ", ".join(
            f"{printable(name)} {type_text(dtype, shape)}, {'given' if made is None else f'made up: {made}'}"
            if self.given
            else f"{printable(name)} {type_text(dtype, shape)}: {made}"
            for name, dtype, shape, made in self._fed()
        )

    def told_states(self) -> list[str]:
        """What is handed over from run to run, and what might be."""
        states, lines = self.handed, []
        if states.states:
            pairs = ", ".join(f"{printable(to)} from {printable(at)}" for to, at in states.states.items())
            lines.append(f"states handed over: {pairs}")
        if states.open is not None:
            pair = "=".join(map(printable, states.open))
            lines.append(f"no states handed over, as there is more than one way to pair them; say it: --states {pair}")
        if states.kept:
            names = ", ".join(map(printable, states.kept))
            lines.append(f"no state, as --input gives it: {names}; --states says if it is one")
        return lines

    @contextmanager
    def guessing(self) -> Iterator[None]:
        """Let errors say which inputs were made up."""
        try:
            yield
        except ValueError as error:
            guessed = [
                f"{printable(name)} as {type_text(dtype, shape)}"
                for name, dtype, shape, _ in self._fed()
                if name not in self._written
            ]
            if not guessed:
                raise
            raise ValueError(f"{error}; made up {', '.join(guessed)}: --input says what it is") from error

    def _fed(self) -> Iterator[tuple[str, np.dtype[Any], tuple[int, ...], str | None]]:
        for name in self.model.inputs:
            if name in self.given:
                yield name, self.given[name].dtype, self.given[name].shape, None
            else:
                yield name, self._made[name].dtype, self._made[name].shape, self._made[name].told


def named(model: Model, inputs: Sequence[str]) -> dict[str, str]:
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


def array_for(model: Model, name: str, text: str) -> Array:
    """An array for what was written: a file, or a number."""
    dtype = model.inputs[name].dtype
    if dtype.kind == "b":
        return np.array(_TRUTHS[text]) if text in _TRUTHS else _read(text)
    try:
        number = float(text) if dtype.kind == "f" else int(text)
    except ValueError:
        return _read(text)
    try:
        return np.array(number, dtype)
    except OverflowError:
        raise ValueError(f"--input {name}: expected {dtype}, found {text}") from None


def _read(text: str) -> Array:
    """A whole file; a view of a mapped one is slower in each call."""
    return np.array(open_array(Path(text)), order="C")


def _shape(model: Model, name: str, text: str) -> tuple[int, ...]:
    try:
        shape = ast.literal_eval(text)
        return np.broadcast_to(np.zeros((), model.inputs[name].dtype), shape).shape
    except (ValueError, SyntaxError, TypeError, MemoryError):
        raise ValueError(f"--input {name}: expected a shape such as [1,576], found {text!r}") from None


def _stated(model: Model, states: Sequence[str]) -> Mapping[str, str] | None:
    if not states:
        return None
    found: dict[str, str] = {}
    for one in states:
        if one == "none" and len(states) == 1:
            return {}
        cuts = [k for k, letter in enumerate(one) if letter == "=" and one[:k] in model.inputs]
        cut = next((k for k in cuts if one[k + 1 :] in model.outputs), None)
        if cut is None:
            raise ValueError(
                f"--states {one}: expected one of {', '.join(model.inputs)}, =, and one of {', '.join(model.outputs)}"
            )
        if one[:cut] in found:
            raise click.BadParameter(f"expected {one[:cut]!r} once, found it twice")
        found[one[:cut]] = one[cut + 1 :]
    return found
