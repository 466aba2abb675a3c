"""How tensors go along time: on which axis, how often a step comes, and how many there are by now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..dims import Dim, Size, known
from ..graph import Node
from ..operators import OPERATORS, Array, Shape

if TYPE_CHECKING:
    from .chunk import Chunk
    from .walk import Walk


AHEAD = (
    "it is padded behind the last step, so that outputs change when more steps come; a stream needs padding in front "
    'alone ("causal" in Keras), or what is too much cut off at the end'
)


@dataclass(frozen=True)
class Flow:
    """A tensor that grows with the input.

    Parameters
    ----------
    axis : int
        Which one is time; -1: none is, the tensor is one value that each step renews.
    outer, inner : int
        What else lies on this axis: it has ``outer * steps * inner`` elements, in this order.
    stride : int
        Steps of the input for each of its own, or for each `rate` of them.
    need : int
        Steps of the input before its first one is settled; 0 or less where it begins with steps of its own.
    rate : int
        Its own steps that come at once.
    cut : int
        How many of the first ones are left out; below 0: how many others come before them. 0 for a rate of 1.
    tail : int
        Steps at its end that the next steps of the input change, such as those that see padding.
    start : int
        Steps of the input before it is there at all; its first one may be settled later.
    blame : Node, optional
        What made the tail.
    """

    axis: int
    outer: int = 1
    inner: int = 1
    stride: int = 1
    need: int = 1
    rate: int = 1
    cut: int = 0
    tail: int = 0
    start: int = 1
    blame: Node | None = None

    def settled(self, count: int) -> int:
        """Its steps that are settled after so many of the input."""
        return 0 if count < self.start else self.rate * ((count - self.need) // self.stride + 1) - self.cut

    @property
    def last(self) -> bool:
        """Whether it is one value that each step renews."""
        return self.axis < 0

    @property
    def first(self) -> int:
        """Steps of the input when its first step is settled."""
        return self.need + self.stride * (self.cut // self.rate)

    @property
    def delay(self) -> int:
        """Of two tensors of one pace, the one with the larger delay has fewer steps, by the difference."""
        return self.rate * (self.need // self.stride) + self.cut

    @property
    def ended(self) -> Flow:
        """The same, where later steps change none of those that are there.

        Raises
        ------
        ValueError
            They do; the message names what made them.
        """
        if self.tail:
            raise ValueError(f"{'a node' if self.blame is None else self.blame.title} comes before it: {AHEAD}")
        return self

    @property
    def pace(self) -> tuple[int, ...]:
        """Two tensors of one pace have as many steps as each other, whatever the length of the input."""
        return self.stride, self.rate, self.need % self.stride, self.delay - self.tail

    @property
    def alone(self) -> Flow:
        """The same, where what lies behind a step on its axis are steps as well.

        Raises
        ------
        ValueError
            It shares the axis with what lies before it.
        """
        if self.outer != 1:
            raise ValueError("expected an axis of steps alone, found one that it shares with others")
        return self.faster(self.inner, 0, 0) if self.inner != 1 else self

    def faster(self, rate: int, before: int, tail: int) -> Flow:
        """So many steps for each one, but the first `before`; of the last ones `tail` change, or are missing."""
        cut = self.cut * rate + before - min(tail, 0)
        made = replace(self, inner=1, rate=self.rate * rate, cut=cut, tail=self.tail * rate + max(tail, 0))
        return replace(made, start=max(self.start, made.first))

    def after(self, count: int) -> Flow:
        """With so many steps in front of it."""
        if self.rate > 1:
            return replace(self, cut=self.cut - count)
        return replace(self, need=self.need - self.stride * count)

    def moved(self, axis: int, outer: int | None = None, inner: int | None = None) -> Flow:
        """The same steps on another axis."""
        return replace(
            self, axis=axis, outer=self.outer if outer is None else outer, inner=self.inner if inner is None else inner
        )

    def windows(self, reach: int, step: int, before: int, after: int, blame: Node) -> tuple[Flow, int]:
        """What windows over it make, and how many of its steps are kept for the next ones.

        Parameters
        ----------
        reach : int
            Steps that one window sees.
        step : int
            From one window to the next.
        before, after : int
            Steps that are put around it; cut off where they are negative.

        Raises
        ------
        ValueError
            Windows whose place depends on how long the input is.
        """
        tail = self.tail + after
        if tail > 0 and step > 1:
            whose = "" if after > 0 or self.blame is None else f" by {self.blame.title}"
            raise ValueError(
                f"its last windows see steps that are put behind{whose}, and later ones come in their place"
            )
        if tail < 0:  # a step is there when so many more have come
            reach -= tail
        late = self.cut + reach - 1 - before  # steps that are there when the first window is
        if self.rate == 1:
            made = replace(self, need=self.need + self.stride * late, stride=self.stride * step)
        elif self.rate % step == 0:
            made = replace(self, rate=self.rate // step, cut=(late + step) // step - 1)
        elif step % self.rate == 0:
            need = self.need + self.stride * (-(-(late + 1) // self.rate) - 1)
            made = replace(self, rate=1, cut=0, need=need, stride=self.stride * (step // self.rate))
        else:
            raise ValueError(f"it takes one step of {step}, where {self.rate} come at once")
        if made.rate == 1 and made.cut:
            made = replace(made, need=made.need + made.stride * made.cut, cut=0)
        start = max(self.start, self.first, made.first)
        flow = replace(made, tail=max(tail, 0), start=start, blame=blame if after > 0 else self.blame)
        return flow, max(reach - 1, before)


@dataclass(frozen=True)
class Moved:
    """What a node does along time.

    Parameters
    ----------
    outputs : sequence of Flow
        Of its outputs; None where nothing may take it.
    write : callable, optional
        ``write(chunk)`` writes its nodes for a chunk of steps. Default: the node as it is.
    """

    outputs: Sequence[Flow | None]
    write: Callable[[Chunk], None] | None = None


@dataclass(frozen=True)
class Moving:
    """What a rule is told of a node.

    Parameters
    ----------
    walk : Walk
        Where states are entered.
    node : Node
        The node.
    flows : sequence of Flow
        Of its inputs; None for what does not change along time.
    shapes, made : sequence of tuple
        Of its inputs and outputs.
    values : sequence of ndarray
        Inputs that are constant; else None.
    """

    walk: Walk
    node: Node
    flows: Sequence[Flow | None]
    shapes: Sequence[Shape]
    made: Sequence[Shape]
    values: Sequence[Array | None]

    @property
    def a(self) -> Any:
        """The node's attributes."""
        return self.node.attributes

    def flow(self, index: int = 0) -> Flow:
        """Of an input that goes along time.

        Raises
        ------
        ValueError
            It does not, but another one does.
        """
        found = self.flows[index]
        if found is None or any(one is not None for k, one in enumerate(self.flows) if k != index):
            raise ValueError(f"expected its input {index} alone to go along time, found others")
        return found

    def sizes(self, index: int) -> list[Size] | None:
        """The whole numbers of an input, some of which may follow from how long the sequence is; None: it is left out.

        Raises
        ------
        ValueError
            They are computed.
        """
        if index >= len(self.node.inputs) or not self.node.inputs[index]:
            return None
        value = self.values[index]
        if value is None:
            value = self.walk.symbolic.get(self.node.inputs[index])
        if value is None:
            raise ValueError("it depends on values that are known only when it runs")
        return [one if isinstance(one, Dim) else int(one) for one in value.reshape(-1).tolist()]

    def ints(self, index: int) -> list[int] | None:
        """The same, where no number depends on how long the sequence is.

        Raises
        ------
        ValueError
            One does, or they are computed.
        """
        found = self.sizes(index)
        if found is not None and not known(tuple(found)):
            raise ValueError("it depends on how long the sequence is")
        return found


Rule = Callable[[Moving], Moved]


def goes(*names: str) -> Callable[[Rule], Rule]:
    """Enter how operators go along time: decorates ``rule(moving) -> Moved``, a ValueError where they do not."""

    def enter(rule: Rule) -> Rule:
        for name in names:
            if OPERATORS[name].live is not None:
                raise RuntimeError(f"operator {name} goes along time twice")
            object.__setattr__(OPERATORS[name], "live", rule)
        return rule

    return enter
