"""State dicts in memory: names to NumPy arrays, PyTorch's tensors, JAX's and others, also within each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import LSTMWeights
from ...weights.state_dict import is_own
from ..containers import numbers
from ..containers.source import Config, Source
from ..contents import Contents
from .trees import Leaf, contents, named

NAME = "mapping"

_HUGE = 2**62
"""What is in memory justifies any size."""


def from_mapping(tensors: Mapping[str, Any], config: Config | None, ignore: tuple[str, ...]) -> Contents:
    """Every LSTM by PyTorch's names, also in dictionaries of the mapping; else the arrays by their names.

    Raises
    ------
    TypeError
        It is no mapping.
    """
    if not isinstance(tensors, Mapping):
        raise TypeError(f"expected a mapping of names to arrays, found {type(tensors).__name__}")
    source = Source(b"", config, ignore, "")
    source.size = _HUGE
    tree = _plain(tensors, 0)
    found = contents(NAME, tree, _leaf, source)
    if not found.listed(LSTMWeights):
        found = replace(found, found={}, named=named(tree, _leaf, source))
    return replace(found, file="", size=_HUGE)


def _plain(tree: Any, depth: int) -> Any:
    """Any mapping as a dictionary; what is too deep is refused by whoever walks through it."""
    if isinstance(tree, Mapping) and depth < 64:
        return {str(key): _plain(value, depth + 1) for key, value in tree.items()}
    return tree


def _leaf(name: str, value: Any) -> Leaf | None:
    """An array of whatever framework; lists of numbers under an LSTM's own names."""
    if isinstance(value, np.ma.MaskedArray):
        raise FormatError(f"{name}: expected an array without a mask, found a masked one; fill it: .filled(value)")
    if isinstance(value, list | tuple) and value and is_own(name):
        return numbers.shape(name, value), lambda: numbers.array(name, value)
    shape = getattr(value, "shape", None)
    if shape is None or isinstance(value, type):
        return None
    return tuple(int(size) for size in shape), lambda: _read(name, value)


def _read(name: str, value: Any) -> npt.NDArray[np.generic]:
    if hasattr(value, "detach"):  # of PyTorch
        if value.is_meta:
            raise FormatError(f"{name}: expected values, found a tensor on the meta device")
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return np.asarray(value.numpy())
    array = np.asarray(value)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiubc":
        raise FormatError(f"{name}: expected numbers, found dtype {array.dtype}")
    return array
