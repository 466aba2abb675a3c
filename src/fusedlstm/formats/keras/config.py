"""A Keras model's configuration, read as data: which layers are LSTMs, what they are called, where Keras 3 stores them.

Nothing that a configuration names is imported or called. Both generations are understood: Keras 3 (and TensorFlow's own
``.keras`` files) states the module of each class, the older one only its name.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ... import weights
from ...errors import FormatError
from ..containers.json import parse_python
from .activations import activation

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
    """One LSTMCell.

    Parameters
    ----------
    name : str or None
        None inside an LSTM layer, which chooses it.
    units : int
    use_bias : bool
    variant : weights.Cell
        Its activations.
    cudnn : bool
        Whether its variables are laid out as CuDNNLSTM's.
    """

    name: str | None
    units: int
    use_bias: bool
    variant: weights.Cell = weights.PLAIN
    cudnn: bool = False


@dataclass(frozen=True)
class Recurrent:
    """What a recurrent layer computes.

    Parameters
    ----------
    directions : tuple of tuples of Cell
        ``directions[d][k]`` is the cell of layer k, forward (0) or backward (1).
    stacked : bool
        Whether it is an RNN of StackedRNNCells, be it of one cell.
    time_major : bool
    options : dict
        What `LSTMWeights` calls merge, reverse, flip_output and padding.
    """

    directions: tuple[tuple[Cell, ...], ...]
    stacked: bool
    time_major: bool
    options: dict[str, Any]


def parse(text: bytes | str) -> Any:
    """JSON as Keras writes it, which is Python's: with NaN and Infinity."""
    return parse_python("model configuration", text)


def version(stated: Any) -> str | None:
    """What a file calls Keras's version, if it is a text."""
    return stated[:80] if isinstance(stated, str) else None


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
        # TimeDistributed runs one layer on each slice of its input: that layer is what matters.
        while is_class(item, "TimeDistributed"):
            item, where = _checked(config_of(item).get("layer")), f"{where}/layer"
            inside = (*inside, _name(item)) if _children(item) else inside
        if _children(item):
            found += layers(item, inside, f"{where}/")
        else:
            found.append(Layer(inside, where, item))
    return found


def is_lstm(item: Any) -> bool:
    """Whether a layer is Keras's own LSTM in any of its forms (`recurrent` may still refuse it)."""
    if is_class(item, "Bidirectional"):
        return is_lstm(config_of(item).get("layer"))
    if is_class(item, "RNN"):
        return any(is_class(cell, "LSTMCell") for cell in _stacked(config_of(item).get("cell")))
    return is_class(item, "LSTM") or is_class(item, "CuDNNLSTM")


def recurrent(item: Any, version: str | None) -> Recurrent:
    """What a layer computes, in a model that this version of Keras wrote.

    Raises
    ------
    FormatError
        Something that this library does not compute: another activation or cell, directions that do not fit together.
    """
    if not is_class(item, "Bidirectional"):
        backwards = flag(item, "go_backwards")
        # Keras's own RNN repeats the output of the step before where a step is masked; cuDNN's knows no masks.
        repeats = not (flag(item, "zero_output_for_mask") or is_class(item, "CuDNNLSTM"))
        options = {"reverse": backwards, "flip_output": backwards, "padding": "repeat" if repeats else "zero"}
        return Recurrent((_cells(item, version),), _is_stack(item), flag(item, "time_major"), options)
    config = config_of(item)
    forward, backward = config.get("layer"), config.get("backward_layer")
    if flag(forward, "go_backwards"):
        raise FormatError("go_backwards: expected False of the forward layer in a Bidirectional, found True")
    cells = _cells(forward, version)
    directions = (cells, cells)
    if backward is not None:  # Keras 2 states it only where it differs from the forward one turned around
        if not flag(backward, "go_backwards"):
            raise FormatError("go_backwards: expected True of the backward layer in a Bidirectional, found False")
        directions = (cells, _cells(backward, version))
        if (_is_stack(backward), flag(backward, "time_major")) != (_is_stack(forward), flag(forward, "time_major")):
            raise FormatError("Bidirectional: expected the same kind of layer in both directions, found two kinds")
        if len(directions[1]) != len(cells):
            raise FormatError(f"Bidirectional: expected {len(cells)} cells backward too, found {len(directions[1])}")
    options = {"merge": _merge(config, len(cells))}  # and zeros where a step is masked, whatever its layers say
    return Recurrent(directions, _is_stack(forward), flag(forward, "time_major"), options)


