"""Functional models: layers as a graph, run in the order in which they need each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ....errors import FormatError
from ..layers import MODELS, children, config_of, is_class, name_of
from .call import Held, Tensor
from .nodes import Invocation, Ref, ends, invocations, replaced

if TYPE_CHECKING:
    from .whole import Reader


def is_model(item: Any) -> bool:
    """Whether an item is a model of Keras's own."""
    return any(is_class(item, kind) for kind in MODELS) and bool(children(item))


class Functional:
    """The layers of a functional model and the calls that it makes of them.

    Parameters
    ----------
    item : dict
        The model's configuration.
    items : sequence of dict
        Its layers'.
    held : sequence of Held
        What each of them has.

    Raises
    ------
    FormatError
        Two layers of one name, or calls that are damaged.
    """

    def __init__(self, item: dict[str, Any], items: Sequence[dict[str, Any]], held: Sequence[Held]) -> None:
        names = [name_of(one) for one in items]
        self._layers = own = dict(zip(names, zip(items, held)))
        if len(own) != len(names):
            raise FormatError("expected a name of its own for each layer, found two of one name")
        self._calls = {name: invocations(one, own) for name, (one, _) in own.items()}
        config = config_of(item)
        self._entries, self._exits = (ends(config.get(key), own, key) for key in ("input_layers", "output_layers"))
        if any(isinstance(node, dict) for one in items for node in one.get("inbound_nodes") or ()):
            # Keras 3 counts the call that it made a model with in this list alone.
            self._exits = [self._without_first(ref) for ref in self._exits]
            self._first = dict.fromkeys(own, 0)
        else:
            self._first = self._first_nodes()

    def run(self, reader: Reader, prefix: str, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for some inputs."""
        if len(self._entries) != len(inputs):
            raise FormatError(f"expected {len(self._entries)} inputs, found {len(inputs)}")
        made = {(ref.layer, ref.node): [tensor] for ref, tensor in zip(self._entries, inputs)}
        for name, calls in self._calls.items():
            for k in range(len(calls)):
                self._run(reader, prefix, made, (name, k + self._first[name]))
        for ref in self._exits:
            if (ref.layer, ref.node) not in made:
                raise FormatError(f"output_layers: expected a call of {ref.layer!r}, found none")
        return [_value(reader, made, ref) for ref in self._exits]

    def _run(
        self, reader: Reader, prefix: str, made: dict[tuple[str, int], list[Tensor]], start: tuple[str, int]
    ) -> None:
        """One call, those that it needs before it."""
        waiting, active = [start], {start}
        while waiting:
            name, node = key = waiting[-1]
            if key in made:
                waiting.pop()
                continue
            call = self._invocation(name, node)
            needed = dict.fromkeys((ref.layer, ref.node) for ref in call.refs() if (ref.layer, ref.node) not in made)
            if any(one in active for one in needed):
                raise FormatError(f"layer {name!r}: expected layers without a cycle, found one")
            if needed:
                waiting += needed
                active.update(needed)
                continue
            known = {ref: _value(reader, made, ref) for ref in call.refs()}
            item, held = self._layers[name]
            args, kwargs = replaced(call.args, known), replaced(call.kwargs, known)
            made[key] = reader.call(item, held, f"{prefix}{name}", args, kwargs)
            waiting.pop()

    def _invocation(self, name: str, node: int) -> Invocation:
        several = self._calls.get(name, ())
        number = node - self._first.get(name, 0)
        if not 0 <= number < len(several):
            raise FormatError(f"layer {name[:80]!r}: expected {len(several)} calls, found a use of number {number}")
        return several[number]

    def _without_first(self, ref: Ref) -> Ref:
        item = self._layers[ref.layer][0] if ref.layer in self._layers else None
        functional = is_class(item, "Functional") and is_model(item)
        return replace(ref, node=ref.node - 1) if functional and ref.node else ref

    def _first_nodes(self) -> dict[str, int]:
        """The number of each layer's first call; models have one before it, where Keras 2 made them."""
        used: dict[str, set[int]] = defaultdict(set)
        for ref in (*self._exits, *(ref for calls in self._calls.values() for call in calls for ref in call.refs())):
            used[ref.layer].add(ref.node)
        return {name: min(used[name], default=0) if is_model(item) else 0 for name, (item, _) in self._layers.items()}


def _value(reader: Reader, made: Mapping[tuple[str, int], list[Tensor]], ref: Ref) -> Tensor:
    several = made[ref.layer, ref.node]
    if several[0].name in reader.refused:  # it stands for all of them
        return several[0]
    if ref.index >= len(several):
        raise FormatError(f"layer {ref.layer!r}: expected {len(several)} outputs, found a use of {ref.index}")
    return several[ref.index]
