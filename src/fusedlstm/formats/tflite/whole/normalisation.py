"""Softmax and norms."""

from __future__ import annotations

import numpy as np

from .call import Call
from .registry import operator


@operator("SOFTMAX", options=9)
def _softmax(call: Call) -> str:
    x, beta = call.input(0), float(call.option(0, "f", 0.0))
    if beta != 1.0:
        x = call.op("Mul", x, call.constant(np.array(beta, np.float32)))
    return call.op("Softmax", x, axis=-1)


@operator("LOG_SOFTMAX")
def _log_softmax(call: Call) -> str:
    return call.op("LogSoftmax", call.input(0), axis=-1)


@operator("L2_NORMALIZATION", options=12)
def _l2(call: Call) -> str:
    """By the root of the sum of squares, 1e-6 at least."""
    x = call.input(0)
    norm = call.op("ReduceL2", x, call.int_list(-1), keepdims=1)
    least = call.op("Max", norm, call.constant(np.array(1e-6, np.float32)))
    return call.activated(call.op("Div", x, least), 0)
