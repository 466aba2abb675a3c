"""PyTorch's names, wherever the arrays lie: safetensors, npz, a dictionary in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...weights import LSTMWeights
from ...weights.named import Named
from ...weights.state_dict import by_prefix, lstms


def find(named: Named) -> Mapping[type, Mapping[str, Callable[[], Any]]]:
    """Every LSTM by its module path."""
    return {LSTMWeights: by_prefix([("", lstms(named))])}
