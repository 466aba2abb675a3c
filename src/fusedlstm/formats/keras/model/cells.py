"""Recurrent cells: what runs a whole sequence of one, in one direction or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ....errors import FormatError
from ....weights import Activation, LSTMWeights
from .. import config as configuration
from .. import lstm
from ..activations import activation
from ..layers import class_name, config_of, is_class, stacked
from .call import Call, whole
from .weights import Weights

LSTM, GRU, RNN = "LSTM", "GRU", "SimpleRNN"
STATES = {LSTM: 2, GRU: 1, RNN: 1}
"""How many states each kind has."""

_KINDS = {"LSTM": LSTM, "LSTMCell": LSTM, "CuDNNLSTM": LSTM, "GRU": GRU, "GRUCell": GRU}
_KINDS |= {"SimpleRNN": RNN, "SimpleRNNCell": RNN}


@dataclass(frozen=True)
class Cell:
    """One cell.

    Parameters
    ----------
    kind : str
        One of `STATES`.
    units : int
    item : mapping
        Its configuration.
    weights : Weights
        Its variables.
    """

    kind: str
    units: int
    item: Mapping[str, Any]
    weights: Weights

    @property
    def alike(self) -> tuple[Any, ...]:
        """What two directions must share to run side by side."""
        config = config_of(self.item)
        return (self.kind, self.units, config.get("reset_after"), self.item.get("class_name"))


def cells_of(item: Any, weights: Weights) -> list[Cell]:
    """The cells of a recurrent layer, first to last.

    Raises
    ------
    FormatError
        A layer or cell of another class.
    """
    kind = next((kind for kind in _KINDS if is_class(item, kind) and not kind.endswith("Cell")), None)
    if kind is not None:
        inside = weights if kind == "CuDNNLSTM" else weights.part("cell")
        return [_cell(_KINDS[kind], item, inside)]
    if not is_class(item, "RNN"):
        raise FormatError(f"layer class: expected LSTM, GRU, SimpleRNN or RNN, found {class_name(item)!r}")
    cell = config_of(item).get("cell")
    inside = weights.part("cell")
    if not is_class(cell, "StackedRNNCells"):
        return [_own(cell, inside)]
    found = stacked(cell)
    if not found:
        raise FormatError("cells: expected one or more, found none")
    names = [str(config_of(one).get("name")) for one in found]
    own = _stacked(inside, [str(one.get("class_name")) for one in found], names)
    return [_own(one, part) for one, part in zip(found, own)]


def _stacked(inside: Weights, kinds: Sequence[str], names: Sequence[str]) -> list[Weights]:
    """The variables of each of some cells, which storage counts by class and calls by name."""
    from ..layers import snake_case

    counts: dict[str, int] = {}
    found = []
    for kind, name in zip(map(snake_case, kinds), names):
        count = counts[kind] = counts.get(kind, -1) + 1
        found.append(inside.part(f"cells/{kind}_{count}" if count else f"cells/{kind}", name))
    return found


def _own(item: Any, weights: Weights) -> Cell:
    kind = next((kind for kind in _KINDS if is_class(item, kind) and kind.endswith("Cell")), None)
    if kind is None:
        raise FormatError(f"cell class: expected LSTMCell, GRUCell or SimpleRNNCell, found {class_name(item)!r}")
    return _cell(_KINDS[kind], item, weights)


def _cell(kind: str, item: Mapping[str, Any], weights: Weights) -> Cell:
    return Cell(kind, whole("units", config_of(item).get("units")), item, weights)


@dataclass(frozen=True)
class Run:
    """What a sequence of one cell gives: y (batch, time, directions * units), and each direction's last states."""

    y: str
    states: list[list[str]]


def run(
    call: Call, cells: Sequence[Cell], x: str, states: Sequence[Sequence[str]], lengths: str, reverse: bool, key: str
) -> Run:
    """Run a cell, or one in each direction, over a sequence.

    Parameters
    ----------
    call : Call
        Of the layer.
    cells : sequence of Cell
        One, or the forward and the backward one.
    x : str
        (batch, time, features).
    states : sequence of sequences of str
        Those that each direction starts from, (batch, units); empty: zeros.
    lengths : str
        How many steps of each row are valid; "" if all are.
    reverse : bool
        Of one direction, whether it runs from the end; its output stays where it belongs.
    key : str
        Which cell of the layer it is, for what is kept of it.
    """
    if call.shape(x) and type(call.shape(x)[-1]) is not int:
        raise FormatError(f"expected features of a known number, found shape {call.shape(x)}")
    if cells[0].kind == LSTM:
        return _lstm(call, cells, x, states, lengths, reverse, key)
    return _plain(call, cells, x, states, lengths, reverse, key)


def _stack(call: Call, states: Sequence[Sequence[str]], which: int, axis: int) -> str:
    """A state of all directions, or "" for zeros."""
    if not states or not any(states):
        return ""
    parts = [call.unsqueeze(one[which], axis) for one in states]
    return parts[0] if len(parts) == 1 else call.op("Concat", *parts, axis=axis)


def _apart(call: Call, stacked_: str, count: int, axis: int) -> list[str]:
    """The directions of a state."""
    if count == 1:
        return [call.squeeze(stacked_, axis)]
    return [call.squeeze(call.slice(stacked_, axis, k, k + 1), axis) for k in range(count)]


