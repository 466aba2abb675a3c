"""Flax's trees flattened into names such as ``encoder.cell.ii.kernel``, with dots or slashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...weights import ConvLSTMWeights, LSTMWeights
from ...weights.named import Named
from .conv_lstm import conv_lstms
from .lstm import lstms
from .options import stated
from .tree import unflattened

CONFIGURED = True


def find(named: Named) -> Mapping[type, Mapping[str, Callable[[], Any]]]:
    """Every LSTM and ConvLSTM by its path in the tree."""
    tree = unflattened({name: partial(named.read, name) for name in named.shapes})
    options = None if named.config is None else stated(named.config)
    return {LSTMWeights: lstms(tree, options), ConvLSTMWeights: conv_lstms(tree, options)}
