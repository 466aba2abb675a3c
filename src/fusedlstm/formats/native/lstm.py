"""What the native form says in its metadata: JSON, under ``fusedlstm``.

Version 1 is for what torch.nn.LSTM can be: its tensors say all but ``batch_first``. Version 2 adds the options of
`LSTMWeights` by name, and for each layer and direction the choices of its `Cell` that are not the plain one's.
Tensors are ``{array}_l{k}[_reverse]``, by the names of `DirectionWeights`, and ``initial_h_l{k}``, ``initial_c_l{k}``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import ARRAYS, Activation, Cell, DirectionWeights, FloatArray, LSTMWeights
from ..containers.json import parse_python
from . import narrow

KEY = "fusedlstm"
"""Of the metadata."""
MAX_TEXT = 1 << 20
OPTIONS = {"batch_first": bool, "merge": str, "reverse": bool, "flip_output": bool, "padding": str}
_TENSOR = re.compile(rf"(?P<name>{'|'.join(ARRAYS)})_l(?P<layer>0|[1-9][0-9]{{0,5}})(?P<direction>(?:_reverse)?)")
_STATE = re.compile(r"initial_[hc]_l(0|[1-9][0-9]{0,5})")


def version(weights: LSTMWeights) -> int:
    """The oldest version that says all there is to say."""
    return 1 if weights.plain else 2


def tensors(weights: LSTMWeights) -> dict[str, FloatArray]:
    """Every array by its name in the file."""
    found = {
        f"{name}_l{k}{direction}": array
        for k, layer in enumerate(weights.layers)
        for one, direction in zip(layer, ("", "_reverse"))
        for name, array in one.arrays.items()
    }
    for name, state in zip("hc", weights.initial_state or ()):
        found.update({f"initial_{name}_l{k}": np.asarray(one) for k, one in enumerate(state)})
    return found


def describe(weights: LSTMWeights) -> dict[str, Any]:
    """What the tensors do not say."""
    if version(weights) == 1:
        return {"version": 1, "batch_first": weights.batch_first, **narrow.options(weights)}
    said: dict[str, Any] = {"version": 2, **{name: getattr(weights, name) for name in OPTIONS}}
    said |= narrow.options(weights)
    if weights.residual is not None:
        said["residual"] = list(weights.residual)
    said["cells"] = [[_cell_to_json(one.cell) for one in layer] for layer in weights.layers]
    return said


def metadata(weights: LSTMWeights) -> str:
    """The same as JSON."""
    return json.dumps(describe(weights), allow_nan=False)


def parse(text: str) -> dict[str, Any]:
    """The JSON, checked as by `checked`."""
    return checked(parse_python(f"metadata {KEY!r}", text) if len(text) <= MAX_TEXT else None, text)


def checked(said: Any, text: str) -> dict[str, Any]:
    """What `describe` gave, with its version and ``batch_first`` checked; `text` is for messages."""
    if not isinstance(said, dict) or type(said.get("version")) is not int:
        raise FormatError(f"metadata 'fusedlstm': expected a JSON object with a version, found {text[:99]!r}")
    if said["version"] not in (1, 2):
        raise FormatError(f"metadata 'fusedlstm': expected version 1 or 2, found {said['version']} (written later?)")
    if type(said.get("batch_first")) is not bool:
        raise FormatError(f"metadata 'fusedlstm': expected batch_first to be true or false, found {text[:99]!r}")
    return said


def build(
    said: Mapping[str, Any], names: set[str], tensor: Callable[[str], npt.NDArray[np.generic]]
) -> Callable[[], LSTMWeights]:
    """The reader of a file of version 2, of which `names` are the tensors."""

    def read() -> LSTMWeights:
        _only(said, {"version", "residual", "cells", "dtype", "activations", *OPTIONS}, "metadata 'fusedlstm'")
        for name, kind in OPTIONS.items():
            if type(said.get(name)) is not kind:
                raise FormatError(f"metadata 'fusedlstm', {name}: expected a {kind.__name__}, found {said.get(name)!r}")
        cells = _list(said.get("cells"), "cells")
        if len(cells) > len(names):
            raise FormatError(
                f"metadata 'fusedlstm', cells: expected as many layers as tensors at most, found {len(cells)}"
            )
        for layer in cells:
            if len(_list(layer, "cells")) > 2:
                raise FormatError(f"metadata 'fusedlstm', cells: expected one direction or two, found {len(layer)}")
        left = set(names)

        def take(name: str) -> npt.NDArray[np.generic]:
            left.discard(name)
            return tensor(name)

        layers = [
            [_direction(f"l{k}{'_reverse' * d}", cell, names, take) for d, cell in enumerate(layer)]
            for k, layer in enumerate(cells)
        ]
        residual = said.get("residual")
        if residual is not None and any(type(one) is not bool for one in _list(residual, "residual")):
            raise FormatError(
                f"metadata 'fusedlstm', residual: expected true or false for each layer, found {residual!r}"
            )
        state = None
        if any(map(_STATE.fullmatch, names)):
            h, c = ([take(_existing(f"initial_{name}_l{k}", names)) for k in range(len(layers))] for name in "hc")
            state = (h, c)
        weights = LSTMWeights(layers, residual=residual, initial_state=state, **{name: said[name] for name in OPTIONS})
        unread = [name for name in left if _TENSOR.fullmatch(name) or _STATE.fullmatch(name)]
        if unread:
            raise FormatError(f"{min(unread)}: expected no such tensor beside {len(layers)} layer(s)")
        return weights

    return read


def _direction(
    suffix: str, cell: Any, names: set[str], tensor: Callable[[str], npt.NDArray[np.generic]]
) -> DirectionWeights:
    arrays = {name: tensor(f"{name}_{suffix}") for name in ARRAYS if f"{name}_{suffix}" in names}
    for name in ("weight_ih", "weight_hh"):
        _existing(f"{name}_{suffix}", names)
    try:
        return DirectionWeights(**arrays, cell=_cell_from_json(cell, suffix))  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise FormatError(f"{suffix}: {error}") from error


def _existing(name: str, names: set[str]) -> str:
    if name not in names:
        raise FormatError(f"{name}: expected a tensor, found none of that name")
    return name


def _list(value: Any, what: str) -> list[Any]:
    if type(value) is not list:
        raise FormatError(f"metadata 'fusedlstm', {what}: expected a list, found {value!r:.99}")
    return value


def _only(value: Any, allowed: set[str], where: str) -> None:
    if type(value) is not dict:
        raise FormatError(f"{where}: expected an object, found {value!r:.99}")
    for name in value:
        if name not in allowed:
            raise FormatError(f"{where}: expected one of {', '.join(sorted(allowed))}, found {name!r:.99}")


def _cell_to_json(cell: Cell) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return {f.name: getattr(value, f.name) for f in fields(value)} if isinstance(value, Activation) else value

    return {name: plain(value) for name, value in cell.differences.items()}


def _cell_from_json(said: Any, where: str) -> Cell:
    kinds = {f.name: type(f.default) for f in fields(Cell)}
    _only(said, set(kinds), f"cell {where}")
    choices: dict[str, Any] = {}
    for name, value in said.items():
        kind = kinds[name]
        if kind is Activation:
            _only(value, {"name", "alpha", "beta"}, f"cell {where}, {name}")
            value = _activation(value, f"cell {where}, {name}")
        elif not (is_number(value) if kind is float else type(value) is str):
            raise FormatError(f"cell {where}, {name}: expected a {kind.__name__}, found {value!r:.99}")
        choices[name] = float(value) if kind is float else value
    return Cell(**choices)


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold."""
    return type(value) is float or (type(value) is int and abs(value) <= sys.float_info.max)


def _activation(said: dict[str, Any], where: str) -> Activation:
    name, alpha, beta = (said.get(key) for key in ("name", "alpha", "beta"))
    if type(name) is not str or not (is_number(alpha) and is_number(beta)):
        raise FormatError(f"{where}: expected a name, alpha and beta, found {said!r:.99}")
    return Activation(name, alpha, beta)
