"""Flax parameters: what LSTMs and ConvLSTMs are in a tree of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...weights import ConvLSTMWeights, LSTMWeights
from ..contents import Contents
from .arrays import Array
from .conv_lstm import conv_lstms
from .lstm import lstms
from .tree import Tree, leaves


def contents(
    params: Tree, name: str = "tree of parameters", tensors: Mapping[str, Callable[[], Array]] | None = None
) -> Contents:
    """Every LSTM and ConvLSTM by its path in a tree, such as ``encoder/cell``.

    Raises
    ------
    TypeError
        `params` is no mapping.
    """
    found: Mapping[type, Mapping[str, Callable[[], Any]]] = {
        LSTMWeights: lstms(params),
        ConvLSTMWeights: conv_lstms(params),
    }
    return Contents(name, found, leaves(params) if tensors is None else tensors)
