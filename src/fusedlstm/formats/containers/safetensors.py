"""safetensors: a header of JSON, and each tensor's bytes (https://github.com/huggingface/safetensors)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize, safe_open

from ...errors import FormatError
from .source import Source

MAX_HEADER = 16 << 20
"""About 100 000 tensors."""

NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "i1", "U8": "u1", "BOOL": "?", "C64": "<c8"}
NUMBERS |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (2, 4, 8)}
"""NumPy's name for the numbers that are read, by this format's."""

Stored = tuple[str, npt.NDArray[Any]]
"""A tensor as it is written: its dtype as this format calls it, and its numbers."""


def serialise(tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> bytes:
    """A whole file; the library writes no bfloat16 from NumPy.

    Raises
    ------
    ValueError
        A header longer than `MAX_HEADER`, which would not be read.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    chunks: list[bytes] = []
    end = 0
    # Larger numbers first: every tensor is aligned.
    for name, (kind, values) in sorted(tensors.items(), key=lambda item: (-item[1][1].itemsize, item[0])):
        header[name] = {"dtype": kind, "shape": values.shape, "data_offsets": (end, end + values.nbytes)}
        chunks.append(values.tobytes())
        end += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"expected a header of at most {MAX_HEADER} bytes, found {len(text)}: too much to describe")
    return b"".join([len(text).to_bytes(8, "little"), text, *chunks])


def opened(source: Source) -> Safetensors | None:
    """The safetensors file that a source is, or None: it starts with a length and a JSON object."""
    return source.once(Safetensors) if re.match(rb"(?s).{8}\{\s*[\"}]", source.head) else None


class Safetensors:
    """The header, once the library has found that it and the offsets fit the file, and what reads a tensor.

    Raises
    ------
    FormatError
        A header that is damaged, or far longer than a model's.
    """

    def __init__(self, source: Source) -> None:
        self._data = source.map()
        length = int.from_bytes(self._data[:8], "little")
        if length > MAX_HEADER:
            raise FormatError(f"header: expected at most {MAX_HEADER} bytes, found {length} declared")
        try:
            if source.path is None:
                deserialize(source.read())  # type: ignore[no-untyped-call]
            else:
                with safe_open(source.path, framework="np"):
                    pass
        except (SafetensorError, OSError) as error:  # the second is the operating system's, of mapping the file
            raise FormatError(f"damaged safetensors file ({error})") from error
        header: dict[str, Any] = json.loads(self._data[8 : 8 + length])
        self._start = 8 + length
        self.metadata: dict[str, str] = header.pop("__metadata__", None) or {}
        self._entries = header

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape by its name."""
        return {name: tuple(entry["shape"]) for name, entry in self._entries.items()}

    def kind(self, name: str) -> str:
        """A tensor's dtype as this format calls it."""
        found: str = self._entries[name]["dtype"]
        return found

    def read(self, name: str) -> npt.NDArray[Any]:
        """A tensor of numbers; bfloat16 comes as float32."""
        kind, shape, (begin, end) = (self._entries[name][key] for key in ("dtype", "shape", "data_offsets"))
        if kind not in NUMBERS:
            raise FormatError(f"{name}: expected F32, F64, F16 or BF16, found {kind}")
        number, size = np.dtype(NUMBERS[kind]), len(self._data)
        expected = prod(shape) * number.itemsize
        if end - begin != expected or self._start + end > size:
            raise FormatError(f"{name}: expected {expected} bytes within {size}, found bytes {begin} to {end}")
        # Not through the library: its NumPy side knows bfloat16 only where ml_dtypes is imported.
        array = np.frombuffer(self._data[self._start + begin : self._start + end], number).reshape(shape)
        return (array.astype("<u4") << 16).view("<f4") if kind == "BF16" else array
