"""Weight files: one door, and behind it a room for each framework.

A format is a module with one function, ``read(source) -> Contents | None``: what the file holds, or None where it is of
another format, judged by content. It raises :class:`FormatError` without the file's name, which is added in `contents`,
and imports the library it needs inside its functions (`containers.need` names the extra).

Where arrays have names and nothing else, whoever knows a framework's names says what they are: a module in `NAMES` with
one function, ``find(named)``, and perhaps ``CONFIGURED = True``: what the caller states of a model is heard.

Exceptions become FormatError where a library is called, and nowhere else: our own mistakes come out as what they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..weights.others import hint
from . import bundles, shards, strangers
from .containers.source import Config, Given, Source
from .contents import ROOT, Contents, named

__all__ = ["FORMATS", "NAMES", "ROOT", "Config", "Contents", "Given", "named", "of_mapping", "open"]

# One line per format; the first that knows a file reads it.
FORMATS = (
    "native.safetensors",
    "numpy.safetensors",
    "torch.script",
    "torch.export",
    "torch.checkpoint",
    "torch.legacy",
    "keras.archive",
    "numpy.elmo",
    "keras.hdf5",
    "numpy.npz",
    "tflite.model",
    "onnx.model",
    "torch.pickle",
    "flax.msgpack",
    "audio.models",
)

# Who knows a framework's names; the first that know some of a file's say what its arrays are. Keras's variables may lie
# beside TensorFlow 1's.
NAMES = (("flax.equinox",), ("torch.names",), ("keras.names", "numpy.tensorflow1"), ("flax.haiku",), ("flax.names",))


def open(given: Given, config: Config | None = None, ignore: Iterable[str] = ()) -> Contents:
    """What a weights file holds, or the one that lies in a folder or a zip archive.

    Parameters
    ----------
    given : path, bytes or binary file object
        The file, or a folder that holds one.
    config : mapping or path-like, optional
        What the caller states of the model; refused where a format leaves nothing to state.
    ignore : iterable of str
        Patterns of the names of tensors to leave out.

    Raises
    ------
    OSError
        The file cannot be read (missing, a directory without weights, no permission).
    ImportError
        The format needs a library that is not installed; the message names the extra.
    FormatError
        The file is damaged, hostile or of an unknown format.
    """
    patterns = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    if not isinstance(given, str | os.PathLike):
        source = Source(given, config, patterns)
        with named(source.name):
            return _heard(_open(source, _zipped), config)
    path = Path(given)
    with named(str(path)):
        if path.is_dir():
            strangers.refuse_folder(path)
            files = bundles.folder(path, partial(Source, config=config, ignore=patterns))
            if found := bundles.one_of(files, _open, "in this folder"):
                return _heard(found, config)
        strangers.refuse_prefix(path)
        shards.refuse_one(path)
        return _heard(_open(Source(path, config, patterns), _zipped), config)


def of_mapping(tensors: Mapping[str, Any], config: Config | None = None, ignore: Iterable[str] = ()) -> Contents:
    """What arrays and tensors in memory are by their names, also where they lie in dictionaries within each other.

    Raises
    ------
    TypeError
        `tensors` is no mapping.
    """
    patterns = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    return _heard(_by_names(import_module(".torch.mapping", __name__).from_mapping(tensors, config, patterns)), config)


def _open(source: Source, otherwise: Callable[[Source], Contents | None] = lambda _: None) -> Contents:
    """What a source holds; `otherwise` may know one that is of no format."""
    found = shards.read(source, _open)
    for name in FORMATS if found is None else ():
        found = import_module(f".{name}", __name__).read(source)
        if found is not None:
            break
    else:
        found = found or otherwise(source)
    if found is None:
        raise FormatError(strangers.words(source))
    return replace(_by_names(found), file=found.file or source.name, size=found.size or source.size)


def _heard(contents: Contents, config: Config | None) -> Contents:
    """The same, where what was stated of the model was heard."""
    if config is not None and not contents.configured:
        raise FormatError(f"config: expected none, as this {contents.format} leaves nothing to state with it")
    return contents


def _zipped(source: Source) -> Contents | None:
    files = bundles.zipped(source)
    return bundles.one_of(files, _open, "in this zip archive") if files else None


def _by_names(contents: Contents) -> Contents:
    """The same, with what its arrays are where names alone say so."""
    if contents.found or contents.named is None:
        return contents
    for rooms in NAMES:
        modules = [import_module(f".{room}", __name__) for room in rooms]
        found: dict[type, dict[str, Any]] = {}
        for module in modules:
            for kind, readers in module.find(contents.named).items():
                found[kind] = {**readers, **found.get(kind, {})}
        if any(found.values()):
            configured = any(getattr(module, "CONFIGURED", False) for module in modules)
            return replace(contents, found=found, configured=configured)
    shapes = contents.named.shapes
    return replace(contents, hint=contents.hint or hint(shapes) or ("" if shapes else "it holds no tensors"))
