"""Models of audio effects as JSON: RTNeural, GuitarML (Proteus, NeuralPi) and Neural Amp Modeler.

- RTNeural: ``in_shape`` and ``layers``; an LSTM's ``weights`` are Keras's kernel (I, 4H), recurrent kernel (H, 4H) and
  bias (4H,), gates i, f, c, o
- GuitarML: ``state_dict`` with PyTorch's names (``rec.weight_ih_l0``), or those names at the top
- NAM: ``architecture`` "LSTM" and ``weights``, a flat list: for each layer (4H, I + H) row by row, bias (4H,), and the
  initial h and c (H,) each; then the head's weights

Layers around the LSTM (dense, head, skip connection) are left to the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ...errors import FormatError
from ...weights import BATCH_FIRST, DirectionWeights, FloatArray, LSTMWeights
from ...weights.named import Named
from ...weights.state_dict import Reader, by_prefix, lstms
from ..containers import numbers
from ..containers.json import parse
from ..containers.source import Source
from ..contents import Contents

NAME = "JSON model"

MAX_BYTES = 64 << 20
"""A model of 2 million parameters takes about 40 MB of text, and a few times as much when it is parsed."""

_ARCHITECTURE = (
    "expected weights, found the architecture of a Keras model alone (model.to_json()); load its weights with it: "
    'fusedlstm.LSTM.load("weights.h5", config="model.json"), or put both together in Keras: model = '
    'keras.models.model_from_json(text), model.load_weights("weights.h5"), model.save("model.keras")'
)
_TENSORFLOW_JS = (
    "expected a weights file, found a model of TensorFlow.js; load the file that it was converted from, or convert it: "
    "tensorflowjs_converter --input_format tfjs_layers_model --output_format keras model.json model.h5"
)


def read(source: Source) -> Contents | None:
    """Every LSTM in the file: by module path, or RTNeural's by ``lstm``, ``lstm_1``, … in its order."""
    if not re.match(rb"(?:\xef\xbb\xbf)?\s*\{\s*[\"}]", source.head):
        return None
    if source.size > MAX_BYTES:
        raise FormatError(f"expected at most {MAX_BYTES} bytes of JSON, found {source.size}")
    model = parse("model", source.read())
    found = _lstms(model, source.ignore)
    return Contents(
        NAME, {LSTMWeights: found}, {name: partial(numbers.array, name, value) for name, value in _arrays(model)}
    )


