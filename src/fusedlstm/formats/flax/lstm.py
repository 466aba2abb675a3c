"""The LSTMs in a tree of Flax parameters, linen or nnx.

A tree names its parameters (https://flax.readthedocs.io, `LSTMCell`), so an LSTM is found by its children:

- linen LSTMCell and OptimizedLSTMCell: ``ii, if, ig, io`` with a kernel (input, H); ``hi, hf, hg, ho`` with a kernel
  (H, H) and a bias (H,); nnx.LSTMCell the same, but ``if_``;
- nnx.OptimizedLSTMCell: ``dense_i`` with a kernel (input, 4H), and ``dense_h`` with a kernel (H, 4H) and a bias (4H,);
- Bidirectional: a cell each in ``forward_rnn`` and ``backward_rnn``.

It does not say how the model uses a cell: other activations, reversed or time-major input are for the caller to state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ...errors import FormatError
from ...weights import GATES, DirectionWeights, LSTMWeights
from .arrays import Array
from .options import Options, used
from .tree import Tree, check_depth, check_params, has_params, leaf, subtrees

_ENDS = ("forward_rnn", "backward_rnn")  # of a Bidirectional


def lstms(params: Tree, options: Options | None = None) -> dict[str, Callable[[], LSTMWeights]]:
    """Every LSTM in a nested dict: linen variables or parameters, or the state of an nnx module.

    Parameters
    ----------
    params : mapping
        The tree.
    options : Options, optional
        What the caller states of the modules.

    Raises
    ------
    TypeError
        `params` is no mapping.
    """
    check_params(params)
    found: dict[str, Callable[[], LSTMWeights]] = {}
    for path, reader in _walk(params, (), options):
        name = "/".join(path)
        if name in found:
            raise FormatError(f"expected one LSTM called {name!r}, found two")
        found[name] = reader
    # An RNN computes what its cell does, so its own path names it too.
    rnns = {path.removesuffix("cell").rstrip("/"): path for path in found if path.split("/")[-1] == "cell"}
    return found | {name: found[path] for name, path in rnns.items() if name not in found}


def _walk(
    tree: Tree, path: tuple[str, ...], options: Options | None
) -> Iterator[tuple[tuple[str, ...], Callable[[], LSTMWeights]]]:
    check_depth(path)
    if _is_cell(tree):
        yield path, lambda: _lstm(path, options, _direction(tree, path))
        return
    ends = _ENDS if not has_params(tree) and any(_is_cell(_cell(tree, end)) for end in _ENDS) else ()
    if ends:
        yield (
            path,
            lambda: _lstm(path, options, *(_direction(_cell(tree, end), (*path, end, "cell")) for end in _ENDS)),
        )
    for inside, child in subtrees(tree, path, ends):
        yield from _walk(child, inside, options)


def _cell(tree: Tree, rnn: str) -> Tree:
    """The cell of one end of a Bidirectional; empty when there is none."""
    end = tree.get(rnn)
    cell = end.get("cell") if isinstance(end, Mapping) else None
    return cell if isinstance(cell, Mapping) else {}


def _is_cell(tree: Tree) -> bool:
    if "dense_i" in tree and "dense_h" in tree:
        return not (isinstance(tree["dense_i"], Mapping) and "bias" in tree["dense_i"])  # GRUCell has its bias there
    return "ii" in tree and "hi" in tree


def _lstm(path: tuple[str, ...], options: Options | None, *directions: DirectionWeights) -> LSTMWeights:
    try:
        return used([directions], options)
    except ValueError as error:
        raise FormatError(f"{'/'.join(path)!r}: {error}") from error


def _direction(tree: Tree, path: tuple[str, ...]) -> DirectionWeights:
    inputs, hidden = [f"i{gate}" for gate in GATES], [f"h{gate}" for gate in GATES]
    if "if_" in tree:
        inputs[1] = "if_"
    if "dense_i" in tree:
        inputs, hidden = ["dense_i"], ["dense_h"]
    _check_names(tree, path, (*inputs, *hidden, "rngs"))  # nnx may keep random numbers beside the parameters
    for name in (*inputs, *hidden):
        _check_names(tree.get(name), (*path, name), ("kernel",) if name in inputs else ("kernel", "bias"))
    features = _array(tree, path, inputs[0], "kernel", (None, None)).shape[0]
    units = _array(tree, path, hidden[0], "kernel", (None, None)).shape[0]
    columns = 4 * units // len(hidden)
    return DirectionWeights(
        np.concatenate([_array(tree, path, name, "kernel", (features, columns)).T for name in inputs]),
        np.concatenate([_array(tree, path, name, "kernel", (units, columns)).T for name in hidden]),
        np.concatenate([_array(tree, path, name, "bias", (columns,)) for name in hidden]),
    )


def _check_names(tree: Any, path: tuple[str, ...], expected: tuple[str, ...]) -> None:
    for name in tree if isinstance(tree, Mapping) else ():
        if name not in expected:
            raise FormatError(f"{'/'.join(path)!r}: expected only {', '.join(expected)}, found {name!r}")


def _array(tree: Tree, path: tuple[str, ...], layer: str, name: str, shape: tuple[int | None, ...]) -> Array:
    array = leaf(tree, path, layer, name)
    if array.ndim != len(shape) or any(size not in (None, array.shape[axis]) for axis, size in enumerate(shape)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        where = f"tensor {'/'.join((*path, layer, name))!r}"
        raise FormatError(f"{where}: expected shape ({wanted}), found {array.shape}")
    return array
