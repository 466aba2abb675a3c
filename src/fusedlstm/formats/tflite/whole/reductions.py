"""Reductions."""

from __future__ import annotations

from functools import partial

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


for _name, _op in _REDUCTIONS.items():
    operator(_name, options=_OPTIONS, inputs=2)(partial(_reduce, _op))
for _name, _op in _TRUTHS.items():
    operator(_name, options=_OPTIONS, inputs=2)(partial(_truth, _op))
