"""Programs that PyTorch 2.2 to 2.8 exported: one file of JSON, and checkpoints inside the archive for the tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import FormatError
from ...graph import Graph
from ..containers.json import parse
from ..containers.source import Source
from ..containers.zip import Archive
from ..contents import Contents
from . import checkpoint
from .objects import RESAVE
from .records import Reads
from .whole.program import program
from .whole.reader import justified, read_graph

NAME = "PyTorch exported program"
PROGRAM = "serialized_exported_program.json"


def read(source: Source, archive: Archive, root: str) -> Contents:
    """Every LSTM of the state dict, and the whole program."""
    weights = _inside(source, archive, f"{root}serialized_state_dict")
    if weights is None:
        raise FormatError(f"expected weights as torch.export.save writes them, found none; {RESAVE}")
    contents = checkpoint.read(weights)
    if contents is None:
        raise FormatError("serialized_state_dict: expected what torch.save writes, found something else")

    def whole(outputs: Sequence[str] | None, external_data: bool) -> Graph:
        constants = _inside(source, archive, f"{root}serialized_constants")
        tensors: dict[str, Reads] = {}
        for one in (constants, weights):
            tensors |= checkpoint.tensors(one) if one is not None and one.size else {}
        member = f"{root}{PROGRAM}"
        return read_graph(
            program(member, parse(member, archive.read(member))), tensors, outputs, justified(source.size)
        )

    return replace(contents, format=NAME, graph=whole)


def _inside(source: Source, archive: Archive, name: str) -> Source | None:
    """A checkpoint in the archive; its suffix became .pt in PyTorch 2.2."""
    for suffix in (".pt", ".json"):
        if f"{name}{suffix}" in archive:
            return source.beside(archive.read(f"{name}{suffix}"), f"{name}{suffix}")
    return None
