"""TorchScript archives (``torch.jit.save``), read without PyTorch: the parameters, never the code.

Layout, seen in files written by torch 2.13: ``<root>/data.pkl`` is one object, whose attributes are parameters and
submodules by name; storages lie in ``<root>/data/<key>`` as in a checkpoint; ``<root>/code/`` holds the classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...errors import FormatError
from ...weights import LSTMWeights
from ...weights.state_dict import Reader, by_prefix, lstms
from ..containers.pickle import Attributes, Tensor, unpickle
from ..containers.zip import Archive, is_zip
from .records import Records, shape

NAME = "TorchScript archive"

MAX_DEPTH = 64
"""Modules in modules."""
MAX_MODULES = 100_000

_QUANTISED = re.compile(r"__torch__\..*quantized.*\.LSTM(?:Cell)?")


def matches(path: Path, head: bytes) -> bool:
    """Whether this is a zip archive with an object and code."""
    return is_zip(head) and bool(_roots(Archive(path)))


def read(path: Path) -> dict[str, Reader]:
    """Every LSTM of the module, by module path."""
    archive = Archive(path)  # its code is compressed, its tensors are not
    roots = _roots(archive)
    if len(roots) != 1:
        raise FormatError(f"expected one data.pkl in a folder of the archive, found {len(roots)}")
    (root,) = roots
    records = Records(archive, root)
    tensors: dict[str, Tensor] = {}
    refused: dict[str, Reader] = {}
    for name, module in _modules(unpickle(archive.read(f"{root}data.pkl"))):
        dot = f"{name}." if name else ""
        tensors |= {f"{dot}{key}": value for key, value in module.values.items() if isinstance(value, Tensor)}
        if _QUANTISED.fullmatch(module.kind):
            refused[name] = _refusal(
                f"{name}: expected a floating-point LSTM, found {module.kind}, whose weights are packed"
            )
    shapes = {name: shape(name, tensor.size) for name, tensor in tensors.items()}
    found = lstms(shapes, lambda name: records.tensor(name, tensors[name]), max_parameters=path.stat().st_size)
    if not (found or refused) and any(name.startswith(f"{root}constants/") for name in archive.names):
        raise FormatError(
            "expected an LSTM's parameters by name, found none, and constants without names: save the module before it "
            "is frozen (torch.jit.freeze)"
        )
    return by_prefix([("", {**found, **refused})])


def _roots(archive: Archive) -> set[str]:
    """Folders that hold both an object and code (or constants, where there is none), with their slash."""
    code = {match[0] for name in archive.names if (match := re.match(r"[^/]+/(?=code/|constants\.pkl$)", name))}
    return {root for root in code if f"{root}data.pkl" in archive}


def _modules(root: Any) -> Iterator[tuple[str, Attributes]]:
    """Every module with its path; one that is used in two places has two paths."""
    if not isinstance(root, Attributes):
        raise FormatError(f"data.pkl: expected a module, found {type(root).__name__}")
    queue: list[tuple[tuple[str, ...], Attributes]] = [((), root)]
    for path, module in queue:
        if len(path) > MAX_DEPTH or len(queue) > MAX_MODULES:
            raise FormatError(
                f"data.pkl: expected at most {MAX_MODULES} modules, {MAX_DEPTH} in each other, found more"
            )
        yield ".".join(path), module
        queue.extend(((*path, key), value) for key, value in module.values.items() if isinstance(value, Attributes))


def _refusal(message: str) -> Callable[[], LSTMWeights]:
    def refuse() -> LSTMWeights:
        raise FormatError(message)

    return refuse