def snake_case(class_name: str) -> str:
    """The name under which Keras 3 stores layers of a class: LSTMCell becomes lstm_cell."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", re.sub(r"\W", "", class_name)).lower()


def _checked(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or not isinstance(item.get("class_name"), str) or "config" not in item:
        raise FormatError(f"model configuration: expected class_name and config, found {str(item)[:80]!r}")
    return item


def _children(item: dict[str, Any]) -> list[Any]:
    """The layers of a model; nothing for a layer."""
    if is_class(item, "Sequential") and isinstance(item["config"], list):  # Keras before 2.2
        return list(item["config"])
    config = config_of(item)
    if not isinstance(config.get("layers"), list):
        return []
    # A class of the user's own that Keras saves like a model: what only Functional and Sequential write is there.
    like_a_model = "input_layers" in config or "build_input_shape" in config
    return list(config["layers"]) if like_a_model or any(is_class(item, name) for name in _MODELS) else []


def is_class(item: Any, class_name: str) -> bool:
    """Whether an item is Keras's own class of that name, not the user's class that happens to be called so."""
    if not isinstance(item, dict) or item.get("class_name") != class_name:
        return False
    module, registered = item.get("module"), item.get("registered_name")
    if module is None:
        return registered is None
    return str(module).split(".")[0] in ("keras", "tf_keras")


def _is_stack(item: Any) -> bool:
    return is_class(config_of(item).get("cell"), "StackedRNNCells")


def _stacked(cell: Any) -> list[Any]:
    if is_class(cell, "StackedRNNCells"):
        cells = config_of(cell).get("cells")
        return cells if isinstance(cells, list) else []
    return [cell]


def _cells(item: Any, version: str | None) -> tuple[Cell, ...]:
    """The cells of an LSTM or RNN layer, first layer first."""
    config = config_of(item)
    if is_class(item, "CuDNNLSTM"):
        return (Cell(None, _units(config), use_bias=True, cudnn=True),)
    if is_class(item, "LSTM"):
        return (_cell(config, None, version),)
    if not is_class(item, "RNN"):
        raise FormatError(f"layer class: expected keras.layers.LSTM, found {_class_name(item)!r}")
    stack = _stacked(config.get("cell"))
    for cell in stack:
        if not is_class(cell, "LSTMCell"):
            raise FormatError(f"cell class: expected keras.layers.LSTMCell, found {_class_name(cell)!r}")
    return tuple(_cell(config_of(cell), _name(cell), version) for cell in stack)


def _cell(config: dict[str, Any], name: str | None, version: str | None) -> Cell:
    use_bias = config.get("use_bias")
    if not isinstance(use_bias, bool):
        raise FormatError(f"use_bias: expected true or false, found {str(use_bias)[:80]!r}")
    inner, gate = (activation(key, config.get(key), version) for key in ("activation", "recurrent_activation"))
    return Cell(name, _units(config), use_bias, weights.Cell(gate=gate, candidate=inner, output=inner))


def _units(config: dict[str, Any]) -> int:
    units = config.get("units")
    if type(units) is not int or units < 1:
        raise FormatError(f"units: expected 1 or more, found {str(units)[:80]!r}")
    return units


def _merge(config: dict[str, Any], layers: int) -> str:
    """The merge mode of a Bidirectional; Keras merges after the last cell of a stack only."""
    mode = config.get("merge_mode", "missing")
    if mode not in ("concat", "sum", "mul", "ave", None):
        raise FormatError(f"merge_mode: expected concat, sum, mul, ave or null, found {str(mode)[:80]!r}")
    if mode != "concat" and layers > 1:
        raise FormatError(f"merge_mode: expected 'concat' for a stack of cells in each direction, found {mode!r}")
    return mode or "none"


def flag(item: Any, name: str) -> bool:
    """A choice that configurations leave out where it is false, or where Keras did not have it yet."""
    value = config_of(item).get(name, False)
    if not isinstance(value, bool):
        raise FormatError(f"{name}: expected true or false, found {str(value)[:80]!r}")
    return value


def config_of(item: Any) -> dict[str, Any]:
    """What an item says of itself; empty if it says nothing."""
    config = item.get("config") if isinstance(item, dict) else None
    return config if isinstance(config, dict) else {}


def _class_name(item: Any) -> str:
    """A class as messages call it: with the package that the user registered it for."""
    return str((item.get("registered_name") or item.get("class_name")) if isinstance(item, dict) else item)[:80]


def _name(item: dict[str, Any]) -> str:
    return str(config_of(item).get("name", item.get("name")))
