"""What the JSON of an exported program says, checked: arguments, types of tensors, sizes."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.dims import Dim, Size, parsed
from ....graph.graph import MAX_RANK

# torch._export.serde.schema.ScalarType; bfloat16 is computed as float32.
DTYPES: dict[int, str] = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32"}
DTYPES |= {8: "float64", 12: "bool", 13: "float32", 28: "uint16", 34: "uint32", 35: "uint64"}
_OTHERS = {9: "complex32", 10: "complex64", 11: "complex128", 29: "float8", 30: "float8", 31: "float8", 32: "float8"}
_MOST_TEXT = 500


@dataclass(frozen=True)
class Ref:
    """An argument that another node or an input makes: a tensor or a number."""

    name: str


@dataclass(frozen=True)
class Kind:
    """An argument that is a dtype."""

    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Other:
    """An argument that means nothing here (a device, a layout), or that is not read."""

    kind: str


@dataclass(frozen=True)
class Meta:
    """The type of a tensor as the file has it."""

    dtype: np.dtype[Any]
    shape: tuple[Size, ...]


_IGNORED = ("as_device", "as_layout", "as_memory_format")
_PLAIN: dict[str, Any] = {"as_int": int, "as_float": float, "as_bool": bool, "as_string": str}
_LISTS = {"as_ints": int, "as_floats": float, "as_bools": bool, "as_strings": str}
_WORDS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


def text(where: str, value: Any) -> str:
    """A name."""
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise FormatError(f"{where}: expected a name, found {str(value)[:80]!r}")
    return value


def objects(where: str, value: Any) -> list[dict[str, Any]]:
    """A list of objects."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise FormatError(f"{where}: expected a list of objects, found {str(value)[:80]!r}")
    return value


def table(where: str, value: Any) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected an object, found {str(value)[:80]!r}")
    return value


def dtype_of(kind: Any) -> np.dtype[Any]:
    """The dtype of a number of the schema.

    Raises
    ------
    FormatError
        One that NumPy does not have.
    """
    if type(kind) is not int or kind not in DTYPES:
        found = _OTHERS.get(kind, f"type {kind!r:.50}") if type(kind) is int else f"{kind!r:.50}"
        raise FormatError(f"expected numbers, found {found}, which is not supported")
    return np.dtype(DTYPES[kind])


def argument(where: str, value: Any) -> Any:
    """One argument: numbers, texts, None, `Ref`, `Kind`, `Other`, or lists of them."""
    match value:
        case {"as_none": _}:
            return None
        case {"as_tensor": {"name": name}}:
            return Ref(text(where, name))
        case {"as_optional_tensor": dict() as inner}:
            return argument(where, inner)
        case {"as_tensors": list() as several}:
            return [Ref(text(where, table(where, one).get("name"))) for one in several]
        case {"as_optional_tensors": list() as several}:
            return [argument(where, one) for one in several]
        case {"as_sym_int": one} | {"as_sym_float": one} | {"as_sym_bool": one}:
            return _symbolic(where, one)
        case (
            {"as_sym_ints": list() as several}
            | {"as_sym_floats": list() as several}
            | {"as_sym_bools": list() as several}
        ):
            return [_symbolic(where, one) for one in several]
        case {"as_scalar_type": kind}:
            return Kind(dtype_of(kind))
    if isinstance(value, dict) and len(value) == 1:
        ((key, held),) = value.items()
        if key in _IGNORED:
            return Other(key)
        if key in _PLAIN:
            return _plain(where, held, _PLAIN[key])
        if key in _LISTS and isinstance(held, list):
            return [_plain(where, one, _LISTS[key]) for one in held]
        if isinstance(key, str) and key.startswith("as_"):
            return Other(key)
    raise FormatError(f"{where}: expected an argument, found {str(value)[:80]!r}")


