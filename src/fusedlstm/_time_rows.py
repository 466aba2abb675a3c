"""Rows of models that go along time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._along import STEPS, Along, Time
from ._model_parts import held
from ._model_rows import Array, Given, ModelRows, part_of, sizes, without
from ._slots import Integers
from .graph.live import TIME, Walk

if TYPE_CHECKING:
    from .model import Model

_LONGEST = 64  # steps that rows take at once


class TimeRows(ModelRows):
    """Streams of a model that goes along time.

    Parameters
    ----------
    model : Model
        What they run.
    fixed : dict
        Inputs that do not go along time.
    time, every_step
        As for `Model.stream`.
    """

    def __init__(self, model: Model, fixed: Mapping[str, Array], time: Time, every_step: bool) -> None:
        one = Along(model, 1, fixed, time, every_step)
        self._time = dict(zip(one.free, one.axes))
        self._options = (fixed, self._time, every_step, one.packed)
        self._alongs = {1: one}
        self.along, self.walk, self.free = one, one.walk, one.free
        self.outputs = len(one.walk.outputs)
        together = self._together(model, one)
        two = Along(model, 2, *self._options) if together else one
        if together and not _apart(one, two):
            together, two = False, one
        self._alongs[2] = two
        names = (*one.free, *one.walk.outputs)
        self._axes = {name: _rows(one.shape(name, 1), two.shape(name, 1)) for name in names}
        if not together:
            self._axes = {name: _alone(one.shape(name, 1), one.axis(name)) for name in names}
        self._states = {name: _rows(value.shape, two.states[name].shape) for name, value in one.states.items()}
        self._batches: dict[Any, _core.Batch] = {}
        self._known: dict[tuple[int, int], int] = {}
        self._first_of: dict[Any, int] = {}
        initial = {STEPS: np.array(0, np.int64), **one.states}
        self._sizes = sizes(together)
        self._whole = {name: without(one.shape(name, 1), self._axes[name]) for name in one.free}
        self._short = {
            name: whole[: self._place(name)] + whole[self._place(name) + 1 :] for name, whole in self._whole.items()
        }
        super().__init__(model, initial)

    def pack(self, state: Mapping[str, Any]) -> Array:
        """As its base class, where the number of steps makes sense."""
        row = super().pack(state)
        if self._steps(row[None])[0] < 0:
            raise ValueError(f"state {STEPS!r}: expected 0 or more, found {self._steps(row[None])[0]}")
        self.after(row[None], np.zeros(1, np.int64), 0)
        return row

    @staticmethod
    def _together(model: Model, one: Along) -> bool:
        """Whether rows may step in one program: none sees another."""
        count, shapes = one.walk.warm + 2 * one.walk.period, {}
        for name, time in zip(one.free, one.axes):
            sizes = model.inputs[name].shape
            rows = [axis for axis, size in enumerate(sizes) if size is None and axis != time]
            if len(rows) != 1:
                return False
            shapes[name] = tuple(
                count if axis == time else TIME if axis == rows[0] else size for axis, size in enumerate(sizes)
            )
        try:
            Walk(model.simplified, shapes, one.fixed, rows=True)
        except ValueError:
            return False
        return True

    def sizes(self, given: Given) -> list[int]:
        """As many as one likes, where no row sees another."""
        return self._sizes

    def fitting(self, name: str, array: Array, count: int | None, where: str = "") -> tuple[Array, int]:
        """Rows of an input, with an axis of steps or, for one step, without it."""
        if count and array.shape[1:] == self._short[name]:
            return array.reshape(len(array), *self._whole[name]), 1
        axis = self._place(name)
        steps = count or (array.shape[axis + 1] if array.ndim > axis + 1 else 0)
        wanted = without(self.along.shape(name, steps), self._axes[name])
        if array.shape[1:] != wanted:
            shown = ", ".join("steps" if k == axis and not count else str(size) for k, size in enumerate(wanted))
            raise ValueError(
                f"{where}input {name!r}: expected shape ({shown}) for each stream, found {array.shape[1:]}"
            )
        return array, steps

    def _place(self, name: str) -> int:
        """The axis of steps in a row."""
        axis, rows = self.along.axis(name), self._axes[name]
        return axis - (rows is not None and rows < axis)

    def kinds(self, states: Array, slots: Integers) -> list[tuple[Any, list[int]]]:
        """By how far the streams are."""
        steps = self._steps(states)[slots]
        if self.walk.period == 1 and int(steps.min()) >= self.walk.warm:
            return [(self.walk.warm, [])]
        groups: dict[Any, list[int]] = {}
        for k, count in enumerate(steps.tolist()):
            groups.setdefault(self._kind(count, 1), []).append(k)
        return [*groups.items()]

    def kind(self, row: Array, count: int) -> Any:
        """By how far it is."""
        return self._kind(int(row[:8].view(np.int64)[0]), count)

    def _kind(self, before: int, count: int) -> int:
        """A number of steps that stands for all from where the same program goes on."""
        found = self._known.get((before, count))
        if found is None:
            if len(self._known) > 1 << 16:
                self._known.clear()
            first = self._first_of.setdefault((count, self.walk.key(before, count)), before)
            found = self._known[before, count] = first
        return found

    def piece(self, count: int) -> int:
        """A power of two, so that there are few programs."""
        return 1 if self.walk.every_step else min(_LONGEST, 1 << (count.bit_length() - 1))

    def cut(self, name: str, x: Array, start: int, count: int) -> Array:
        """Some steps of a chunk."""
        return np.ascontiguousarray(x.take(range(start, start + count), self._place(name) + 1))

    def join(self, output: int, rows: list[Array], given: Given) -> Array:
        """On the axis of steps."""
        name = self.walk.outputs[output]
        if not rows:
            return np.zeros(without(self.along.shape(name, 0), self._axes[name]), self.model.outputs[name].dtype)
        return np.concatenate(rows, self._place(name))

    def shown(self, output: int, made: Array) -> Any:
        """Without the axis of steps, where there is one of them."""
        name = self.walk.outputs[output]
        axis = self._place(name) + 1
        if made.shape[axis] != 1 or self.along.several(name):
            return made
        return made.reshape(made.shape[:axis] + made.shape[axis + 1 :])

    def after(self, states: Array, slots: Integers, count: int) -> None:
        """Count the steps; what is long ago makes no difference."""
        steps, walk = self._steps(states), self.walk
        now = steps[slots] + count
        if now.max() > walk.warm + walk.period:
            now = np.where(now > walk.warm, walk.warm + (now - walk.warm) % walk.period, now)
        steps[slots] = now

    def _steps(self, states: Array) -> Any:
        return states[:, :8].view(np.int64)[:, 0]

    def batch(self, rows: int, count: int, kind: Any, given: Given) -> _core.Batch:
        """The program for so many rows and steps, from where the rows are."""
        key = (rows, count, self.walk.key(kind, count))
        found = self._batches.get(key)
        if found is None:
            if len(self._batches) > 256:
                self._batches.clear()
            found = self._batches[key] = self._plan(rows, count, kind)
        return found

    def made(self, count: int, kind: Any, given: Given) -> list[tuple[tuple[int, ...] | None, Any]]:
        """The shape of a row of each output."""
        found: list[tuple[tuple[int, ...] | None, Any]] = []
        for name in self.walk.outputs:
            flow = self.along.flow(name)
            steps = flow.settled(kind + count) - flow.settled(kind)
            shape = without(self.along.shape(name, steps), self._axes[name]) if steps else None
            found.append((shape, self.model.outputs[name].dtype))
        return found

    def _plan(self, rows: int, count: int, kind: int) -> _core.Batch:
        along = self._alongs.get(rows)
        if along is None:
            along = self._alongs[rows] = Along(self.model, rows, *self._options)
        chunked = along.chunk(kind, count)
        names, states = list(along.states), []  # in the order of this number of rows
        for given, made, k in chunked.states:
            name, value = names[k], along.first[k]
            part = part_of(value.shape, self._states[name], value.itemsize)
            states.append((given, made, *part, self.offsets[name]))
        taken = []
        for name, place in zip(self.free, chunked.given):
            part = part_of(along.shape(name, count), self._axes[name], self.model.inputs.held[name].itemsize)
            taken.append((place, *part, 1, 0, 0))
        out = []
        first = len(chunked.given) + len(chunked.states)
        for name, at in zip(self.walk.outputs, chunked.made):
            if at is not None:
                shape = chunked.program.shape(first + at)
                axis = self._axes[name]
                flow = along.flow(name)
                if flow.last and axis is not None and axis > along.axis(name):
                    axis -= 1
                out.append((at, *part_of(shape, axis, held(self.model.outputs[name].dtype).itemsize)))
        return _core.Batch(chunked.program, rows, states, taken, out)


def _rows(one: tuple[int, ...], two: tuple[int, ...]) -> int | None:
    """The axis that has as many elements as there are rows."""
    return next((axis for axis, pair in enumerate(zip(one, two)) if pair[0] != pair[1]), None)


def _apart(one: Along, two: Along) -> bool:
    """Whether what one row and two rows keep and make has rows on an axis of their own."""
    if two.states.keys() != one.states.keys():
        return False
    names = (*one.free, *one.walk.outputs)
    pairs = [(value.shape, two.states[name].shape) for name, value in one.states.items()]
    pairs += [(one.shape(name, 1), two.shape(name, 1)) for name in names]
    return all([pair for pair in zip(*shapes) if pair[0] != pair[1]] == [(1, 2)] for shapes in pairs)


def _alone(shape: tuple[int, ...], time: int) -> int | None:
    """The axis of one row, where there is one beside time."""
    axis = 0 if time else 1
    return axis if shape[axis : axis + 1] == (1,) and len(shape) > 2 else None
