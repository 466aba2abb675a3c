"""Which calls a functional model makes: its inbound nodes, as Keras 2 and Keras 3 write them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ....errors import FormatError
from .constants import array_of, constant_of

_TENSOR = "__keras_tensor__"
_CONSTANT = "_CONSTANT_VALUE"


@dataclass(frozen=True)
class Ref:
    """A tensor by what makes it: a layer, which of its calls, which of that call's outputs."""

    layer: str
    node: int
    index: int


@dataclass(frozen=True)
class Invocation:
    """One call of a layer: arguments in which a tensor is a `Ref`."""

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)

    def refs(self) -> Iterator[Ref]:
        """The tensors that it takes."""
        yield from refs_of([self.args, self.kwargs])


def refs_of(tree: Any) -> Iterator[Ref]:
    """The tensors in an argument, in Keras's order."""
    if isinstance(tree, Ref):
        yield tree
    elif isinstance(tree, Mapping):
        for key in sorted(tree):
            yield from refs_of(tree[key])
    elif isinstance(tree, (list, tuple)):
        for one in tree:
            yield from refs_of(one)


def replaced(tree: Any, by: Mapping[Ref, Any]) -> Any:
    """An argument with what its tensors became."""
    if isinstance(tree, Ref):
        return by[tree]
    if isinstance(tree, Mapping):
        return {key: replaced(tree[key], by) for key in tree}
    if isinstance(tree, (list, tuple)):
        return [replaced(one, by) for one in tree]
    return tree


def ends(where: Any, layers: Collection[str], what: str) -> list[Ref]:
    """The inputs or outputs of a functional model."""
    tree = _reference(where, layers)
    found = list(refs_of(tree))
    if not found:
        raise FormatError(f"{what}: expected layers of the model, found {str(where)[:80]!r}")
    return found


def invocations(item: Mapping[str, Any], layers: Collection[str]) -> list[Invocation]:
    """The calls of one layer, in order.

    Parameters
    ----------
    item : mapping
        Its configuration in the model's.
    layers : collection of str
        The names of the model's layers, which tell a tensor from a list in the older form.
    """
    nodes = item.get("inbound_nodes") or []
    if not isinstance(nodes, list):
        raise FormatError(f"inbound_nodes: expected a list, found {str(nodes)[:80]!r}")
    return [_newer(node) if isinstance(node, dict) else _older(node, layers) for node in nodes]


def _newer(node: dict[str, Any]) -> Invocation:
    args, kwargs = node.get("args"), node.get("kwargs")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise FormatError(f"inbound_nodes: expected args and kwargs, found {str(node)[:80]!r}")
    return Invocation([_plain(one) for one in args], {key: _plain(one) for key, one in kwargs.items()})


def _plain(value: Any) -> Any:
    """An argument as Keras 3 writes it."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == _TENSOR:
        config = value.get("config")
        history = config.get("keras_history") if isinstance(config, dict) else None
        found = _history(history)
        if found is None:
            raise FormatError(f"inbound_nodes: expected a tensor of the model, found {str(value)[:80]!r}")
        return found
    if "class_name" in value and "config" in value:
        kind, inside = constant_of(value)
        return [_plain(one) for one in inside] if kind == "list" else inside
    return {key: _plain(one) for key, one in value.items()}


def _history(value: Any) -> Ref | None:
    if not isinstance(value, (list, tuple)) or len(value) < 3:
        return None
    name, node, index = value[:3]
    if not isinstance(name, str) or type(node) is not int or type(index) is not int or node < 0 or index < 0:
        return None
    return Ref(name, node, index)


def _older(node: Any, layers: Collection[str]) -> Invocation:
    """A list of ``[layer, node, index, kwargs]``, or one of them alone, or such in a dictionary."""
    kwargs: dict[str, Any] = {}

    def entry(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: entry(one) for key, one in value.items()}
        if not isinstance(value, list):
            raise FormatError(f"inbound_nodes: expected tensors of the model, found {str(value)[:80]!r}")
        if value and isinstance(value[0], str):
            more = value[3] if len(value) > 3 else {}
            if not isinstance(more, dict):
                raise FormatError(f"inbound_nodes: expected arguments by name, found {str(more)[:80]!r}")
            kwargs.update({key: _reference(one, layers) for key, one in more.items()})
            if value[0] == _CONSTANT and len(value) > 2:
                return array_of(value[2]) if isinstance(value[2], list) else value[2]
            if (found := _history(value)) is None:
                raise FormatError(f"inbound_nodes: expected a tensor of the model, found {str(value)[:80]!r}")
            return found
        return [entry(one) for one in value]

    made = entry(node)
    if isinstance(made, list) and len(made) == 1:
        made = made[0]
    return Invocation([made], kwargs)


def _reference(value: Any, layers: Collection[str]) -> Any:
    """An argument as Keras 2 writes it: ``[layer, node, index]`` is a tensor."""
    if isinstance(value, list):
        if value and isinstance(value[0], str):
            found = _history(value)
            if found is not None and found.layer in layers:
                return found
            if value[0] == _CONSTANT and len(value) > 2:
                return array_of(value[2]) if isinstance(value[2], list) else value[2]
        return [_reference(one, layers) for one in value]
    if isinstance(value, dict):
        if "class_name" in value and "config" in value:
            return _plain(value)
        return {key: _reference(one, layers) for key, one in value.items()}
    return value
