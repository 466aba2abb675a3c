"""Arrays by their names, wherever they lie: what those who know a framework's names are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
Read = Callable[[str], npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Named:
    """The arrays of one state dict, npz archive or the like.

    Parameters
    ----------
    shapes : mapping of str to shape
        Every array by its full name, so that nothing is read before it is wanted.
    read : callable
        Reads one by its full name.
    others : mapping of str to str
        What is no array, by name: what to call it.
    ignore : sequence of str
        Patterns of the names that the caller says to leave out; see `ignored`.
    max_parameters : int, optional
        The most numbers that the file justifies, where it may name the same bytes many times.
    framework : str
        Whose names these are, where the file says so: "pt" in safetensors of PyTorch.
    config : mapping or path-like, optional
        What the caller states of the model.
    """

    shapes: Mapping[str, Shape]
    read: Read
    others: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    max_parameters: int | None = None
    framework: str = ""
    config: Any = None


def ignored(name: str, patterns: Iterable[str]) -> bool:
    """Whether a glob pattern fits a name or the end of it from a dot (or a slash) on: ``lora_*`` fits
    ``model.lstm.lora_A.default.weight``.
    """
    patterns = tuple(patterns)
    if not patterns:
        return False
    starts = [0, *(at + 1 for at, character in enumerate(name) if character in "./")]
    return any(fnmatchcase(name[start:], pattern) for start in starts for pattern in patterns)
