"""Reductions."""

from __future__ import annotations

from functools import partial

import numpy as np

from ....errors import FormatError
from .call import BOOL, INT32, Call
from .registry import operator

_OPTIONS = 27
_REDUCTIONS = {
    "MEAN": "ReduceMean",
    "SUM": "ReduceSum",
    "REDUCE_PROD": "ReduceProd",
    "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
}
_TRUTHS = {"REDUCE_ANY": "ReduceMax", "REDUCE_ALL": "ReduceMin"}


def _reduce(op: str, call: Call) -> str:
    keeps = int(call.option(0, "?", False))
    return call.op(op, call.input(0), call.int_list(*call.ints(1, "axes")), keepdims=keeps)


def _truth(op: str, call: Call) -> str:
    keeps = int(call.option(0, "?", False))
    numbers = call.op("Cast", call.input(0), to=INT32)
    return call.op("Cast", call.op(op, numbers, call.int_list(*call.ints(1, "axes")), keepdims=keeps), to=BOOL)


@operator("UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_SUM", inputs=3)
def _segments(call: Call) -> str:
    """Numbers by the segments that they belong to: how TensorFlow computes shapes."""
    places, count = call.ints(1, "segments"), call.whole(2, "number of segments")
    if call.rank(0) != 1 or not all(0 <= one < count for one in places) or not 0 <= count <= 64:
        raise FormatError(f"expected one axis and segments below {min(count, 65)}, found {call.rank(0)} and {places}")
    product = call.kind == "UNSORTED_SEGMENT_PROD"
    start = call.constant(np.full(count, int(product), call.kind_of(0)))
    return call.op("ScatterElements", start, call.int64(1), call.input(0), reduction="mul" if product else "add")


for _name, _op in _REDUCTIONS.items():
    operator(_name, options=_OPTIONS, inputs=2)(partial(_reduce, _op))
for _name, _op in _TRUTHS.items():
    operator(_name, options=_OPTIONS, inputs=2)(partial(_truth, _op))
