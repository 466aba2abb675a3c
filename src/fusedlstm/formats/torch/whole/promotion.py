"""PyTorch's rules of which type a computation with several has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import FormatError
from .call import BOOL, FLOAT32, INT32, INT64, Call
from .schema import Ref

DType = np.dtype[Any]


def joined(one: DType | None, other: DType | None) -> DType | None:
    """The type of two tensors: floats win, whatever their width."""
    if one is None or other is None:
        return other if one is None else one
    if (one.kind == "f") != (other.kind == "f"):
        return one if one.kind == "f" else other
    return np.promote_types(one, other)


def promoted(call: Call, *values: Any) -> DType:
    """The type of tensors and numbers: tensors of no dimension count less than others, numbers less than these."""
    found: list[DType | None] = [None, None, None]
    for value in values:
        rank, dtype = _kind(call, value)
        found[rank] = joined(found[rank], dtype)
    made = _over(found[0], _over(found[1], found[2]))
    if made is None:
        raise FormatError("expected tensors or numbers, found none")
    return made


def _over(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return lower if higher is None else higher
    if higher.kind != "f" and (higher == BOOL or lower.kind == "f"):
        return joined(higher, lower)
    return higher


def _kind(call: Call, value: Any) -> tuple[int, DType]:
    """What a value counts for, and its type."""
    if isinstance(value, Ref):
        tensor = call.reader.tensor(value.name)
        dtype = call.kind_of(tensor)
        if value.name not in call.reader.program.metas:
            return 2, FLOAT32 if dtype.kind == "f" else dtype
        return (1 if call.rank(tensor) == 0 else 0), dtype
    if isinstance(value, bool):
        return 2, BOOL
    if isinstance(value, int):
        return 2, INT64
    if isinstance(value, float):
        return 2, FLOAT32
    raise FormatError(f"expected a tensor or a number, found {str(value)[:80]!r}")


def given(call: Call, dtype: DType, *values: Any) -> list[str]:
    """Values as tensors of one type."""
    made = []
    for value in values:
        if isinstance(value, Ref):
            made.append(call.cast(call.reader.tensor(value.name), dtype))
        elif not isinstance(value, bool | int | float):
            raise FormatError(f"expected a tensor or a number, found {str(value)[:80]!r}")
        else:
            with np.errstate(all="ignore"):
                made.append(call.constant(np.array(value).astype(dtype)))
    return made


def computed(call: Call, op: str, dtype: DType, inputs: Sequence[str], **attributes: Any) -> str:
    """A node whose operator does not take truth values: they are computed as numbers."""
    if dtype != BOOL:
        return call.op(op, *inputs, **attributes)
    return call.cast(call.op(op, *(call.cast(one, INT32) for one in inputs), **attributes), BOOL)


def floats(call: Call, name: str = "self") -> str:
    """A tensor as floats: whole numbers become float32."""
    x = call.tensor(name)
    return x if call.kind_of(x).kind == "f" else call.cast(x, FLOAT32)
