"""What a caller states of a model whose file leaves it out: ``config=`` of `LSTM.load`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError
from ...weights import Assumption
from ..containers import hdf5, json, zip
from ..containers.source import Config, Source
from . import config as configuration
from .layers import children, config_of, is_conv_lstm, is_lstm, stacked

HOW = (
    "config=\"model.json\" (what model.to_json() gives, or a whole model's file), or a dict of what is not Keras's "
    'default, such as config={"activation": "relu"}; config={} if nothing is'
)
ASSUMED = Assumption(
    "config",
    "taken with Keras's defaults (activation tanh, recurrent_activation sigmoid, forward, directions concatenated)",
    HOW,
)
UNTOUCHED = "{} around it, which has variables of its own, is taken to leave this layer as it is"

DEFAULTS = {"activation": "tanh", "recurrent_activation": "sigmoid"}
_OPTIONS = (*DEFAULTS, "go_backwards", "merge_mode", "time_major", "units", "use_bias", "zero_output_for_mask")
_CONV = ("padding", "strides", "dilation_rate", "data_format", "kernel_size", "filters")
# What else a layer's get_config() has, and what it computes does not depend on.
_BESIDES = re.compile(
    r"name|trainable|dtype|batch_input_shape|batch_shape|keras_version|return_sequences|return_state|stateful|unroll|seed|"
    r"implementation|unit_forget_bias|dropout|recurrent_dropout|activity_regularizer|"
    r"(?:kernel|recurrent|bias)_(?:initializer|regularizer|constraint)"
)


@dataclass(frozen=True)
class Stated:
    """The configuration of a whole model, or of the layers that no configuration describes.

    Parameters
    ----------
    model : object
        A model's configuration; None where there is none.
    layer : dict
        A layer's configuration, ``{"class_name": ..., "config": {...}}``; None where there is none.
    version : str
        Of Keras, where it says it.
    """

    model: Any = None
    layer: dict[str, Any] | None = None
    version: str | None = None

    def recurrent(self, units: Sequence[Sequence[int]], biased: Sequence[bool], cudnn: bool) -> configuration.Recurrent:
        """What an LSTM of ``units[direction][layer]`` computes, as the layer's configuration says."""
        assert self.layer is not None
        if is_lstm(self.layer):
            return configuration.recurrent(self.layer, self.version)
        said = DEFAULTS | config_of(self.layer)
        config = {"use_bias": biased[0]} | said
        if cudnn:
            kind = {"class_name": "CuDNNLSTM", "config": config | {"units": units[0][0]}}
        elif len(units[0]) > 1:
            cells = [
                {"class_name": "LSTMCell", "config": {"use_bias": biased[k]} | said | {"units": n, "name": ""}}
                for k, n in enumerate(units[0])
            ]
            cell = {"class_name": "StackedRNNCells", "config": {"cells": cells}}
            kind = {"class_name": "RNN", "config": config | {"cell": cell}}
        else:
            kind = {"class_name": "LSTM", "config": {"units": units[0][0]} | config}
        if len(units) == 1:
            return configuration.recurrent(kind, self.version)
        both = {"layer": kind, "merge_mode": config.get("merge_mode", "concat")}
        return configuration.recurrent({"class_name": "Bidirectional", "config": both}, self.version)

    def says(self, option: str) -> bool:
        """Whether an option is stated."""
        return is_lstm(self.layer) or option in config_of(self.layer)

    def agree(self, item: dict[str, Any]) -> None:
        """Refuse options that say otherwise than a configuration that the file has."""
        said = {} if self.layer is None or is_lstm(self.layer) else config_of(self.layer)
        config = config_of(item)
        inner = config_of(config.get("layer", item))
        parts = [config, inner, *(config_of(cell) for cell in stacked(inner.get("cell")))]
        for name in said.keys() & set(_OPTIONS):
            found = [part[name] for part in parts if name in part]
            if found and said[name] not in found:
                raise FormatError(f"config, {name}: expected {found[-1]!r}, as the file says, found {said[name]!r}")


def stated(source: Source) -> Stated | None:
    """What the caller states beside a file, checked."""
    return of_config(source.config)


def of_config(config: Config | None) -> Stated | None:
    """What is stated, checked."""
    if config is None:
        return None
    value, version = _value(config)
    if isinstance(value, str):  # a text of JSON that was written as JSON
        value = configuration.parse(value)
    if not isinstance(value, Mapping):
        raise FormatError(f"config: expected a model's configuration or a layer's options, found {str(value)[:80]!r}")
    value = dict(value)
    version = configuration.version(value.get("keras_version")) or version
    if version is None and "module" in value:
        version = "3"  # what Keras 3's to_json says instead
    if "class_name" not in value and isinstance(value.get("layers"), list):  # a model's get_config()
        value = {"class_name": "Functional", "config": value}
    if "class_name" in value:
        if is_lstm(value) or is_conv_lstm(value):
            return Stated(layer=value, version=version)
        if not children(value):
            raise FormatError(f"config: expected a model or an LSTM, found {str(value['class_name'])[:80]!r}")
        return Stated(model=value, version=version)
    _check_names(value)
    return Stated(layer={"class_name": "", "config": value}, version=version)


def _value(config: Config) -> tuple[Any, str | None]:
    """The configuration, and Keras's version if the file that has it says it."""
    if isinstance(config, Mapping):
        return config, None
    source = Source(config)
    try:
        if archive := zip.opened(source):
            metadata = configuration.parse(archive.read("metadata.json")) if "metadata.json" in archive else {}
            said = metadata.get("keras_version") if isinstance(metadata, dict) else None
            return configuration.parse(archive.read("config.json")), configuration.version(said)
        if file := hdf5.opened(source):
            text = file.text("", "model_config")
            if text is None:
                raise FormatError("expected a model's configuration, found weights alone")
            return configuration.parse(text), file.text("", "keras_version")
    except FormatError as error:
        raise FormatError(f"config {source.name}: {error}") from error
    return json.stated(config), None


def _check_names(options: Mapping[str, Any]) -> None:
    for name in options:
        old = {"inner_activation": "recurrent_activation", "output_dim": "units"}.get(name)
        if old or not isinstance(name, str) or not (name in (*_OPTIONS, *_CONV) or _BESIDES.fullmatch(name)):
            hint = f" (now {old})" if old else ""
            known = ", ".join((*_OPTIONS, *_CONV))
            raise FormatError(f"config: expected any of {known}, found {str(name)[:80]!r}{hint}")
