"""PyTorch checkpoints: the zip files that torch.save has written since 1.6, read without PyTorch.

Layout, seen in files written by torch 2.13: ``<root>/data.pkl`` describes the object, ``<root>/data/<key>`` holds one
storage each, uncompressed, ``<root>/byteorder`` says "little" or "big".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from ...errors import FormatError
from ...weights import LSTMWeights
from ...weights.state_dict import Reader, by_prefix, lstms
from ..containers.source import Source
from ..containers.zip import Archive, opened
from ..contents import Contents
from .objects import RESAVE, Tensor, TorchUnpickler
from .records import Reads, Records, by_name, shape

NAME = "PyTorch checkpoint"

MAX_DEPTH = 16
"""Dictionaries in dictionaries; checkpoints have two or three."""
MAX_STATE_DICTS = 10_000


def read(source: Source) -> Contents | None:
    """Every LSTM in the checkpoint's dictionaries, by module path; what else PyTorch saves is refused with advice."""
    if _is_tar(source.head):
        raise FormatError(f"expected a zip file, found a tar archive (an early PyTorch, or a packed folder); {RESAVE}")
    if _is_pickle(source.head):
        raise FormatError(
            "expected the zip file that torch.save writes, found a bare pickle or a checkpoint from before PyTorch "
            f"1.6, which cannot be read without running code; {RESAVE}"
        )
    archive = opened(source)
    if archive is None or not any(name.split("/")[1:] == ["data.pkl"] for name in archive.names):
        return None
    root = _root(archive)
    archive.expect_stored()
    records = Records(archive, root)
    found: list[tuple[str, dict[str, Reader]]] = []
    tensors: dict[str, Reads] = {}
    for outer, stored in _state_dicts(TorchUnpickler(archive.read(f"{root}data.pkl"), "data.pkl").load()):
        if len(found) == MAX_STATE_DICTS:
            raise FormatError(f"data.pkl: expected at most {MAX_STATE_DICTS} dictionaries of tensors, found more")
        shapes = {name: shape(name, tensor.size) for name, tensor in stored.items()}
        readers = {name: partial(records.tensor, name, tensor) for name, tensor in stored.items()}
        # One byte for each number: more than any dtype needs.
        found.append((outer, lstms(shapes, by_name(readers), max_parameters=source.size)))
        tensors |= {f"{outer}.{name}" if outer else name: reader for name, reader in readers.items()}
    return Contents(NAME, {LSTMWeights: by_prefix(found)}, tensors)


def _root(archive: Archive) -> str:
    """The folder of the archive that holds everything."""
    roots = [name.removesuffix("data.pkl") for name in archive.names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(roots) != 1:
        raise FormatError(f"expected one data.pkl in a folder of the archive, found {len(roots)}")
    (root,) = roots
    return root


def _state_dicts(checkpoint: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dictionary that holds tensors, with its path in the checkpoint."""
    seen: set[int] = set()  # a dictionary may be named in many places, or hold itself
    queue: list[tuple[tuple[str, ...], Any]] = [((), checkpoint)]
    for outer, tree in queue:
        if not isinstance(tree, dict) or id(tree) in seen:
            continue
        seen.add(id(tree))
        if len(outer) > MAX_DEPTH:
            raise FormatError(f"data.pkl: expected at most {MAX_DEPTH} dictionaries in each other, found more")
        if tensors := {key: value for key, value in tree.items() if isinstance(value, Tensor)}:
            yield ".".join(outer), tensors
        queue.extend(((*outer, key), value) for key, value in tree.items() if isinstance(value, dict))


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _is_pickle(head: bytes) -> bool:
    # Protocol 2 to 5, then the opcode of a dictionary, a global, a frame, a mark, an integer, ...
    return len(head) > 2 and head[0] == 0x80 and head[1] in range(2, 6)
