"""Where variables are: arrays by path, whatever file or files they come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ..containers.hdf5 import Hdf5

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Variables(Protocol):
    """Datasets by path, the shape of each before it is read, and the texts that groups carry; `Hdf5` is one."""

    @property
    def datasets(self) -> Collection[str]:
        """The paths of all arrays."""

    def shape(self, path: str) -> Shape:
        """The shape of one."""

    def read(self, path: str) -> Array:
        """One, of floating point."""

    def text(self, path: str, name: str) -> str | None:
        """A text that a group carries by a name."""

    def renew(self) -> None:
        """Count work from here on."""


class Moved:
    """Variables of one file or several, under other paths than theirs.

    Parameters
    ----------
    files : iterable of Hdf5
        Where they are.
    path : callable
        Where each is, for its path in the file.

    Raises
    ------
    FormatError
        Two of the same path.
    """

    def __init__(self, files: Iterable[Hdf5], path: Callable[[str], str] = str) -> None:
        self._files = list(files)
        self._places: dict[str, tuple[Hdf5, str]] = {}
        self._groups: dict[str, list[tuple[Hdf5, str]]] = defaultdict(list)
        for file in self._files:
            for inside in file.datasets:
                if path(inside) in self._places:
                    raise FormatError(f"{path(inside)!r}: expected once, found twice")
                self._places[path(inside)] = file, inside
            for inside in file.groups:
                self._groups[path(inside)].append((file, inside))

    @property
    def datasets(self) -> Collection[str]:
        """The paths of all arrays."""
        return self._places.keys()

    def shape(self, path: str) -> Shape:
        """The shape of one."""
        file, inside = self._place(path)
        return file.shape(inside)

    def read(self, path: str) -> Array:
        """One, of floating point."""
        file, inside = self._place(path)
        return file.read(inside)

    def text(self, path: str, name: str) -> str | None:
        """A text that a group carries in any of the files."""
        texts = (file.text(inside, name) for file, inside in self._groups.get(path, ()))
        return next((text for text in texts if text is not None), None)

    def renew(self) -> None:
        """Count work from here on."""
        for file in self._files:
            file.renew()

    def _place(self, path: str) -> tuple[Hdf5, str]:
        if path not in self._places:
            raise FormatError(f"{path!r}: expected a dataset, found none")
        return self._places[path]


class Named:
    """Variables by their names, as arrays without groups."""

    def __init__(self, shapes: Mapping[str, Shape], read: Callable[[str], Array]) -> None:
        self._shapes, self._read = shapes, read

    @property
    def datasets(self) -> Collection[str]:
        """The names of all arrays."""
        return self._shapes.keys()

    def shape(self, path: str) -> Shape:
        """The shape of one."""
        return self._shapes[path]

    def read(self, path: str) -> Array:
        """One, of floating point."""
        array = self._read(path)
        if array.dtype.kind != "f":
            raise FormatError(f"{path!r}: expected floating-point numbers, found {array.dtype}")
        with np.errstate(over="ignore"):
            return array.astype(np.float32)

    def text(self, path: str, name: str) -> str | None:
        """None: there are no groups."""

    def renew(self) -> None:
        """Nothing to count: arrays are bounded when they are read."""
