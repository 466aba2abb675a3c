"""What a pool of a model steps: rows of bytes, in which all that a stream keeps lies one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._model_parts import expect_names, held
from ._slots import Integers
from .weights.checked import unmasked

if TYPE_CHECKING:
    from .model import Model

Array = npt.NDArray[Any]
Given = tuple[Array, ...]
Block = tuple[_core.Batch, int, int]
_MOST = 1 << 12
"""Numbers of rows, kinds and shapes whose programs are known at once."""
_LARGEST = 64
"""Rows that step in one program. More do not fit into the caches beside the weights."""


class ModelRows:
    """Streams of a model: how a state is a row of bytes, and how rows step.

    Subclasses say what is kept (`kept`, `first`), how arrays lie (`shape`, `join`) and which program runs (`batch`).

    Attributes
    ----------
    first : ndarray of uint8
        The row of a stream that begins.
    free : list of str
        The inputs of a step.
    """

    first: Array
    free: list[str]

    def __init__(self, model: Model, initial: Mapping[str, Array]) -> None:
        self.model, self._initial = model, dict(initial)
        self._plans: dict[Any, tuple[list[Block], list[Any]]] = {}
        self._like: list[Any] | None = None  # types and shapes of a row that fits as it is
        self.offsets, end = {}, 0
        for name, value in self._initial.items():
            self.offsets[name] = end
            end += -(-value.nbytes // 8) * 8
        self.first = np.zeros(max(end, 8), np.uint8)
        self._write(self.first, self._initial)

    def pack(self, state: Mapping[str, npt.ArrayLike]) -> Array:
        """A state, as `unpack` and the streams of the model give it, as a row.

        Raises
        ------
        TypeError, ValueError
            Not arrays of these names and shapes.
        """
        expect_names(state, self._initial)
        found = {}
        for name, like in self._initial.items():
            array = np.asarray(unmasked(f"state {name!r}", state[name]))
            if array.shape != like.shape or array.dtype.kind != like.dtype.kind:
                raise ValueError(
                    f"state {name!r}: expected shape {like.shape} of {like.dtype}, found {array.shape} of {array.dtype}"
                )
            found[name] = array.astype(like.dtype)
        row = np.zeros_like(self.first)
        self._write(row, found)
        return row

    def unpack(self, row: Array) -> dict[str, Array]:
        """The inverse."""
        found = {}
        for name, like in self._initial.items():
            part = row[self.offsets[name] : self.offsets[name] + like.nbytes]
            found[name] = part.copy().view(like.dtype).reshape(like.shape)
        return found

    def _write(self, row: Array, state: Mapping[str, Array]) -> None:
        for name, value in state.items():
            part = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
            row[self.offsets[name] : self.offsets[name] + part.size] = part

    def one(self, x: Any) -> Given:
        """The inputs of one stream's step, copied: an array, or a tuple of them where there are several."""
        parts = x if isinstance(x, tuple) else (x,)
        like = [(part.dtype, part.shape) if type(part) is np.ndarray else None for part in parts]
        if like == self._like:  # most rows are as the one before
            return tuple([part.copy() for part in parts])
        unmasked("x", list(parts))
        if len(parts) != len(self.free):
            raise TypeError(f"expected {', '.join(self.free)}; found {len(parts)} arrays")
        found = tuple(part[0].copy() for part in self.steps(1, [np.asarray(part)[None] for part in parts], {}))
        if like == [(part.dtype, part.shape) for part in found]:
            self._like = like
        return found

    def steps(self, count: int, args: Sequence[npt.ArrayLike], named: Mapping[str, npt.ArrayLike]) -> Given:
        """The inputs of a step of so many streams.

        Raises
        ------
        TypeError, ValueError
            They do not fit.
        """
        free = self.free
        if len(args) + len(named) != len(free) or any(name not in free[len(args) :] for name in named):
            raise TypeError(
                f"expected {', '.join(free)}; found {len(args)} arrays and {', '.join(named) or 'no names'}"
            )
        values = {**dict(zip(free, args)), **named}
        found = []
        for name in free:
            array = self.model.inputs.array(name, values[name])
            if array.shape[:1] != (count,):
                raise ValueError(f"input {name!r}: expected {count} rows, one for each id, found shape {array.shape}")
            found.append(self.fitting(name, array, 1)[0])
        return tuple(found)

    def outputs_for(self, rows: int, out: Any) -> None:
        """Refuse arrays to write to."""
        if out is not None:
            raise TypeError("out: expected none with a pool of a model")

    def step(self, states: Array, slots: Integers, given: Given, out: None) -> Any:
        """Step the rows of some slots."""
        if not len(slots):
            raise ValueError("ids: expected at least one stream of a model, found none")
        kinds = self.kinds(states, slots)
        if len(kinds) == 1:
            made = self.run(states, slots, given, 1, kinds[0][0])
            nothing = [None] * len(slots)
            return _one([nothing if part is None else self.shown(k, part) for k, part in enumerate(made)])
        local, rows = states[slots], np.arange(len(slots))
        parts: list[list[Any]] = [[None] * len(slots) for _ in range(self.outputs)]
        for kind, which in kinds:
            made = self.run(local, rows[which], tuple(np.ascontiguousarray(one[which]) for one in given), 1, kind)
            for k, part in enumerate(made):
                for place, row in zip(which, () if part is None else self.shown(k, part)):
                    parts[k][place] = row
        states[slots] = local
        return _one([_stacked(part) for part in parts])

    def chunks(self, ids: Sequence[int], given: Sequence[Any]) -> list[tuple[Given, int]]:
        """Several steps of each stream, and how many."""
        found = []
        for id, chunk in zip(ids, given):
            parts = chunk if isinstance(chunk, tuple) else (chunk,)
            if len(parts) != len(self.free):
                raise ValueError(f"chunk of {id}: expected {', '.join(self.free)}, found {len(parts)} arrays")
            fitted = []
            for name, part in zip(self.free, parts):
                array = self.model.inputs.array(name, part)
                fitted.append(self.fitting(name, array[None], None, f"chunk of {id}: "))
            if len({count for _, count in fitted}) > 1:
                raise ValueError(f"chunk of {id}: expected one number of steps, found {[n for _, n in fitted]}")
            found.append((tuple(one for one, _ in fitted), fitted[0][1]))
        return found

    def process(self, states: Array, slots: Integers, given: list[tuple[Given, int]]) -> list[Any]:
        """Run them; the outputs of each stream."""
        local, at = states[slots], [0] * len(given)
        made: list[list[list[Array]]] = [[[] for _ in range(self.outputs)] for _ in given]
        while True:
            groups: dict[Any, list[int]] = {}
            for k, (_, count) in enumerate(given):
                if at[k] < count:
                    piece = self.piece(count - at[k])
                    shapes = tuple(x.shape[2:] for x in given[k][0])
                    groups.setdefault((piece, self.kind(local[k], piece), shapes), []).append(k)
            if not groups:
                break
            for (piece, kind, _), which in groups.items():
                parts = [[self.cut(name, x, at[k], piece) for name, x in zip(self.free, given[k][0])] for k in which]
                stacked = tuple(np.concatenate(one) for one in zip(*parts))
                for out, part in enumerate(self.run(local, np.array(which), stacked, piece, kind)):
                    for place, row in zip(which, () if part is None else part):
                        made[place][out].append(row)
                for k in which:
                    at[k] += piece
        states[slots] = local
        return [_one([self.join(k, rows, own) for k, rows in enumerate(one)]) for one, (own, _) in zip(made, given)]

    def run(self, states: Array, slots: Integers, given: Given, count: int, kind: Any) -> list[Array | None]:
        """Step rows of one kind; of each output an array with a row for each, None where these steps give none."""
        key = (len(slots), count, kind, *(one.shape[1:] for one in given))
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= _MOST:
                self._plans.clear()
            found = self._plans[key] = self._plan_for(len(slots), given, count, kind)
        blocks, shapes = found
        rows = len(slots)
        made = [None if shape is None else np.empty((rows, *shape), held(dtype)) for shape, dtype in shapes]
        there = [one for one in made if one is not None]
        _core.step_batches(blocks, states, np.ascontiguousarray(slots, np.int64), given, there)
        self.after(states, slots, count)
        return [one if one is None else one.astype(dtype, copy=False) for one, (_, dtype) in zip(made, shapes)]

    def _plan_for(self, rows: int, given: Given, count: int, kind: Any) -> tuple[list[Block], list[Any]]:
        """The programs for so many rows, and what they make."""
        blocks: list[Block] = []
        at = 0
        for size in pieces(rows, self.sizes(given)):
            blocks.append((self.batch(size, count, kind, given), at, min(size, rows - at)))
            at += size
        return blocks, self.made(count, kind, given)

    # What kinds of models differ in.

    outputs: int

    def sizes(self, given: Given) -> list[int]:
        """How many rows may step in one program: some powers of two."""
        raise NotImplementedError

    def fitting(self, name: str, array: Array, count: int | None, where: str = "") -> tuple[Array, int]:
        """Rows of an input as `batch` takes them, and how many steps they are."""
        raise NotImplementedError

    def kinds(self, states: Array, slots: Integers) -> list[tuple[Any, list[int]]]:
        """Which rows go through one program, by its kind."""
        return [(None, list(range(len(slots))))]

    def kind(self, row: Array, count: int) -> Any:
        """That of one row for so many steps."""
        return None

    def piece(self, count: int) -> int:
        """How many of the steps that are left are taken at once."""
        return 1

    def cut(self, name: str, x: Array, start: int, count: int) -> Array:
        """Some steps of a chunk."""
        raise NotImplementedError

    def join(self, output: int, rows: list[Array], given: Given) -> Array:
        """The steps of an output for these inputs, put together."""
        raise NotImplementedError

    def shown(self, output: int, made: Array) -> Any:
        """Rows of one step of an output."""
        return made

    def after(self, states: Array, slots: Integers, count: int) -> None:
        """Rows have stepped."""

    def batch(self, rows: int, count: int, kind: Any, given: Given) -> _core.Batch:
        """The program for so many rows and steps."""
        raise NotImplementedError

    def made(self, count: int, kind: Any, given: Given) -> list[tuple[tuple[int, ...] | None, Any]]:
        """The shape of a row of each output, None where there is none, and its dtype."""
        raise NotImplementedError


