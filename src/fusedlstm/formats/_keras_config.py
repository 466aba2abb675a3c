"""A Keras model's configuration, read as data: which layers are LSTMs, what they are called, where Keras 3 stores them.

Nothing that a configuration names is imported or called. Both generations are understood: Keras 3 (and TensorFlow's own
``.keras`` files) states the module of each class, the older one only its name.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ..weights import FormatError

MAX_DEPTH = 32

_MODELS = ("Sequential", "Functional", "Model")


@dataclass(frozen=True)
class Layer:
    """A layer of a model that is not itself a model.

    Parameters
    ----------
    names : tuple of str
        The Keras names that lead to it: those of the nested models around it, then its own.
    path : str
        Where Keras 3 stores it. Storage counts the layers of one class in the order of the configuration.
    item : dict
        Its configuration, ``{"class_name": ..., "config": {...}}``.
    """

    names: tuple[str, ...]
    path: str
    item: dict[str, Any]

    @property
    def prefix(self) -> str:
        """The name that the user gives to choose it."""
        return "/".join(self.names)


@dataclass(frozen=True)
class Cell:
    """One LSTMCell: its name (None inside an LSTM layer, which chooses it), its units, whether it has a bias."""

    name: str | None
    units: int
    use_bias: bool


@dataclass(frozen=True)
class Recurrent:
    """What a recurrent layer computes: ``directions[d][k]`` is the cell of layer k, forward (0) or backward (1)."""

    directions: tuple[tuple[Cell, ...], ...]
    stacked: bool
    time_major: bool


def parse(text: str | bytes) -> Any:
    """JSON, with FormatError for what is damaged or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"damaged model configuration ({type(error).__name__}: {error})") from error


def layers(model: Any, names: tuple[str, ...] = (), path: str = "") -> list[Layer]:
    """Every layer of a model and of the models nested in it, in the order of the configuration."""
    if len(names) > MAX_DEPTH:
        raise FormatError(f"model configuration: expected at most {MAX_DEPTH} nested models, found more")
    found: list[Layer] = []
    counts: Counter[str] = Counter()
    for item in _children(_checked(model)):
        kind = snake_case(_checked(item)["class_name"])
        where = f"{path}layers/{kind}_{counts[kind]}" if counts[kind] else f"{path}layers/{kind}"
        counts[kind] += 1
        inside = (*names, _name(item))
        while _is(item, "TimeDistributed"):  # runs one layer on each slice of its input: that layer is what matters
            item, where = _checked(_config(item).get("layer")), f"{where}/layer"
            inside = (*inside, _name(item)) if _children(item) else inside
        if _children(item):
            found += layers(item, inside, f"{where}/")
        else:
            found.append(Layer(inside, where, item))
    return found


def is_lstm(item: Any) -> bool:
    """Whether a layer is Keras's own LSTM in any of its forms (`recurrent` may still refuse it)."""
    if _is(item, "Bidirectional"):
        return is_lstm(_config(item).get("layer"))
    if _is(item, "RNN"):
        return any(_is(cell, "LSTMCell") for cell in _stacked(_config(item).get("cell")))
    return _is(item, "LSTM") or _is(item, "CuDNNLSTM")


def recurrent(item: Any) -> Recurrent:
    """What a layer computes.

    Raises
    ------
    FormatError
        Something that this library does not compute: another activation, merge mode, direction or cell.
    """
    if not _is(item, "Bidirectional"):
        return Recurrent((_cells(item, backwards=False),), _is_stack(item), _time_major(item))
    config = _config(item)
    forward, backward = config.get("layer"), config.get("backward_layer")
    if config.get("merge_mode") != "concat":
        raise FormatError(f"merge_mode: expected 'concat', found {config.get('merge_mode')!r}")
    directions = [_cells(forward, backwards=False)]
    if backward is None:  # Keras 2 states it only where it differs from the forward one turned around
        directions *= 2
    else:
        directions.append(_cells(backward, backwards=True))
        if (_is_stack(backward), _time_major(backward)) != (_is_stack(forward), _time_major(forward)):
            raise FormatError("Bidirectional: expected the same kind of layer in both directions, found two kinds")
    if max(map(len, directions)) > 1:
        raise FormatError("Bidirectional: expected one LSTM cell in each direction, found a stack of cells")
    return Recurrent(tuple(directions), _is_stack(forward), _time_major(forward))


