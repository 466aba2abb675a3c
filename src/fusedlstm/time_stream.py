"""class TimeStream(_core.Stepping): a model without states of its own, live along time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._along import STEPS, Along, Chunked, Lost
from ._model_parts import cast, expect_names, held
from .graph.tensors import element_of
from .weights.checked import unmasked

Array = npt.NDArray[Any]
_MOST = 64  # kinds of chunks that a stream keeps memory for


class TimeStream(_core.Stepping):
    """A live stream of a model that goes along time step by step; it owns what the layers keep.

    Made by `Model.stream`. Whatever the chunks, the outputs are those of the model on the whole sequence, byte for
    byte. A stream belongs to one thread at a time: a call while another thread is in it raises, and changes nothing.

    Attributes
    ----------
    model : Model
        What it runs.
    """

    step = _core.Stepping.step

    def __init__(self, along: Along) -> None:
        self.model, self._along, self._walk = along.model, along, along.walk
        self._core = _core.States([(element_of(value.dtype), value.shape) for value in along.first])
        self._names = [state.name for state in along.walk.states]
        self._narrow = not self.model.inputs.narrow.isdisjoint(along.free)
        self._lives: dict[Any, _Live] = {}
        self._live: _Live | None = None  # which every step from now on is one of
        self._set(along.first, 0)
        # What steps without arguments use, wherever the stream is.
        self._bound = _Live(self, along.chunk(self._walk.warm, 1), 1, 0)
        self._outputs = tuple(
            np.zeros(along.shape(name, 1), held(self.model.outputs[name].dtype)) if one is None else one
            for name, one in zip(self._walk.outputs, self._bound.made)
        )
        self._shown = _one(self._outputs)
        if self._walk.period == 1:
            self._lives[(True, self._walk.key(self._walk.warm, 1))] = self._bound

    def _step(self, args: Sequence[npt.ArrayLike], kwargs: Mapping[str, npt.ArrayLike]) -> Any:
        """One that is not like the one before."""
        if not args and not kwargs:
            given = self._values(self._bound.given, {})  # numbers that are too large for their type are refused
            now = self._core.steps
            for name, one in zip(self._walk.outputs, self._outputs):
                flow = self._along.flow(name)
                count = flow.settled(now + 1) - flow.settled(now)
                if count and one.shape != self._along.shape(name, count):
                    raise ValueError(
                        f"expected step(x), as this step gives {count} of {name!r}, found none: see output"
                    )
            made = self._run(given, 1)
            for one, part in zip(self._outputs, made):
                if part.size:
                    one[...] = part
            return _some([one if part.size else None for one, part in zip(self._outputs, made)])
        values, live = self._values(args, kwargs), self._bound
        found = live.core.step(tuple(values)) if self._live is live else None
        if found is not None:
            return _one(cast(found, live.casts))
        arrays, lost = self._along.fitted(values, 1)
        flows = [self._along.flow(name) for name in self._walk.outputs if not self._along.several(name)]
        now = self._core.steps
        if lost.steps and any(flow.settled(now + 1) - flow.settled(now) > 1 for flow in flows):
            raise ValueError("expected an axis of steps, as the first step gives several, or process, found none")
        return _some([part if part.size else None for part in self._without(lost, self._run(arrays, 1))])

    def process(self, /, *args: npt.ArrayLike, **kwargs: npt.ArrayLike) -> Any:
        """Run any number of steps: the inputs are shaped as the model takes them, and so are the outputs.

        With a batch of one, the axis of rows may be left out. The outputs have as many steps as these steps give; there
        may be none among them.

        Raises
        ------
        RuntimeError, TypeError, ValueError
            As `step`; the state is then as before all of them.
        """
        live = self._live
        if live is not None and live is not self._bound and not (kwargs or self._narrow):  # blocks of one size
            block = live.core.step(args)
            if block is not None:
                return _one(cast(block, live.casts) if live.casts else block)
        arrays, lost = self._along.fitted(self._values(args, kwargs), None)
        counts = {array.shape[axis] for array, axis in zip(arrays, self._along.axes)}
        if len(counts) != 1 or not min(counts):
            raise ValueError(f"expected one number of steps, at least one, found {sorted(counts)}")
        (count,) = counts
        made = self._several(arrays, count) if self._walk.every_step else self._run(arrays, count)
        return _one(self._without(lost, made))

    @property
    def input(self) -> Any:
        """What `step` without arguments reads: an array with an axis of one step, or a tuple of them."""
        return _one(self._bound.given)

    @property
    def output(self) -> Any:
        """What `step` without arguments writes: an array with an axis of one step, or a tuple of them."""
        return self._shown

    @property
    def handle(self) -> int:
        """The address that `open_model` of the C API takes: streams of C start where this one is now.

        It is valid while this stream lives, and must outlive what is opened from it (see docs/streams.md).

        Raises
        ------
        RuntimeError
            Another thread is in this stream.
        ValueError
            Steps do not all give outputs: a layer has strides, or still waits for its first window.
        """
        walk, steps = self._walk, self._core.steps
        if walk.period != 1:
            raise ValueError(f"handle: expected a step that gives outputs, found one in every {walk.period} steps")
        if walk.key(steps, 1) != walk.key(walk.warm, 1):
            raise ValueError(
                f"handle: expected {walk.warm - 1} steps before it, as the first ones give no output, found {steps}"
            )
        return self._bound.core.handle()

    @property
    def state(self) -> dict[str, Array]:
        """Copies of what the layers keep, by names, and how many steps there were; set it to go on from another.

        Steps that are so long ago that they make no difference are not counted.
        """
        with self._core:
            found = {name: self._core.get(k) for k, name in enumerate(self._names)}
            return {**found, STEPS: np.array(self._core.steps, np.int64)}

    @state.setter
    def state(self, value: Mapping[str, npt.ArrayLike]) -> None:
        wanted = dict(zip((*self._names, STEPS), (*self._along.first, np.array(0, np.int64))))
        expect_names(value, wanted)
        new = []
        for name, like in wanted.items():
            array = np.asarray(unmasked(f"state {name!r}", value[name]))
            if array.dtype.kind != like.dtype.kind or array.shape != like.shape:
                raise ValueError(
                    f"state {name!r}: expected shape {like.shape} of {like.dtype}, found {array.shape} of {array.dtype}"
                )
            new.append(np.array(array, like.dtype, order="C"))
        steps = int(new.pop())
        if steps < 0:
            raise ValueError(f"state {STEPS!r}: expected 0 or more, found {steps}")
        self._set(new, steps)

    def reset(self) -> None:
        """Back to the start."""
        self._set(self._along.first, 0)

    def copy(self) -> TimeStream:
        """A second stream that goes on from the same state, with buffers of its own."""
        twin = TimeStream(self._along)
        twin.state = self.state
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> TimeStream:
        return self.copy()

    def __reduce__(self) -> Any:
        from ._live import restored

        return restored, (self.model, self._along.options, self.state, None)

    def __repr__(self) -> str:
        axes, kept = ", ".join(map(str, self._along.axes)), ", ".join(self._names) or "nothing"
        return f"TimeStream({self.model!r}, time is axis {axes}, keeps {kept})"

    def _run(self, arrays: list[Array], count: int) -> list[Array]:
        """An array for each output."""
        live = self._live
        if live is None or live.count != count:
            live = self._switch(count)
        return self._stepped(live, arrays)

    def _stepped(self, live: _Live, arrays: list[Array], held: bool = False) -> list[Array]:
        found = live.core.step(tuple(arrays), held)
        if found is None:
            raise RuntimeError("stream: another thread is using it, and nothing was done")
        parts = iter(cast(found, live.casts))
        return [next(parts) if place is not None else none for place, none in zip(live.places, live.none)]

    def _switch(self, count: int) -> _Live:
        """The program for so many steps, from where the stream is now."""
        with self._core:
            return self._switched(count)

    def _switched(self, count: int) -> _Live:
        walk, before = self._walk, self._core.steps
        if before > walk.warm + walk.period:  # what is long ago makes no difference
            before = self._core.steps = walk.warm + (before - walk.warm) % walk.period
        steady = before >= walk.warm and count % walk.period == 0
        key = (steady, walk.key(before, count))
        live = self._lives.get(key)
        if live is None:
            while len(self._lives) >= _MOST:
                self._lives.pop(next(old for old, one in self._lives.items() if one is not self._bound))
            live = self._lives[key] = _Live(self, self._along.chunk(before, count), count, 0 if steady else count)
        live.core.take_over()
        self._live = live if steady else None
        # Narrow numbers in its own memory are looked at before they count.
        bound = self._live is self._bound and not self._narrow
        self._set_quick(live.core if bound else None, self._shown, not live.casts)
        return live

    def _several(self, arrays: list[Array], count: int) -> list[Array]:
        """One step after the other, where each renews what is the last step's alone."""
        parts = []
        with self._core:
            before, steps = [self._core.get(k) for k in range(len(self._names))], self._core.steps
            try:
                for at in range(count):
                    one = [
                        np.ascontiguousarray(array.take([at], axis)) for array, axis in zip(arrays, self._along.axes)
                    ]
                    parts.append(self._stepped(self._switched(1), one, True))
            except BaseException:
                self._put(before, steps)
                raise
        axes = map(self._along.axis, self._walk.outputs)
        return [np.concatenate(part, axis) for part, axis in zip(zip(*parts), axes)]

    def _values(self, args: Sequence[npt.ArrayLike], named: Mapping[str, npt.ArrayLike]) -> list[Array]:
        """The inputs in order, of the types that the model has."""
        free = self._along.free
        if len(args) + len(named) != len(free) or any(name not in free[len(args) :] for name in named):
            wanted = ", ".join(free)
            raise TypeError(f"expected {wanted}; found {len(args)} arrays and {', '.join(named) or 'no names'}")
        values = {**dict(zip(free, args)), **named}
        return [self.model.inputs.array(name, values[name]) for name in free]

    def _without(self, lost: Lost, made: Sequence[Array]) -> list[Array]:
        """The outputs without the axes that the caller left out."""
        return [part.reshape(lost.made(self._along, name, part.shape)) for name, part in zip(self._walk.outputs, made)]

    def _set(self, states: Sequence[Array], steps: int) -> None:
        self._core.mend()
        with self._core:
            self._put(states, steps)

    def _put(self, states: Sequence[Array], steps: int) -> None:
        for k, value in enumerate(states):
            self._core.set(k, value)
        self._core.steps = steps
        self._core.let_go()
        self._live = None
        self._set_quick(None, None, False)


