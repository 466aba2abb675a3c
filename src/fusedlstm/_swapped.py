"""What a door swapped in a model, what it did not, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One recurrent module or layer of a model.

    Parameters
    ----------
    name : str
        Its path in the model; empty for the model itself.
    kind : str
        The class that it was, such as ``"LSTM"``.
    swapped : bool
        Whether it was swapped.
    why : str
        Why it was not, or why its last call ran the original all the same; empty where neither was so.
    dtype : str
        The precision that was asked for; empty for that of the weights.
    """

    name: str
    kind: str
    swapped: bool
    why: str = ""
    dtype: str = ""

    def __str__(self) -> str:
        name = f"{self.name or '(model)'}: {self.kind}"
        if not self.swapped:
            return f"{name}: left alone: {self.why}"
        runs = f"runs in fusedlstm{f' in {self.dtype}' if self.dtype else ''}"
        return f"{name}: {f'the original ran last: {self.why}' if self.why else runs}"


class Report(Sequence[Entry]):
    """The recurrent modules or layers of a model, in its order.

    Parameters
    ----------
    entries : sequence of Entry
        One for each.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)

    def __getitem__(self, index: int) -> Entry:  # type: ignore[override]
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def swapped(self) -> list[str]:
        """The names of those that were swapped."""
        return [one.name for one in self if one.swapped]

    def __repr__(self) -> str:
        counts = f"{len(self.swapped)} of {len(self)} recurrent layers swapped"
        return "\n  ".join([f"Report: {counts}", *map(str, self)])
