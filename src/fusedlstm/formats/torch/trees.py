"""State dicts in what was pickled or handed in: dictionaries, lists and objects within each other, of any origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import LSTMWeights
from ...weights.named import Named, Shape
from ...weights.others import hint
from ...weights.state_dict import Reader, by_prefix, is_own, lstms, refusal, short
from ..containers import numbers
from ..containers.ndarrays import Array
from ..containers.pickle import Box, Global
from ..containers.source import Source
from ..contents import Contents
from .closed import Place, words
from .objects import Tensor
from .records import Reads, Records, shape

MAX_DEPTH = 32
"""Dictionaries in dictionaries; checkpoints have two or three."""
MAX_PATH = 256
"""Characters of all keys around a tensor: names are made of them, and a memoised key costs nothing to repeat."""
_MAX_ALSO = 100
_MAX_ALIASES = 10_000
_INSIDE = ("_modules", "_parameters", "_buffers")  # what a module's attributes are called in its object

Leaf = tuple[Shape, Reads]
Leaves = Callable[[str, Any], Leaf | None]
"""What makes an array of a value under a name, or None where it is none."""


@dataclass(slots=True)
class Dictionary:
    """A dictionary, list or object that holds arrays; where it lies, also, and the outermost object around it."""

    path: tuple[str, ...]
    place: Place | None
    shapes: dict[str, Shape] = field(default_factory=dict)
    readers: dict[str, Reads] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    also: list[tuple[str, ...]] = field(default_factory=list)

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """One array."""
        return self.readers[name]()


def contents(name: str, root: Any, leaves: Leaves, source: Source) -> Contents:
    """Every LSTM of the dictionaries in a tree, by module path, and every array by its name.

    Those inside an object of an unknown class are closed: they are refused, where there is no other.
    """
    everything = list(_dictionaries(root, leaves))
    plain = [one for one in everything if one.place is None]
    _tell_of_inner(plain)
    found: list[tuple[str, dict[str, Reader]]] = []
    aliases: dict[str, Reader] = {}
    for one in plain:
        if not (inner := lstms(Named(one.shapes, one.read, one.others, source.ignore, source.size))):
            continue
        found.append((".".join(one.path), inner))
        for path in one.also[: max(0, _MAX_ALIASES - len(aliases)) // len(inner)]:
            aliases |= {".".join(filter(None, (*path, name))): inner[name] for name in inner}
    if not any(inner for _, inner in found):
        found = [("", _closed(one, one.place)) for one in everything if one.place is not None]
    told = words(Place((), root)) if isinstance(root, Box) else _hint(plain)
    tensors, shapes = _tensors(plain)
    others = {kept: kind for one in plain for kept, kind in one.others.items()}
    known = Named(shapes, lambda one: tensors[one](), others, source.ignore, source.size)
    return Contents(name, {LSTMWeights: by_prefix(found, aliases)}, tensors, known, told)


def named(root: Any, leaves: Leaves, source: Source) -> Named:
    """Every array of a tree that lies in no closed box, by its path with slashes: as trees of parameters have it."""
    plain = [one for one in _dictionaries(root, leaves) if one.place is None]
    shapes = {"/".join((*one.path, name)): shape for one in plain for name, shape in one.shapes.items()}
    readers = {"/".join((*one.path, name)): reader for one in plain for name, reader in one.readers.items()}
    return Named(
        shapes, lambda name: readers[name](), ignore=source.ignore, max_parameters=source.size, config=source.config
    )


def pickled(records: Records | None) -> Leaves:
    """What makes arrays of pickled tensors and of NumPy's; of lists of numbers under an LSTM's own names."""

    def leaf(name: str, value: Any) -> Leaf | None:
        if isinstance(value, Tensor):
            where = records or Records.nowhere()
            return shape(name, value.size), lambda: where.tensor(name, value)
        match value:
            case (str(), Array() as array):  # as Paddle saves them: with a name of their own
                value = array
        if isinstance(value, Array):
            array = value
            return array.shape(name), lambda: array.read(name)
        if isinstance(value, list | tuple) and value and is_own(name):
            return numbers.shape(name, value), lambda: numbers.array(name, value)
        return None

    return leaf


def _dictionaries(root: Any, leaves: Leaves) -> Iterator[Dictionary]:
    """Every dictionary, list and object of a tree once, with the arrays that it holds."""
    seen: dict[int, Dictionary] = {}  # a dictionary may be named in many places, or hold itself
    queue: list[tuple[tuple[str, ...], Any, Place | None]] = [((), root, None)]
    if (whole := leaves("", root)) is not None:
        yield Dictionary((), None, {"": whole[0]}, {"": whole[1]})
        return
    for path, node, place in queue:
        if id(node) in seen:
            if len(seen[id(node)].also) < _MAX_ALSO and place is None:
                seen[id(node)].also.append(path)
            continue
        if len(path) > MAX_DEPTH:
            if place is not None:
                continue
            raise FormatError(f"data.pkl: expected at most {MAX_DEPTH} dictionaries in each other, found more")
        if next(_entries(node), None) is None:
            continue
        if isinstance(node, Box) and place is None:
            place = Place(path, node)
        one, settings = Dictionary(path, place), {}
        seen[id(node)] = one
        one.names = tuple(map(str, node)) if isinstance(node, dict) else ()
        for key, value in _entries(node):
            name = str(key)
            if (made := leaves(name, value)) is not None:
                one.shapes[name], one.readers[name] = made
            elif isinstance(value, dict | list | tuple | Box):
                inside = path if name in _INSIDE else (*path, name)
                queue.append((inside, value, place))
                if isinstance(node, dict) and is_own(name):
                    one.others[name] = value.kind if isinstance(value, Box) else f"a {type(value).__name__}"
            elif isinstance(node, dict):
                settings[name] = value.name if isinstance(value, Global) else type(value).__name__
        if one.shapes:  # else these are settings, whatever they are called
            # At the top of a file they may be settings beside the tensors, unless they are named as an LSTM's.
            one.others |= {name: kind for name, kind in settings.items() if is_own(name) or "." in name}
            if sum(map(len, path)) > MAX_PATH:
                raise FormatError(
                    f"data.pkl: expected keys of {MAX_PATH} characters around a tensor, found longer ones"
                )
        if one.names or one.shapes:
            yield one


def _entries(node: Any) -> Iterator[tuple[Any, Any]]:
    """What lies in a dictionary, a list or an object."""
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list | tuple):
        yield from enumerate(node)
    elif isinstance(node, Box):
        yield from node.items.items()
        yield from enumerate(node.elements)
        yield from enumerate(node.arguments)
        if node.state is not None:
            yield from node.values.items() if isinstance(node.state, dict) else enumerate((node.state,))


def _tell_of_inner(plain: list[Dictionary]) -> None:
    """What dictionaries inside of one hold lies under the LSTM that it is itself."""
    lstm = {one.path: one for one in plain if any(is_own(name) and "." not in name for name in one.shapes)}
    for inner in plain if lstm else ():
        for length in range(len(inner.path)):
            if outer := lstm.get(inner.path[:length]):
                dot = "".join(f"{part}." for part in inner.path[length:])
                outer.others |= {f"{dot}{name}": "a tensor in a dictionary of its own" for name in inner.shapes}


def _hint(plain: list[Dictionary]) -> str:
    """A word on what is there when it is no LSTM."""
    named: dict[str, Shape | None] = {name: one.shapes.get(name) for one in plain for name in one.names}
    return hint(named) or ("" if any(one.shapes for one in plain) else "it holds no tensors")


def _closed(one: Dictionary, place: Place | None) -> dict[str, Reader]:
    """Refusals of the LSTMs in an object of an unknown class."""
    if place is None or not one.shapes:
        return {}
    told = f"expected a state dict, found it inside of {words(place)}"
    return {".".join(filter(None, (*one.path, path))): refusal(told) for path in lstms(Named(one.shapes, one.read))}


def _tensors(plain: list[Dictionary]) -> tuple[dict[str, Reads], dict[str, Shape]]:
    """Every array by the name that an LSTM has: its module path, with its dictionary's before it where two collide."""
    count = Counter(short(name) for one in plain for name in one.readers)
    readers: dict[str, Reads] = {}
    shapes: dict[str, Shape] = {}
    for one in plain:
        for name, reader in one.readers.items():
            whole = short(name) if count[short(name)] == 1 else ".".join(filter(None, (*one.path, name)))
            readers[whole], shapes[whole] = reader, one.shapes[name]
    return readers, shapes
