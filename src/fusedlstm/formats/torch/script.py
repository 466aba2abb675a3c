"""TorchScript archives (``torch.jit.save``), read without PyTorch: the parameters, and of the code only batch_first.

Layout, seen in files written by torch 2.13: ``<root>/data.pkl`` is one object, whose attributes are parameters and
submodules by name; storages lie in ``<root>/data/<key>`` as in a checkpoint; ``<root>/code/`` holds the classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from ...errors import FormatError
from ...weights import LSTMWeights
from ...weights.named import Named
from ...weights.others import hint
from ...weights.state_dict import Reader, by_prefix, laid_out, lstms, refusal
from ..containers.pickle import Box
from ..containers.source import Source
from ..containers.zip import Archive, opened
from ..contents import Contents
from .code import Code
from .objects import Tensor, TorchUnpickler
from .records import Records, by_name, shape
from .trees import MAX_PATH

NAME = "TorchScript archive"

MAX_DEPTH = 64
"""Modules in modules."""
MAX_MODULES = 100_000

_QUANTISED = re.compile(r"__torch__\..*quantized.*\.LSTM(?:Cell)?")

_INSTEAD = (
    "for the whole model, where the module was made: fusedlstm.Model.from_torch(module, example_inputs), or "
    "torch.export.save(torch.export.export(module.eval(), example_inputs), 'model.pt2')"
)


def read(source: Source) -> Contents | None:
    """Every LSTM of the module, by module path."""
    archive = opened(source)  # its code is compressed, its tensors are not
    roots = _roots(archive) if archive else set()
    if archive is None or not roots:
        return None
    if len(roots) > 1:
        raise FormatError(f"expected one data.pkl in a folder of the archive, found {len(roots)}")
    (root,) = roots
    records, code = Records.of_archive(archive, root), Code(archive, root)
    tensors: dict[str, Tensor] = {}
    refused: dict[str, Reader] = {}
    layouts: dict[str, bool] = {}
    pickle = f"{root}data.pkl"
    for name, module in _modules(TorchUnpickler(archive.read(pickle), "data.pkl", archive.packed(pickle)).load()):
        dot = f"{name}." if name else ""
        tensors |= {f"{dot}{key}": value for key, value in module.values.items() if isinstance(value, Tensor)}
        if _QUANTISED.fullmatch(module.kind):
            refused[name] = refusal(
                f"{name}: expected a floating-point LSTM, found {module.kind}, whose weights are packed"
            )
        if (batch_first := code.batch_first(module.kind)) is not None:
            layouts[name] = batch_first
    shapes = {name: shape(name, tensor.size) for name, tensor in tensors.items()}
    readers = {name: partial(records.tensor, name, tensor) for name, tensor in tensors.items()}
    named = Named(shapes, by_name(readers), ignore=source.ignore, max_parameters=source.size)
    found = {
        path: laid_out(reader, layouts[path]) if path in layouts else reader for path, reader in lstms(named).items()
    }
    if not (found or refused) and any(name.startswith(f"{root}constants/") for name in archive.names):
        raise FormatError(
            "expected an LSTM's parameters by name, found none, and constants without names: save the module before it "
            "is frozen (torch.jit.freeze)"
        )
    lstm_readers = by_prefix([("", {**found, **refused})])
    return Contents(NAME, {LSTMWeights: lstm_readers}, readers, named, hint(shapes), instead=_INSTEAD)


def _roots(archive: Archive) -> set[str]:
    """Folders that hold both an object and code (or constants, where there is none), with their slash."""
    code = {match[0] for name in archive.names if (match := re.match(r"[^/]+/(?=code/|constants\.pkl$)", name))}
    return {root for root in code if f"{root}data.pkl" in archive}


def _modules(root: Any) -> Iterator[tuple[str, Box]]:
    """Every module with its path; one that is used in two places has two paths."""
    if not _is_module(root):
        raise FormatError(f"data.pkl: expected a module, found {type(root).__name__}")
    queue: list[tuple[str, int, Box]] = [("", 0, root)]
    for path, depth, module in queue:
        if depth > MAX_DEPTH or len(queue) > MAX_MODULES or len(path) > MAX_PATH:
            raise FormatError(
                f"data.pkl: expected at most {MAX_MODULES} modules, {MAX_DEPTH} in each other, their names of "
                f"{MAX_PATH} characters together, found more"
            )
        yield path, module
        dot = f"{path}." if path else ""
        queue.extend((f"{dot}{key}", depth + 1, value) for key, value in module.values.items() if _is_module(value))


def _is_module(value: Any) -> bool:
    return isinstance(value, Box) and value.kind.startswith("__torch__.")