def _one(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def _some(values: Sequence[Array | None]) -> Any:
    """None where there is none at all."""
    return None if all(one is None for one in values) else _one(values)


class _Live:
    """A program for some steps on memory of its own."""

    def __init__(self, stream: TimeStream, chunked: Chunked, count: int, steps: int) -> None:
        along, outputs = stream._along, stream._walk.outputs
        self.count, self.places = count, chunked.made
        made = [place for place in chunked.made if place is not None]
        self.core = _core.Live(chunked.program, stream._core, chunked.states, [], chunked.given, made, steps)
        first = len(chunked.given) + len(chunked.states)
        self.given = tuple(self.core.array(place) for place in chunked.given)
        arrays = [None if place is None else self.core.array(first + place) for place in chunked.made]
        there = [(name, array) for name, array in zip(outputs, arrays) if array is not None]
        shapes = [along.shape(name, array.size // along.size(name)) for name, array in there]
        self.made = tuple(
            None if array is None else array.reshape(along.shape(name, array.size // along.size(name)))
            for name, array in zip(outputs, arrays)
        )
        self.core.set_forms(
            [
                (
                    [lost.of(one.shape, axis) for one, axis in zip(self.given, along.axes)],
                    [lost.made(along, name, shape) for shape, (name, _) in zip(shapes, there)],
                )
                for lost in along.losses(count == 1 and steps == 0)
            ]
        )
        kinds = {name: along.model.outputs[name].dtype for name in outputs}
        self.casts = tuple((k, kinds[name]) for k, (name, array) in enumerate(there) if kinds[name] != array.dtype)
        self.none = [np.zeros(along.shape(name, 0), kinds[name]) for name in outputs]
