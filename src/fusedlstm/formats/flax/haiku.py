"""Haiku's LSTM by its parameters' names: ``lstm/linear/w`` (I + H, 4H) and ``b`` (4H,), for x and then h.

Gates i, g, f, o; 1 is added to the forget gate at run time, not stored (https://dm-haiku.readthedocs.io, `hk.LSTM`).
A module of another name than ``lstm`` cannot be told from a plain linear layer by its parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ...errors import FormatError
from ...weights import BATCH_FIRST, DirectionWeights, LSTMWeights, reorder_gates
from ...weights.named import Named, ignored
from ...weights.state_dict import to_float32

# Modules are named with slashes, "~" for what __init__ made; what stands before the parameter is up to who saved it.
_LINEAR = re.compile(r"(?P<path>(?:.*/)?\w*lstm(?:_[0-9]+)?)/(?:~/)?linear(?P<dot>[./:]{1,2})w")


def find(named: Named) -> Mapping[type, Mapping[str, Callable[[], Any]]]:
    """Every LSTM by its module's path."""
    linears = {match["path"]: name[:-1] for name in named.shapes if (match := _LINEAR.fullmatch(name))}
    others: dict[str, str] = {}
    for name in named.shapes:
        parts = name.split("/")[:32]
        for end in range(1, len(parts)):
            path = "/".join(parts[:end])
            own = path in linears and name in (f"{linears[path]}w", f"{linears[path]}b")
            if path in linears and not own and not ignored(name, named.ignore):
                others.setdefault(path, name)
    return {
        LSTMWeights: {path: partial(_read, named, path, linear, others.get(path)) for path, linear in linears.items()}
    }


def _read(named: Named, path: str, linear: str, other: str | None) -> LSTMWeights:
    if other is not None:
        raise FormatError(f"{other}: expected only w and b under {path!r}, found another array")
    shape = named.shapes[f"{linear}w"]
    hidden = shape[1] // 4 if len(shape) == 2 else 0
    if not hidden or shape[1] % 4 or shape[0] <= hidden:
        raise FormatError(f"{linear}w: expected shape (input + hidden, 4 * hidden), found {shape}")
    if named.shapes.get(f"{linear}b", (4 * hidden,)) != (4 * hidden,):
        raise FormatError(f"{linear}b: expected shape ({4 * hidden},), found {named.shapes[f'{linear}b']}")
    weight = reorder_gates(to_float32(f"{linear}w", named.read(f"{linear}w")).T, "igfo")
    stored = np.zeros(4 * hidden) if f"{linear}b" not in named.shapes else named.read(f"{linear}b").astype(float)
    bias = reorder_gates(stored, "igfo")
    bias[hidden : 2 * hidden] += 1.0  # in more digits than the sum is stored with
    inputs = shape[0] - hidden
    one = DirectionWeights(weight[:, :inputs], weight[:, inputs:], bias)
    return LSTMWeights([[one]], assumed=[BATCH_FIRST])
