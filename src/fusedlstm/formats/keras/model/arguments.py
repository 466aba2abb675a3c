"""What a call is given: arguments by their names, constants as tensors of the graph, and none that nobody reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import FormatError
from ..layers import children
from .call import Tensor
from .constants import array_of

_RECURRENT = ("sequences", "initial_state", "mask", "training")
_HEADS = ("query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask")
_BY_POSITION = {
    "MultiHeadAttention": _HEADS,
    "Bidirectional": _RECURRENT,
    "CuDNNLSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "LSTM": _RECURRENT,
    "RNN": _RECURRENT,
    "SimpleRNN": _RECURRENT,
    "GlobalAveragePooling1D": ("inputs", "mask"),
    "Softmax": ("inputs", "mask"),
}
"""Layers whose further arguments are understood without their names, as Keras 3 writes them."""
_UNHEEDED = ("name", "output_type", "training")
"""Arguments that change nothing here: `expect_inference` has seen to the last one, whole numbers are all of 64 bits."""


class Arguments(dict[str, Any]):
    """Arguments by name, and which of them were asked for."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self._asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """One, if it is there."""
        self._asked.add(name)
        return super().get(name, default)

    def expect_read(self) -> None:
        """Refuse what nobody asked for, if it says anything."""
        for name, value in self.items():
            plain = value is None or (isinstance(value, (bool, int, float)) and not value)
            if name not in self._asked and name not in _UNHEEDED and not plain:
                raise FormatError(f"{name}: expected no such argument, found one, which is not supported")


def named(item: Mapping[str, Any], args: Sequence[Any], given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The first argument alone, the others by their names, where a layer's are known."""
    names = _BY_POSITION.get(str(item.get("class_name")), ())
    if len(args) < 2 or not names or children(dict(item)):
        return list(args), dict(given)
    if len(args) > len(names):
        raise FormatError(f"expected at most {len(names)} arguments by position, found {len(args)}")
    return list(args[:1]), {**dict(zip(names[1:], args[1:])), **given}


def applied(
    args: Sequence[Any], given: Mapping[str, Any], constant: Callable[[Any], str]
) -> tuple[list[Any], dict[str, Any]]:
    """What a layer is applied to, and its other arguments, constants as tensors of the graph.

    Raises
    ------
    FormatError
        Anything but tensors, or tensors in further arguments by position.
    """
    if any(one is not None for one in args[1:]):
        raise FormatError(f"expected one argument by position, found {len(args)}")
    found = [_tensors_of(one, constant) for one in args[:1]]
    _expect_tensors(found)
    return found, {key: _tensors_of(one, constant) for key, one in given.items()}


def _tensors_of(tree: Any, constant: Callable[[Any], str]) -> Any:
    """An argument in which arrays, and lists of numbers as Keras 2 writes them, are constants of the graph."""
    if isinstance(tree, np.ndarray):
        return Tensor(constant(tree))
    if isinstance(tree, Mapping):
        return {key: _tensors_of(one, constant) for key, one in tree.items()}
    if not isinstance(tree, (list, tuple)):
        return tree
    if _is_array(tree):
        return Tensor(constant(array_of(tree)))
    return [_tensors_of(one, constant) for one in tree]


def _is_array(tree: Any) -> bool:
    """Whether a tree is numbers alone, as many in each row."""
    if not isinstance(tree, list):
        return isinstance(tree, (bool, int, float))
    sizes = {len(one) if isinstance(one, list) else -1 for one in tree}
    return len(sizes) == 1 and all(_is_array(one) for one in tree)


def _expect_tensors(tree: Any) -> None:
    """Refuse anything but tensors among what a layer is applied to."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        for one in tree:
            _expect_tensors(one)
    elif tree is not None and not isinstance(tree, Tensor):
        raise FormatError(f"expected tensors, found {str(tree)[:80]!r}")
