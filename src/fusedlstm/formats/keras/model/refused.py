"""What is refused of any layer, and why, in words that help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....errors import FormatError
from ..layers import children, config_of, stacked

_TRAINED = ("Dropout", "Noise", "BatchNormalization", "Random")

_TEXT = (
    "it takes text, and this library numbers: look words up before, and save the model from the numbers on (a model "
    "whose input is what this layer gives)"
)
_CODE = "it runs Python code that the file carries, which is never done here"
_WORDS = {
    "Lambda": _CODE,
    "StringLookup": _TEXT,
    "TextVectorization": _TEXT,
    "Hashing": _TEXT,
    "IntegerLookup": "look its numbers up before, and save the model from there on",
    "TFSMLayer": "it is a TensorFlow graph in other files",
    "TorchModuleWrapper": _CODE,
    "JaxLayer": _CODE,
    "FlaxLayer": _CODE,
}


def reason(kind: str, own: bool = False) -> str:
    """Why; `own` says that it is no class of Keras's."""
    if own:
        return f"expected a layer of Keras's own, found the class {kind!r}, whose code is not in the file"
    usual = f"the operator {kind[:80]!r} is not supported" if kind.startswith("tf.") else "it is not supported"
    return _WORDS.get(kind, usual)


def expect_inference(item: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Refuse a call that does what is done in training: dropout that stays on, statistics of the batch.

    Raises
    ------
    FormatError
        Such a call.
    """
    if arguments.get("training") in (None, False, 0):
        return
    if _is_trained(item):
        raise FormatError("training: expected a model at inference, found a call with training=True")


def _is_trained(item: Mapping[str, Any]) -> bool:
    """Whether a layer, its cell or a cell of that may do otherwise in training."""
    config = config_of(item)
    drops = any(config.get(key) not in (None, 0, 0.0) for key in ("dropout", "recurrent_dropout", "layer"))
    if drops or children(dict(item)) or any(one in str(item.get("class_name")) for one in _TRAINED):
        return True
    return any(_is_trained(one) for one in stacked(config.get("cell")) if isinstance(one, dict))
