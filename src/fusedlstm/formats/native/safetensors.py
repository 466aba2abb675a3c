"""safetensors files: PyTorch's names, Flax's trees flattened, and our own native form.

The native form holds ``weight_ih_l0``, ``weight_hh_l0``, ``weight_hr_l0`` as PyTorch calls them, ``bias_l0`` for the
sum of the biases, and in the metadata under ``fusedlstm`` what the tensors do not say (see `lstm`); all float32 but
for matrices of a lower precision (see `narrow`).
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from ...errors import FormatError
from ...weights import ConvLSTMWeights, FloatArray, LSTMWeights
from ...weights.state_dict import Reader, bfloat16, by_prefix, lstms
from ..flax import tree
from ..flax.conv_lstm import conv_lstms
from . import conv_lstm, lstm, narrow

NAME = "safetensors file"

MAX_HEADER = 16 << 20
"""About 100 000 tensors."""

_DTYPES = {"F64": "<f8", **narrow.NUMBERS}


def matches(path: Path, head: bytes) -> bool:
    """Whether the file starts with a length and a JSON object, as https://github.com/huggingface/safetensors says."""
    return re.match(rb"(?s).{8}\{\s*[\"}]", head) is not None


def read(path: Path) -> dict[str, Reader]:
    """Every LSTM in the file, by module path (Flax: ``encoder/cell``); that of the native form has the path ``""``."""
    header, metadata, raw = _content(path)
    native = lstm.parse(metadata["fusedlstm"]) if "fusedlstm" in metadata else {}
    precision = narrow.parse(native)
    dtype = precision.get("dtype", "float32")

    def stored(name: str) -> npt.NDArray[Any]:
        kind = header[name]["dtype"]
        if kind == "I8" and dtype != "int8":
            raise FormatError(f"{name}: expected F32, F64, F16 or BF16, found {kind}")
        if precision:
            narrow.expect_kind(name, kind, dtype)
        return raw(name)

    def tensor(name: str) -> npt.NDArray[Any]:
        array = stored(name)
        if array.dtype != np.int8:
            return array
        if f"{name}_scale" not in header:
            raise FormatError(f"{name}_scale: expected beside {name}, found none")
        return narrow.scaled(name, array, stored(f"{name}_scale"))

    names = {name for name in header if not (dtype == "int8" and name.endswith("_scale"))}
    if native.get("version") == 2:
        return {"": narrow.held_in(lstm.build(native, names, tensor), precision)}
    shapes = {name: tuple(header[name]["shape"]) for name in header if name in names}
    found = by_prefix([("", lstms(shapes, tensor, batch_first=native.get("batch_first", True)))])
    if precision:
        return {path: narrow.held_in(reader, precision) for path, reader in found.items()}
    return found or tree.lstms(tree.unflattened(shapes, tensor))


def read_conv(path: Path) -> dict[str, Callable[[], ConvLSTMWeights]]:
    """The ConvLSTM of the native form, or every one of a Flax tree."""
    header, metadata, raw = _content(path)
    if conv_lstm.KEY not in metadata:
        return conv_lstms(tree.unflattened(header, raw))
    return {"": lambda: conv_lstm.assemble(metadata[conv_lstm.KEY], {name: raw(name) for name in header})}


def _content(path: Path) -> tuple[dict[str, Any], dict[str, str], Callable[[str], npt.NDArray[Any]]]:
    """Every tensor's entry by name, the metadata, and what reads a tensor."""
    header, start = _header(path)
    size = path.stat().st_size
    metadata = header.pop("__metadata__", None) or {}

    def raw(name: str) -> npt.NDArray[Any]:
        kind, shape, (begin, end) = (header[name][key] for key in ("dtype", "shape", "data_offsets"))
        if kind not in _DTYPES:
            raise FormatError(f"{name}: expected F32, F64, F16 or BF16, found {kind}")
        number = np.dtype(_DTYPES[kind])
        expected = prod(shape) * number.itemsize
        if end - begin != expected or start + end > size:
            raise FormatError(f"{name}: expected {expected} bytes within {size}, found bytes {begin} to {end}")
        # Not through the library: its NumPy side knows bfloat16 only where ml_dtypes is imported.
        array = np.fromfile(path, number, prod(shape), offset=start + begin).reshape(shape)
        return bfloat16(array) if kind == "BF16" else array

    return header, metadata, raw


def save(weights: LSTMWeights, path: str | os.PathLike[str]) -> None:
    """Write the native form; the file is either written whole or left as it was.

    Parameters
    ----------
    weights : LSTMWeights
        Kept bit for bit.
    path : path-like
        An existing file is replaced.
    """
    _write(path, lstm.tensors(weights), weights.dtype, {"fusedlstm": lstm.metadata(weights)})


def save_conv(weights: ConvLSTMWeights, path: str | os.PathLike[str]) -> None:
    """Write the native form of a ConvLSTM, as `save` does that of an LSTM."""
    _write(path, conv_lstm.arrays(weights), "float32", conv_lstm.metadata(weights))


def _write(path: str | os.PathLike[str], tensors: dict[str, FloatArray], dtype: str, metadata: dict[str, str]) -> None:
    target = Path(os.path.realpath(path))  # a link keeps pointing to what it names
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(narrow.serialise(tensors, dtype, metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, once the library has found that it and the offsets fit the file, and where the data starts."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise FormatError(f"header: expected at most {MAX_HEADER} bytes, found {length} declared")
        try:
            with safe_open(path, framework="np"):
                pass
        except Exception as error:  # SafetensorError, or what the operating system says to mapping the file
            raise FormatError(f"damaged safetensors file ({error})") from error
        header: dict[str, Any] = json.loads(file.read(length))
    return header, 8 + length
