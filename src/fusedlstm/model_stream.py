"""class ModelStream(_core.Stepping): a model that keeps its state between calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._model_parts import cast, expect_names, is_count
from .graph.tensors import element_of

if TYPE_CHECKING:
    from .model import Model

Array = npt.NDArray[Any]
Shapes = tuple[tuple[int, ...], ...]
_MOST = 8  # shapes of chunks that a stream keeps memory for


class ModelStream(_core.Stepping):
    """A live stream of a model whose file has states as inputs and outputs; it owns them.

    Made by `Model.stream`. A stream belongs to one thread at a time: a call while another thread is in it raises, and
    changes nothing.

    Attributes
    ----------
    model : Model
        What it runs.
    states : dict
        The output that belongs to each state input.
    """

    step = _core.Stepping.step

    def __init__(
        self,
        model: Model,
        batch_size: int,
        fixed: Mapping[str, Array],
        states: Mapping[str, str],
        context: Mapping[str, int],
    ) -> None:
        self.model, self.states = model, dict(states)
        self._batch, self._context, self._fixed = batch_size, context, fixed
        self._free = [name for name in model.inputs if name not in self.states and name not in self._fixed]
        for name in model.inputs:
            if name in model.inputs.deciding and name not in self._fixed:
                raise ValueError(f"{name!r}: expected it in fixed, as its value decides what the model computes")
        for name, count in self._context.items():
            if name not in self._free or not is_count(count) or not model.inputs[name].shape:
                raise ValueError(f"context: expected a whole number from 1 for one of {', '.join(self._free)}")
        self._made = [name for name in model.outputs if name not in self.states.values()]
        self._narrow = not model.inputs.narrow.isdisjoint(self._free)
        self._lives: dict[Shapes, _Live] = {}
        self._core = _core.States([(element_of(value.dtype), value.shape) for value in self._zeros().values()])
        self._live: _Live | None = None
        self._handed: list[_Live] = []  # whose handles C may have
        self._waiting = self._first_contexts()  # until the first step
        shapes = [self._shape(name) for name in self._free]
        if all(shape is not None for shape in shapes):
            self._switch(tuple(shape for shape in shapes if shape is not None))

    def _step(self, args: Sequence[npt.ArrayLike], kwargs: Mapping[str, npt.ArrayLike]) -> Any:
        """One that is not like the one before."""
        if not args and not kwargs:
            live = self._bound()
            given = live.input if isinstance(live.input, tuple) else (live.input,)
            for name, one in zip(self._free, given):
                self.model.inputs.array(name, one)  # numbers that are too large for their type are refused
            live.core.step_in_place()
            return live.output
        arrays = self._arguments(args, kwargs)
        found = self._stepped(self._switch(tuple(array.shape for array in arrays)), tuple(arrays))
        return found[0] if len(found) == 1 else found

    def process(self, /, *args: npt.ArrayLike, **kwargs: npt.ArrayLike) -> Any:
        """Run several steps: each input has an axis of them in front, and so have the outputs.

        Raises
        ------
        RuntimeError, TypeError, ValueError
            As `step`; after a ValueError the state is as before all of them.
        KeyboardInterrupt
            Ctrl-C. The state is as before all of them.
        """
        arrays = self._arguments(args, kwargs)
        counts = {len(array) if array.ndim else -1 for array in arrays}
        if len(counts) != 1 or -1 in counts:
            raise ValueError(f"expected one number of steps on the first axis, found {sorted(counts)}")
        if counts == {0}:
            raise ValueError("expected at least one step, found none")
        with self._core:
            before = {**self._states(), **self._overlaps()}
            live = self._switched(tuple(array.shape[1:] for array in arrays))
            try:
                steps = [self._stepped(live, tuple(one[at, ...] for one in arrays), True) for at in range(*counts)]
            except BaseException:
                now = {name: np.zeros_like(one) for name, one in self._overlaps().items()}
                self._put({**now, **before})
                raise
        made = tuple(np.stack(parts) for parts in zip(*steps))
        return made[0] if len(made) == 1 else made

    @property
    def input(self) -> Any:
        """What `step` without arguments reads: an array, or a tuple of them, without contexts."""
        return self._bound().input

    @property
    def output(self) -> Any:
        """What `step` without arguments writes: an array, or a tuple of them."""
        return self._bound().output

    @property
    def handle(self) -> int:
        """The address that `open_model` of the C API takes: streams of C start where this one is now.

        It is valid while this stream lives, and must outlive what is opened from it (see docs/streams.md).

        Raises
        ------
        RuntimeError
            Another thread is in this stream.
        ValueError
            The model leaves shapes open, and no step has told them yet.
        """
        live = self._bound()
        handle: int = live.core.handle()
        if live not in self._handed:
            self._handed.append(live)
        return handle

    @property
    def state(self) -> dict[str, Array]:
        """Copies of the states by the names of their inputs, and of the contexts; set it to go on from another."""
        with self._core:
            return {**self._states(), **self._overlaps()}

    @state.setter
    def state(self, value: Mapping[str, npt.ArrayLike]) -> None:
        now = {**self._zeros(), **self._overlaps()}
        expect_names(value, now)
        new = {name: self.model.inputs.array(name, one).copy() for name, one in value.items()}
        for name, array in new.items():
            if array.shape != now[name].shape:
                raise ValueError(f"state {name!r}: expected shape {now[name].shape}, found {array.shape}")
        self._set(new)

    def reset(self) -> None:
        """Back to states and contexts of zeros."""
        self._set({**self._zeros(), **{name: np.zeros_like(view) for name, view in self._overlaps().items()}})

    def copy(self) -> ModelStream:
        """A second stream that goes on from the same state, with buffers of its own."""
        twin = ModelStream(self.model, self._batch, self._fixed, self.states, self._context)
        if self._live is not None:
            twin._switch(self._live.shapes)
        twin._set(self.state)
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> ModelStream:
        return self.copy()

    def __reduce__(self) -> Any:
        from ._live import restored

        options = {"fixed": self._fixed, "states": self.states, "context": self._context, "batch_size": self._batch}
        return restored, (self.model, options, self.state, None if self._live is None else self._live.shapes)

    def __repr__(self) -> str:
        return f"ModelStream({self.model!r}, states {', '.join(f'{a} from {b}' for a, b in self.states.items())})"

    def _arguments(self, args: Sequence[npt.ArrayLike], named: Mapping[str, npt.ArrayLike]) -> list[Array]:
        wanted = ", ".join(self._free)
        if len(args) + len(named) != len(self._free) or any(name not in self._free[len(args) :] for name in named):
            raise TypeError(f"expected {wanted}; found {len(args)} arrays and {', '.join(named) or 'no names'}")
        values = {**dict(zip(self._free, args)), **named}
        return [self.model.inputs.array(name, values[name]) for name in self._free]

    def _shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of an input as it is given to `step`, if the model says it."""
        sizes = self.model.inputs[name].shape
        shape = tuple(self._batch if size is None and k == 0 else size for k, size in enumerate(sizes))
        if any(size is None for size in shape):
            return None
        more = self._context.get(name, 0)
        return (*shape[:-1], shape[-1] - more) if more else shape  # type: ignore[return-value, operator, arg-type]

    def _first_contexts(self) -> dict[str, Array]:
        """Contexts of zeros, where the model says how large they are."""
        found = {}
        for name, count in self._context.items():
            sizes = self.model.inputs[name].shape[:-1]
            lead = tuple(self._batch if size is None and k == 0 else size for k, size in enumerate(sizes))
            if not any(size is None for size in lead):
                found[name] = np.zeros((*lead, count), self.model.inputs.held[name])  # type: ignore[type-var]
        return found

    def _zeros(self) -> dict[str, Array]:
        found = {}
        for name in self.states:
            shape = tuple(self._batch if size is None else size for size in self.model.inputs[name].shape)
            found[name] = np.zeros(shape, self.model.inputs.held[name])
        return found

    def _bound(self) -> _Live:
        if self._live is None:
            raise ValueError(
                "stream: the model leaves the shape of its input free; give step(x) an array first, and buffers of its "
                "shape are kept from then on"
            )
        return self._live

    def _stepped(self, live: _Live, arrays: tuple[Array, ...], held: bool = False) -> tuple[Array, ...]:
        found = live.core.step(arrays, held)
        if found is None:
            raise RuntimeError("stream: another thread is using it, and nothing was done")
        return cast(found, live.casts)

    def _switch(self, shapes: Shapes) -> _Live:
        """The memory for inputs of these shapes, with the state as it is now."""
        with self._core:
            return self._switched(shapes)

    def _switched(self, shapes: Shapes) -> _Live:
        live = self._lives.get(shapes)
        if live is None:
            live = _Live(self, shapes)
            while len(self._lives) >= _MOST:
                self._lives.pop(next(iter(self._lives)))
            self._lives[shapes] = live
        if live is not self._live:
            for name, value in self._overlaps().items():
                if value.shape != live.overlaps[name].shape:
                    raise ValueError(f"context of {name!r}: expected rows as before, {value.shape}, found others")
                live.overlaps[name][...] = value
            live.core.take_over()
            self._live = live
            # Narrow numbers in its own memory are looked at before they count.
            self._set_quick(None if self._narrow else live.core, live.output, not live.casts)
        return live

    def _states(self) -> dict[str, Array]:
        return {name: self._core.get(k) for k, name in enumerate(self.states)}

    def _overlaps(self) -> dict[str, Array]:
        """Copies of the contexts."""
        now = self._waiting if self._live is None else self._live.overlaps
        return {name: value.copy() for name, value in now.items()}

    def _set(self, state: dict[str, Array]) -> None:
        self._core.mend()
        with self._core:
            self._put(state)

    def _put(self, state: dict[str, Array]) -> None:
        for k, name in enumerate(self.states):
            self._core.set(k, np.ascontiguousarray(state.pop(name)))
        if self._live is None:
            self._waiting = state
            return
        for name, value in state.items():
            self._live.overlaps[name][...] = value


