"""Bare pickles of arrays and tensors (``pickle.dump``): of rllib, g2pM, Paddle (``.pdparams``), Haiku, and many more.

They are read in the same safety as checkpoints: nothing is imported or called, unknown objects stay closed.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ...errors import FormatError
from ...weights import LSTMWeights
from ..containers.source import Source
from ..contents import Contents
from .objects import TorchUnpickler
from .trees import contents, named, pickled

NAME = "pickle"

# Protocol 2 to 5, or the first opcodes of the older ones: a dictionary, a list, a global.
_HEAD = re.compile(rb"(?s)\x80[\x02-\x05].|\((?:dp|lp)[0-9]*\n|c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n|[}\]]q\x00")

_JOBLIB = (
    "expected a pickle, found what joblib.dump writes, whose arrays no pickle holds; where it was made: "
    'pickle.dump(joblib.load(path), open("weights.pkl", "wb"))'
)


def read(source: Source) -> Contents | None:
    """Every LSTM in the pickled dictionaries; by the names of other frameworks where PyTorch's are not there."""
    if not _HEAD.match(source.head):
        return None
    try:
        root = TorchUnpickler(source.map(), "pickle", source.packed).load()
    except FormatError:
        if source.map().find(b"joblib.numpy_pickle") >= 0:  # whose arrays lie between the opcodes
            raise FormatError(_JOBLIB) from None
        raise
    found = contents(NAME, root, pickled(None), source)
    return found if found.listed(LSTMWeights) else replace(found, found={}, named=named(root, pickled(None), source))
