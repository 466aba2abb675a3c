"""Flax parameters: what LSTMs and ConvLSTMs are in a tree of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...weights import ConvLSTMWeights, LSTMWeights
from ..containers.source import Config
from ..contents import Contents, Readers
from .arrays import Array
from .conv_lstm import conv_lstms
from .lstm import lstms
from .options import stated
from .tree import Tree, leaves


def contents(
    params: Tree,
    name: str = "tree of parameters",
    tensors: Mapping[str, Callable[[], Array]] | None = None,
    config: Config | None = None,
) -> Contents:
    """Every LSTM and ConvLSTM by its path in a tree, such as ``encoder/cell``.

    Raises
    ------
    TypeError
        `params` is no mapping.
    """
    options = None if config is None else stated(config)
    found: dict[type, Readers[Any]] = {
        LSTMWeights: lstms(params, options),
        ConvLSTMWeights: conv_lstms(params, options),
    }
    return Contents(name, found, leaves(params) if tensors is None else tensors, configured=True)
