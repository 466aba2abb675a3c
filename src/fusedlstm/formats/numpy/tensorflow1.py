"""TensorFlow 1's LSTM cells as arrays: BasicLSTMCell, LSTMCell and their relatives in tf.contrib.rnn.

``kernel`` (I + P, 4H) holds the rows of x and then of h, in columns the gates i, j, f, o (j is the candidate, g);
``bias`` (4H,); ``w_i_diag``, ``w_f_diag``, ``w_o_diag`` (H,) are peepholes; ``projection/kernel`` (H, P), and in
some versions ``projection/bias`` (P,). What a cell was built with is stored nowhere: `forget_bias` (added to f at run
time), `cell_clip` and `proj_clip` are taken from arrays of these names beside the kernel or at the top of the file,
or from what the caller states, and else are assumed to be TensorFlow's defaults, 1.0 and none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import BATCH_FIRST, Activation, Assumption, Cell, DirectionWeights, LSTMWeights, reorder_gates
from ...weights.named import Named, Shape
from ...weights.state_dict import to_float32
from ..containers.json import stated
from ..containers.source import Config

Reader = Callable[[], LSTMWeights]
CONFIGURED = True

SETTINGS = {"forget_bias": 1.0, "cell_clip": math.inf, "proj_clip": math.inf}
_ASSUMED = Assumption(
    "config",
    "taken as a TensorFlow 1 cell of its defaults (forget_bias 1.0, activation tanh, no cell_clip, no proj_clip)",
    'config={"forget_bias": 1.0}, or whatever it was built with',
)
ACTIVATIONS = {name: Activation(name) for name in ("tanh", "relu", "sigmoid", "elu", "softplus", "softsign")}
"""By TensorFlow's names."""
_PEEPHOLES = {f"peephole_{gate}": f"w_{gate}_diag" for gate in "ifo"}
_PARTS = {"kernel", "bias", "projection/kernel", "projection/bias", *_PEEPHOLES.values(), *SETTINGS}
_CELL = re.compile(
    r"(?:.*/)?(?P<kind>(?:basic_|cudnn_compatible_|layer_norm_basic_|coupled_input_forget_gate_)?lstm_cell)(?:_[0-9]+)?"
)
_OTHERS = ("layer_norm_basic_lstm_cell", "coupled_input_forget_gate_lstm_cell")


def find(named: Named) -> Mapping[type, Mapping[str, Callable[[], Any]]]:
    """Every LSTM cell among TensorFlow's variables, with or without ``:0``, by its scope."""
    shapes = named.shapes
    stored = {name.removesuffix(":0"): name for name in shapes}
    found: dict[str, Reader] = {}
    for name in stored:
        scope, _, last = name.rpartition("/")
        if last != "kernel" or scope.endswith("projection"):
            continue
        parts = {part: stored[full] for part in _PARTS if (full := f"{scope}/{part}" if scope else part) in stored}
        if f"{scope}/recurrent_kernel".lstrip("/") not in stored and _is_cell(scope, parts):
            parts = {key: stored[key] for key in SETTINGS if key in stored} | parts
            found[scope] = _reader(scope, parts, named)
    return {LSTMWeights: found}


def _is_cell(scope: str, parts: Mapping[str, str]) -> bool:
    """A dense layer has a kernel and a bias as well: the scope's name tells, or an array that only a cell has."""
    return bool(_CELL.fullmatch(scope) or not scope or set(parts) - {"kernel", "bias"})


