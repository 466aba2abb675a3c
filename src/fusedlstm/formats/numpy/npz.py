"""NumPy archives of arrays by their names: PyTorch's, TensorFlow 1's, JAX's.

``np.savez(path, **{k: v.numpy() for k, v in lstm.state_dict().items()})``, or
``np.savez(path, **{v.name: value for v, value in zip(variables, session.run(variables))})``.
"""

from __future__ import annotations

from functools import partial

from ...weights.named import Named
from ..containers import npy, zip
from ..containers.source import Source
from ..contents import Contents

NAME = "NumPy archive"

_SUFFIX = ".npy"


def read(source: Source) -> Contents | None:
    """The arrays; None where the archive holds anything else."""
    archive = zip.opened(source)
    if archive is None or not archive.names or not all(name.endswith(_SUFFIX) for name in archive.names):
        return None
    shapes = {name.removesuffix(_SUFFIX): npy.header(archive, name).shape for name in archive.names}
    tensors = {name: partial(npy.read, archive, name + _SUFFIX) for name in shapes}
    named = Named(shapes, lambda name: tensors[name](), ignore=source.ignore, config=source.config)
    return Contents(NAME, {}, tensors, named=named)
