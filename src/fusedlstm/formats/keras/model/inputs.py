"""What goes into a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.graph import Value
from ..layers import checked, children, config_of, is_class, name_of

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_OTHERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
BATCH = "batch"


def input_of(item: dict[str, Any]) -> Value:
    """What an InputLayer declares."""
    config = config_of(item)
    for kind in ("sparse", "ragged"):
        if config.get(kind):
            raise FormatError(f"input {name_of(item)!r}: expected a dense array, found a {kind} one")
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    return value_of(name_of(item), shape, config.get("dtype"))


def sequential_input(item: dict[str, Any]) -> Value:
    """The input of a Sequential model: declared, of its first layer, or what it was built for."""
    items, outer = [checked(one) for one in children(item)], item
    first = items[0]
    if is_class(first, "InputLayer"):
        return input_of(first)
    config, built = config_of(first), config_of(item).get("build_input_shape")
    name, dtype = f"{name_of(first)}_input", config.get("dtype")
    shape = config.get("batch_input_shape", config.get("batch_shape"))
    if shape is None and is_class(first, "Sequential") and children(first):
        return Value(name, *_kind(sequential_input(first)))
    if shape is None and children(first):
        inside = [one for one in children(first) if is_class(one, "InputLayer")]
        if len(inside) == 1:
            return Value(name, *_kind(input_of(inside[0])))
    if shape is None and built is None and isinstance(outer.get("build_config"), dict):
        built = outer["build_config"].get("input_shape")
    return value_of(name, built if shape is None else shape, dtype)


def _kind(value: Value) -> tuple[Any, Any]:
    return value.dtype, value.shape


def value_of(name: str, shape: Any, dtype: Any) -> Value:
    """An input of a shape and type as a configuration has them."""
    if not isinstance(shape, (list, tuple)) or not shape:
        hint = "build the model and save it again"
        raise FormatError(f"input {name!r}: expected a shape, found {str(shape)[:80]!r}; {hint}")
    sizes: list[Any] = [BATCH if shape[0] is None else shape[0], *shape[1:]]
    if any(not (one is None or one == BATCH or (type(one) is int and one >= 0)) for one in sizes):
        raise FormatError(f"input {name!r}: expected sizes, found {str(shape)[:80]!r}")
    if isinstance(dtype, dict):  # a policy
        dtype = config_of(dtype).get("name")
    if isinstance(dtype, str) and dtype.startswith("mixed_"):
        dtype = "float32"
    if dtype == "string":
        raise FormatError(
            f"input {name!r}: expected numbers, found text; save the model without the layers that look words up, and "
            "pass their numbers"
        )
    dtype = "float32" if dtype is None or dtype in _FLOATS else dtype
    if dtype != "float32" and dtype not in _OTHERS:
        raise FormatError(f"input {name!r}: expected a type of numbers, found {str(dtype)[:80]!r}")
    return Value(name, np.dtype(dtype), tuple(sizes))