def _reader(scope: str, parts: dict[str, str], named: Named) -> Reader:
    shapes, read, config = named.shapes, named.read, named.config

    def weights() -> LSTMWeights:
        match = _CELL.fullmatch(scope)
        kind = match["kind"] if match else ""
        if kind in _OTHERS:
            raise FormatError(
                f"{scope}: expected a BasicLSTMCell or LSTMCell, found {kind}, which computes something else"
            )
        rows, hidden, output = _sizes(parts, shapes)
        arrays = {part: to_float32(name, read(name)) for part, name in parts.items() if part not in SETTINGS}
        given = {key: _setting(read(parts[key]), parts[key]) for key in SETTINGS if key in parts}
        if kind.startswith("cudnn"):
            given.setdefault("forget_bias", 0.0)  # as that cell always has it
        said, candidate = _stated(config, given)
        forget_bias, cell_clip, projection_clip = ((SETTINGS | said)[key] for key in SETTINGS)
        bias = arrays["bias"].copy()
        bias[2 * hidden : 3 * hidden] += np.float32(forget_bias)
        kernel = reorder_gates(arrays["kernel"].T, "igfo")
        projected = "projection/kernel" in arrays
        one = DirectionWeights(
            kernel[:, : rows - output],
            kernel[:, rows - output :],
            reorder_gates(bias, "igfo"),
            weight_hr=arrays["projection/kernel"].T if projected else None,
            bias_hr=arrays.get("projection/bias"),
            **{name: arrays[part] for name, part in _PEEPHOLES.items() if part in arrays},
            cell=Cell(
                candidate=candidate,
                output=candidate,
                cell_clip=cell_clip,
                projection_clip=projection_clip if projected else math.inf,
            ),
        )
        assumed = [BATCH_FIRST] if config is not None or "forget_bias" in given else [BATCH_FIRST, _ASSUMED]
        # bidirectional_dynamic_rnn calls its directions fw and bw, and turns the second one's output round again.
        return LSTMWeights([[one]], reverse="bw" in scope.split("/"), assumed=assumed)

    return weights


def _sizes(parts: Mapping[str, str], shapes: Mapping[str, Shape]) -> tuple[int, int, int]:
    """Rows of the kernel, hidden size and output size, after all shapes are found to fit."""
    kernel = parts["kernel"]
    if len(shapes[kernel]) != 2 or shapes[kernel][1] % 4 or not shapes[kernel][1]:
        raise FormatError(f"{kernel}: expected shape (input + output, 4 * hidden), found {shapes[kernel]}")
    rows, hidden = shapes[kernel][0], shapes[kernel][1] // 4
    output = hidden
    if "projection/kernel" in parts:
        projection = parts["projection/kernel"]
        if len(shapes[projection]) != 2 or shapes[projection][0] != hidden or not shapes[projection][1]:
            raise FormatError(f"{projection}: expected shape ({hidden}, output), found {shapes[projection]}")
        output = shapes[projection][1]
    if rows <= output:
        raise FormatError(f"{kernel}: expected more than {output} rows (input + output), found shape {shapes[kernel]}")
    expected = {"bias": 4 * hidden, "projection/bias": output, **dict.fromkeys(_PEEPHOLES.values(), hidden)}
    for part, size in expected.items():
        if part in parts and shapes[parts[part]] != (size,):
            raise FormatError(f"{parts[part]}: expected shape ({size},), found {shapes[parts[part]]}")
    present = [parts[part] for part in _PEEPHOLES.values() if part in parts]
    if 0 < len(present) < len(_PEEPHOLES):
        raise FormatError(
            f"{present[0]}: expected all of {', '.join(_PEEPHOLES.values())}, found {len(present)} of them"
        )
    if "bias" not in parts:
        raise FormatError(f"{kernel}: expected a bias beside it, found none")
    return rows, hidden, output


def _stated(config: Config | None, given: Mapping[str, float]) -> tuple[dict[str, float], Activation]:
    """The settings of the file and of the caller together, and the activation."""
    said = {} if config is None else stated(config)
    known = (*SETTINGS, "activation")
    if not isinstance(said, Mapping) or not said.keys() <= set(known):
        raise FormatError(f"config: expected a dict with any of {', '.join(known)}, found {str(said)[:80]}")
    settings = dict(given)
    for key in said.keys() & SETTINGS.keys():
        value = np.asarray(math.inf if said[key] is None and key.endswith("_clip") else said[key])
        settings[key] = _setting(value, f"config, {key}")
        if key in given and settings[key] != given[key]:
            raise FormatError(f"config, {key}: expected {given[key]:g}, as the file says, found {settings[key]:g}")
    name = said.get("activation", "tanh")
    if name not in ACTIVATIONS:
        raise FormatError(f"config, activation: expected one of {', '.join(ACTIVATIONS)}, found {str(name)[:80]!r}")
    return settings, ACTIVATIONS[name]


def _setting(value: npt.NDArray[np.generic], name: str) -> float:
    """A number that a cell was built with."""
    if value.shape != () or value.dtype.kind not in "fiu":
        raise FormatError(f"{name}: expected one number, found shape {value.shape} of {value.dtype}")
    number = float(value.item())
    if not (number > 0 if name.endswith("_clip") else math.isfinite(number)):
        raise FormatError(
            f"{name}: expected a {'limit above 0' if name.endswith('_clip') else 'finite number'}, found {number}"
        )
    return number
