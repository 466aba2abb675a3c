"""Inputs of a whole model that are made up, so that what it computes says something: sizes, and numbers it can take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._handed import Handed
from ..graph.dims import Dim, value_of
from ..model import Model

Array = npt.NDArray[Any]
STEPS = (20, 100, 1)
"""Along a sequence whose length is free: the first with which the model runs."""
SMALL = (9, 1, 0)
"""The largest whole numbers where nothing says what they mean: the first with which the model runs."""
_LAYOUTS = {"LSTM": "layout", "GRU": "layout", "RNN": "layout", "fusedlstm.LSTM": "x_batch_first"}
_LENGTHS = {"LSTM": 4, "GRU": 4, "RNN": 4, "fusedlstm.LSTM": 3}
_LOOKED_UP = ("Gather", "fusedlstm.Lookup")
_SAME_NUMBERS = {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Slice", "Split"}
_SAME_NUMBERS |= {"Expand", "Concat", "Where", "Clip", "Min", "Max"}  # negative ones may be counted from the end


@dataclass(frozen=True)
class Made:
    """How an input is made up."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    least: int = 0
    """Of whole numbers."""
    most: int = 0

    def array(self, random: np.random.Generator) -> Array:
        """The next one."""
        if self.dtype.kind == "f":
            return np.asarray(random.standard_normal(self.shape)).astype(self.dtype)
        return np.asarray(random.integers(self.least, self.most, self.shape, endpoint=True)).astype(self.dtype)

    @property
    def told(self) -> str:
        """What it holds."""
        if self.dtype.kind == "f":
            return "standard normal"
        if self.dtype.kind == "b":
            return "random" if self.most else "false"
        return f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"


def made_up(
    model: Model, shapes: Mapping[str, Sequence[int] | None], given: Mapping[str, Array], handed: Handed
) -> dict[str, Made]:
    """How to make the inputs of `shapes`: as large as they are said to be, or as suits the model (None).

    Where states are handed over, each run is a step, and free sizes are 1.
    """
    random, tried = np.random.default_rng(0), list(_ways(model, shapes, given, handed))
    for way in tried if len(tried) > 1 else ():
        try:
            model.run({**given, **{name: one.array(random) for name, one in way.items()}})
            return way
        except (ValueError, MemoryError):
            continue
    return tried[-1]


def _ways(
    model: Model, shapes: Mapping[str, Sequence[int] | None], given: Mapping[str, Array], handed: Handed
) -> Iterator[dict[str, Made]]:
    seen: list[dict[str, Made]] = []
    for steps in STEPS[-1:] if handed.states else STEPS:
        known = {name: array.shape for name, array in given.items()}
        known |= {name: tuple(one) for name, one in shapes.items() if one is not None}
        sizes = _sizes(model, handed, steps, known)
        for small in SMALL:
            way = {name: _filled(model, name, sizes[name], sizes, small) for name in shapes}
            if way not in seen:
                seen.append(way)
                yield way


def _sizes(
    model: Model, handed: Handed, steps: int, known: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Of every input: rows are one, what a layer goes along in time as many as `steps`; or as many as are known."""
    graph = model.simplified
    types = graph.input_types()
    ranges = {name: (least, most) for name, least, most in graph.ranges}
    rows = {size for name in handed.states if name in types for size in types[name].shape}
    times: list[Any] = []
    for one in graph.nodes:
        kind = graph.types.get(one.inputs[0]) if one.op in _LAYOUTS else None
        if kind is not None and len(kind.shape) > 2:
            batch_first = bool(one.attributes.get(_LAYOUTS[one.op]))
            rows.add(kind.shape[0 if batch_first else 1])
            times.append(kind.shape[1 if batch_first else 0])
    names = {str(size) for one in types.values() for size in one.shape if isinstance(size, Dim)}

    def grows(size: Any, name: str) -> bool:
        with_it, without = (value_of(size, dict.fromkeys(some, 1)) for some in (names, names - {name}))
        return with_it is not None and without is None

    found: dict[str, tuple[int, ...]] = dict(known)
    decided: dict[str, int] = {}
    one_row = 1
    for name in sorted(model.inputs, key=lambda name: name not in known):  # what is known decides of the rest
        shape, dims = list(known.get(name, model.inputs[name].shape)), types[name].shape if name in types else ()
        free = (axis for axis, size in enumerate(model.inputs[name].shape[: len(shape)]) if size is None)
        for axis in free:
            dim = str(dims[axis]) if dims else f"{name}.{axis}"
            row = name in handed.states or (bool(dims) and dims[axis] in rows)
            row = row or (axis == 0 and not any(grows(one, dim) for one in times))
            if name in known:
                decided.setdefault(dim, known[name][axis])
                one_row = known[name][axis] if row else one_row
            least, most = ranges.get(dim, (0, None))
            wanted = max(one_row if row else steps, least)
            shape[axis] = decided.setdefault(dim, wanted if most is None else min(wanted, most))
        found.setdefault(name, tuple(shape))  # type: ignore[arg-type]
    return found


def _filled(model: Model, name: str, shape: tuple[int, ...], shapes: Mapping[str, Sequence[int]], small: int) -> Made:
    dtype = model.inputs[name].dtype
    if dtype.kind == "f":
        return Made(shape, dtype)
    if dtype.kind == "b":
        return Made(shape, dtype, 0, int(bool(shape)))
    length = _length(model, name, shapes)
    if length is not None:
        return Made(shape, dtype, length, length)
    rows = _rows(model, name)
    limits = np.iinfo(dtype)
    if rows is not None:  # 0 is padding more often than not
        most = max(min(rows - 1, int(limits.max)), 0)
        return Made(shape, dtype, min(1, most), most)
    if dtype.itemsize == 1:  # what floating-point numbers became
        return Made(shape, dtype, int(limits.min), int(limits.max))
    alone = not shape or name in model.inputs.deciding  # a count or a rate, one for all runs
    return Made(shape, dtype, min(1, small), min(1, small) if alone else small)


def _same(model: Model, name: str) -> set[str]:
    """An input, and tensors of its numbers."""
    found = {name}
    for _, one in model.simplified.walk():
        if one.op in _SAME_NUMBERS and not found.isdisjoint(one.inputs):
            found.update(one.outputs)
    return found


def _rows(model: Model, name: str) -> int | None:
    """Of the smallest table whose rows an input looks up."""
    same, found = _same(model, name), list[int]()
    for graph, one in model.simplified.walk():
        if one.op in _LOOKED_UP and one.inputs[1] in same:
            table = graph.constants.get(one.inputs[0], model.simplified.constants.get(one.inputs[0]))
            if table is not None:
                found.append(table.shape[one.attributes.get("axis", 0)])
    return min(found, default=None)


def _length(model: Model, name: str, shapes: Mapping[str, Sequence[int]]) -> int | None:
    """Steps of the layers that an input tells the lengths of sequences; by its name, where it is called so."""
    graph = model.simplified
    types = graph.input_types()
    sizes = {str(dim): size for one, kind in types.items() for dim, size in zip(kind.shape, shapes[one], strict=False)}
    same = _same(model, name)
    for one in graph.nodes:
        place = _LENGTHS.get(one.op, len(one.inputs))
        if len(one.inputs) > place and one.inputs[place] in same:
            kind = graph.types.get(one.inputs[0])
            if kind is not None:
                return value_of(kind.shape[1 if one.attributes.get(_LAYOUTS[one.op]) else 0], sizes)
    if "len" in name.lower() and len(shapes[name]) <= 1:
        return max((shape[1] for one, shape in shapes.items() if one != name and len(shape) > 1), default=None)
    return None
