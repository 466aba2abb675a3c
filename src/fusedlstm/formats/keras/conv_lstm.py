"""ConvLSTM weights as Keras lays them out.

kernel (*kernel, channels, 4F), recurrent_kernel (*kernel, F, 4F), bias (4F,), gates i, f, c, o along the last axis
(https://keras.io/api/layers/recurrent_layers/conv_lstm2d/). Strides, padding and the rest are in the configuration
alone, so that weights without one are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import ConvLSTMWeights
from . import config as configuration
from . import lstm
from .activations import activation
from .layers import Layer, config_of, is_class
from .stated import HOW
from .told import Told
from .variables import Variables

Reader = Callable[[], ConvLSTMWeights]

_CLASSES = {f"ConvLSTM{rank}D": rank for rank in (1, 2, 3)}
_MAX_RANK = 2


def looks_like_conv_lstm(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether variables of these shapes, in Keras's order, can be a ConvLSTM cell's."""
    if len(shapes) not in (2, 3) or not len(shapes[0]) == len(shapes[1]) >= 3:
        return False
    *taps, filters, width = shapes[1]
    return width == 4 * filters == shapes[0][-1] and list(shapes[0][:-2]) == taps and shapes[2:] in ([], [(width,)])


def described(file: Variables, layer: Layer, places: Sequence[lstm.Paths], version: str | None) -> ConvLSTMWeights:
    """A ConvLSTM that the configuration describes, of the only place where its variables can be."""
    options(layer.item, version)  # refuses what is not computed here before anything is read
    if len(places) != 1:
        raise FormatError(f"layer {layer.prefix!r}: expected the variables of one ConvLSTM cell, found {len(places)}")
    file.renew()
    return assemble(layer.item, version, [file.read(path) for path in places[0]])


def undescribed(file: Variables, paths: lstm.Paths, told: Told) -> ConvLSTMWeights:
    """A ConvLSTM that the file has no configuration of: as the caller states it, and nothing is assumed."""
    stated, item = told.stated, told.stated and told.stated.layer
    if stated is None or item is None:
        raise FormatError(
            "expected a model configuration, which says a ConvLSTM's strides, padding and activations, found weights "
            f"alone; save the whole model (.keras or .h5), or state it with {HOW}"
        )
    *taps, filters, _ = file.shape(paths[1])
    if not any(is_class(item, name) for name in _CLASSES):
        known: dict[str, Any] = {
            "strides": [1] * len(taps),
            "dilation_rate": [1] * len(taps),
            "data_format": "channels_last",
        }
        known |= {"kernel_size": taps, "filters": filters, "use_bias": len(paths) == 3, "activation": "tanh"}
        item = {"class_name": f"ConvLSTM{len(taps)}D", "config": known | config_of(item)}
        missing = [name for name in ("padding", "recurrent_activation") if name not in item["config"]]
        if missing:
            raise FormatError(f"config: expected {', '.join(missing)} of this ConvLSTM as well, found none")
    file.renew()
    return assemble(item, stated.version or told.version, [file.read(path) for path in paths])


def assemble(item: Any, version: str | None, arrays: Sequence[npt.NDArray[Any]]) -> ConvLSTMWeights:
    """The ConvLSTM of a configuration and its variables."""
    config, known = config_of(item), options(item, version)
    rank = len(known["strides"])
    filters, use_bias, taps = config.get("filters"), config.get("use_bias"), _numbers(config, "kernel_size", rank)
    if type(filters) is not int or filters < 1 or type(use_bias) is not bool:
        raise FormatError(f"expected filters and use_bias, found {filters!r} and {use_bias!r}")
    channels = arrays[0].shape[-2] if arrays and arrays[0].ndim == rank + 2 else 0
    shapes = [(*taps, channels, 4 * filters), (*taps, filters, 4 * filters), (4 * filters,)][: 3 if use_bias else 2]
    if channels < 1 or [array.shape for array in arrays] != shapes:
        raise FormatError(f"expected variables of the shapes {shapes}, found {[array.shape for array in arrays]}")
    kernel, recurrent_kernel = (np.moveaxis(array, -1, 0) for array in arrays[:2])
    return ConvLSTMWeights(kernel, recurrent_kernel, arrays[2] if use_bias else None, **known)


def options(item: Any, version: str | None) -> dict[str, Any]:
    """What `ConvLSTMWeights` has beside arrays, as a configuration says it.

    Raises
    ------
    FormatError
        Something that this library does not compute: three axes, two directions, another activation.
    """
    if is_class(item, "Bidirectional"):
        raise FormatError("layer class: expected a ConvLSTM of one direction, found 'Bidirectional' around it")
    config = config_of(item)
    rank = _CLASSES[item["class_name"]]
    if rank > _MAX_RANK:
        raise FormatError(f"layer class: expected ConvLSTM1D or ConvLSTM2D, found {item['class_name']!r}")
    backwards = configuration.flag(item, "go_backwards")
    for name, choices in (("padding", ("same", "valid")), ("data_format", ("channels_first", "channels_last"))):
        if config.get(name) not in choices:
            raise FormatError(f"{name}: expected one of {choices}, found {str(config.get(name))[:80]!r}")
    outward = activation("activation", config.get("activation"), version)
    return {
        "strides": _numbers(config, "strides", rank),
        "dilation": _numbers(config, "dilation_rate", rank),
        "padding": config["padding"],
        "channels_first": config["data_format"] == "channels_first",
        "reverse": backwards,
        "flip_output": backwards,
        "gate": activation("recurrent_activation", config.get("recurrent_activation"), version),
        "candidate": outward,
        "output": outward,
    }


def _numbers(config: dict[str, Any], name: str, rank: int) -> tuple[int, ...]:
    values = config.get(name)
    if not isinstance(values, list | tuple) or len(values) != rank or not all(type(n) is int and n > 0 for n in values):
        raise FormatError(f"{name}: expected {rank} whole number(s) of 1 or more, found {str(values)[:80]!r}")
    return tuple(values)
