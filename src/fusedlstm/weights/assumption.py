"""What the source of weights does not say, and was taken to be so."""

from __future__ import annotations

from typing import NamedTuple


class Assumption(NamedTuple):
    """One thing that was assumed.

    Parameters
    ----------
    argument : str
        Which argument states it: ``"batch_first"`` or ``"config"``.
    what : str
        What was assumed, in words.
    how : str
        How a caller states it.
    """

    argument: str
    what: str
    how: str

    def __str__(self) -> str:
        """A sentence for whoever relies on it."""
        return f"{self.what}, as nothing says otherwise; state it with {self.how}"


BATCH_FIRST = Assumption(
    "batch_first",
    "x of three axes is taken as (batch, time, input)",
    "batch_first=True, or batch_first=False for (time, batch, input)",
)
