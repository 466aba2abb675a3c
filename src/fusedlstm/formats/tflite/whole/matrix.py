"""Products of matrices."""

from __future__ import annotations

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator


@operator("FULLY_CONNECTED", options=8, inputs=(2, 3))
def _fully_connected(call: Call) -> str:
    """W (units, features) on rows of as many features, whatever the shape before."""
    if call.option(1, "b", 0):
        raise FormatError("weights format: expected the plain one, found a shuffled one, which is not supported")
    x, w = call.input(0), call.input(1)
    shape = call.shape(w)
    if shape is None or len(shape) != 2 or type(shape[1]) is not int:
        raise FormatError(f"expected weights (units, features), found shape {shape}")
    known, rank = call.shape(x), call.rank(0)
    keeps = bool(call.option(2, "?", False)) and rank != 2
    if keeps:
        if known is not None and known[-1:] != shape[1:]:
            raise FormatError(f"expected {shape[1]} features, found shape {known}")
        made = call.op("MatMul", x, call.transpose(w, 1, 0) if call.value(1) is None else _turned(call, w))
        if call.has(2):
            made = call.op("Add", made, call.input(2))
    else:
        if known is None or len(known) != 2 or known[1] != shape[1]:
            x = call.reshape(x, -1, shape[1])
        made = call.op("Gemm", x, w, *([call.input(2)] if call.has(2) else []), transB=1)
    return call.activated(made, 0)


def _turned(call: Call, w: str) -> str:
    return call.constant(np.ascontiguousarray(call.builder.constants[w].T))


@operator("BATCH_MATMUL", options=101, inputs=2)
def _batch_matmul(call: Call) -> str:
    sides = []
    for k, field in ((0, 0), (1, 1)):
        x, rank = call.input(k), call.rank(k)
        if call.option(field, "?", False):
            if rank < 2:
                raise FormatError(f"expected matrices, found {rank} dimensions")
            x = call.transpose(x, *range(rank - 2), rank - 1, rank - 2)
        sides.append(x)
    return call.op("MatMul", *sides)
