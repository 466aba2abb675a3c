"""Equinox's LSTMCell by its fields' names: ``weight_ih`` (4H, I), ``weight_hh`` (4H, H), ``bias`` (4H,) or none.

Gates i, f, g, o (https://docs.kidger.site/equinox, `eqx.nn.LSTMCell`). PyTorch's cell has two biases instead, so a
single one tells Equinox's; ``jax.tree_util.keystr`` writes paths as ``.layers[0].cell.weight_ih``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ...weights import LSTMWeights
from ...weights.named import Named
from ...weights.state_dict import lstms

_ROLES = ("weight_ih", "weight_hh", "bias")
_BIAS = re.compile(r"(?P<path>(?:.*\.)?)bias")


def find(named: Named) -> Mapping[type, Mapping[str, Callable[[], Any]]]:
    """Every cell by its path, if there is one with a single bias; none where the names are said to be PyTorch's."""
    stored = {_plain(name): name for name in named.shapes}
    if named.framework == "pt" or len(stored) != len(named.shapes):
        return {}
    cells = {
        match["path"]
        for own in stored
        if (match := _BIAS.fullmatch(own)) and f"{match['path']}weight_ih" in stored
        if f"{match['path']}weight_hh" in stored
        if not {f"{match['path']}bias_ih", f"{match['path']}bias_hh"} & stored.keys()
    }
    if not cells:
        return {}
    # By the names of a layer, which may have one bias: the sum of PyTorch's two.
    renamed = {f"{path}{role}_l0": stored[f"{path}{role}"] for path in cells for role in _ROLES}
    left = stored.keys() - {f"{path}{role}" for path in cells for role in _ROLES}
    renamed |= {own: stored[own] for own in stored if own in left}
    shapes = {own: named.shapes[name] for own, name in renamed.items()}
    return {LSTMWeights: lstms(replace(named, shapes=shapes, read=lambda own: named.read(renamed[own])))}


def _plain(name: str) -> str:
    """A path as PyTorch writes it: ``layers.0.cell.weight_ih``."""
    return re.sub(r"\[['\"]?([^\[\]'\"]*)['\"]?\]", r".\1", name).removeprefix(".").replace("/", ".")
