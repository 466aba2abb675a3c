"""Values in configurations that JSON has no word for: arrays, slices, tuples, types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....errors import FormatError

_MOST = 1 << 22


def constant_of(item: Mapping[str, Any]) -> tuple[str, Any]:
    """``("list", [...])`` of a tuple or the like, whose parts are values themselves; else ``("value", ...)``.

    Raises
    ------
    FormatError
        An object of a class that is not known.
    """
    kind, config = item["class_name"], item["config"]
    value = config.get("value") if isinstance(config, Mapping) else config
    if kind in ("__tuple__", "TypeSpec.tuple") or (kind == "__tuple__" and "items" in item):
        value = item.get("items", value)
        if not isinstance(value, list):
            raise FormatError(f"expected a tuple, found {str(value)[:80]!r}")
        return "list", value
    if kind in ("__numpy__", "__tensor__"):
        return "value", array_of(value, config.get("dtype") if isinstance(config, Mapping) else None)
    if kind == "__ellipsis__":
        return "value", Ellipsis
    if kind in ("__slice__", "slice"):
        parts = [config.get(one) for one in ("start", "stop", "step")] if isinstance(config, Mapping) else config
        return "value", _slice(parts)
    if kind == "DTypePolicy" and isinstance(config, Mapping):
        return "value", config.get("name")
    raise FormatError(f"expected a plain value, found an object of class {str(kind)[:80]!r}")


_DTYPES = ("float", "bfloat", "int", "uint", "bool")


def array_of(value: Any, dtype: Any = None) -> Any:
    """An array of numbers that JSON holds as lists."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise FormatError(f"expected an array of numbers, found {str(value)[:80]!r}") from error
    if array.dtype.kind not in "fiub" or array.size > _MOST:
        raise FormatError(f"expected an array of numbers, found {str(value)[:80]!r}")
    if dtype is not None and not (isinstance(dtype, str) and dtype.startswith(_DTYPES)):
        raise FormatError(f"expected an array of numbers, found one of {str(dtype)[:80]!r}")
    kind = array.dtype.kind if dtype is None else "b" if dtype == "bool" else "i" if "int" in dtype else "f"
    if kind == "i" and array.dtype.kind == "f" and not np.all(np.abs(array) < 2.0**63):
        raise FormatError(f"expected whole numbers, found {str(value)[:80]!r}")
    with np.errstate(over="ignore"):
        return array.astype({"f": np.float32, "b": np.bool_}.get(kind, np.int64))


def _slice(parts: Any) -> slice:
    if not isinstance(parts, list) or not all(one is None or type(one) is int for one in parts) or len(parts) > 3:
        raise FormatError(f"expected a slice of whole numbers, found {str(parts)[:80]!r}")
    return slice(*([*parts, None, None, None][:3]))
