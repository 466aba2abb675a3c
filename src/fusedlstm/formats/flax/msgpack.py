"""msgpack files of flax.serialization."""

from __future__ import annotations

from ..containers.msgpack import parse
from ..containers.source import Source
from ..contents import Contents
from .arrays import is_tree
from .params import contents

NAME = "Flax msgpack"


def read(source: Source) -> Contents | None:
    """Every LSTM and ConvLSTM by its path in the tree."""
    return contents(parse(source.read()), NAME, config=source.config) if is_tree(source.head) else None
