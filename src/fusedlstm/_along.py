"""A model along time: which axis is time, what is kept, and a program for each kind of chunk."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._model_parts import constants_of, held
from .errors import FormatError
from .graph import specialise
from .graph.live import TIME, Chunk, Flow, Walk
from .graph.packed import Packed
from .graph.plan import plan

if TYPE_CHECKING:
    from .model import Model

Array = npt.NDArray[Any]
STEPS = "steps"
"""What states call the number of steps."""
Time = int | Mapping[str, int] | None


class Chunked(NamedTuple):
    """A program for some steps, and what its arrays are."""

    program: _core.Program
    states: tuple[tuple[int, int, int], ...]
    """Of each state that it takes its input, its output, and the number of the state."""
    given: tuple[int, ...]
    made: tuple[int | None, ...]
    """Of each output of the model that of the program; None where these steps give none."""


class Lost(NamedTuple):
    """Axes that arrays come without."""

    steps: bool
    rows: bool

    def made(self, along: Along, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an output without them."""
        return Lost(self.steps and not along.several(name), self.rows).of(shape, along.axis(name))

    def of(self, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
        """A shape without them; `axis` is that of steps."""
        gone = {axis} if self.steps and shape[axis] == 1 else set()
        row = 0 if axis else 1
        if self.rows and shape[row : row + 1] == (1,) and len(shape) - len(gone) > 1:
            gone.add(row)
        return tuple(size for k, size in enumerate(shape) if k not in gone)


class Along:
    """What a model without states of its own does step by step.

    Parameters
    ----------
    model : Model
        What is run.
    batch_size : int
        Rows.
    fixed : dict
        Inputs that do not go along time.
    time : int or dict, optional
        Which axis is time, for all inputs or for each.
    every_step : bool
        Whether what is the last step's alone is wanted at every step.
    packed : Packed, optional
        Weights that others of this model and these fixed inputs have packed.

    Raises
    ------
    ValueError
        The model does not go along time; the message says why.
    """

    def __init__(
        self,
        model: Model,
        batch_size: int,
        fixed: Mapping[str, Array],
        time: Time,
        every_step: bool,
        packed: Packed | None = None,
    ) -> None:
        self.model, self.batch_size = model, batch_size
        self.free = [name for name in model.inputs if name not in fixed]
        if not self.free:
            raise ValueError("stream: expected an input that goes along time, found all of them fixed")
        self.fixed = constants_of(model.inputs, fixed)
        _expect_axes(time, self.free)
        self.walk = self._walk(self.fixed, time, every_step)
        self.axes = tuple(self.flow(name).axis for name in self.free)
        self.first = [np.array(one.initial, held(one.initial.dtype), order="C") for one in self.walk.states]
        self.states = {one.name: first for one, first in zip(self.walk.states, self.first)}
        self.packed = packed or (
            Packed(model.graph.precision, model.threads, model._packed) if fixed else model._packed
        )
        self._made: dict[tuple[int, ...], Chunked] = {}

    @property
    def options(self) -> dict[str, Any]:
        """What `Model.stream` opens another one with."""
        time, every_step = dict(zip(self.free, self.axes)), self.walk.every_step
        return {
            "batch_size": self.batch_size,
            "fixed": self.fixed,
            "states": {},
            "time": time,
            "every_step": every_step,
        }

    def flow(self, name: str) -> Flow:
        """How an input or output goes."""
        return self.walk.flows[name]

    def axis(self, name: str) -> int:
        """The axis of an input or output on which its steps are put together."""
        flow = self.flow(name)
        return min(self.axes[0], len(self.walk.graph.types[name].shape)) if flow.last else flow.axis

    def shape(self, name: str, count: int) -> tuple[int, ...]:
        """Of an input or output with so many steps."""
        kind, flow = self.walk.inputs.get(name) or self.walk.graph.types[name], self.flow(name)
        if flow.last:
            return (*kind.shape[: self.axis(name)], count, *kind.shape[self.axis(name) :])
        return tuple(flow.inner * count if axis == flow.axis else size for axis, size in enumerate(kind.shape))

    def size(self, name: str) -> int:
        """Elements of one step of an input or output."""
        return math.prod(self.shape(name, 1))

    def several(self, name: str) -> bool:
        """Whether each step gives several of an output's, which then keep their axis."""
        flow = self.flow(name)
        return not flow.last and flow.rate * flow.inner > 1

    def losses(self, step: bool) -> list[Lost]:
        """Axes that callers may leave out: that of rows where there is one, that of a step."""
        rows = [False, True] if self.batch_size == 1 else [False]
        return [Lost(steps, row) for row in rows for steps in ([False, True] if step else [False])]

    def fitted(self, values: list[Array], count: int | None) -> tuple[list[Array], Lost]:
        """The inputs as the model takes them, and which axes the caller left out."""
        for lost in self.losses(count == 1):
            wholes = [self._whole(name, array, lost, count) for name, array in zip(self.free, values)]
            if None not in wholes:
                return [array.reshape(whole) for array, whole in zip(values, wholes) if whole is not None], lost
        for name, array in zip(self.free, values):
            if all(self._whole(name, array, lost, count) is None for lost in self.losses(count == 1)):
                whole, axis = self.shape(name, 1), self.axis(name)
                shown = ["steps" if k == axis and count is None else str(size) for k, size in enumerate(whole)]
                raise ValueError(f"input {name!r}: expected shape ({', '.join(shown)}), found {array.shape}")
        raise ValueError("expected all inputs with the same axes, found others")

    def _whole(self, name: str, array: Array, lost: Lost, count: int | None) -> tuple[int, ...] | None:
        """The shape of an input with the axes that it lacks; None where it has another one."""
        axis = self.axis(name)
        place = axis - (1 if lost.rows and axis else 0)
        whole = self.shape(name, count or (array.shape[place] if array.ndim > place else 0))
        return whole if array.shape == lost.of(whole, axis) else None

    def _walk(self, fixed: Mapping[str, Array], time: Time, every_step: bool) -> Walk:
        choices = [self._axes(name, time) for name in self.free]
        found: list[Walk] = []
        errors: list[ValueError] = []
        same = [(axis,) * len(choices) for axis in choices[0] if all(axis in some for some in choices)]
        others = (axes for axes in itertools.product(*choices) if axes not in same)
        for k, axes in enumerate(itertools.islice(itertools.chain(same, others), 16)):
            if k == len(same) and found:  # on one axis of all, more likely than on another of each
                break
            shapes = {name: self._open(name, axis) for name, axis in zip(self.free, axes)}
            try:
                walk = Walk(self.model.simplified, shapes, fixed, every_step)
                if not walk.alive and axes[0] == 0 and time is None:
                    raise ValueError("stream: expected something that is kept from step to step, found none")
            except ValueError as error:
                errors.append(error)
            else:
                found.append(walk)
        if not found:
            for name, axes_of in zip(self.free, choices):
                if (
                    axes_of == [0] and time is None and len(self.model.inputs[name].shape) > 2
                ):  # that of rows, most likely
                    raise self._window(name)
            told = [error for error in errors if not _is_of_rows(error)]
            raise told[0] if told else self._window(self.free[0]) if choices[0] == [0] else errors[0]
        if len(found) > 1 and any(walk.alive for walk in found):
            raise ValueError(
                f"stream: expected one axis that may be time, found {len(found)}; say which: stream(time=1), or "
                f"stream(time={{{self.free[0]!r}: 1, ...}})"
            )
        return found[0]

    def _axes(self, name: str, time: Time) -> list[int]:
        """The axes of an input that may be time, the likeliest first."""
        shape, said = self.model.inputs[name].shape, time.get(name) if isinstance(time, Mapping) else time
        if said is not None:
            if not -len(shape) <= said < len(shape) or shape[said] is not None:
                raise ValueError(f"time: expected an axis of {name!r} whose size is free, {_free(shape)}, found {said}")
            return [said % len(shape)]
        found = _free(shape)
        found = [axis for axis in found if axis] + [axis for axis in found if not axis]
        if not found:
            raise self._window(name)
        return found

    def _window(self, name: str) -> ValueError:
        """What to say of an input whose number of steps is fixed."""
        shown = ", ".join("?" if size is None else str(size) for size in self.model.inputs[name].shape)
        return ValueError(
            f"stream: input {name!r}: expected an axis of steps whose size is free, found ({shown}). A model over "
            "windows of a fixed size starts anew in each, which is not what a stream computes: call it on each "
            "window, or export it with a free number of steps. Inputs that are not along time go into fixed, "
            'states with other names into states={"input": "output"}'
        )

    def _open(self, name: str, time: int) -> tuple[Any, ...]:
        sizes = self.model.inputs[name].shape
        return tuple(
            TIME if axis == time else self.batch_size if size is None else size for axis, size in enumerate(sizes)
        )

    def chunk(self, before: int, count: int) -> Chunked:
        """The program for `count` steps after `before` others."""
        key = self.walk.key(before, count)
        found = self._made.get(key)
        if found is None:
            if len(self._made) > 256:
                self._made.clear()
            found = self._made[key] = self._chunk(before, count)
        return found

    def _chunk(self, before: int, count: int) -> Chunked:
        chunk = Chunk(self.walk, before, count)
        graph = chunk.graph()
        try:
            shapes = {one.name: one.shape or () for one in graph.inputs}
            program, _ = plan(specialise(graph, shapes, few=0), self.packed)
        except FormatError as error:
            raise ValueError(str(error)) from error
        inputs = [one.name for one in graph.inputs]
        places = itertools.count()
        made = tuple(next(places) if chunk.new(self.flow(name)) else None for name in self.walk.outputs)
        first = next(places)
        for name, place in zip(self.walk.outputs, made):
            found, wanted = program.shape(len(inputs) + place) if place is not None else (), self.shape(name, 0)
            if place is not None and not self.flow(name).last:
                wanted = self.shape(name, chunk.new(self.flow(name)))
                if found != wanted:
                    raise ValueError(f"stream: output {name!r}: expected {wanted} from these steps, found {found}")
        states = tuple(
            (inputs.index(name), first + k, self.walk.states.index(state))
            for k, (state, (name, _)) in enumerate(chunk.kept.items())
        )
        return Chunked(program, states, tuple(inputs.index(name) for name in self.free), made)


def _expect_axes(time: Time, free: list[str]) -> None:
    for name, axis in (time if isinstance(time, Mapping) else dict.fromkeys(free, time)).items():
        if name not in free:
            raise ValueError(f"time: expected axes of {', '.join(free)}, found one of {name!r}")
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, (int, np.integer))):
            raise TypeError(f"time: expected the number of an axis, or a dict of them by input, found {axis!r}")


def _free(shape: tuple[int | None, ...]) -> list[int]:
    return [axis for axis, size in enumerate(shape) if size is None]


def _is_of_rows(error: BaseException | None) -> bool:
    from .graph.live.rules.recurrent import BatchError

    return error is not None and (isinstance(error, BatchError) or _is_of_rows(error.__cause__))
