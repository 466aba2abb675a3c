"""What was assumed is told: once for each load, and the order of the axes when it first matters."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import AssumptionWarning
from .weights import Assumption, ConvLSTMWeights, LSTMWeights

if TYPE_CHECKING:
    from .lstm import LSTM

Weights = TypeVar("Weights", LSTMWeights, ConvLSTMWeights)
Untold = list[Assumption]
"""What nobody has been told yet; shared by all that came from one load."""

_AXES = "batch_first"
_HERE = os.path.dirname(__file__)


def settled(
    kind: str, found: Mapping[str, Weights], source: str | os.PathLike[str] = "", batch_first: bool | None = None
) -> dict[str, Weights]:
    """What a load gave, with the order of the axes as the caller states it; warns of all else that was assumed."""
    if batch_first is not None:
        found = {prefix: _stated(weights, batch_first) for prefix, weights in found.items()}
    names: dict[Assumption, list[str]] = {}
    for prefix, weights in found.items():
        for one in weights.assumed:
            if one.argument != _AXES:
                names.setdefault(one, []).append(repr(prefix))
    for one, prefixes in names.items():
        where = f"{os.fspath(source)}: " if source else ""
        _warn(f"{where}{kind}{'' if prefixes == [repr('')] else ' ' + ', '.join(prefixes)}: {one}", one)
    return dict(found)


def _stated(weights: Weights, batch_first: bool) -> Weights:
    said: dict[str, Any] = {"batch_first": batch_first}  # of an LSTM: no ConvLSTM is asked for it
    return replace(weights, **said, assumed=[one for one in weights.assumed if one.argument != _AXES])


def untold(weights: LSTMWeights | ConvLSTMWeights) -> Untold:
    """The order of the axes, if that was assumed."""
    return [one for one in weights.assumed if one.argument == _AXES]


def tell_once(lstms: dict[str, LSTM]) -> dict[str, LSTM]:
    """The same, sharing what is left to tell."""
    left = [one for one in lstms.values() if one._untold]
    for one in left:
        one._untold = left[0]._untold
    return lstms


def tell_axes(left: Untold) -> None:
    """Warn of the order of the axes, if that was assumed and nobody did."""
    try:
        one = left.pop()
    except IndexError:
        return
    _warn(str(one), one)


def _warn(message: str, one: Assumption) -> None:
    """Warn at the caller's own line, however many of ours lie between."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and os.path.dirname(frame.f_code.co_filename).startswith(_HERE):
        level, frame = level + 1, frame.f_back
    warnings.warn(AssumptionWarning(message, one.argument), stacklevel=level)
