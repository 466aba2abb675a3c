"""What each precision does to numbers, by itself: weights are rounded, and with some what they are multiplied by."""

import numpy as np
import pytest


def round_matrix(matrix, dtype):
    """The rounding by itself, written apart from precision.py."""
    if dtype == "float16":
        return matrix.astype(np.float16).astype(float)
    if dtype == "bfloat16":
        torch = pytest.importorskip("torch")
        return torch.tensor(matrix).to(torch.bfloat16).to(torch.float64).numpy()
    scale = np.abs(matrix).max(axis=1, keepdims=True).astype(float) / 127
    return np.rint(matrix / np.where(scale > 0, scale, 1)) * scale


def product(matrix, v, products):
    """matrix @ v as a scheme computes it: for int8, v is rounded to whole numbers up to a limit."""
    if products is None:
        return matrix.astype(float) @ v
    if products == "bfloat16":
        return matrix.astype(float) @ round_matrix(np.float32(v), "bfloat16")
    limit = {"int16": 32767, "int16/int8": 32767, "int8": 127}[products]
    largest = np.abs(v).max()
    factor = np.float32(limit) / np.float32(largest) if largest > 0 else 0.0
    scale = np.float32(largest) / np.float32(limit)
    numbers = np.rint(v.astype(float) * factor).astype(np.int64)
    row_scale = np.abs(matrix).max(axis=1).astype(float) / 127
    whole = np.rint(matrix / np.where(row_scale > 0, row_scale, 1)[:, None]).astype(np.int64)
    return (whole @ numbers) * float(scale) * row_scale


def of_lstm(products):
    """What an LSTM's x, h and what a projection takes are rounded to."""
    return ("int16", "int8", "int16") if products == "int16/int8" else (products,) * 3


def held(matrix, dtype):
    """The same with the scale of int8 that the engine has: upwards to 16 significant bits, so that products are exact."""
    if dtype != "int8":
        return round_matrix(matrix, dtype)
    scale = np.abs(matrix).max(axis=1, keepdims=True).astype(float) / 127
    unit = 2.0 ** (np.floor(np.log2(np.where(scale > 0, scale, 1))) - 15)
    scale = np.ceil(scale / unit) * unit
    return np.rint(matrix / np.where(scale > 0, scale, 1)) * scale
