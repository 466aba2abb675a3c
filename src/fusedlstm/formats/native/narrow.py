"""Tensors of float16, bfloat16 and int8 in the native form.

Matrices are stored in the precision that the metadata name as ``dtype``, everything else in float32. A matrix of int8
has a float32 scale for each row beside it, ``weight_ih_l0_scale``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from ...weights import DTYPES, PRODUCTS, FloatArray, LSTMWeights, checked_products
from ...weights.precision import MATRICES, split_int8
from ..containers.safetensors import NUMBERS, Stored

KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8"}
"""By precision, the name that safetensors gives it."""

Reader = Callable[[], LSTMWeights]


def options(weights: LSTMWeights) -> dict[str, str]:
    """What the metadata say of the precision; nothing of float32."""
    said = {"dtype": weights.dtype} if weights.dtype != "float32" else {}
    default = weights.products == PRODUCTS[weights.dtype][0]
    return said if default else said | {"activations": weights.products}


def parse(said: Mapping[str, Any]) -> dict[str, str]:
    """The same read back, checked; empty where nothing is said."""
    if not {"dtype", "activations"} & said.keys():
        return {}
    dtype, products = said.get("dtype", DTYPES[0]), said.get("activations", "")
    if dtype not in DTYPES:
        raise FormatError(f"metadata 'fusedlstm': expected dtype to be one of {DTYPES}, found {str(dtype)[:99]!r}")
    if not isinstance(products, str):
        raise FormatError(f"metadata 'fusedlstm': expected activations to be text, found {str(products)[:99]!r}")
    try:
        return {"dtype": dtype, "products": checked_products(dtype, products[:99])}
    except ValueError as error:
        raise FormatError(f"metadata 'fusedlstm', {error}") from error


def expect_kind(name: str, kind: str, dtype: str) -> None:
    """Check how a tensor of the native form is stored."""
    stored = KINDS[dtype] if name.startswith(MATRICES) and not name.endswith("_scale") else "F32"
    if kind != stored:
        raise FormatError(f"{name}: expected {stored}, as the metadata say, found {kind}")


def held_in(reader: Reader, found: dict[str, str]) -> Reader:
    """The reader of an LSTM that runs in the precision it is stored in."""
    return (lambda: replace(reader(), **found)) if found else reader  # type: ignore[arg-type]


def stored(tensors: Mapping[str, FloatArray], dtype: str) -> dict[str, Stored]:
    """An LSTM's tensors as they are written."""
    found: dict[str, Stored] = {}
    for name, array in tensors.items():
        found |= _stored(name, array, dtype if name.startswith(MATRICES) else "float32")
    return found


def scaled(name: str, numbers: npt.NDArray[Any], scale: npt.NDArray[Any]) -> FloatArray:
    """int8 as float32, once it is what is written here: then nothing is lost when it is rounded again."""
    if numbers.ndim != 2 or scale.shape != numbers.shape[:1]:
        raise FormatError(
            f"{name}, {name}_scale: expected shapes (n, m) and (n,), found {numbers.shape} and {scale.shape}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        values: FloatArray = (numbers * scale.astype(np.float64)[:, None]).astype(np.float32)
    usable = values.size > 0 and np.isfinite(values).all()
    short = not (scale.astype("<f4").view(np.uint32) & 0xFF).any()  # 16 significant bits
    again, same = split_int8(values) if usable else (numbers, scale)
    if not usable or not short or (again != numbers).any() or (same != scale).any():
        raise FormatError(
            f"{name}: expected in each row numbers up to 127 and a scale of 16 significant bits, or zeros, "
            "found what fusedlstm does not write"
        )
    return values


def _stored(name: str, array: FloatArray, dtype: str) -> dict[str, Stored]:
    """A tensor in a precision, and for int8 its scales."""
    values: npt.NDArray[Any] = array
    if dtype == "int8":
        values, scale = split_int8(array)
        return {name: ("I8", values), **_stored(f"{name}_scale", scale, "float32")}
    if dtype == "bfloat16":
        values = array.view(np.uint32) >> 16
    kind = KINDS[dtype]
    return {name: (kind, values.astype(NUMBERS[kind]))}
