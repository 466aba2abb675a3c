"""Why a class of layers is refused, in words that help."""

from __future__ import annotations

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
    "TensorFlowOpLayer": "operators of TensorFlow 2.0 to 2.3 are not supported; save the model again with a newer one",
}


def reason(kind: str, own: bool = False) -> str:
    """Why; `own` says that it is no class of Keras's."""
    if own:
        return f"expected a layer of Keras's own, found the class {kind!r}, whose code is not in the file"
    usual = f"the operator {kind[:80]!r} is not supported" if kind.startswith("tf.") else "it is not supported"
    return _WORDS.get(kind, usual)