def _arrays(model: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every list that may be an array, by its name: of a state dict, of RTNeural's layers, NAM's one."""
    tensors = model.get("state_dict", model)
    for name, value in tensors.items() if isinstance(tensors, dict) else ():
        if isinstance(value, list) and name not in ("layers", "in_shape"):
            yield name, value
    layers = model.get("layers")
    for number, layer in enumerate(layers if isinstance(layers, list) else ()):
        weights = layer.get("weights") if isinstance(layer, dict) else None
        yield from (
            (f"layers.{number}.weights.{k}", one) for k, one in enumerate(weights if isinstance(weights, list) else ())
        )


def _lstms(model: dict[str, Any], ignore: tuple[str, ...]) -> dict[str, Reader]:
    match model:
        case {"architecture": str() as architecture, "weights": _, "config": _}:
            return _nam(model, architecture)
        case {"in_shape": _, "layers": list() as layers}:
            return _rtneural(model["in_shape"], layers)
        case {"state_dict": dict() as state_dict}:
            return _state_dict(model.get("model_data"), state_dict, ignore)
        case _ if any(re.search(r"(?:^|\.)weight_[ih]h(?:_|$)", name) for name in model):
            return _state_dict({}, model, ignore)
        case {"class_name": _, "config": _}:
            raise FormatError(_ARCHITECTURE)
        case {"modelTopology": _} | {"weightsManifest": _}:
            raise FormatError(_TENSORFLOW_JS)
    raise FormatError(
        "expected a model of RTNeural (in_shape, layers), GuitarML (state_dict) or NAM (architecture, config, "
        f"weights), found a JSON object with {', '.join(map(repr, list(model)[:8])) or 'nothing in it'}"
    )


def _state_dict(about: Any, tensors: dict[str, Any], ignore: tuple[str, ...]) -> dict[str, Reader]:
    about = about if isinstance(about, dict) else {}
    if about.get("unit_type", "LSTM") != "LSTM":
        raise FormatError(f"model_data.unit_type: expected 'LSTM', found {about['unit_type']!r:.100}")
    shapes = {name: numbers.shape(name, value) for name, value in tensors.items() if isinstance(value, list)}
    others = {name: type(value).__name__ for name, value in tensors.items() if name not in shapes and "." in name}
    named = Named(shapes, lambda name: numbers.array(name, tensors[name]), others, ignore)
    found = by_prefix([("", lstms(named))])
    return {prefix: _as_told(reader, about) for prefix, reader in found.items()}


def _as_told(reader: Reader, about: dict[str, Any]) -> Reader:
    """The reader of an LSTM of the sizes that the file tells, if it does."""

    def weights() -> LSTMWeights:
        read = reader()
        for size in ("input_size", "hidden_size", "num_layers"):
            if about.get(size, getattr(read, size)) != getattr(read, size):
                raise FormatError(
                    f"model_data.{size}: expected {getattr(read, size)} as in state_dict, found {about[size]!r:.50}"
                )
        return read

    return weights


def _rtneural(in_shape: Any, layers: list[Any]) -> dict[str, Reader]:
    width = _last("in_shape", in_shape)
    found: dict[str, Reader] = {}
    for number, layer in enumerate(layers):
        where = f"layers[{number}]"
        match layer:
            case {"type": str() as kind, "shape": shape}:
                units = _last(f"{where}.shape", shape)
            case _:
                raise FormatError(f"{where}: expected an object with type and shape, found {layer!r:.100}")
        if kind == "lstm":
            found[f"lstm_{len(found)}" if found else "lstm"] = _rtneural_reader(where, layer, width, units)
        width = units
    return found


def _rtneural_reader(where: str, layer: dict[str, Any], width: int, units: int) -> Reader:
    def weights() -> LSTMWeights:
        if layer.get("activation", "") not in ("", "tanh"):  # RTNeural runs any LSTM with tanh, and says nothing
            raise FormatError(f"{where}.activation: expected 'tanh', found {layer['activation']!r:.100}")
        stored = layer.get("weights")
        if not isinstance(stored, list) or len(stored) != 3:
            raise FormatError(f"{where}.weights: expected kernel, recurrent kernel and bias, found {_count(stored)}")
        arrays = []
        for number, shape in enumerate(((width, 4 * units), (units, 4 * units), (4 * units,))):
            name = f"{where}.weights[{number}]"
            arrays.append(numbers.array(name, stored[number]))
            if arrays[-1].shape != shape:
                raise FormatError(f"{name}: expected shape {shape}, found {arrays[-1].shape}")
        return LSTMWeights([[DirectionWeights(arrays[0].T, arrays[1].T, arrays[2])]], assumed=[BATCH_FIRST])

    return weights


def _nam(model: dict[str, Any], architecture: str) -> dict[str, Reader]:
    if architecture != "LSTM":
        raise FormatError(f"architecture: expected 'LSTM', found {architecture!r:.100}")

    def weights() -> LSTMWeights:
        config, stored = model["config"], numbers.array("weights", model["weights"])
        if stored.ndim != 1 or not isinstance(config, dict):
            raise FormatError("config, weights: expected an object and a flat list of numbers, found others")
        layers, width, units = (
            _positive(f"config.{key}", config.get(key)) for key in ("num_layers", "input_size", "hidden_size")
        )
        outputs = _positive("config.out_channels", config.get("out_channels", 1))
        expected = units * (4 * (width + units) + 6) + (layers - 1) * units * (8 * units + 6) + outputs * (units + 1)
        if stored.size != expected:
            raise FormatError(
                f"weights: expected {expected} numbers for {layers} layer(s) of {units} units, {width} input(s) and a "
                f"head of {outputs} output(s), found {stored.size}"
            )
        stack, h, c, at = [], [], [], 0

        def take(*shape: int) -> FloatArray:
            nonlocal at
            at += prod(shape)
            return stored[at - prod(shape) : at].reshape(shape)

        for _ in range(layers):
            matrix = take(4 * units, width + units)
            stack.append([DirectionWeights(matrix[:, :width], matrix[:, width:], take(4 * units))])
            h.append(take(1, units))
            c.append(take(1, units))
            width = units
        state = (h, c) if np.any(h) or np.any(c) else None
        return LSTMWeights(stack, initial_state=state, assumed=[BATCH_FIRST])

    return {"": weights}


def _last(name: str, shape: Any) -> int:
    """The features of a Keras shape, such as [null, null, 8]."""
    if not isinstance(shape, list) or not shape:
        raise FormatError(f"{name}: expected a list that ends in a size, found {shape!r:.100}")
    return _positive(name, shape[-1])


def _positive(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise FormatError(f"{name}: expected a whole number above 0, found {value!s:.50}")
    return value


def _count(value: Any) -> str:
    return f"{len(value)} arrays" if isinstance(value, list) else type(value).__name__
