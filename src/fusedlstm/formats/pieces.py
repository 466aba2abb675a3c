"""The LSTMs that a whole model has in pieces: taken apart, unrolled, in loops. Looked for when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import FormatError
from ..weights import LSTMWeights

if TYPE_CHECKING:
    from ..graph import Graph


class Pieces(Mapping[str, Callable[[], LSTMWeights]]):
    """By the names of the nodes that make their last output, else of that output.

    Parameters
    ----------
    graph : callable
        The model.
    alone : bool
        Without those that are nodes of the file: whoever reads it finds them sooner.
    """

    def __init__(self, graph: Callable[[], Graph], alone: bool = True) -> None:
        self._graph, self._alone = graph, alone

    @cached_property
    def _readers(self) -> dict[str, Callable[[], LSTMWeights]]:
        from ..graph import lstms_inside

        try:
            return lstms_inside(self._graph(), self._alone)
        except (FormatError, ImportError):  # said of the whole model
            return {}

    def __getitem__(self, name: str) -> Callable[[], LSTMWeights]:
        return self._readers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)
