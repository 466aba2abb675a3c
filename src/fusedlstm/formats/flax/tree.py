"""Trees of Flax parameters, linen or nnx, in memory or from a file: walking through them, and their leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...errors import FormatError
from ...weights.checked import unmasked
from .arrays import Array, is_array, to_array

Tree = Mapping[Any, Any]

_MAX_DEPTH = 64


@dataclass(frozen=True)
class Stored:
    """A tensor of a file, read when it is wanted."""

    read: Callable[[], Array]


def unflattened(tensors: Mapping[str, Callable[[], Array]]) -> Tree:
    """The tree that was flattened into names such as ``encoder.cell.ii.kernel`` (or with slashes), as far as it may
    hold an LSTM.
    """
    tree: dict[str, Any] = {}
    for name, read in tensors.items():
        *path, leaf = re.split("[./]", name)
        if leaf not in ("kernel", "bias") or len(path) > _MAX_DEPTH:
            continue
        parent = tree
        for part in path:
            parent = parent.setdefault(part, {})
            if isinstance(parent, Stored):
                raise FormatError(f"{name!r}: expected a group of tensors at {part!r}, found a tensor")
        if leaf in parent:
            raise FormatError(f"{name!r}: expected one tensor of that path, found two")
        parent[leaf] = Stored(read)
    return tree


def check_params(params: Any) -> None:
    """Refuse what is no tree with the documented TypeError."""
    if not isinstance(params, Mapping):
        raise TypeError(f"params: expected a nested dict of parameters, found {type(params).__name__}")


def check_depth(path: tuple[str, ...]) -> None:
    """Refuse trees too deep to walk through."""
    if len(path) > _MAX_DEPTH:
        raise FormatError(f"expected a tree at most {_MAX_DEPTH} levels deep, found more below {'/'.join(path[:4])!r}")


def has_params(tree: Tree) -> bool:
    """Whether this is a checkpoint: its parameters are in "params", and beside it are the same names, other numbers."""
    return isinstance(tree.get("params"), Mapping)


def subtrees(
    tree: Tree, path: tuple[str, ...], besides: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Tree]]:
    """The trees inside of one that may hold cells, with their paths, but for those called `besides`."""
    if has_params(tree):
        yield path, tree["params"]
        return
    for key, child in tree.items():
        if isinstance(child, Mapping) and not is_array(child) and key not in ("opt_state", *besides):
            yield (*path, str(key)), child


def leaves(tree: Tree) -> dict[str, Callable[[], Array]]:
    """What reads each array that is stored in a tree, by its path with slashes."""
    found: dict[str, Callable[[], Array]] = {}
    waiting: list[tuple[tuple[str, ...], Tree]] = [((), tree)]
    for path, inside in waiting:
        for key, value in inside.items() if len(path) <= _MAX_DEPTH else ():
            name = "/".join((*path, str(key)))
            if is_array(value):
                found[name] = partial(to_array, f"tensor {name!r}", value)
            elif isinstance(value, Mapping):
                waiting.append(((*path, str(key)), value))
    return found


def leaf(tree: Tree, path: tuple[str, ...], layer: str, name: str) -> Array:
    """The parameter `name` of the submodule `layer`, of any shape."""
    where = f"tensor {'/'.join((*path, layer, name))!r}"
    parent = tree.get(layer)
    if not isinstance(parent, Mapping) or name not in parent:
        raise FormatError(f"{where}: expected it, found none")
    found = parent[name]
    if is_array(found):
        array = to_array(where, found)
    elif isinstance(found, Stored):
        array = found.read()
    else:
        array = np.asarray(unmasked(where, found))
        if array.dtype == object and hasattr(found, "value"):  # linen's Partitioned, nnx's variables of older versions
            array = np.asarray(found.value)
        if array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
    if array.dtype.kind != "f":
        raise FormatError(f"{where}: expected an array of floats, found {array.dtype}")
    return array
