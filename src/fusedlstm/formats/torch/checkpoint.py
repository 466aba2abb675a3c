"""PyTorch checkpoints: the zip files that torch.save has written since 1.6, read without PyTorch.

Layout, seen in files written by torch 2.13: ``<root>/data.pkl`` describes the object, ``<root>/data/<key>`` holds one
storage each, uncompressed, ``<root>/byteorder`` says "little" or "big".
"""

from __future__ import annotations

import re
from typing import Any

from ...errors import FormatError
from ..containers.source import Source
from ..containers.zip import Archive, opened
from ..contents import Contents
from .objects import TorchUnpickler
from .records import Reads, Records
from .trees import contents, pickled

NAME = "PyTorch checkpoint"


def read(source: Source) -> Contents | None:
    """Every LSTM in the checkpoint's dictionaries, by module path."""
    archive = opened(source)
    if archive is None or not any(name.split("/")[1:] == ["data.pkl"] for name in archive.names):
        return None
    root = _root(archive)
    archive.expect_stored()
    pickle = _unpickled(archive, root)
    return contents(NAME, pickle, pickled(Records.of_archive(archive, root)), source)


def tensors(source: Source) -> dict[str, Reads]:
    """The tensors of a checkpoint that is one dictionary, by its keys."""
    archive = opened(source)
    if archive is None:
        raise FormatError(f"{source.name}: expected what torch.save writes, found something else")
    root = _root(archive)
    archive.expect_stored()
    tree, leaf = _unpickled(archive, root), pickled(Records.of_archive(archive, root))
    entries = tree.items() if isinstance(tree, dict) else ()
    found = {str(name): made for name, value in entries if (made := leaf(str(name), value)) is not None}
    return {name: read for name, (_, read) in found.items()}


def _unpickled(archive: Archive, root: str) -> Any:
    member = f"{root}data.pkl"
    return TorchUnpickler(archive.read(member), "data.pkl", archive.packed(member)).load()


def _root(archive: Archive) -> str:
    """The folder of the archive that holds everything."""
    roots = [name.removesuffix("data.pkl") for name in archive.names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(roots) != 1:
        raise FormatError(f"expected one data.pkl in a folder of the archive, found {len(roots)}")
    (root,) = roots
    return root
