"""Rounding trained weights to float16, bfloat16 or int8.

Matrices are rounded; biases and everything else stay float32. The rounded values are kept as float32, exactly: for
int8 each row is a scale times whole numbers from -127 to 127, and the scale has 16 significant bits, so that the
products are floats without rounding. Rounding twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .cell import DirectionWeights
from .checked import FloatArray
from .lstm import DTYPES, LSTMWeights, checked_products

MATRICES = ("weight_ih", "weight_hh", "weight_hr")
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}

TINY = np.float32(1e-30)
"""Rows whose weights are all smaller are zero in int8: they could not matter, and their scale would be denormal."""


def rounded(weights: LSTMWeights, dtype: npt.DTypeLike, products: str | None = None) -> LSTMWeights:
    """Round the matrices to a precision.

    Parameters
    ----------
    weights : LSTMWeights
        What to round.
    dtype : str or dtype
        ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"int8"``; NumPy's own are taken, too.
    products : str, optional
        What x and h are rounded to when they are multiplied, one of ``PRODUCTS[dtype]``. Default: the first, which
        adds no error.

    Raises
    ------
    ValueError
        A name that does not exist, or weights that are NaN, infinite or too large.
    """
    dtype = dtype_name(dtype)
    products = checked_products(dtype, products)
    if dtype == weights.dtype == "float32":
        return weights
    layers = weights.layers
    if dtype != "float32":
        layers = [
            [_direction(one, dtype, f"layer {k}{' backward' if d else ''}") for d, one in enumerate(directions)]
            for k, directions in enumerate(layers)
        ]
    return replace(weights, layers=layers, dtype=dtype, products=products)


def dtype_name(dtype: npt.DTypeLike) -> str:
    """A precision's name: ``numpy.float16`` is the same as ``"float16"``.

    Raises
    ------
    ValueError
        There is no such precision.
    """
    try:
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    except TypeError:
        name = repr(dtype)
    if name not in DTYPES:
        raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, found {name!r}")
    return name


def rounded_matrix(name: str, matrix: FloatArray, dtype: str) -> FloatArray:
    """A matrix of rows of weights (outputs, inputs), rounded; `name` is what messages call it.

    Raises
    ------
    ValueError
        Weights that are NaN, infinite or too large.
    """
    if dtype == "float32":
        return matrix
    _expect_finite_weights(name, matrix, dtype)
    return _ROUND[dtype](name, matrix)


def _expect_finite_weights(name: str, array: FloatArray, dtype: str) -> None:
    if not np.isfinite(array).all():
        at = ", ".join(str(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name}[{at}]: expected a finite number for {dtype} weights, found NaN or inf")


def split_int8(matrix: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Whole numbers and a scale for each row of a matrix that was rounded to int8."""
    scale = np.abs(matrix).max(axis=1) / np.float32(127)
    numbers = np.rint(matrix / np.where(scale > 0, scale, 1)[:, None])
    return numbers.astype(np.int8), scale


def nbytes(weights: LSTMWeights) -> int:
    """Bytes of all arrays as they are stored."""
    arrays = [item for directions in weights.layers for one in directions for item in one.arrays.items()]
    scales: int = sum(4 * array.shape[0] for name, array in arrays if name in MATRICES and weights.dtype == "int8")
    return scales + sum(array.size * (BYTES[weights.dtype] if name in MATRICES else 4) for name, array in arrays)


def _direction(one: DirectionWeights, dtype: str, where: str) -> DirectionWeights:
    for name, array in one.arrays.items():
        _expect_finite_weights(f"{where} {name}", array, dtype)
    values = {name: _ROUND[dtype](f"{where} {name}", array) for name, array in one.arrays.items() if name in MATRICES}
    return replace(one, **values)  # type: ignore[arg-type]


def _float16(name: str, matrix: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):
        values = matrix.astype(np.float16).astype(np.float32)
    _expect_finite(name, matrix, values, "float16")
    return values


def _bfloat16(name: str, matrix: FloatArray) -> FloatArray:
    bits = matrix.view(np.uint32)
    with np.errstate(over="ignore"):  # to nearest, ties to even
        values: FloatArray = ((bits + (0x7FFF + (bits >> 16 & 1))) & np.uint32(0xFFFF0000)).view(np.float32)
    _expect_finite(name, matrix, values, "bfloat16")
    return values


def _int8(name: str, matrix: FloatArray) -> FloatArray:
    most = np.abs(matrix).max(axis=1).astype(np.float64)
    mantissa, exponent = np.frexp(most / 127)
    scale = np.ldexp(np.ceil(mantissa * 2**16), exponent - 16)  # upwards, so that no number exceeds 127
    scale[most < TINY] = 0
    with np.errstate(over="ignore"):
        largest = (127 * scale).astype(np.float32)
    _expect_finite(name, matrix, largest[:, None], "int8")
    numbers = np.rint(matrix / np.where(scale > 0, scale, 1)[:, None])
    values: FloatArray = (numbers * scale[:, None]).astype(np.float32)
    return values


def _expect_finite(name: str, matrix: FloatArray, values: FloatArray, dtype: str) -> None:
    rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if rows.size:
        largest = np.abs(matrix[rows[0]]).max()
        raise ValueError(f"{name}: row {rows[0]} overflows in {dtype}: its largest weight is {largest:.6g}")


_ROUND: dict[str, Callable[[str, FloatArray], FloatArray]] = {
    "float16": _float16,
    "bfloat16": _bfloat16,
    "int8": _int8,
}
