"""The native form: a safetensors file that says all there is to know of an LSTM or a ConvLSTM.

It holds ``weight_ih_l0``, ``weight_hh_l0``, ``weight_hr_l0`` as PyTorch calls them, ``bias_l0`` for the sum of the
biases, and in the metadata under ``fusedlstm`` what the tensors do not say (see `lstm`); all float32 but for matrices
of a lower precision (see `narrow`). A ConvLSTM's have other names (see `conv_lstm`).
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._files import replacing
from ...errors import FormatError
from ...weights import ConvLSTMWeights, FloatArray, LSTMWeights
from ...weights.named import Named
from ...weights.state_dict import Reader, by_prefix, lstms
from ..containers.safetensors import Safetensors, opened
from ..containers.source import Source
from ..contents import Contents
from . import conv_lstm, lstm, narrow

NAME = "safetensors file"

_FLOATS = ("F64", "F32", "F16", "BF16")


def read(source: Source) -> Contents | None:
    """The LSTM or the ConvLSTM of a file whose metadata say that it is ours."""
    file = opened(source)
    if file is None or not {lstm.KEY, conv_lstm.KEY} & file.metadata.keys():
        return None
    tensors = {name: partial(file.read, name) for name in file.shapes}
    if conv_lstm.KEY in file.metadata:
        text = file.metadata[conv_lstm.KEY]
        found = {"": lambda: conv_lstm.assemble(text, {name: read() for name, read in tensors.items()})}
        return Contents(NAME, {ConvLSTMWeights: found}, tensors)
    return Contents(NAME, {LSTMWeights: _lstms(file)}, tensors)


def _lstms(file: Safetensors) -> dict[str, Reader]:
    said = lstm.parse(file.metadata[lstm.KEY])
    precision = narrow.parse(said)
    dtype = precision.get("dtype", "float32")

    def stored(name: str) -> npt.NDArray[Any]:
        kind = file.kind(name)
        if kind not in _FLOATS and not (kind == "I8" and dtype == "int8"):
            raise FormatError(f"{name}: expected F32, F64, F16 or BF16, found {kind}")
        if precision:
            narrow.expect_kind(name, kind, dtype)
        return file.read(name)

    def tensor(name: str) -> npt.NDArray[Any]:
        array = stored(name)
        if array.dtype != np.int8:
            return array
        if f"{name}_scale" not in file.shapes:
            raise FormatError(f"{name}_scale: expected beside {name}, found none")
        return narrow.scaled(name, array, stored(f"{name}_scale"))

    shapes = {name: shape for name, shape in file.shapes.items() if not (dtype == "int8" and name.endswith("_scale"))}
    if said["version"] == 2:
        return {"": narrow.held_in(lstm.build(said, set(shapes), tensor), precision)}
    found = by_prefix([("", lstms(Named(shapes, tensor), batch_first=said["batch_first"]))])
    return {path: narrow.held_in(reader, precision) for path, reader in found.items()}


def save(weights: LSTMWeights | ConvLSTMWeights, path: str | os.PathLike[str]) -> None:
    """Write the native form; the file is either written whole or left as it was.

    Parameters
    ----------
    weights : LSTMWeights or ConvLSTMWeights
        Kept bit for bit.
    path : path-like
        An existing file is replaced.
    """
    if isinstance(weights, LSTMWeights):
        _write(path, lstm.tensors(weights), weights.dtype, {lstm.KEY: lstm.metadata(weights)})
    else:
        _write(path, conv_lstm.arrays(weights), "float32", conv_lstm.metadata(weights))


def _write(path: str | os.PathLike[str], tensors: dict[str, FloatArray], dtype: str, metadata: dict[str, str]) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(narrow.serialise(tensors, dtype, metadata))
        file.flush()
        os.fsync(file.fileno())
