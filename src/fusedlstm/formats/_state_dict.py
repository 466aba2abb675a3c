"""PyTorch's parameter names, shared by every format that stores a state dict.

``weight_ih_l{k}[_reverse]`` (4H, input), ``weight_hh_l{k}`` (4H, P), ``bias_ih_l{k}``, ``bias_hh_l{k}`` (4H,),
``weight_hr_l{k}`` (P, H), gates i, f, g, o; LSTMCell: the same names without ``_l{k}``
(https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ..weights import DirectionWeights, FormatError, LSTMWeights

_NAME = re.compile(r"(?:(?P<prefix>.*)\.)?weight_ih(?P<suffix>_l0)?")


def lstms(
    names: Mapping[str, tuple[int, ...]],
    tensor: Callable[[str], npt.NDArray[np.generic]],
    *,
    batch_first: bool = True,
) -> dict[str, Callable[[], LSTMWeights]]:
    """Every LSTM among the tensors of a state dict, by module path.

    Parameters
    ----------
    names : mapping of str to shape
        Every tensor's full name and shape, so that nothing is read before it is wanted.
    tensor : callable
        Reads one tensor by its full name.
    batch_first : bool
        What to record: a state dict does not say.
    """
    found: dict[str, Callable[[], LSTMWeights]] = {}
    for name, shape in names.items():
        match = _NAME.fullmatch(name)
        # nn.GRU and nn.RNN use the same names with 3H and H rows: the recurrent weights tell them apart.
        if match is None or not _is_lstm(names, name):
            continue
        prefix = match["prefix"] or ""
        key = prefix.removeprefix("module.") if prefix != "module" else ""  # DataParallel's wrapper
        del shape
        found[key] = lambda prefix=prefix, cell=match["suffix"] is None: _build(  # type: ignore[misc]
            names, tensor, f"{prefix}." if prefix else "", cell, batch_first
        )
    return found
