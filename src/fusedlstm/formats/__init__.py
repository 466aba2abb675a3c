"""Weight files: one door, and behind it a room for each framework.

A format is a module with one function, ``read(source) -> Contents | None``: what the file holds, or None where it is of
another format, judged by content. It raises :class:`FormatError` without the file's name, which is added in `contents`,
and imports the library it needs inside its functions (`containers.need` names the extra).

Exceptions become FormatError where a library is called, and nowhere else: our own mistakes come out as what they are.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ..errors import FormatError
from .containers.source import Config, Source
from .contents import Contents, named

__all__ = ["FORMATS", "Config", "Contents", "named", "open"]

# One line per format; the first that knows a file reads it.
FORMATS = (
    "native.safetensors",
    "torch.safetensors",
    "flax.safetensors",
    "torch.script",
    "torch.export",
    "torch.checkpoint",
    "keras.archive",
    "numpy.elmo",
    "keras.hdf5",
    "numpy.npz",
    "tflite.model",
    "onnx.model",
    "flax.msgpack",
    "audio.models",
)


def open(path: str | os.PathLike[str], config: Config | None = None) -> Contents:
    """What a weights file holds.

    Parameters
    ----------
    path : path-like
        The file.
    config : mapping or path-like, optional
        What the caller states of the model; refused where a format leaves nothing to state.

    Raises
    ------
    OSError
        The file cannot be read (missing, a directory, no permission).
    ImportError
        The format needs a library that is not installed; the message names the extra.
    FormatError
        The file is damaged, hostile or of an unknown format.
    """
    with named(str(path)):
        _refuse_folder(Path(path))
        source = Source(path, config)
        for name in FORMATS:
            found: Contents | None = import_module(f".{name}", __name__).read(source)
            if found is not None:
                if config is not None and not found.configured:
                    raise FormatError(f"config: expected none, as this {found.format} leaves nothing to state with it")
                return replace(found, file=source.name, size=source.size)
        raise FormatError(
            "expected a weights file (PyTorch, safetensors, Keras, ONNX, TensorFlow Lite, Flax, npz or JSON), found "
            f"{f'unknown content starting with {source.head[:8]!r}' if source.head else 'an empty file'}"
        )


def _refuse_folder(path: Path) -> None:
    if (path / "saved_model.pb").is_file():
        raise FormatError(
            "expected a weights file, found a TensorFlow SavedModel directory, which has no variable names; load it in "
            'TensorFlow and save it again: tf_keras.models.load_model(directory).save("model.h5")'
        )
