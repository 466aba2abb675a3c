"""safetensors files of a PyTorch state dict, as Hugging Face's libraries save them."""

from __future__ import annotations

from functools import partial

from ...weights import LSTMWeights
from ...weights.state_dict import by_prefix, lstms
from ..containers.safetensors import opened
from ..containers.source import Source
from ..contents import Contents

NAME = "safetensors file"


def read(source: Source) -> Contents | None:
    """Every LSTM among the tensors, by module path; None where no name is an LSTM's of PyTorch."""
    file = opened(source)
    found = by_prefix([("", lstms(file.shapes, file.read))]) if file else {}
    if file is None or not found:
        return None
    return Contents(NAME, {LSTMWeights: found}, {name: partial(file.read, name) for name in file.shapes})
