"""Several files in one place: folders and zip archives, of which one holds the weights."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ..errors import FormatError
from .containers.source import Source
from .containers.zip import opened as archive_of
from .contents import KINDS, Contents

Files = Mapping[str, Callable[[], Source]]
"""What opens a file, by its name in the folder or archive."""

MAX_DEPTH = 3
"""Of folders in a folder: mlflow's model lies in data/, a hub's in snapshots/<revision>/."""
MAX_ENTRIES = 5000
MAX_CANDIDATES = 24
FREE_BYTES, MAX_RATIO = 1 << 16, 4
"""What a member of a zip archive may unpack to: whoever parses it takes a multiple of its size."""
_WEIGHTS = re.compile(
    r".+(?:\.(?:pt|pth|pt2|ckpt|bin|safetensors|keras|h5|hdf5|onnx|tflite|npz|msgpack|pkl|pickle|pdparams|nam)"
    r"|\.index\.json)",
    re.IGNORECASE,
)
_OTHER_JSON = re.compile(r"(?!.*config).+\.json", re.IGNORECASE)
_PART = re.compile(r".+-\d{4,5}-of-\d{4,5}\.\w+")


def folder(path: Path, opened: Callable[[Path], Source]) -> Files:
    """The files of a folder that may hold weights, by their paths in it; hidden ones are left out."""
    found: list[str] = []
    waiting: list[tuple[Path, int]] = [(path, 0)]
    count = 0
    for here, depth in waiting:
        for entry in sorted(os.scandir(here), key=lambda entry: entry.name):
            count += 1
            if entry.name.startswith(".") or count > MAX_ENTRIES:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting += [(Path(entry.path), depth + 1)] if depth < MAX_DEPTH else []
            elif entry.is_file():
                found.append(Path(entry.path).relative_to(path).as_posix())
    return {name: partial(opened, path / name) for name in _candidates(found)}


def zipped(source: Source) -> Files | None:
    """The members of a zip archive that may hold weights; None where it is none."""
    archive = archive_of(source)
    if archive is None:
        return None
    names = [name for name in archive.names if not re.search(r"(?:^|/)(?:__MACOSX/|\.)", name)]

    def member(name: str) -> Source:
        if archive.size(name) > FREE_BYTES + MAX_RATIO * archive.packed(name):
            raise FormatError(
                f"expected at most {MAX_RATIO} times the {archive.packed(name)} bytes that it takes in the archive, "
                f"found {archive.size(name)}; unpack it and load that"
            )
        return source.beside(archive.read(name), f"{source.name}/{name}", archive.packed(name))

    return {name: partial(member, name) for name in _candidates(names)}


def one_of(files: Files, read: Callable[[Source], Contents], where: str) -> Contents | None:
    """What the one file holds that can be read and has an LSTM, or None where there is none to try.

    Raises
    ------
    FormatError
        There are several, or none can be read; the message names them.
    """
    if len(files) > MAX_CANDIDATES:
        raise FormatError(
            f"expected one weights file {where}, found {len(files)}; load one of them, such as {_listed(files)}"
        )
    readable: dict[str, Contents] = {}
    refused: dict[str, Exception] = {}
    for name, source in files.items():
        try:
            readable[name] = read(source())
        except (FormatError, ImportError) as told:
            refused[name] = told
    holding = {name: one for name, one in readable.items() if any(one.listed(kind) for kind in KINDS)}
    for some in (holding, readable):
        if len(some) == 1:
            return next(iter(some.values()))
        if some:
            raise FormatError(
                f"expected one weights file {where}, found {len(some)}; load one of them: {_listed(some)}"
            )
    if refused:
        name, error = next(iter(refused.items()))
        more = f" (nor can {_listed([one for one in refused if one != name])})" if len(refused) > 1 else ""
        raise FormatError(f"expected a weights file {where} that can be read; {name} cannot{more}: {error}") from error
    return None


def _candidates(names: list[str]) -> list[str]:
    """Those that may hold weights; JSON that is no index only where there is nothing else."""
    found = [name for name in names if _WEIGHTS.fullmatch(name)]
    indexed = {os.path.dirname(name) for name in found if name.endswith(".index.json")}
    found = [name for name in found if not (_PART.fullmatch(name) and os.path.dirname(name) in indexed)]
    return found or [name for name in names if _OTHER_JSON.fullmatch(name)]


def _listed(names: Mapping[str, object] | list[str]) -> str:
    shown = list(names)[:8]
    return ", ".join(map(repr, shown)) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
