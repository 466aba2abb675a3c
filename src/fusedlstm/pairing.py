"""Which inputs of a model are states: what comes out under another name and goes in again at the next step."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Spec(Protocol):
    """What is known of an input or output."""

    @property
    def shape(self) -> tuple[int | None, ...]: ...
    @property
    def dtype(self) -> np.dtype[np.generic]: ...


_WORDS = re.compile(
    r"(?:next|new|out(?:put)?s?|in(?:put)?s?|prev(?:ious)?|past|present|init(?:ial)?|cur(?:rent)?|final|last|n|t)"
)


class AmbiguousStatesError(ValueError):
    """There is more than one way to pair an input with an output."""

    def __init__(self, name: str, outputs: Sequence[str]) -> None:
        self.name, self.outputs = name, tuple(outputs)
        super().__init__(
            f"states: expected one way to pair inputs and outputs, found that {name!r} may be "
            f"{' or '.join(map(repr, outputs))}; say it: stream(states={{{name!r}: {outputs[0]!r}, ...}})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """As it was made."""
        return type(self), (self.name, self.outputs)


def pair_states(
    inputs: Mapping[str, Spec], outputs: Mapping[str, Spec], said: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The output that belongs to each state input.

    Paired are an input and an output of one type and shape whose names are the same but for words such as "next",
    "out" or a trailing n (``state`` and ``stateN``, ``h_in`` and ``h_out``, ``h0`` and ``h0n`` beside ``h1`` and
    ``h1n``, ``h0`` and ``hn``); then what is left of one shape where there is only one way, the first input and the
    first output aside.

    Parameters
    ----------
    inputs, outputs : dict
        Of the model.
    said : dict, optional
        Pairs that the caller states; no others are looked for.

    Raises
    ------
    ValueError
        Names that do not exist or do not fit, or more than one way to pair them.
    """
    if said is not None:
        for name, output in said.items():
            for one, where, specs in ((name, "input", inputs), (output, "output", outputs)):
                if one not in specs:
                    raise ValueError(f"states: expected an {where} of {', '.join(specs)}, found {one!r}")
            if not _alike(inputs[name], outputs[output]):
                raise ValueError(f"states: expected {name!r} and {output!r} to have one type and shape")
        if len(set(said.values())) < len(said):
            raise ValueError("states: expected each output once")
        return dict(said)
    found: dict[str, str] = {}
    for numbers in (True, False):  # h0 and h0n are one state of several; else h0 and hn are one
        alike: dict[str, tuple[list[str], list[str]]] = {}
        for names, side in ((inputs.keys() - found.keys(), 0), (outputs.keys() - set(found.values()), 1)):
            for name in names:
                alike.setdefault(_root(name, numbers), ([], []))[side].append(name)
        for ins, outs in alike.values():
            if len(ins) == len(outs) == 1 and _fit(inputs[ins[0]], outputs[outs[0]]):
                found[ins[0]] = outs[0]
    found = {name: found[name] for name in inputs if name in found}
    first_in, first_out = next(iter(inputs), ""), next(iter(outputs), "")
    left_in = [name for name in inputs if name not in found and name != first_in]
    left_out = [name for name in outputs if name not in found.values() and name != first_out]
    for name in left_in:
        fitting = [other for other in left_out if _fit(inputs[name], outputs[other])]
        rivals = [other for other in left_in if other != name and any(_fit(inputs[other], outputs[o]) for o in fitting)]
        if not fitting:
            continue
        if len(fitting) > 1 or rivals:
            raise AmbiguousStatesError(name, fitting)
        found[name] = fitting[0]
    return found


def _fit(one: Spec, other: Spec) -> bool:
    """Whether they may be a state where nobody says so: whole numbers are lengths and rates more often."""
    return one.dtype.kind == "f" and _alike(one, other)


def _alike(one: Spec, other: Spec) -> bool:
    """Whether the types are one, as models hold them, and the shapes may be."""
    return (
        (one.dtype == other.dtype or one.dtype.kind == other.dtype.kind == "f")
        and len(one.shape) == len(other.shape)
        and all(a is None or b is None or a == b for a, b in zip(one.shape, other.shape))
    )


def _root(name: str, numbers: bool) -> str:
    """A name without what tells an input from an output, with its numbers or without."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word and not _WORDS.fullmatch(word)]
    short = [re.sub(r"(?<=^[hc])[nt]$|(?<=^[hc][0-9])n$", "", word) for word in words]
    if not numbers:
        short = [re.sub(r"[01]$", "", word) for word in short]
    return "_".join(word for word in short if word) or name.lower()
