"""A word on what a state dict holds when it holds no LSTM: other recurrent layers, near LSTMs, adapters alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .named import Shape

# By what the names of their tensors end in; the first that fits is said.
_KINDS = (
    (r"(?P<path>.+)\.(?:x2g|p2g)\.weight", "an LSTM cell of torchaudio's transducers (x2g, p2g), not nn.LSTM"),
    (
        r"(?P<path>.+)\.(?:slstm_cell|slstm_layer|slstm)\..+|(?P<path2>.+\.)?.*_recurrent_kernel_",
        "an sLSTM (xLSTM, TiRex), which has exponential gates: another cell than an LSTM",
    ),
    (r"(?P<path>.+)\.mlstm_cell\..+", "an mLSTM (xLSTM), which has a matrix memory: another cell than an LSTM"),
    (r"(?P<path>.+)\.[wu]\.[rijk]_weight", "a quaternion LSTM (speechbrain), another cell than an LSTM"),
    (r"(?P<path>.+)\.[wu]\.weight", "a recurrent layer of speechbrain's own (LiGRU, SLi-GRU), no LSTM"),
    (
        r"(?P<path>.+?)\.(?:_all_weight_values\.[0-9]+\.param|_packed_weight_[ih]h)|(?P<path2>.+)\.(?:[ih]gates|[ih]h)?\.?_packed_params\b.*",
        "a quantised layer, whose weights are packed; save the float model's state_dict() from before it was quantised",
    ),
    (r"(?P<path>.+)\.lora_[A-Za-z]+(?:\..+)?", "an adapter alone; merge it into its model, and save that"),
)
_COMPILED = tuple((re.compile(pattern), what) for pattern, what in _KINDS)
_LONGEST = 1000  # of a name that is looked at: a pattern may take the square of it


def hint(shapes: Mapping[str, Shape | None]) -> str:
    """What the tensors of these names belong to, if that is known; no shape where something is no tensor."""
    names = [name for name in shapes if len(name) <= _LONGEST]
    for pattern, what in _COMPILED:
        paths = dict.fromkeys(
            match["path"] or (match.groupdict().get("path2") or "").rstrip(".")
            for name in names
            if (match := pattern.fullmatch(name))
        )
        if paths:
            first = next(iter(paths))
            more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
            return f"{first!r} is {what}{more}"
    for name in names:
        path, _, last = name.rpartition(".")
        if match := re.fullmatch(r"weight_hh((?:_l0)?)", last):
            hh = shapes[name]
            if hh and len(hh) == 2 and hh[0] in (hh[1], 3 * hh[1]):
                kind = "a GRU" if hh[0] == 3 * hh[1] else "a plain RNN"
                return f"{path!r} is {kind}, no LSTM (weight_hh has {hh[0]} rows for {hh[1]} units)"
    return ""
