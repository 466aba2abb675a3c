"""Which outputs the next run of a model takes as its states: what its stream hands over, and why not more."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._live import handed_by
from .pairing import AmbiguousStatesError

if TYPE_CHECKING:
    from .model import Model


class Handed(NamedTuple):
    """What goes from run to run."""

    states: dict[str, str]
    """The output of each state input."""
    fixed: tuple[str, ...]
    """Inputs that a stream of these states takes once."""
    open: tuple[str, str] | None = None
    """An input and an output that may be a state, where there are several ways to pair them: nothing is handed over."""
    kept: tuple[str, ...] = ()
    """Inputs that a stream takes for states, but that the caller has data for."""


def handed_over(model: Model, said: Mapping[str, str] | None = None, given: Collection[str] = ()) -> Handed:
    """What `Model.stream` hands over from step to step.

    Parameters
    ----------
    model : Model
        What is run.
    said : dict, optional
        The output that belongs to each state input. Default: as `Model.stream` finds them.
    given : collection of str
        Inputs that the caller has data for: no states unless they are said to be.

    Raises
    ------
    ValueError
        States that are said and do not fit.
    """
    try:
        states, _ = handed_by(model, None, said, None, False)
    except AmbiguousStatesError as error:
        return Handed({}, (), (error.name, error.outputs[0]))
    deciding = model.inputs.deciding
    fixed = [name for name, one in model.inputs.items() if name not in states and (name in deciding or not one.shape)]
    stood_in = {
        name: np.zeros([size or 1 for size in model.inputs[name].shape], model.inputs[name].dtype) for name in fixed
    }
    states, _ = handed_by(model, stood_in, said, None, False)
    kept = tuple(name for name in states if said is None and name in given)
    return Handed({to: at for to, at in states.items() if to not in kept}, tuple(fixed), None, kept)
