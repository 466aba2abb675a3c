"""Keras 1's variables of an LSTM: ``{layer}_W_i``, ``{layer}_U_i``, ``{layer}_b_i`` for each gate i, f, c, o.

That is twelve arrays, or three, ``{layer}_W`` and so on, where it was told to compute all gates at once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable

import numpy as np

from ...errors import FormatError
from ..containers.hdf5 import Hdf5
from .variables import Array, Shape

_OLD = re.compile(r"(?P<layer>.+)_(?P<role>[WUb])(?P<gate>_[ifco])?(?P<output>:\d+)?")
_ROLES = {"W": "kernel", "U": "recurrent_kernel", "b": "bias"}
_ORDER = ("_i", "_f", "_c", "_o")


class Keras1:
    """Variables by the names of Keras 2, where the file has Keras 1's."""

    def __init__(self, file: Hdf5) -> None:
        self._file, self._parts = file, _old_parts(file.datasets)

    @property
    def datasets(self) -> Collection[str]:
        """The paths of all arrays, those of Keras 1 by their later names."""
        old = {path for parts in self._parts.values() for path in parts}
        return [*self._parts, *(path for path in self._file.datasets if path not in old)]

    def shape(self, path: str) -> Shape:
        """The shape of one."""
        shapes = [self._file.shape(part) for part in self._parts.get(path, [path])]
        if len(set(shapes)) > 1 or not shapes[0]:
            raise FormatError(f"{self._parts[path][0]!r}: expected one shape for all four gates, found {shapes}")
        *rows, columns = shapes[0]
        return (*rows, columns * len(shapes))

    def read(self, path: str) -> Array:
        """One, of floating point; gates side by side."""
        self.shape(path)
        return np.concatenate([self._file.read(part) for part in self._parts.get(path, [path])], axis=-1)

    def text(self, path: str, name: str) -> str | None:
        """A text that a group carries by a name."""
        return self._file.text(path, name)

    def renew(self) -> None:
        """Count work from here on."""
        self._file.renew()


def has_names(datasets: Iterable[str]) -> bool:
    """Whether there are Keras 1's variables of an LSTM."""
    return bool(_old_parts(datasets))


def _old_parts(datasets: Iterable[str]) -> dict[str, list[str]]:
    """By the later name of each variable, the arrays that it consists of."""
    cells: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for path in datasets:
        if match := _OLD.fullmatch(path):
            cells[match["layer"]][match["role"]][match["gate"] or ""] = path
    return {
        f"{layer}/{_ROLES[role]}": [gates[gate] for gate in (_ORDER if len(gates) > 1 else gates)]
        for layer, roles in cells.items()
        if roles.keys() == _ROLES.keys() and all(set(gates) in ({""}, set(_ORDER)) for gates in roles.values())
        for role, gates in roles.items()
    }
