"""class TimeStream: a model without states of its own, live along time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._along import Along, Chunked
from ._model_parts import cast, held
from .graph.tensors import element_of

if TYPE_CHECKING:
    pass

Array = npt.NDArray[Any]
_STEPS = "steps"
_MOST = 64  # kinds of chunks that a stream keeps memory for


class TimeStream:
    """A live stream of a model that goes along time step by step; it owns what the layers keep.

    Made by `Model.stream`. Whatever the chunks, the outputs are those of the model on the whole sequence, byte for
    byte. A stream belongs to one thread at a time: a call while another thread is in it raises, and changes nothing.

    Attributes
    ----------
    model : Model
        What it runs.
    """

    def __init__(self, along: Along) -> None:
        self.model, self._along, self._walk = along.model, along, along.walk
        self._core = _core.States([(element_of(value.dtype), value.shape) for value in along.first])
        self._names = [state.name for state in along.walk.states]
        self._narrow = not self.model.inputs.narrow.isdisjoint(along.free)
        self._lives: dict[Any, _Live] = {}
        self._live: _Live | None = None  # which every step from now on is one of
        self._set(dict(zip(self._names, along.first)), 0)
        # What steps without arguments use, wherever the stream is.
        self._bound = _Live(self, along.chunk(self._walk.warm, 1), 1, 0)
        self._outputs = tuple(
            np.zeros(along.shape(name, 1), held(self.model.outputs[name].dtype)) if one is None else one
            for name, one in zip(self._walk.outputs, self._bound.made)
        )
        if self._walk.period == 1:
            self._lives[(True, self._walk.key(self._walk.warm, 1))] = self._bound

    def step(self, /, *args: npt.ArrayLike, **kwargs: npt.ArrayLike) -> Any:
        """Run one step.

        Parameters
        ----------
        *args, **kwargs : array_like
            The inputs that are not fixed, in the order of the model or by name, with an axis of one step or without
            it; with a batch of one also without that. None at all: what is in `input`, and the result goes to `output`.

        Returns
        -------
        ndarray, or a tuple of them
            The outputs, with an axis of one step if the inputs have one. None where this step gives none: layers with
            strides, and those that wait for their first window to be full.

        Raises
        ------
        RuntimeError
            Another thread is in this stream.
        TypeError, ValueError
            Arrays that do not fit. The state is as before.
        """
        if not args and not kwargs:
            return self._in_place()
        arrays, lost = self._arguments(args, kwargs, 1)
        return self._shown(self._run(arrays, 1), lost, 1)

    def process(self, /, *args: npt.ArrayLike, **kwargs: npt.ArrayLike) -> Any:
        """Run any number of steps: the inputs are shaped as the model takes them, and so are the outputs.

        With a batch of one, the axis of rows may be left out. The outputs have as many steps as these steps give; there
        may be none among them.

        Raises
        ------
        RuntimeError, TypeError, ValueError
            As `step`; the state is then as before all of them.
        """
        arrays, lost = self._arguments(args, kwargs, None)
        counts = {array.shape[axis] for array, axis in zip(arrays, self._along.axes)}
        if len(counts) != 1 or not min(counts):
            raise ValueError(f"expected one number of steps, at least one, found {sorted(counts)}")
        (count,) = counts
        if not self._walk.every_step:
            return self._shown(self._run(arrays, count), lost, count)
        before = self.state
        parts: list[list[Array]] = [[] for _ in self._walk.outputs]
        try:
            for k in range(count):
                one = [np.ascontiguousarray(array.take([k], axis)) for array, axis in zip(arrays, self._along.axes)]
                for place, part in zip(parts, self._run(one, 1)):
                    place.append(part)
        except ValueError:
            self.state = before
            raise
        joined = [np.concatenate(part, axis) for part, axis in zip(parts, map(self._axis, self._walk.outputs))]
        return self._shown(joined, lost, count)

    @property
    def input(self) -> Any:
        """What `step` without arguments reads: an array with an axis of one step, or a tuple of them."""
        return self._bound.given[0] if len(self._bound.given) == 1 else self._bound.given

    @property
    def output(self) -> Any:
        """What `step` without arguments writes: an array with an axis of one step, or a tuple of them."""
        return self._outputs[0] if len(self._outputs) == 1 else self._outputs

    @property
    def state(self) -> dict[str, Array]:
        """Copies of what the layers keep, by names, and how many steps there were; set it to go on from another."""
        with self._core:
            found = {name: self._core.get(k) for k, name in enumerate(self._names)}
            return {**found, _STEPS: np.array(self._core.steps, np.int64)}

    @state.setter
    def state(self, value: Mapping[str, npt.ArrayLike]) -> None:
        wanted = dict(zip((*self._names, _STEPS), (*self._along.first, np.array(0, np.int64))))
        if value.keys() != wanted.keys():
            raise ValueError(f"state: expected {', '.join(wanted)}, found {', '.join(value)}")
        new = {}
        for name, like in wanted.items():
            array = np.asarray(value[name])
            if array.dtype.kind != like.dtype.kind or array.shape != like.shape:
                raise ValueError(
                    f"state {name!r}: expected shape {like.shape} of {like.dtype}, found {array.shape} of {array.dtype}"
                )
            new[name] = np.array(array, like.dtype, order="C")
        steps = int(new.pop(_STEPS))
        if steps < 0:
            raise ValueError(f"state {_STEPS!r}: expected 0 or more, found {steps}")
        self._set(new, steps)

    def reset(self) -> None:
        """Back to the start."""
        self._set(dict(zip(self._names, self._along.first)), 0)

    def copy(self) -> TimeStream:
        """A second stream that goes on from the same state, with buffers of its own."""
        twin = TimeStream(self._along)
        twin.state = self.state
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> TimeStream:
        return self.copy()

    def __repr__(self) -> str:
        return f"TimeStream({self.model!r}, time {', '.join(map(str, self._along.axes))}, keeps {', '.join(self._names) or 'nothing'})"

    def _in_place(self) -> Any:
        bound = self._bound
        if self._live is bound:
            bound.core.step_in_place()
            return bound.shown
        made = self._run(list(bound.given), 1)
        if not any(part.size for part in made):
            return None
        there = [one if part.size else None for one, part in zip(self._outputs, made)]
        for one, part in zip(self._outputs, made):
            if part.size:
                one[...] = part.reshape(one.shape)
        return there[0] if len(there) == 1 else tuple(there)

    def _run(self, arrays: list[Array], count: int) -> list[Array]:
        """An array for each output."""
        live = self._live
        if live is None or live.count != count:
            live = self._switch(count)
        found = live.core.step(tuple(arrays))
        if found is None:
            raise RuntimeError("stream: another thread is using it, and nothing was done")
        parts, made = iter(cast(found, live.casts)), []
        for name, place, none in zip(self._walk.outputs, live.places, live.none):
            part = none if place is None else next(parts)
            last = place is not None and self._along.flow(name).last
            made.append(np.expand_dims(part, self._axis(name)) if last else part)
        return made

    def _switch(self, count: int) -> _Live:
        """The program for so many steps, from where the stream is now."""
        walk = self._walk
        with self._core:
            before = self._core.steps
            if before > walk.warm + walk.period:  # what is long ago makes no difference
                before = self._core.steps = walk.warm + (before - walk.warm) % walk.period
            steady = before >= walk.warm and count % walk.period == 0
            key = (steady, walk.key(before, count))
            live = self._lives.get(key)
            if live is None:
                while len(self._lives) >= _MOST:
                    self._lives.pop(next(iter(self._lives)))
                live = self._lives[key] = _Live(self, self._along.chunk(before, count), count, 0 if steady else count)
            live.core.take_over()
            self._live = live if steady else None
        return live

    def _arguments(
        self, args: Sequence[npt.ArrayLike], named: Mapping[str, npt.ArrayLike], count: int | None
    ) -> tuple[list[Array], tuple[bool, bool]]:
        """The inputs as the model takes them; and which axes the caller left out: that of steps, that of rows."""
        free = self._along.free
        if len(args) + len(named) != len(free) or any(name not in free[len(args) :] for name in named):
            raise TypeError(
                f"expected {', '.join(free)}; found {len(args)} arrays and {', '.join(named) or 'no names'}"
            )
        values = {**dict(zip(free, args)), **named}
        found, left = [], set()
        for name in free:
            array = self.model.inputs.array(name, values[name])
            wanted = self._along.shape(name, 1)
            axis = self._along.flow(name).axis
            missing = len(wanted) - array.ndim
            rows = 1 - axis if axis < 2 and len(wanted) > 1 else 0
            absent = {axis} if count and missing else set()
            if missing > len(absent) and self._along.batch_size == 1:
                absent.add(rows)
            for one in sorted(absent) if len(absent) == missing else ():
                array = np.expand_dims(array, one)
            fits = array.ndim == len(wanted) and all(
                own == size or (k == axis and count is None) for k, (own, size) in enumerate(zip(array.shape, wanted))
            )
            if not fits:
                shown = ["steps" if k == axis and count is None else str(size) for k, size in enumerate(wanted)]
                shape = np.shape(values[name])
                raise ValueError(f"input {name!r}: expected shape ({', '.join(shown)}), found {shape}")
            found.append(array)
            left.add((axis in absent, rows in absent))
        if len(left) > 1:
            raise ValueError("expected all inputs with the same axes, found others")
        return found, left.pop()

    def _axis(self, name: str) -> int:
        """The axis of an output on which its steps are put together."""
        flow, rank = self._along.flow(name), len(self._along.shape(name, 1))
        return min(self._along.axes[0], rank) if flow.last else flow.axis

    def _shown(self, arrays: Sequence[Array], lost: tuple[bool, bool], count: int) -> Any:
        """Outputs for the caller, without the axes that the inputs lacked."""
        found: list[Array | None] = []
        for name, array in zip(self._walk.outputs, arrays):
            axis = self._axis(name)
            if count == 1 and lost[0]:
                if array.shape[axis] > 1:
                    raise ValueError("this step gives several: use process")
                shown = None if not array.shape[axis] else array.reshape(array.shape[:axis] + array.shape[axis + 1 :])
            else:
                shown = array
            rows = 1 - self._along.axes[0] if self._along.axes[0] < 2 else 0
            if shown is not None and lost[1]:
                rows -= 1 if lost[0] and axis < rows else 0
                shown = (
                    shown.reshape(shown.shape[:rows] + shown.shape[rows + 1 :])
                    if shown.shape[rows : rows + 1] == (1,)
                    else shown
                )
            found.append(shown)
        if all(one is None for one in found):
            return None
        return found[0] if len(found) == 1 else tuple(found)

    def _set(self, states: Mapping[str, Array], steps: int) -> None:
        self._core.mend()
        with self._core:
            for k, name in enumerate(self._names):
                self._core.set(k, states[name])
            self._core.steps = steps
            self._live = None


class _Live:
    """A program for some steps on memory of its own."""

    def __init__(self, stream: TimeStream, chunked: Chunked, count: int, steps: int) -> None:
        along, walk = stream._along, stream._walk
        self.count, self.places = count, chunked.made
        made = [place for place in chunked.made if place is not None]
        self.core = _core.Live(chunked.program, stream._core, chunked.states, [], chunked.given, made, steps)
        first = len(chunked.given) + len(chunked.states)
        self.given = tuple(self.core.array(place) for place in chunked.given)
        kinds = {name: along.model.outputs[name].dtype for name in walk.outputs}
        self.none = [np.zeros(self._none(stream, name), kinds[name]) for name in walk.outputs]
        arrays = [None if place is None else self.core.array(first + place) for place in chunked.made]
        self.made = tuple(arrays)
        self.shown: Any = self.made[0] if len(self.made) == 1 else self.made
        present = [(name, array) for name, array in zip(walk.outputs, arrays) if array is not None]
        self.casts = tuple((k, kinds[name]) for k, (name, array) in enumerate(present) if kinds[name] != array.dtype)

    @staticmethod
    def _none(stream: TimeStream, name: str) -> tuple[int, ...]:
        """The shape of no steps of an output."""
        shape = list(stream._along.shape(name, 0))
        if stream._along.flow(name).last:
            shape.insert(stream._axis(name), 0)
        return tuple(shape)
