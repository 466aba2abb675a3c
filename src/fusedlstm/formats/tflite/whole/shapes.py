"""Shapes, and tensors made from them."""

from __future__ import annotations

import numpy as np

from .call import INT64, Call
from .registry import operator


@operator("SHAPE", options=55)
def _shape(call: Call) -> str:
    made = call.op("Shape", call.input(0))
    kind = call.made_kind()
    return made if kind == INT64 else call.op("Cast", made, to=kind)


@operator("RANK")
def _rank(call: Call) -> str:
    return call.constant(np.array(call.rank(0), np.int32))


@operator("FILL", inputs=2)
def _fill(call: Call) -> str:
    value = call.value(1)
    if value is not None:
        return call.op("ConstantOfShape", call.int64(0), value=value.reshape(1))
    return call.op("Expand", call.input(1), call.int64(0))


@operator("BROADCAST_TO", inputs=2)
def _broadcast(call: Call) -> str:
    return call.op("Expand", call.input(0), call.int64(1))


@operator("RANGE", inputs=3)
def _range(call: Call) -> str:
    return call.op("Range", *call.inputs())
