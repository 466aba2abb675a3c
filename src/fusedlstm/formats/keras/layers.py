"""Which layers a Keras model has, what they are called and where Keras 3 stores them: its configuration read as data.

Nothing that a configuration names is imported or called. Both generations are understood: Keras 3 (and TensorFlow's own
``.keras`` files) states the module of each class, the older one only its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError

MAX_DEPTH = 32

MODELS = ("Sequential", "Functional", "Model")
_CONV_LSTMS = ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


@dataclass(frozen=True)
class Owner:
    """A layer that holds others and is no model of Keras's own: a wrapper, or a class of the user's."""

    name: str
    path: str
    kind: str


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a model that is not itself a model.

    Parameters
    ----------
    names : tuple of str
        The Keras names that lead to it: those of the nested models around it, then its own.
    path : str
        Where Keras 3 stores it. Storage counts the layers of one class in the order of the configuration. Inside of an
        owner it is a guess, as storage goes by attributes and the configuration by arguments.
    item : dict
        Its configuration, ``{"class_name": ..., "config": {...}}``.
    owners : tuple of Owner
        Those around it, outermost first.
    """

    names: tuple[str, ...]
    path: str
    item: dict[str, Any]
    owners: tuple[Owner, ...] = ()

    @property
    def prefix(self) -> str:
        """The name that the user gives to choose it."""
        return "/".join(self.names)


def layers(model: Any, names: tuple[str, ...] = (), path: str = "", owners: tuple[Owner, ...] = ()) -> list[Layer]:
    """Every layer of a model, of the models nested in it and inside of other layers, in the configuration's order."""
    return _counted(children(checked(model)), names, f"{path}layers/", owners)


def is_lstm(item: Any) -> bool:
    """Whether a layer is Keras's own LSTM in any of its forms (`config.recurrent` may still refuse it)."""
    if is_class(item, "Bidirectional"):
        return is_lstm(config_of(item).get("layer"))
    if is_class(item, "RNN"):
        return any(is_class(cell, "LSTMCell") for cell in stacked(config_of(item).get("cell")))
    return any(is_class(item, name) for name in ("LSTM", "LSTMCell", "CuDNNLSTM"))


def is_conv_lstm(item: Any) -> bool:
    """Whether a layer is Keras's own ConvLSTM in any of its forms (`conv_lstm.described` may still refuse it)."""
    if is_class(item, "Bidirectional"):
        return is_conv_lstm(config_of(item).get("layer"))
    return any(is_class(item, name) for name in _CONV_LSTMS)


def snake_case(class_name: str) -> str:
    """The name under which Keras 3 stores layers of a class: LSTMCell becomes lstm_cell."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", re.sub(r"\W", "", class_name)).lower()


def checked(item: Any) -> dict[str, Any]:
    """A layer or a model, if it is one."""
    if not isinstance(item, dict) or not isinstance(item.get("class_name"), str) or "config" not in item:
        raise FormatError(f"model configuration: expected class_name and config, found {str(item)[:80]!r}")
    return item


def children(item: dict[str, Any]) -> list[Any]:
    """The layers of a model; nothing for a layer."""
    if is_class(item, "Sequential") and isinstance(item["config"], list):  # Keras before 2.2
        return list(item["config"])
    config = config_of(item)
    if not isinstance(config.get("layers"), list):
        return []
    # A class of the user's own that Keras saves like a model: what only Functional and Sequential write is there.
    like_a_model = "input_layers" in config or "build_input_shape" in config
    return list(config["layers"]) if like_a_model or any(is_class(item, name) for name in MODELS) else []


def is_class(item: Any, class_name: str) -> bool:
    """Whether an item is Keras's own class of that name, not the user's class that happens to be called so."""
    if not isinstance(item, dict) or item.get("class_name") != class_name:
        return False
    module, registered = item.get("module"), item.get("registered_name")
    if module is None:
        return registered is None
    return str(module).split(".")[0] in ("keras", "tf_keras")


def stacked(cell: Any) -> list[Any]:
    """The cells of a stack, or the only one."""
    if is_class(cell, "StackedRNNCells"):
        cells = config_of(cell).get("cells")
        return cells if isinstance(cells, list) else []
    return [cell]


def config_of(item: Any) -> dict[str, Any]:
    """What an item says of itself; empty if it says nothing."""
    config = item.get("config") if isinstance(item, dict) else None
    return config if isinstance(config, dict) else {}


def class_name(item: Any) -> str:
    """A class as messages call it: with the package that the user registered it for."""
    return str((item.get("registered_name") or item.get("class_name")) if isinstance(item, dict) else item)[:80]


def name_of(item: dict[str, Any]) -> str:
    """What a layer is called; TensorFlow 2.0 to 2.3 calls operators otherwise than their nodes."""
    if is_class(item, "TensorFlowOpLayer"):
        return str(item.get("name", config_of(item).get("name")))
    return str(config_of(item).get("name", item.get("name")))


def _counted(items: Iterable[Any], names: tuple[str, ...], path: str, owners: tuple[Owner, ...]) -> list[Layer]:
    """The layers of a list, which storage calls by their class and their number within it."""
    found: list[Layer] = []
    counts: Counter[str] = Counter()
    for item in items:
        kind = snake_case(checked(item)["class_name"])
        where = f"{path}{kind}_{counts[kind]}" if counts[kind] else f"{path}{kind}"
        counts[kind] += 1
        found += _inside(item, (*names, name_of(item)), where, owners)
    return found


def _inside(item: dict[str, Any], names: tuple[str, ...], path: str, owners: tuple[Owner, ...]) -> list[Layer]:
    """The layers that an item is or holds."""
    if len(names) > MAX_DEPTH:
        raise FormatError(f"model configuration: expected at most {MAX_DEPTH} nested models, found more")
    if children(item):
        return layers(item, names, f"{path}/", owners)
    if is_class(item, "TimeDistributed"):  # runs one layer on each slice of its input: that layer is what matters
        inner = checked(config_of(item).get("layer"))
        return _inside(inner, (*names, name_of(inner)) if children(inner) else names, f"{path}/layer", owners)
    here = Layer(names, path, item, owners)
    if is_lstm(item) or is_conv_lstm(item):
        return [here]
    around = (*owners, Owner(names[-1], path, class_name(item)))
    held = [_held(value, names, f"{path}/{key}", around) for key, value in config_of(item).items()]
    return [here, *(layer for inside in held for layer in inside)]


def _held(value: Any, names: tuple[str, ...], path: str, owners: tuple[Owner, ...]) -> list[Layer]:
    """The layers anywhere in an argument of a layer that holds others."""
    if _is_item(value):
        return _inside(value, (*names, name_of(value)), path, owners)
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return []
    found = _counted(filter(_is_item, value), names, f"{path}/", owners)
    others = (one for one in value if not _is_item(one))
    return found + [layer for one in others for layer in _held(one, names, f"{path}/container", owners)]


def _is_item(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("class_name"), str) and "config" in value
