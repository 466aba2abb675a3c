"""Pooling."""

from __future__ import annotations

from .call import Call
from .convolution import FIRST, LAST, padding, pair
from .registry import operator


def _pool(call: Call, op: str, **more: int) -> str:
    made = call.op(
        op,
        call.transpose(call.input(0), *FIRST),
        auto_pad=padding(call, 0),
        strides=pair(call, "stride", 2, 1, 0),
        kernel_shape=pair(call, "window", 4, 3, 0),
        **more,
    )
    return call.activated(call.transpose(made, *LAST), 5)


@operator("AVERAGE_POOL_2D", options=5)
def _average(call: Call) -> str:
    return _pool(call, "AveragePool")


@operator("MAX_POOL_2D", options=5)
def _most(call: Call) -> str:
    return _pool(call, "MaxPool")
