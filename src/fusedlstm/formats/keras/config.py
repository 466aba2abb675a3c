"""What a recurrent layer computes, by its configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ... import weights
from ...errors import FormatError
from ..containers.json import parse_python
from .activations import activation
from .layers import class_name, config_of, is_class, name_of, stacked


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

    def way(self, d: int) -> Recurrent:
        """One of two directions as an LSTM of its own, its output at the steps that it belongs to."""
        return replace(self, directions=(self.directions[d],), options={"reverse": d == 1})


def parse(text: bytes | str) -> Any:
    """JSON as Keras writes it, which is Python's: with NaN and Infinity."""
    return parse_python("model configuration", text)


def version(stated: Any) -> str | None:
    """What a file calls Keras's version, if it is a text."""
    return stated[:80] if isinstance(stated, str) else None


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


def two_sizes(item: Any) -> bool:
    """Whether a layer is a Bidirectional whose directions differ in size, and so are no one LSTM here."""
    if not is_class(item, "Bidirectional"):
        return False
    forward, backward = (_sizes(config_of(config_of(item).get(key))) for key in ("layer", "backward_layer"))
    return len(forward) == len(backward) and forward != backward and None not in backward


def _sizes(config: dict[str, Any]) -> list[Any]:
    if "cell" not in config:
        return [config.get("units")]
    return [config_of(cell).get("units") for cell in stacked(config["cell"])]


def _is_stack(item: Any) -> bool:
    return is_class(config_of(item).get("cell"), "StackedRNNCells")


def _cells(item: Any, version: str | None) -> tuple[Cell, ...]:
    """The cells of an LSTM or RNN layer, first layer first."""
    config = config_of(item)
    if is_class(item, "CuDNNLSTM"):
        return (Cell(None, _units(config), use_bias=True, cudnn=True),)
    if is_class(item, "LSTM") or is_class(item, "LSTMCell"):
        return (_cell(config, None, version),)
    if not is_class(item, "RNN"):
        raise FormatError(
            f"layer class: expected keras.layers.LSTM, found {class_name(item)!r}; config= states what it computes"
        )
    stack = stacked(config.get("cell"))
    for cell in stack:
        if not is_class(cell, "LSTMCell"):
            raise FormatError(f"cell class: expected keras.layers.LSTMCell, found {class_name(cell)!r}")
    return tuple(_cell(config_of(cell), name_of(cell), version) for cell in stack)


def _cell(config: dict[str, Any], name: str | None, version: str | None) -> Cell:
    if "output_dim" in config and "units" not in config:  # Keras 1
        config = config | {"units": config["output_dim"], "use_bias": True}
        config["recurrent_activation"] = config.get("inner_activation")
        version = version or "1"
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
