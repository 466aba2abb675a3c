"""Live Keras models: their configuration as text, their variables from the objects. Nothing of Keras is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.graph import Graph
from .. import config as configuration
from ..layer import check_activations, is_own, version_of
from ..layers import snake_case
from ..variables import Array
from .registry import LAYERS
from .weights import Weights
from .whole import read_graph


def from_model(model: Any) -> Graph:
    """The graph of a Sequential or Functional Keras model.

    Raises
    ------
    TypeError
        Not a Keras model.
    FormatError
        A model that is not built, or whose code is its own.
    """
    kind = type(model)
    if not all(hasattr(model, name) for name in ("to_json", "get_config", "layers")):
        raise TypeError(f"expected a Keras model, found {kind.__module__}.{kind.__name__}")
    try:
        text = model.to_json()
    except (NotImplementedError, ValueError, TypeError) as error:
        raise FormatError(f"expected a Sequential or Functional model, found {kind.__name__} ({error})") from error
    return read_graph(configuration.parse(text), version_of(kind), Live(model))


class Live:
    """The variables of an object: see `Weights`."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def read(self, *names: str, more: int = 0) -> list[Array]:
        """By their names."""
        check_activations(self._owner)
        found: dict[str, Any] = {}
        for attribute in ("_trainable_variables", "_non_trainable_variables", "_trainable_weights"):
            self._enter(found, attribute)
        self._enter(found, "_non_trainable_weights")
        missing = [name for name in names if name not in found]
        if missing:
            title = getattr(self._owner, "name", None)
            raise FormatError(f"layer {title!r}: expected variables {missing}, found {list(found)}; build it first")
        arrays = [_array(found[name]) for name in names]
        for name, array in zip(names, arrays):
            if array.dtype.kind != "f":
                raise FormatError(f"variable {name!r}: expected floating-point numbers, found {array.dtype}")
        return [array.astype(np.float32) for array in arrays]

    def _enter(self, found: dict[str, Any], attribute: str) -> None:
        for variable in getattr(self._owner, attribute, None) or ():
            found.setdefault(str(variable.name).rpartition("/")[2].partition(":")[0], variable)

    def part(self, attribute: str, name: str | None = None) -> Weights:
        """By the attribute; of cells, by class and number."""
        first, _, rest = attribute.partition("/")
        held = getattr(self._owner, first, None)
        held = getattr(self._owner, f"_{first}", None) if held is None else held
        if rest:
            counted: dict[str, int] = {}
            for one in held or ():
                kind = snake_case(type(one).__name__)
                count = counted[kind] = counted.get(kind, -1) + 1
                if rest == (f"{kind}_{count}" if count else kind):
                    return Live(one)
            return Live(None)
        return Live(held)

    def layers(self, kinds: Sequence[str], names: Sequence[str]) -> list[Weights]:
        """By their names."""
        own = {one.name: one for one in getattr(self._owner, "layers", ())}
        for one in own.values():
            kind = type(one)
            if kind.__name__ in LAYERS and not is_own(kind):
                raise FormatError(
                    f"layer {one.name!r}: expected Keras's own class, found {kind.__module__}.{kind.__name__}"
                )
        return [Live(own.get(name)) for name in names]


def _array(variable: Any) -> Array:
    """A variable's value, whatever the backend."""
    value = variable.numpy() if hasattr(variable, "numpy") else variable
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
