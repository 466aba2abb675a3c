"""com.microsoft.DynamicQuantizeLSTM, what ONNX Runtime's quantisation makes of an LSTM: integer weights, their scales.

https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md. W (directions, input, 4H) and R lie
transposed to LSTM's. The runtime also rounds x and h to 8 bits as it goes; that approximates the same cell, and is not
repeated here.
"""

from __future__ import annotations

import numpy as np

from ...errors import FormatError
from .graph import Array

INPUTS = (
    *("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
    *("W_scale", "W_zero_point", "R_scale", "R_zero_point"),
)


def dequantized(which: str, stored: Array, scale: Array | None, zero: Array | None) -> Array:
    """W or R as LSTM has it, float32 (directions, 4H, columns)."""
    if stored.ndim != 3 or stored.dtype not in (np.int8, np.uint8):
        raise FormatError(f"input {which}: expected 8-bit integers of rank 3, found {stored.dtype} {stored.shape}")
    directions, _, rows = stored.shape
    if scale is None or scale.dtype != np.float32 or scale.shape not in ((directions,), (directions, rows)):
        found = "none" if scale is None else f"{scale.dtype} {scale.shape}"
        raise FormatError(
            f"input {which}_scale: expected float32 ({directions},) or ({directions}, {rows}), found {found}"
        )
    if zero is None:
        zero = np.zeros(scale.shape, stored.dtype)
    if zero.dtype != stored.dtype or zero.shape != scale.shape:
        raise FormatError(
            f"input {which}_zero_point: expected {stored.dtype} {scale.shape}, found {zero.dtype} {zero.shape}"
        )
    along = (directions, -1, 1)  # one for each direction, or for each row of it
    shifted = np.subtract(stored.swapaxes(1, 2), zero.reshape(along), dtype=np.int32)
    with np.errstate(over="ignore", invalid="ignore"):
        result: Array = np.multiply(shifted, scale.reshape(along), dtype=np.float32)
    return result