def _lstm(
    call: Call, cells: Sequence[Cell], x: str, states: Sequence[Sequence[str]], lengths: str, reverse: bool, key: str
) -> Run:
    weights = call.once(partial(_lstm_weights, call, cells, reverse), f"{key} {reverse}")
    given = [_stack(call, states, which, 0) for which in range(2)]
    y, h, c = call.ops("fusedlstm.LSTM", [x, *given, lengths], 3, weights=weights, x_batch_first=1, y_batch_first=1)
    ways = [_apart(call, one, len(cells), 0) for one in (h, c)]
    return Run(y, [list(both) for both in zip(*ways)])


def _lstm_weights(call: Call, cells: Sequence[Cell], reverse: bool) -> LSTMWeights:
    directions = []
    for cell in cells:
        cudnn = is_class(cell.item, "CuDNNLSTM")
        kind = "CuDNNLSTM" if cudnn else "LSTM"
        config = {**config_of(cell.item), "go_backwards": False}
        expected = configuration.recurrent({"class_name": kind, "config": config}, call.version)
        names = ("kernel", "recurrent_kernel", "bias")[: 3 if expected.directions[0][0].use_bias else 2]
        arrays = cell.weights.read(*names)
        kernel, recurrent = arrays[0].shape, arrays[1].shape
        if len(kernel) != 2 or recurrent != (cell.units, 4 * cell.units) or kernel[1] != 4 * cell.units:
            raise FormatError(f"expected variables of {cell.units} units, found {kernel} and {recurrent}")
        directions.append(lstm.assemble([[arrays]], expected).layers[0][0])
    return LSTMWeights([directions], reverse=reverse)


# The engine's functions that ONNX's GRU and RNN have a name for.
_NAMES = {
    "affine": "Affine",
    "elu": "Elu",
    "hard_sigmoid": "HardSigmoid",
    "leaky_relu": "LeakyRelu",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "tanh": "Tanh",
}
_PARAMETERS = {"affine": 2, "elu": 1, "hard_sigmoid": 2, "leaky_relu": 1}


def _functions(call: Call, cells: Sequence[Cell]) -> dict[str, Any]:
    """The activations of each direction as ONNX has them."""
    roles = ("recurrent_activation", "activation") if cells[0].kind == GRU else ("activation",)
    found: list[Activation] = []
    for cell in cells:
        config = config_of(cell.item)
        found += [activation(role, config.get(role), call.version) for role in roles]
    for one in found:
        if one.name not in _NAMES:
            raise FormatError(f"activation: expected one of {', '.join(_NAMES)}, found {one.name!r}")
    names = [_NAMES[one.name] for one in found]
    alpha = [one.alpha for one in found if _PARAMETERS.get(one.name, 0) >= 1]
    beta = [one.beta for one in found if _PARAMETERS.get(one.name, 0) == 2]
    return {"activations": names, "activation_alpha": alpha or None, "activation_beta": beta or None}


def _plain(
    call: Call, cells: Sequence[Cell], x: str, states: Sequence[Sequence[str]], lengths: str, reverse: bool, key: str
) -> Run:
    """GRU and SimpleRNN."""
    kind, units = cells[0].kind, cells[0].units
    gates = 3 if kind == GRU else 1
    constants = call.once(partial(_arrays, call, cells, gates), key)
    attributes = _functions(call, cells)
    if kind == GRU:
        attributes["linear_before_reset"] = int(_reset_after(cells[0]))
    attributes["direction"] = "bidirectional" if len(cells) == 2 else "reverse" if reverse else "forward"
    y, h = call.ops(
        kind if kind == GRU else "RNN",
        [x, *constants, lengths, _stack(call, states, 0, 1)],
        2,
        hidden_size=units,
        layout=1,
        **attributes,
    )
    y = call.squeeze(y, 2) if len(cells) == 1 else call.reshape(y, 0, 0, len(cells) * units)
    return Run(y, [[one] for one in _apart(call, h, len(cells), 1)])


def _reset_after(cell: Cell) -> bool:
    found = config_of(cell.item).get("reset_after", False)
    if not isinstance(found, bool):
        raise FormatError(f"reset_after: expected true or false, found {str(found)[:80]!r}")
    return found


def _arrays(call: Call, cells: Sequence[Cell], gates: int) -> list[str]:
    """W, R and B as ONNX has them: gates z, r, h, which are Keras's."""
    found: list[list[Any]] = [[], [], []]
    for cell in cells:
        biased = configuration.flag(cell.item, "use_bias")
        kernel, recurrent, *bias = cell.weights.read(*("kernel", "recurrent_kernel", "bias")[: 3 if biased else 2])
        width = gates * cell.units
        both = bias[0].reshape(-1) if bias else np.zeros(2 * width, np.float32)
        if both.size == width:
            both = np.concatenate([both, np.zeros(width, np.float32)])
        shapes = [one.shape for one in (kernel, recurrent, *bias)]
        if (
            kernel.ndim != 2
            or [kernel.shape[1:], shapes[1]] != [(width,), (cell.units, width)]
            or both.size != 2 * width
        ):
            raise FormatError(f"expected variables of {cell.units} units, found {shapes}")
        for one, array in zip(found, (kernel.T, recurrent.T, both)):
            one.append(array)
    return [call.constant(np.stack(one)) for one in found]