def _symbolic(where: str, value: Any) -> Any:
    match value:
        case {"as_name": name}:
            return Ref(text(where, name))
        case {"as_int": held} if type(held) is int:
            return _plain(where, held, int)
        case {"as_float": held}:
            return _plain(where, held, float)
        case {"as_bool": bool() as held}:
            return held
    raise FormatError(f"{where}: expected a number or the name of one, found {str(value)[:80]!r}")


def _plain(where: str, value: Any, kind: type) -> Any:
    if kind is float:
        value = _WORDS.get(value, value) if isinstance(value, str) else value
        if type(value) in (int, float):
            try:
                return float(value)
            except OverflowError:
                pass
    elif type(value) is kind and not (isinstance(value, int) and not -(2**63) <= value < 2**63):
        return value
    raise FormatError(f"{where}: expected {kind.__name__}, found {str(value)[:80]!r}")


def meta(name: str, value: Any) -> Meta:
    """The type of a tensor."""
    if isinstance(value, dict) and isinstance(value.get("meta"), dict):  # of PyTorch 2.1
        value = value["meta"]
    match value:
        case {"dtype": kind, "sizes": list() as sizes}:
            pass
        case _:
            raise FormatError(f"tensor {name!r}: expected a dtype and sizes, found {str(value)[:80]!r}")
    if len(sizes) > MAX_RANK:
        raise FormatError(f"tensor {name!r}: expected at most {MAX_RANK} sizes, found {len(sizes)}")
    if value.get("layout", 7) != 7:
        raise FormatError(f"tensor {name!r}: expected a dense tensor, found layout {value.get('layout')!r:.50}")
    try:
        return Meta(dtype_of(kind), tuple(size(one) for one in sizes))
    except FormatError as error:
        raise FormatError(f"tensor {name!r}: {error}") from None


def size(value: Any) -> Size:
    """A size: a number, or what an expression stands for."""
    match value:
        case {"as_int": number} if _is_size(number):
            return number
        case {"as_expr": {"expr_str": str() as expression}}:
            return expressed(expression)
    raise FormatError(f"expected a size, found {str(value)[:80]!r}")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def expressed(expression: str) -> Size:
    """A size from an expression as SymPy writes it: ``Mul(Integer(2), Symbol('s0', integer=True))``, ``2*s0``."""
    if len(expression) <= _MOST_TEXT:
        with suppress(ValueError):
            return parsed(expression)
        with suppress(SyntaxError, ValueError, RecursionError, MemoryError, ZeroDivisionError):
            return _called(ast.parse(expression, mode="eval").body)
    return Dim.unknown("expression", len(expression), hash(expression))  # which may be long


def _called(tree: ast.AST) -> Size:
    """A size that is written as calls of SymPy's classes."""
    match tree:
        case ast.Call(ast.Name("Symbol"), [ast.Constant(str() as name)]):
            return Dim.symbol(name)
        case ast.Call(ast.Name("Integer"), [ast.Constant(int() as number)]) if abs(number) < 1 << 63:
            return int(number)
        case ast.Call(ast.Name("Integer"), [ast.UnaryOp(ast.USub(), ast.Constant(int() as number))]):
            return -int(number)
        case ast.Call(ast.Name("Add" | "Mul" as function), [first, *rest]):
            found = _called(first)
            for one in rest:
                found = found + _called(one) if function == "Add" else found * _called(one)
            return found
        case ast.Call(ast.Name("FloorDiv" | "CleanDiv"), [above, below]):
            return _called(above) // _called(below)
    raise ValueError("expected an expression of sizes, found another")


def named_arguments(where: str, inputs: Any) -> Mapping[str, Any]:
    """The arguments of a node by their names in the operator's schema."""
    found: dict[str, Any] = {}
    for one in objects(where, inputs):
        name = text(where, one.get("name"))
        if name in found:
            raise FormatError(f"{where}: expected each argument once, found {name!r} twice")
        found[name] = argument(f"{where}, {name}", one.get("arg"))
    return found
