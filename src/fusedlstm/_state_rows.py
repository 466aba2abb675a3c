"""Rows of models whose files have their states as inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._model_parts import constants_of, held, is_count
from ._model_rows import Array, Given, ModelRows, part_of, sizes, without
from .graph.live import TIME, Walk

if TYPE_CHECKING:
    from .model import Model


class StateRows(ModelRows):
    """Streams of a model with states of its own.

    Parameters
    ----------
    model : Model
        What they run.
    fixed, states, context : dict
        As for `Model.stream`.
    """

    def __init__(
        self, model: Model, fixed: Mapping[str, Array], states: Mapping[str, str], context: Mapping[str, int]
    ) -> None:
        self.states, self._fixed, self._context = dict(states), fixed, context
        self.free = [name for name in model.inputs if name not in states and name not in fixed]
        missing = [name for name in self.free if name in model.inputs.deciding]
        if missing:
            raise ValueError(f"{missing[0]!r}: expected it in fixed, as its value decides what the model computes")
        self._made = [name for name in model.outputs if name not in states.values()]
        self.outputs = len(self._made)
        for name, count in context.items():
            if name not in self.free or not is_count(count) or len(model.inputs[name].shape) < 2:
                raise ValueError(f"context: expected a whole number from 1 for one of {', '.join(self.free)}")
        self._axes = {name: self._rows_axis(model, name) for name in (*self.free, *states)}
        initial = {
            name: np.zeros([size or 1 for size in model.inputs[name].shape], model.inputs.held[name]) for name in states
        }
        for name, count in context.items():
            shape = [size or 1 for size in model.inputs[name].shape]
            if any(size is None for size in model.inputs[name].shape[1:-1]):
                raise ValueError(f"context: expected {name!r} to have one free size beside its rows and its last axis")
            initial[name] = np.zeros((*shape[:-1], count), model.inputs.held[name])
        self._batches: dict[Any, tuple[_core.Batch, list[tuple[int, ...]]]] = {}
        self._known: dict[Any, list[int]] = {}
        super().__init__(model, initial)

    def _rows_axis(self, model: Model, name: str) -> int | None:
        shape = model.inputs[name].shape
        free = [axis for axis, size in enumerate(shape) if size is None]
        if name in self.states:
            return free[0] if free else None
        return 0 if shape and shape[0] in (None, 1) else None

    def sizes(self, given: Given) -> list[int]:
        """As many as one likes, where no row sees another."""
        key = tuple(one.shape[1:] for one in given)
        found = self._known.get(key)
        if found is None:
            while len(self._known) >= 64:
                self._known.pop(next(iter(self._known)))
            found = self._known[key] = sizes(self._together(self._shapes(TIME, given)))
        return found

    def _together(self, shapes: dict[str, tuple[Any, ...]]) -> bool:
        """Whether rows may step in one program: none sees another."""
        specs = self.model.inputs
        for name, rows in self._axes.items():
            if name in specs and (rows is None or specs[name].shape[rows] is not None or shapes[name].count(TIME) > 1):
                return False
        try:
            walk = Walk(self.model.simplified, shapes, constants_of(self.model.inputs, self._fixed), rows=True)
        except ValueError:
            return False
        axes = {name: walk.flows[name].axis for name in walk.outputs}
        if any(axes[output] != self._axes[name] for name, output in self.states.items()):
            return False
        self._axes.update(axes)
        return True

    def _shapes(self, rows: Any, given: Given) -> dict[str, tuple[Any, ...]]:
        """Of the inputs, for so many rows."""
        found: dict[str, tuple[Any, ...]] = {}
        for name, one in zip(self.free, given):
            shape, axis = list(one.shape[1:]), self._axes[name]
            if shape:
                shape[-1] += self._context.get(name, 0)
            if axis is not None:
                shape.insert(axis, rows)
            found[name] = tuple(shape)
        for name in self.states:
            found[name] = tuple(rows if size is None else size for size in self.model.inputs[name].shape)
        return found

    def fitting(self, name: str, array: Array, count: int | None, where: str = "") -> tuple[Array, int]:
        """Rows of an input; a chunk has an axis of steps behind that of rows."""
        wanted = list(without(self.model.inputs[name].shape, self._axes[name]))  # type: ignore[arg-type]
        if name in self._context and wanted[-1] is not None:
            wanted[-1] -= self._context[name]
        found = array.shape[1 if count else 2 :]
        if len(found) != len(wanted) or any(size not in (None, own) for size, own in zip(wanted, found)):
            shown = ", ".join("?" if size is None else str(size) for size in wanted)
            rows = "rows" if count else "steps"
            raise ValueError(
                f"{where}input {name!r}: expected shape ({rows}, {shown}), found {array.shape[not count :]}"
            )
        return array, 1 if count else array.shape[1]

    def cut(self, name: str, x: Array, start: int, count: int) -> Array:
        """One step of a chunk."""
        return x[:, start]

    def join(self, output: int, rows: list[Array], given: Given) -> Array:
        """Steps in front."""
        if rows:
            return np.stack(rows)
        shape, dtype = self.made(1, None, tuple(np.zeros((1, *one.shape[2:]), one.dtype) for one in given))[output]
        return np.zeros((0, *(shape or ())), dtype)

    def batch(self, rows: int, count: int, kind: Any, given: Given) -> _core.Batch:
        """The program for so many rows."""
        return self._batch(rows, given)[0]

    def made(self, count: int, kind: Any, given: Given) -> list[tuple[tuple[int, ...] | None, Any]]:
        """The shape of a row of each output."""
        shapes = self._batch(1, given)[1]
        return [(shape, self.model.outputs[name].dtype) for name, shape in zip(self._made, shapes)]

    def _batch(self, rows: int, given: Given) -> tuple[_core.Batch, list[tuple[int, ...]]]:
        key = (rows, *(one.shape[1:] for one in given))
        found = self._batches.get(key)
        if found is None:
            if len(self._batches) > 64:
                self._batches.clear()
            found = self._batches[key] = self._plan(rows, given)
        return found

    def _plan(self, rows: int, given: Given) -> tuple[_core.Batch, list[tuple[int, ...]]]:
        model, axes = self.model, self._axes
        shapes = self._shapes(rows, given)
        arrays = [
            self._fixed[name] if name in self._fixed else np.zeros(shapes[name], model.inputs.held[name])
            for name in model.inputs
        ]
        planned = model.planned(arrays)
        names = list(model.inputs)
        places = {names[k]: place for place, k in enumerate(planned.inputs)}
        outputs = {name: model.made.index(name) for name in model.outputs}
        first = len(planned.inputs)
        states = []
        for name, output in self.states.items():
            outer, size = part_of(shapes[name], axes[name], model.inputs.held[name].itemsize)
            states.append((places[name], outputs[output], outer, size, self.offsets[name]))
        taken = []
        for name in self.free:
            item = model.inputs.held[name].itemsize
            outer, size = part_of(shapes[name], axes[name], item)
            line = shapes[name][-1] * item if shapes[name] else item
            kept = self._context.get(name, 0) * item
            taken.append((places[name], outer, size, size // max(line, 1) or 1, kept, self.offsets.get(name, 0)))
        made, row_shapes = [], []
        for name in self._made:
            whole = planned.program.shape(first + outputs[name])
            rows_axis = axes.get(name, 0 if whole[:1] == (1,) else None)
            made.append((outputs[name], *part_of(whole, rows_axis, held(model.outputs[name].dtype).itemsize)))
            row_shapes.append(without(whole, rows_axis))
        batch = _core.Batch(planned.program, rows, states, taken, made)
        for name, value in self._fixed.items():
            if name in places:
                batch.set(places[name], np.ascontiguousarray(value))
        return batch, row_shapes
