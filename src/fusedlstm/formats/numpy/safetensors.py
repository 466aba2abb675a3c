"""safetensors files of arrays by their names, whoever wrote them."""

from __future__ import annotations

from functools import partial

from ...weights.named import Named
from ..containers.safetensors import opened
from ..containers.source import Source
from ..contents import Contents

NAME = "safetensors file"


def read(source: Source) -> Contents | None:
    """The arrays; what they are is said by those who know their names."""
    file = opened(source)
    if file is None:
        return None
    tensors = {name: partial(file.read, name) for name in file.shapes}
    named = Named(
        file.shapes, file.read, ignore=source.ignore, config=source.config, framework=file.metadata.get("format", "")
    )
    return Contents(NAME, {}, tensors, named=named)
