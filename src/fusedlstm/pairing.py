"""Which inputs of a model are states: what comes out under another name and goes in again at the next step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Spec(Protocol):
    """What is known of an input or output."""

    @property
    def shape(self) -> tuple[int | None, ...]: ...
    @property
    def dtype(self) -> np.dtype[np.generic]: ...


_WORDS = re.compile(r"(?:next|new|out(?:put)?|in(?:put)?|prev(?:ious)?|init(?:ial)?|cur(?:rent)?|final|last|n|t|0|1)")


def pair_states(
    inputs: Mapping[str, Spec], outputs: Mapping[str, Spec], said: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The output that belongs to each state input.

    Paired are an input and an output of one type and shape whose names are the same but for words such as "next",
    "out" or a trailing n (``state``/``stateN``, ``h``/``hn``, ``h_in``/``h_out``); then what is left of one shape where
    there is only one way, the first input and the first output aside.

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
            if not _fit(inputs[name], outputs[output]):
                raise ValueError(f"states: expected {name!r} and {output!r} to have one type and shape")
        if len(set(said.values())) < len(said):
            raise ValueError("states: expected each output once")
        return dict(said)
    found: dict[str, str] = {}
    for name, spec in inputs.items():
        same = [other for other, made in outputs.items() if _root(other) == _root(name) and _fit(spec, made)]
        if len(same) == 1 and same[0] not in found.values():
            found[name] = same[0]
    first_in, first_out = next(iter(inputs), ""), next(iter(outputs), "")
    left_in = [name for name in inputs if name not in found and name != first_in]
    left_out = [name for name in outputs if name not in found.values() and name != first_out]
    for name in left_in:
        fitting = [other for other in left_out if _fit(inputs[name], outputs[other])]
        rivals = [other for other in left_in if other != name and any(_fit(inputs[other], outputs[o]) for o in fitting)]
        if not fitting:
            continue
        if len(fitting) > 1 or rivals:
            raise ValueError(
                f"states: expected one way to pair inputs and outputs, found that {name!r} may be "
                f"{' or '.join(map(repr, fitting))}; say it: stream(states={{{name!r}: {fitting[0]!r}, ...}})"
            )
        found[name] = fitting[0]
    return found


def _fit(one: Spec, other: Spec) -> bool:
    """Whether the types are one and the shapes may be."""
    return (
        one.dtype == other.dtype
        and one.dtype.kind == "f"
        and len(one.shape) == len(other.shape)
        and all(a is None or b is None or a == b for a, b in zip(one.shape, other.shape))
    )


def _root(name: str) -> str:
    """A name without what tells an input from an output."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word and not _WORDS.fullmatch(word)]
    short = [re.sub(r"(?<=^[hc])(?:n|0|t)$", "", word) for word in words]
    return "_".join(short) or name.lower()
