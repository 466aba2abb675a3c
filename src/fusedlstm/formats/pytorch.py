"""PyTorch checkpoints: the zip files that torch.save has written since 1.6, read without PyTorch.

Layout, seen in files written by torch 2.13: ``<root>/data.pkl`` describes the object, ``<root>/data/<key>`` holds one
storage each, uncompressed, ``<root>/byteorder`` says "little" or "big".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..weights import FormatError, LSTMWeights
from ._state_dict import Reader, Shape, bfloat16, by_prefix, lstms
from ._unpickle import RESAVE, Storage, Tensor, unpickle
from ._zip import Archive, is_zip

NAME = "PyTorch checkpoint"

MAX_DEPTH = 16
"""Dictionaries in dictionaries; checkpoints have two or three."""
MAX_STATE_DICTS = 10_000
MAX_RANK = 32

_PT2 = re.compile(r"(?:[^/]+/)?(?:archive_format|serialized_exported_program\.json)")
_DTYPES = {
    name: dtype
    for names, dtype in (
        (("FloatStorage", "torch.float32"), "f4"),
        (("DoubleStorage", "torch.float64"), "f8"),
        (("HalfStorage", "torch.float16"), "f2"),
        (("BFloat16Storage", "torch.bfloat16"), "u2"),
    )
    for name in names
}


def matches(path: Path, head: bytes) -> bool:
    """Whether this is anything that PyTorch saves, including what `read` refuses with advice."""
    if is_zip(head):
        return any(_PT2.fullmatch(name) or name.split("/")[1:] == ["data.pkl"] for name in Archive(path).names)
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
    records = _Records(archive, root)
    limit = path.stat().st_size  # one byte for each number: more than any dtype needs
    found: list[tuple[str, dict[str, Reader]]] = []
    for outer, tensors in _state_dicts(unpickle(archive.read(f"{root}data.pkl"))):
        if len(found) == MAX_STATE_DICTS:
            raise FormatError(f"data.pkl: expected at most {MAX_STATE_DICTS} dictionaries of tensors, found more")
        shapes = {name: _shape(name, tensor) for name, tensor in tensors.items()}

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
    if torch is None or type(module) not in (torch.nn.LSTM, torch.nn.LSTMCell):
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
    """The folder of the archive that holds everything; other kinds of archive are refused by name."""
    if any(_PT2.fullmatch(name) for name in archive.names):
        raise FormatError(f"expected a checkpoint, found a program exported by torch.export (.pt2); {RESAVE}")
    roots = [name.removesuffix("data.pkl") for name in archive.names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(roots) != 1:
        raise FormatError(f"expected one data.pkl in a folder of the archive, found {len(roots)}")
    (root,) = roots
    if f"{root}constants.pkl" in archive or any(name.startswith(f"{root}code/") for name in archive.names):
        raise FormatError(f"expected a checkpoint, found a TorchScript archive (torch.jit.save); {RESAVE}")
    return root


class _Records:
    """The tensors of an archive."""

    def __init__(self, archive: Archive, root: str) -> None:
        self._archive, self._root = archive, root
        order = archive.read(f"{root}byteorder", 16) if f"{root}byteorder" in archive else b"little"
        if order not in (b"little", b"big"):
            raise FormatError(f"{root}byteorder: expected 'little' or 'big', found {order!r}")
        self._read: dict[str, bytes] = {}  # nn.LSTM on a GPU keeps all its tensors in one storage
        self._order: Literal["<", ">"] = "<" if order == b"little" else ">"

    def tensor(self, name: str, tensor: Tensor) -> npt.NDArray[np.generic]:
        """One tensor, after every number that describes it is found to fit the bytes that are there."""
        if tensor.kind not in _DTYPES:
            raise FormatError(f"{name}: expected float32, float64, float16 or bfloat16, found {tensor.kind}")
        if tensor.metadata:
            raise FormatError(f"{name}: expected a plain tensor, found a conjugated or negated view; clone it first")
        storage, offset, size, stride = tensor.storage, tensor.offset, tensor.size, tensor.stride
        if not isinstance(storage, Storage):
            raise FormatError(f"{name}: expected a storage, found {type(storage).__name__}")
        if type(stride) is not tuple or len(stride) != len(size) or not _naturals((offset, *stride)):
            raise FormatError(f"{name}: expected an offset and {len(size)} strides of 0 or more, found others")
        dtype = np.dtype(_DTYPES[tensor.kind]).newbyteorder(self._order)
        record = f"{self._root}data/{storage.key}"
        declared = storage.numel * (1 if storage.kind == "UntypedStorage" else dtype.itemsize)
        held = self._archive.size(record)
        if declared != held:
            raise FormatError(f"{name}: expected a storage of {declared} bytes, found {held} in {record}")
        numel = held // dtype.itemsize
        # A dimension of 1 is never stepped along, so its stride means nothing.
        steps = [step if count > 1 else 0 for step, count in zip(stride, size)]
        last = offset + sum(step * (count - 1) for step, count in zip(steps, size))
        if prod(size) and last >= numel:
            raise FormatError(f"{name}: expected numbers within the {numel} of {record}, found a view up to {last}")
        if prod(size) > numel:
            raise FormatError(
                f"{name}: expected at most the {numel} numbers of {record}, found shape {size} (an expanded view; "
                "clone it before saving)"
            )
        if record not in self._read:
            self._read[record] = self._archive.read(record)
        numbers = np.frombuffer(self._read[record], dtype, numel)[offset:]
        strides = [step * dtype.itemsize for step in steps]
        view = np.lib.stride_tricks.as_strided(numbers, size, strides, writeable=False)
        return bfloat16(view) if dtype.kind == "u" else view


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


def _shape(name: str, tensor: Tensor) -> Shape:
    size = tensor.size
    if type(size) is not tuple or len(size) > MAX_RANK or not _naturals(size):
        raise FormatError(f"{name}: expected a shape of at most {MAX_RANK} numbers of 0 or more, found another")
    return size


def _naturals(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _is_pickle(head: bytes) -> bool:
    # Protocol 2 to 5, then the opcode of a dictionary, a global, a frame, a mark, an integer, ...
    return len(head) > 2 and head[0] == 0x80 and head[1] in range(2, 6)
