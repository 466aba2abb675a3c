"""NumPy archives of PyTorch's tensors or TensorFlow 1's variables, by their names.

``np.savez(path, **{k: v.numpy() for k, v in lstm.state_dict().items()})``, or
``np.savez(path, **{v.name: value for v, value in zip(variables, session.run(variables))})``.
"""

from __future__ import annotations

from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from ...errors import FormatError
from ...weights.state_dict import Reader, by_prefix, lstms
from ..containers.zip import Archive, is_zip
from .tensorflow1 import cells

NAME = "NumPy archive"

MAX_HEADER = 1 << 14
"""NumPy reads headers of up to 10 000 bytes."""


def matches(path: Path, head: bytes) -> bool:
    """Whether this is a zip archive of arrays and nothing else."""
    names = Archive(path).names if is_zip(head) else ()
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: Path) -> dict[str, Reader]:
    """Every LSTM among the arrays, by module path or variable scope."""
    archive = Archive(path)
    shapes = {name.removesuffix(".npy"): _header(archive, name)[0] for name in archive.names}

    def tensor(name: str) -> npt.NDArray[np.generic]:
        member = f"{name}.npy"
        shape, dtype, start = _header(archive, member)
        if dtype.hasobject:
            raise FormatError(f"{name}: expected numbers, found Python objects, which are pickles that may run code")
        if archive.size(member) - start != prod(shape) * dtype.itemsize:
            raise FormatError(
                f"{name}: expected {prod(shape) * dtype.itemsize} bytes for shape {shape} of {dtype}, "
                f"found {archive.size(member) - start}"
            )
        array: npt.NDArray[np.generic] = np.load(BytesIO(archive.read(member)), allow_pickle=False)
        return array

    return by_prefix([("", {**cells(shapes, tensor), **lstms(shapes, tensor)})])


def _header(archive: Archive, member: str) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Shape, dtype and where the data starts, as declared: np.load would allocate before it reads."""
    file = BytesIO(archive.read(member, MAX_HEADER))
    try:
        version = npy.read_magic(file)
        # 3.0 differs from 2.0 in the encoding of field names only.
        parse = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0, 3: npy.read_array_header_2_0}[version[0]]
        shape, _, dtype = parse(file)
    except Exception as error:
        raise FormatError(f"{member}: damaged array header ({str(error)[:200]})") from error
    if min(shape, default=0) < 0:
        raise FormatError(f"{member}: expected a shape of numbers of 0 or more, found {shape}")
    return shape, dtype, file.tell()
