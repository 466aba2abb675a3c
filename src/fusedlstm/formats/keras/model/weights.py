"""Where the variables of each layer are, in either layout: by number (Keras 3), or by their own names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from ....errors import FormatError
from ..layers import MODELS, snake_case
from ..variables import Array, Variables

_WAYS = {"forward_layer": True, "backward_layer": False}


class Weights(Protocol):
    """The variables of an object: a model, a layer, or a part of one."""

    def read(self, *names: str, more: int = 0) -> list[Array]:
        """Its own variables, by Keras's names for them, in Keras's order; `more` may follow that are not wanted."""

    def part(self, attribute: str, name: str | None = None) -> Weights:
        """An object that it holds: by the attribute that holds it, and the name that its variables have, if any."""

    def layers(self, kinds: Sequence[str], names: Sequence[str]) -> list[Weights]:
        """Of a model, its layers: by their classes and their names, in the order of the configuration."""


class Stored:
    """Keras 3's: ``layers/dense_1/vars/0``, layers counted by class."""

    def __init__(self, file: Variables, path: str = "", groups: Mapping[str, int] | None = None) -> None:
        self._file, self._path = file, path
        self._groups = _counted(file) if groups is None else groups

    def read(self, *names: str, more: int = 0) -> list[Array]:
        """By their numbers."""
        group = f"{self._path}vars"
        found = self._groups.get(group, 0)
        if not len(names) <= found <= len(names) + more:
            raise FormatError(f"{group!r}: expected {len(names)} variables ({', '.join(names)}), found {found}")
        self._file.renew()
        return [self._file.read(f"{group}/{k}") for k in range(len(names))]

    def part(self, attribute: str, name: str | None = None) -> Weights:
        """By the attribute, which older versions may keep to themselves."""
        own = f"{self._path}_{attribute}/"
        path = own if f"{own}vars" in self._groups else f"{self._path}{attribute}/"
        return Stored(self._file, path, self._groups)

    def layers(self, kinds: Sequence[str], names: Sequence[str]) -> list[Weights]:
        """By class and number."""
        counts: dict[str, int] = defaultdict(int)
        found: list[Weights] = []
        for kind in map(snake_case, kinds):
            place = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1
            found.append(Stored(self._file, f"{self._path}layers/{place}/", self._groups))
        return found


def _counted(file: Variables) -> dict[str, int]:
    """By each group of variables how many there are, from 0 on without a gap."""
    numbers: dict[str, set[str]] = defaultdict(set)
    for path in file.datasets:
        group, _, number = path.rpartition("/")
        numbers[group].add(number)
    found = {}
    for group, inside in numbers.items():
        found[group] = next(k for k in range(len(inside) + 1) if str(k) not in inside)
    return found


class Named:
    """By names: ``dense/dense/kernel:0`` in the group of the model's layer.

    Keras 2 leaves the names of nested models out of its variables' names, and those of the parts of a layer mostly.
    """

    def __init__(
        self, file: Variables, paths: Mapping[str, str], names: tuple[str, ...] | None = None, title: str = ""
    ) -> None:
        self._file, self._paths = file, paths  # a path from the group on, and where it is
        self._names = names  # of the models around, from the group on; None: this is the outermost
        self._title = title

    @classmethod
    def of_file(cls, file: Variables, root: str = "") -> Named:
        """All variables under a group."""
        under = f"{root}/" if root else ""
        return cls(file, {path[len(under) :]: path for path in file.datasets if path.startswith(under)})

    def read(self, *names: str, more: int = 0) -> list[Array]:
        """By their names."""
        found: dict[str, list[str]] = defaultdict(list)
        for path, place in self._paths.items():
            found[path.rpartition("/")[2].partition(":")[0]].append(place)
        missing = [f"{name} ({len(found[name])} of it)" for name in names if len(found[name]) != 1]
        if missing:
            raise FormatError(f"variables of {self._title!r}: expected one each, found {', '.join(missing)}")
        self._file.renew()
        return [self._file.read(found[name][0]) for name in names]

    def part(self, attribute: str, name: str | None = None) -> Weights:
        """Those whose path has the part's name, if it has one; of two directions, what tells the forward one."""
        if attribute in _WAYS:
            inside = {path: place for path, place in self._paths.items() if self._is_forward(path) == _WAYS[attribute]}
            return Named(self._file, inside, self._names, f"{self._title}/{attribute}")
        if name is None:
            return self
        inside = {path: place for path, place in self._paths.items() if f"/{name}/" in f"/{path}"}
        return Named(self._file, inside, self._names, f"{self._title}/{name}")

    def layers(self, kinds: Sequence[str], names: Sequence[str]) -> list[Weights]:
        """By their names."""
        if self._names is None:
            groups: dict[str, dict[str, str]] = {name: {} for name in names}
            for path, place in self._paths.items():
                group = path.partition("/")[0]
                if group not in groups:  # a name with a slash in it
                    group = max((one for one in names if path.startswith(f"{one}/")), key=len, default="")
                if group:
                    groups[group][path[len(group) + 1 :]] = place
            return [Named(self._file, groups[name], (), name) for name in names]
        return [self._inside(kind, name) for kind, name in zip(kinds, names)]

    def _is_forward(self, path: str) -> bool:
        own = self._title.rpartition("/")[2]
        return any(part.startswith("forward_") for part in f"/{path}".rpartition(f"/{own}/")[2].split("/"))

    def _inside(self, kind: str, name: str) -> Weights:
        """A layer of a nested model: the variables whose path has most of the names that lead to it.

        A model in it may have left no trace of its name: then all of them, of which its layers take theirs.
        """
        chain = (*(self._names or ()), name)
        title = f"{self._title}/{name}"
        for start in range(len(chain)):
            wanted = "/".join(chain[start:])
            inside = {path: place for path, place in self._paths.items() if f"/{wanted}/" in f"/{path}"}
            if inside:
                return Named(self._file, inside, chain, title)
        return Named(self._file, self._paths if kind in MODELS else {}, chain, title)
