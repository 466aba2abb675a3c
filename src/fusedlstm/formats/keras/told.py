"""What is known of a file's layers beside their variables: by its own configuration, or by what the caller states."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import FormatError
from .layers import Layer, is_conv_lstm, is_lstm, layers
from .stated import Stated


@dataclass(frozen=True)
class Told:
    """What is known.

    Parameters
    ----------
    layers : list of Layer
        Those of the model's configuration.
    version : str or None
        Of the Keras that wrote the file.
    stated : Stated or None
        What the caller states of layers that no configuration describes.
    owned : bool
        Whether there is a configuration of the model, so that what it lacks is held by a class of the user's own.
    unclear : str
        Why the default of recurrent_activation is not known; empty where it is sigmoid.
    """

    layers: list[Layer]
    version: str | None
    stated: Stated | None
    owned: bool
    unclear: str


def told(model: object, version: str | None, stated: Stated | None, unclear: str = "") -> Told:
    """A file's own configuration and version together with what the caller states, whose model counts as the file's.

    Parameters
    ----------
    model : object
        The file's own configuration; None where it has none.
    version, stated, unclear
        As for `Told`.
    """
    own = [] if model is None else layers(model)
    if stated is not None and stated.model is not None:
        if any(is_lstm(layer.item) or is_conv_lstm(layer.item) for layer in own):
            raise FormatError("config: expected a layer's options, as the file describes its model, found a model")
        model, version, own, stated = stated.model, stated.version or version, layers(stated.model), None
    return Told(own, version, stated, model is not None, unclear)
