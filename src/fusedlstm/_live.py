"""Which kind of stream a model has: over states of the file, or along time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ._along import Along, Time
from ._model_parts import is_count
from ._state_rows import StateRows
from ._time_rows import TimeRows
from .model_stream import ModelStream
from .pairing import pair_states
from .time_stream import TimeStream

if TYPE_CHECKING:
    from .model import Model

Fixed = Mapping[str, npt.ArrayLike] | None
States = Mapping[str, str] | None
Context = Mapping[str, int] | None


def stream_of(
    model: Model, batch_size: int, fixed: Fixed, states: States, context: Context, time: Time, every_step: bool
) -> ModelStream | TimeStream:
    """What `Model.stream` opens."""
    if not is_count(batch_size):
        raise ValueError(f"batch_size: expected a whole number from 1, found {batch_size!r}")
    pairs, held = handed_by(model, fixed, states, context, time is not None or every_step)
    if pairs:
        return ModelStream(model, batch_size, held, pairs, dict(context or {}))
    return TimeStream(Along(model, int(batch_size), held, time, every_step))


def restored(model: Model, options: Mapping[str, Any], state: Mapping[str, Any], shapes: Any) -> Any:
    """A stream that was pickled; `shapes` are those of its last step, where the model leaves them open."""
    stream = model.stream(**options)
    if isinstance(stream, ModelStream) and shapes is not None:
        stream._switch(shapes)
    stream.state = state
    return stream


def rows_of(
    model: Model,
    *,
    fixed: Fixed = None,
    states: States = None,
    context: Context = None,
    time: Time = None,
    every_step: bool = False,
) -> StateRows | TimeRows:
    """What a `StreamPool` steps; the parameters are those of `Model.stream`."""
    pairs, held = handed_by(model, fixed, states, context, time is not None or every_step)
    return StateRows(model, held, pairs, dict(context or {})) if pairs else TimeRows(model, held, time, every_step)


def handed_by(
    model: Model, fixed: Fixed, states: States, context: Context, along: bool
) -> tuple[dict[str, str], dict[str, npt.NDArray[Any]]]:
    """The output of each state input, and the inputs that stay the same."""
    inputs = model.inputs
    pairs = pair_states(inputs, model.outputs, states)
    if states is None:  # more than one free size: a sequence that is handed through
        pairs = {name: output for name, output in pairs.items() if inputs[name].shape.count(None) < 2}
    for name in (*(fixed or {}), *(context or {})):
        if name not in inputs or name in pairs:
            raise ValueError(f"{name!r}: expected an input that is no state, of {', '.join(inputs)}")
    if pairs and along:
        raise ValueError(
            f"time, every_step: expected a model without states of its own, found {', '.join(pairs)}; states={{}} says "
            "that they are none"
        )
    if context and not pairs:
        raise ValueError(
            "context: expected a model with states among its inputs and outputs, found none; if it has some, say "
            'which: states={"input": "output"}'
        )
    return pairs, {name: np.array(inputs.array(name, value)) for name, value in (fixed or {}).items()}
