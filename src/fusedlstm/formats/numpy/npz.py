"""NumPy archives of PyTorch's tensors or TensorFlow 1's variables, by their names.

``np.savez(path, **{k: v.numpy() for k, v in lstm.state_dict().items()})``, or
``np.savez(path, **{v.name: value for v, value in zip(variables, session.run(variables))})``.
"""

from __future__ import annotations

from functools import partial

from ...weights import LSTMWeights
from ...weights.state_dict import by_prefix, lstms
from ..containers import npy, zip
from ..containers.source import Source
from ..contents import Contents
from .tensorflow1 import cells

NAME = "NumPy archive"

_SUFFIX = ".npy"


def read(source: Source) -> Contents | None:
    """Every LSTM among the arrays, by module path or variable scope; None where there is anything but arrays."""
    archive = zip.opened(source)
    if archive is None or not archive.names or not all(name.endswith(_SUFFIX) for name in archive.names):
        return None
    shapes = {name.removesuffix(_SUFFIX): npy.header(archive, name).shape for name in archive.names}
    tensors = {name: partial(npy.read, archive, name + _SUFFIX) for name in shapes}

    def tensor(name: str) -> npy.Array:
        return tensors[name]()

    built = cells(shapes, tensor, source.config)
    found = by_prefix([("", built | lstms(shapes, tensor))])
    return Contents(NAME, {LSTMWeights: found}, tensors, configured=bool(built))