class _Live:
    """A program on memory of its own, for inputs of given shapes."""

    def __init__(self, stream: ModelStream, shapes: Shapes) -> None:
        model, context = stream.model, stream._context
        whole = {
            name: (*shape[:-1], shape[-1] + context[name]) if name in context else shape
            for name, shape in zip(stream._free, shapes)
        }
        zeros = stream._zeros()
        arrays = [
            stream._fixed[name]
            if name in stream._fixed
            else zeros[name]
            if name in zeros
            else np.zeros(whole[name], model.inputs.held[name])
            for name in model.inputs
        ]
        planned = model.planned(arrays)
        places = {list(model.inputs)[k]: place for place, k in enumerate(planned.inputs)}
        outputs = {name: model.made.index(name) for name in model.outputs}
        pairs = [(places[name], outputs[output], k) for k, (name, output) in enumerate(stream.states.items())]
        self.shapes = shapes
        self.core = _core.Live(
            planned.program,
            stream._core,
            pairs,
            [(places[name], count) for name, count in context.items()],
            [places[name] for name in stream._free],
            [outputs[name] for name in stream._made],
        )
        first = len(planned.inputs)
        for name, value in stream._fixed.items():
            if name in places:
                self.core.array(places[name])[...] = value
        wholes = {name: self.core.array(places[name]) for name in stream._free}
        given = tuple(wholes[name][..., context[name] :] if name in context else wholes[name] for name in stream._free)
        made = tuple(self.core.array(first + outputs[name]) for name in stream._made)
        self.input, self.output = (one[0] if len(one) == 1 else one for one in (given, made))
        kinds = [model.outputs[name].dtype for name in stream._made]
        self.casts = tuple((k, kind) for k, kind in enumerate(kinds) if kind != made[k].dtype)
        self.overlaps = {name: wholes[name][..., :count] for name, count in context.items()}
