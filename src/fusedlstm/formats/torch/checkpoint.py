"""PyTorch checkpoints: the zip files that torch.save has written since 1.6, read without PyTorch.

Layout, seen in files written by torch 2.13: ``<root>/data.pkl`` describes the object, ``<root>/data/<key>`` holds one
storage each, uncompressed, ``<root>/byteorder`` says "little" or "big".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import LSTMWeights
from ...weights.state_dict import Reader, by_prefix, lstms
from ..containers.pickle import RESAVE, Tensor, unpickle
from ..containers.zip import Archive, is_zip
from .records import Records, shape

NAME = "PyTorch checkpoint"

MAX_DEPTH = 16
"""Dictionaries in dictionaries; checkpoints have two or three."""
MAX_STATE_DICTS = 10_000


def matches(path: Path, head: bytes) -> bool:
    """Whether this is anything that PyTorch saves, including what `read` refuses with advice."""
    if is_zip(head):
        return any(name.split("/")[1:] == ["data.pkl"] for name in Archive(path).names)
    return _is_pickle(head) or _is_tar(head)


def read(path: Path) -> dict[str, Reader]:
    """Every LSTM in the checkpoint's dictionaries, by module path."""
    with open(path, "rb") as file:
        head = file.read(512)
    if _is_tar(head):
        raise FormatError(f"expected a zip file, found a tar archive (an early PyTorch, or a packed folder); {RESAVE}")
    if _is_pickle(head):
        raise FormatError(
            "expected the zip file that torch.save writes, found a bare pickle or a checkpoint from before PyTorch "
            f"1.6, which cannot be read without running code; {RESAVE}"
        )
    root = _root(Archive(path))
    archive = Archive(path, stored_only=True)
    records = Records(archive, root)
    limit = path.stat().st_size  # one byte for each number: more than any dtype needs
    found: list[tuple[str, dict[str, Reader]]] = []
    for outer, tensors in _state_dicts(unpickle(archive.read(f"{root}data.pkl"))):
        if len(found) == MAX_STATE_DICTS:
            raise FormatError(f"data.pkl: expected at most {MAX_STATE_DICTS} dictionaries of tensors, found more")
        shapes = {name: shape(name, tensor.size) for name, tensor in tensors.items()}

        def tensor(name: str, tensors: dict[str, Tensor] = tensors) -> npt.NDArray[np.generic]:
            return records.tensor(name, tensors[name])

        found.append((outer, lstms(shapes, tensor, max_parameters=limit)))
    return by_prefix(found)


def from_module(module: Any) -> LSTMWeights:
    """The weights of a live ``torch.nn.LSTM`` or ``torch.nn.LSTMCell``; dropout between layers is off, as in eval mode.

    Raises
    ------
    TypeError
        Another module, a subclass included: it may compute something else.
    """
    torch = sys.modules.get("torch")  # whoever has a module has imported it
    kind: Any = type(module)
    if torch is not None and torch.nn.utils.parametrize.is_parametrized(module):
        kind = kind.__base__  # such as weight norm, which gives the module a class of its own
    if torch is None or kind not in (torch.nn.LSTM, torch.nn.LSTMCell):
        raise TypeError(f"expected a torch.nn.LSTM or torch.nn.LSTMCell, found {type(module).__qualname__}")
    tensors = module.state_dict()
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise ValueError(f"{name}: expected values, found a tensor on the meta device")
    found = lstms(
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        lambda name: tensors[name].detach().cpu().float().numpy(),
        batch_first=getattr(module, "batch_first", True),
    )
    return found[""]()


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
