"""Which elements of an axis a slice takes."""

from __future__ import annotations

from ..dims import Dim, Size
from .operator import Shape, axes_of

FAR = (1 << 31) - 1
"""The end of any axis, as TensorFlow writes it."""


def slices(call_ints: list[Shape | None], rank: int) -> list[tuple[int, int, int, int]]:
    """Axis, start, end and step of each sliced axis, from starts, ends, axes and steps."""
    starts, ends, axes, steps = call_ints
    assert starts is not None and ends is not None
    axes = axes_of(tuple(range(len(starts))) if axes is None else axes, rank)
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError("expected as many starts, ends, axes and steps, found others")
    if any(step == 0 for step in steps):
        raise ValueError("expected steps that are not 0, found 0")
    return list(zip(axes, starts, ends, steps))


def places_of(size: int, start: int, end: int, step: int) -> range:
    """The places of an axis that a slice takes; unlike Python's, a backward one starts at 0 at the least."""
    return range(size)[slice(max(start, -size) if step < 0 else start, end, step)]


def cuts(size: Size, start: Size, end: Size) -> tuple[int, int] | None:
    """How many elements a slice leaves out in front and at the end; None where that depends on a size that is open."""
    front = _front(size, start)
    behind = 0 if type(end) is int and end >= FAR else size - end if isinstance(end, Dim) else -end if end < 0 else None
    if front is None or type(behind) is not int or behind >= FAR:
        return None
    return front, max(behind, 0)


def _front(size: Size, start: Size) -> int | None:
    if isinstance(start, Dim):
        left = start + size  # it is counted from the end
        return max(left, 0) if type(left) is int else None
    return start if 0 <= start < FAR else 0 if start <= -FAR else None


def sliced(size: Size, start: Size, end: Size, step: int) -> Size:
    """How many elements a slice takes; of a size that is open, the first and the last one are taken to be there."""
    if all(type(one) is int for one in (size, start, end)):
        return len(places_of(size, start, end, step))
    if step > 0:
        if (start, end) == (0, 1) or (start == -1 and end >= FAR):
            return 1
        if step == 1 and isinstance(start, Dim) and size - start == 1 and (end == size or end >= FAR):
            return 1  # the last one; of more there may be fewer
        left_out = cuts(size, start, end)
        if left_out is not None:
            return (size - sum(left_out) + step - 1) // step
    if step == -1 and type(start) is int and (start == -1 or start >= FAR) and type(end) is int and end <= -FAR:
        return size
    return Dim.unknown("slice", size, start, end, step)
