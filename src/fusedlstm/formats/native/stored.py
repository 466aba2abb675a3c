"""The tensors of LSTMs in the native form, in a file of their own or among others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import state_dict
from ...weights.named import Named, Shape
from ...weights.state_dict import Reader
from ..containers.safetensors import Safetensors
from . import lstm, narrow

MODEL_KEY = "fusedlstm_model"
"""Of the metadata of a whole model, in which LSTMs may lie."""
_FLOATS = ("F64", "F32", "F16", "BF16")


class Part:
    """Some tensors of a file, by the names that they have in an LSTM."""

    def __init__(self, file: Safetensors, names: Mapping[str, str], shapes: Mapping[str, Shape]) -> None:
        self._file, self._names = file, names
        self.shapes = {name: shapes[stored] for name, stored in names.items()}

    def kind(self, name: str) -> str:
        """A tensor's dtype as the container calls it."""
        return self._file.kind(self._names[name])

    def read(self, name: str) -> npt.NDArray[Any]:
        """A tensor."""
        return self._file.read(self._names[name])


def lstms(file: Safetensors | Part, said: Mapping[str, Any]) -> dict[str, Reader]:
    """The LSTMs of a file, of which the metadata say what `lstm.checked` found right."""
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
    found = state_dict.by_prefix([("", state_dict.lstms(Named(shapes, tensor), batch_first=said["batch_first"]))])
    return {path: narrow.held_in(reader, precision) for path, reader in found.items()}