def snake_case(class_name: str) -> str:
    """The name under which Keras 3 stores layers of a class: LSTMCell becomes lstm_cell."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", re.sub(r"\W", "", class_name)).lower()


def _checked(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or not isinstance(item.get("class_name"), str) or "config" not in item:
        raise FormatError(f"model configuration: expected class_name and config, found {str(item)[:80]!r}")
    return item


def _children(item: dict[str, Any]) -> list[Any]:
    """The layers of a model; nothing for a layer."""
    if _is(item, "Sequential") and isinstance(item["config"], list):  # Keras before 2.2
        return list(item["config"])
    config = _config(item)
    if not isinstance(config.get("layers"), list):
        return []
    # A class of the user's own that Keras saves like a model: what only Functional and Sequential write is there.
    like_a_model = "input_layers" in config or "build_input_shape" in config
    return list(config["layers"]) if like_a_model or any(_is(item, name) for name in _MODELS) else []


def _is(item: Any, class_name: str) -> bool:
    """Whether an item is Keras's own class of that name, not the user's class that happens to be called so."""
    if not isinstance(item, dict) or item.get("class_name") != class_name:
        return False
    module, registered = item.get("module"), item.get("registered_name")
    if module is None:
        return registered is None
    return str(module).split(".")[0] in ("keras", "tf_keras")


def _is_stack(item: Any) -> bool:
    return _is(_config(item).get("cell"), "StackedRNNCells")


def _stacked(cell: Any) -> list[Any]:
    if _is(cell, "StackedRNNCells"):
        cells = _config(cell).get("cells")
        return cells if isinstance(cells, list) else []
    return [cell]


def _cells(item: Any, *, backwards: bool) -> tuple[Cell, ...]:
    """The cells of an LSTM or RNN layer, first layer first."""
    if not (_is(item, "LSTM") or _is(item, "RNN")):
        raise FormatError(f"layer class: expected keras.layers.LSTM, found {_class_name(item)!r}")
    config = _config(item)
    if config.get("go_backwards", False) is not backwards:
        raise FormatError(f"go_backwards: expected {backwards}, found {config.get('go_backwards', False)!r}")
    if _is(item, "LSTM"):
        return (_cell(config, None),)
    stack = _stacked(config.get("cell"))
    for cell in stack:
        if not _is(cell, "LSTMCell"):
            raise FormatError(f"cell class: expected keras.layers.LSTMCell, found {_class_name(cell)!r}")
    return tuple(_cell(_config(cell), _name(cell)) for cell in stack)


def _cell(config: dict[str, Any], name: str | None) -> Cell:
    for key, expected in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if config.get(key) != expected:
            raise FormatError(f"{key}: expected {expected!r}, found {str(config.get(key))[:80]!r}")
    units, use_bias = config.get("units"), config.get("use_bias")
    if not isinstance(units, int) or not isinstance(use_bias, bool) or units < 1:
        raise FormatError(f"expected units and use_bias, found {units!r} and {use_bias!r}")
    return Cell(name, units, use_bias)


def _time_major(item: Any) -> bool:
    return _config(item).get("time_major", False) is True


def _config(item: Any) -> dict[str, Any]:
    config = item.get("config") if isinstance(item, dict) else None
    return config if isinstance(config, dict) else {}


def _class_name(item: Any) -> str:
    """A class as messages call it: with the package that the user registered it for."""
    return str((item.get("registered_name") or item.get("class_name")) if isinstance(item, dict) else item)[:80]


def _name(item: dict[str, Any]) -> str:
    return str(_config(item).get("name", item.get("name")))
