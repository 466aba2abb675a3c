"""Programs exported by PyTorch (``torch.export.save``, ``.pt2``), read without PyTorch: the weights by name, and the
program as a whole (`whole`).

Layout, seen in files written by torch 2.13: ``<root>/data/weights/<model>_weights_config.json`` describes each tensor
by its name, ``<root>/data/weights/weight_<n>`` are the bytes of one storage each, and ``<root>/models/<model>.json`` is
the graph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...graph import Graph
from ...weights import LSTMWeights
from ...weights.named import Named, Shape
from ...weights.state_dict import Reader, bfloat16, by_prefix, laid_out, lstms
from ..containers.json import parse
from ..containers.source import Source
from ..containers.zip import Archive, opened
from ..contents import Contents
from . import older
from .objects import RESAVE
from .records import Reads, Records, by_name, shape
from .whole.program import program
from .whole.reader import justified, read_graph

NAME = "PyTorch exported program"

_MARK = re.compile(r"(?:([^/]+)/)?(?:archive_format|serialized_exported_program\.json)")
# torch._export.serde.schema.ScalarType, those that hold weights and those worth a name in a message.
_BFLOAT16 = 13
_KINDS = {6: "torch.float16", 7: "torch.float32", 8: "torch.float64", _BFLOAT16: "torch.bfloat16", 12: "torch.bool"}
_KINDS |= {1: "torch.uint8", 2: "torch.int8", 3: "torch.int16", 4: "torch.int32", 5: "torch.int64"}
_KINDS |= {29: "torch.float8_e4m3fn", 30: "torch.float8_e5m2"}
_STRIDED = 7  # torch._export.serde.schema.Layout


def read(source: Source) -> Contents | None:
    """Every LSTM of the programs in the archive, by module path, and the whole program."""
    archive = opened(source)
    if archive is None or not any(map(_MARK.fullmatch, archive.names)):
        return None
    archive.expect_stored()
    root = _root(archive)
    if f"{root}{older.PROGRAM}" in archive:
        return older.read(source, archive, root)
    records = Records.of_archive(archive, root)
    found: list[tuple[str, dict[str, Reader]]] = []
    tensors: dict[str, Reads] = {}
    models: dict[str, dict[str, Reads]] = {}
    for member in archive.names:
        match = re.fullmatch(rf"{re.escape(root)}data/weights/(.+)_weights_config\.json", member)
        if match is None:
            continue
        model = match[1]
        entries = _entries(archive, member, f"{root}data/weights/")
        readers = {name: partial(entry.read, records) for name, entry in entries.items()}
        shapes = {name: entry.shape for name, entry in entries.items()}
        named = Named(shapes, by_name(readers), ignore=source.ignore, max_parameters=source.size)
        tensors |= readers
        layout = _layouts(archive, f"{root}models/{model}.json")
        lstms_here = {
            prefix: laid_out(reader, layout[prefix]) if prefix in layout else reader
            for prefix, reader in lstms(named).items()
        }
        found.append((model, lstms_here))
        constants = f"{root}data/constants/{model}_constants_config.json"
        others = _entries(archive, constants, f"{root}data/constants/") if constants in archive else {}
        models[model] = {**{name: partial(entry.read, records) for name, entry in others.items()}, **readers}
    if not found:
        raise FormatError(
            f"expected weights as torch.export.save writes them, found none (compiled by AOTInductor); {RESAVE}"
        )
    whole = partial(_whole, archive, root, models, source.size)
    return Contents(NAME, {LSTMWeights: by_prefix(found)}, tensors, graph=whole)


def _whole(
    archive: Archive,
    root: str,
    models: Mapping[str, Mapping[str, Reads]],
    size: int,
    outputs: Sequence[str] | None,
    external_data: bool,
) -> Graph:
    """The one program of an archive."""
    if len(models) != 1:
        raise FormatError(f"expected one program, found {len(models)}: {', '.join(map(repr, list(models)[:8]))}")
    ((model, tensors),) = models.items()
    member = f"{root}models/{model}.json"
    return read_graph(program(member, parse(member, archive.read(member))), tensors, outputs, justified(size))


def _entries(archive: Archive, member: str, folder: str) -> dict[str, _Entry]:
    """The tensors of one configuration."""
    config = parse(member, archive.read(member)).get("config")
    if not isinstance(config, dict):
        raise FormatError(f"{member}: expected an object called config, found {type(config).__name__}")
    return {name: _Entry(name, folder, entry) for name, entry in config.items()}


class _Entry:
    """One tensor of a configuration; only its shape is checked before it is wanted."""

    def __init__(self, name: str, folder: str, entry: Any) -> None:
        self._name, self._folder = name, folder
        match entry:
            case {"path_name": str(), "use_pickle": bool(), "tensor_meta": {"sizes": list() as sizes}}:
                self.shape: Shape = shape(name, _numbers(sizes))
                self._entry = entry
            case _:
                raise FormatError(f"{name}: expected path_name, use_pickle and tensor_meta, found {entry!r:.200}")

    def read(self, records: Records) -> npt.NDArray[np.generic]:
        if self._entry["use_pickle"]:
            raise FormatError(
                f"{self._name}: expected plain bytes, found a pickled tensor, not loaded because that runs code"
            )
        meta = self._entry["tensor_meta"]
        if meta.get("layout") != _STRIDED:
            raise FormatError(
                f"{self._name}: expected a strided tensor (layout {_STRIDED}), found {meta.get('layout')!r:.50}"
            )
        kind = meta.get("dtype")
        dtype = records.dtype(
            self._name, _KINDS.get(kind, f"dtype {kind!r:.50}") if type(kind) is int else f"{kind!r:.50}"
        )
        strides = meta.get("strides")
        (offset,) = _numbers([meta.get("storage_offset")])
        array = records.view(
            self._name,
            self._folder + self._entry["path_name"],
            dtype,
            offset,
            self.shape,
            _numbers(strides) if isinstance(strides, list) else strides,
        )
        return bfloat16(array) if kind == _BFLOAT16 else array


def _layouts(archive: Archive, member: str) -> dict[str, bool]:
    """For each LSTM that the program calls as one operation, by module path: whether it is batch first."""
    match parse(member, archive.read(member)) if member in archive else None:
        case {"graph_module": {"graph": {"nodes": list() as nodes}, "signature": {"input_specs": list() as specs}}}:
            pass
        case _:
            return {}
    parameters: dict[str, str] = {}
    for spec in specs:
        match spec:
            case {"parameter": {"arg": {"name": str() as argument}, "parameter_name": str() as name}}:
                parameters[argument] = name
    found: dict[str, bool] = {}
    for node in nodes:
        match node:
            case {"target": "torch.ops.aten.lstm.input", "inputs": list() as inputs}:
                pass
            case _:
                continue
        first, batch_first = "", True
        for one in inputs:
            match one:
                case {"name": "params", "arg": {"as_tensors": [{"name": str() as first}, *_]}}:
                    pass
                case {"name": "batch_first", "arg": {"as_bool": bool() as batch_first}}:
                    pass
        found[parameters.get(first, "").rpartition(".")[0]] = batch_first
    return found


def _root(archive: Archive) -> str:
    """The folder of the archive that holds everything, with its slash."""
    roots = {match[1] or "" for name in archive.names if (match := _MARK.fullmatch(name))}
    if len(roots) != 1:
        raise FormatError(f"expected one program archive, found {len(roots)}")
    (root,) = roots
    return f"{root}/" if root else ""


def _numbers(values: list[Any]) -> tuple[Any, ...]:
    """Numbers as the schema wraps them; a symbolic one (``as_expr``) stays what it is, and is refused as no number."""
    return tuple(
        value["as_int"] if isinstance(value, dict) and len(value) == 1 and "as_int" in value else value
        for value in values
    )