def sizes(together: bool) -> list[int]:
    """How many rows may step in one program."""
    return [1 << k for k in range(_LARGEST.bit_length())] if together else [1]


def pieces(rows: int, sizes: Sequence[int]) -> list[int]:
    """How many rows step at a time: of few sizes, so that there are few programs, and little is in vain."""
    found = []
    while rows > 0:
        size = max(one for one in sizes if one <= rows)
        if size < rows and 2 * size in sizes and 2 * (2 * size - rows) <= size:
            size *= 2
        found.append(size)
        rows -= size
    return found


def part_of(shape: Sequence[int], axis: int | None, item: int) -> tuple[int, int]:
    """Of an array of rows on an axis: how often they come, and how many bytes each has there."""
    if axis is None:
        return 1, math.prod(shape) * item
    return math.prod(shape[:axis]), math.prod(shape[axis + 1 :]) * item


def without(shape: Sequence[int], axis: int | None) -> tuple[int, ...]:
    """The shape of one row."""
    return tuple(size for k, size in enumerate(shape) if k != axis)


def _stacked(rows: list[Array | None]) -> Any:
    """An array, or the rows where some are not there or have other numbers of steps."""
    shapes = {None if row is None else row.shape for row in rows}
    return rows if None in shapes or len(shapes) > 1 else np.stack(rows)  # type: ignore[arg-type]


def _one(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)
