"""Checkpoints in several files, as Hugging Face's libraries save them: an index of JSON says which tensor lies where.

``model.safetensors.index.json`` or ``pytorch_model.bin.index.json``: ``weight_map``, by each tensor's name the file
that holds it, beside the index.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import FormatError
from ..weights.named import Named, Read, Shape
from .containers.json import parse
from .containers.source import Source
from .contents import Contents, named

NAME = "sharded checkpoint"

MAX_BYTES = 64 << 20
MAX_FILES = 1000
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{4,5})-of-(?P<count>\d{4,5})(?P<suffix>\.\w+)")
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")


def read(source: Source, recognise: Callable[[Source], Contents]) -> Contents | None:
    """The tensors of all files that an index names; None where it is no index."""
    if not is_index(source):
        return None
    index = parse("index", source.read())["weight_map"]
    if not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
        raise FormatError("weight_map: expected a file for each tensor's name, found another")
    files = dict.fromkeys(index.values())
    if source.path is None:
        raise FormatError(
            f"expected a file, found an index of {len(files)} files, which lie beside it; load it by its path"
        )
    if len(files) > MAX_FILES:
        raise FormatError(f"weight_map: expected at most {MAX_FILES} files, found {len(files)}")
    shapes: dict[str, Shape] = {}
    readers: dict[str, Read] = {}
    others: dict[str, str] = {}
    size = 0
    for file in files:
        if Path(file).name != file or file in ("", ".", ".."):
            raise FormatError(f"weight_map: expected the name of a file beside the index, found {file!r:.100}")
        place = source.path.with_name(file)
        if not place.is_file():
            raise FormatError(f"{file}: expected this file beside the index, as it says, found none")
        with named(file):
            part = recognise(source.beside(place))
        if part.named is None:
            raise FormatError(f"{file}: expected tensors by name, found a {part.format}")
        size += part.size
        for name, shape in part.named.shapes.items():
            if index.get(name) != file:
                where = f"in {index[name]!r:.100}" if name in index else "in no file"
                raise FormatError(f"{name}: expected {where} by the index, found in {file}")
            shapes[name], readers[name] = shape, part.named.read
        others |= part.named.others
    if missing := index.keys() - shapes.keys() - others.keys():
        raise FormatError(f"{min(missing)}: expected in {index[min(missing)]} by the index, found none")
    whole = Named(shapes, lambda name: readers[name](name), others, source.ignore, size, config=source.config)
    return Contents(NAME, {}, {name: partial(whole.read, name) for name in shapes}, named=whole, size=size)


def is_index(source: Source) -> bool:
    """Whether a source is an index, by its first bytes or its name."""
    if not _HEAD.match(source.head) or source.size > MAX_BYTES:
        return False
    return source.name.endswith(".index.json") or b'"weight_map"' in source.head


def refuse_one(path: Path) -> None:
    """Refuse one file of several, which an LSTM may go beyond.

    Raises
    ------
    FormatError
        It is named in an index that lies beside it, or is one of several by its own name.
    """
    match = _PART.fullmatch(path.name)
    indices = sorted(path.parent.glob("*.index.json"))[:16] if path.suffix in _SUFFIXES and path.is_file() else ()
    for index in indices:
        if index != path and index.stat().st_size <= MAX_BYTES and f'"{path.name}"'.encode() in index.read_bytes():
            with named(index.name):
                files = set(map(str, parse("index", index.read_bytes()).get("weight_map", {}).values()))
            if len(files) > 1 and path.name in files:
                raise FormatError(
                    f"expected a whole checkpoint, found one of {len(files)} files of it; load the index that lies "
                    f"beside it: {index}"
                )
    if match and path.is_file() and int(match["count"]) > 1:
        raise FormatError(
            f"expected a whole checkpoint, found file {int(match['number'])} of {int(match['count'])}; put all of them "
            f"into one folder with their index, {match['stem']}{match['suffix']}.index.json, and load that"
        )
