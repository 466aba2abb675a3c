"""Flax: the LSTMs in a msgpack file of flax.serialization (for those in memory, see `tree`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...weights import ConvLSTMWeights, LSTMWeights
from ..containers.msgpack import is_tree, read_tree
from .conv_lstm import conv_lstms
from .tree import lstms

__all__ = ["NAME", "conv_lstms", "lstms", "matches", "read", "read_conv"]

NAME = "Flax msgpack"


def matches(path: Path, head: bytes) -> bool:
    """Whether the file starts as a msgpack map down to an array of Flax's."""
    return is_tree(head)


def read(path: Path) -> dict[str, Callable[[], LSTMWeights]]:
    """Every LSTM by its path in the tree, such as ``encoder/cell``."""
    return lstms(read_tree(path.read_bytes()))


def read_conv(path: Path) -> dict[str, Callable[[], ConvLSTMWeights]]:
    """Every ConvLSTM by its path in the tree."""
    return conv_lstms(read_tree(path.read_bytes()))
