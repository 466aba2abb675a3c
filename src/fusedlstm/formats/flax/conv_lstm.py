"""linen's ConvLSTMCell in a parameter tree.

``ih`` with a kernel (*kernel, channels, 4F), ``hh`` with a kernel (*kernel, F, 4F), each with a bias (4F,) or none,
gates i, g, f, o along the last axis; 1 is added to the forget gate at run time, not stored
(https://flax.readthedocs.io, `ConvLSTMCell`). The padding is not stored either: SAME is the default, and the only one
that keeps h at its size but for those given in numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from ...errors import FormatError
from ...weights import ConvLSTMWeights, reorder_gates
from .options import Options, used_conv
from .tree import check_depth, check_params, leaf, subtrees

Tree = Mapping[Any, Any]
Path = tuple[str, ...]

_ORDER = "igfo"
_MAX_RANK = 2


def conv_lstms(params: Tree, options: Options | None = None) -> dict[str, Callable[[], ConvLSTMWeights]]:
    """Every ConvLSTM in a nested dict, as `tree.lstms` does it for LSTMs.

    Raises
    ------
    TypeError
        `params` is no mapping.
    """
    check_params(params)
    return {"/".join(path): partial(_read, cell, path, options) for path, cell in _cells(params)}


def _cells(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Tree]]:
    """Every ConvLSTMCell with its path, those of a checkpoint's ``params`` alone."""
    check_depth(path)
    if all(isinstance(tree.get(name), Mapping) and "kernel" in tree[name] for name in ("ih", "hh")):
        yield path, tree
        return
    for inside, child in subtrees(tree, path):
        yield from _cells(child, inside)


def _read(tree: Tree, path: Path, options: Options | None) -> ConvLSTMWeights:
    """The weights of one cell."""
    where = "/".join(path)
    for name, names in (("", ("ih", "hh")), ("ih", ("kernel", "bias")), ("hh", ("kernel", "bias"))):
        for found in tree[name] if name else tree:
            if found not in names:
                raise FormatError(f"{where!r}: expected only {', '.join(names)}, found {found!r}")
    kernel, recurrent = (leaf(tree, path, name, "kernel") for name in ("ih", "hh"))
    rank, filters = recurrent.ndim - 2, recurrent.shape[-2] if recurrent.ndim > 1 else 0
    if not 1 <= rank <= _MAX_RANK:
        raise FormatError(f"{where!r}: expected a kernel over 1 or 2 axes, found shape {recurrent.shape}")
    for name, found in (("ih", kernel), ("hh", recurrent)):
        inputs = filters if name == "hh" else found.shape[-2] if found.ndim > 1 else 0
        shape = (*recurrent.shape[:rank], inputs, 4 * filters)
        if found.shape != shape:
            raise FormatError(f"{where}/{name}/kernel: expected shape {shape}, found {found.shape}")
    # What is added at run time is added here, in more digits than the sum is stored with.
    bias = np.repeat([0.0, 0.0, 1.0, 0.0], filters)
    for name in ("ih", "hh"):
        if "bias" in tree[name]:
            found = leaf(tree, path, name, "bias")
            if found.shape != bias.shape:
                raise FormatError(f"{where}/{name}/bias: expected shape {bias.shape}, found {found.shape}")
            bias = bias + found
    kernel, recurrent = (reorder_gates(np.moveaxis(found, -1, 0), _ORDER) for found in (kernel, recurrent))
    return used_conv(kernel, recurrent, reorder_gates(bias, _ORDER), options)
