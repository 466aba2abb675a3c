"""Lists of tensors as TensorFlow's loops collect them: TensorList operators of Flex."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator


@dataclass(frozen=True)
class TensorList:
    """A list.

    Parameters
    ----------
    stacked : str
        All its elements side by side along a new first axis; "" where it is empty so far.
    place, item : str
        In the body of a loop: where an element was put, and which.
    origin : int
        In the body of a loop: which of its inputs the list was.
    """

    stacked: str = ""
    place: int = -1
    item: int = -1
    origin: int = -1


def list_of(call: Call, k: int) -> TensorList:
    """An input that is a list."""
    found = call.scope.thing(call.index(k))
    if not isinstance(found, TensorList):
        raise FormatError("expected a list of tensors, found something else")
    return found


@operator("FlexTensorListReserve", inputs=2)
def _reserve(call: Call) -> list[None]:
    call.scope.things[call.operator.outputs[0]] = TensorList()
    return [None]


@operator("FlexTensorListFromTensor", inputs=2)
def _from_tensor(call: Call) -> list[None]:
    call.scope.things[call.operator.outputs[0]] = TensorList(call.input(0))
    return [None]


@operator("FlexTensorListSetItem", inputs=3)
def _set_item(call: Call) -> list[None]:
    before = list_of(call, 0)
    if before.origin < 0 or before.place >= 0:
        raise FormatError("expected one element for each turn of a loop, found another use of a list")
    found = TensorList(place=call.index(1), item=call.index(2), origin=before.origin)
    call.scope.things[call.operator.outputs[0]] = found
    return [None]


@operator("FlexTensorListGetItem", inputs=3)
def _get_item(call: Call) -> str:
    stacked = list_of(call, 0).stacked
    if not stacked:
        raise FormatError("expected a list with elements, found an empty one")
    return call.op("Gather", stacked, call.input(1), axis=0)


@operator("FlexTensorListStack", inputs=2)
def _stack(call: Call) -> str:
    stacked = list_of(call, 0).stacked
    if not stacked:
        raise FormatError("expected a list that a loop filled, found an empty one")
    return stacked


@operator("FlexTensorListLength")
def _length(call: Call) -> str:
    stacked = list_of(call, 0).stacked
    if not stacked:
        raise FormatError("expected a list with elements, found an empty one")
    size = call.op("Shape", stacked, start=0, end=1)
    return call.op("Cast", call.squeeze(size, 0), to=np.dtype(np.int32))
