"""A graph as text: one line a node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .graph import Graph, Node
from .operators import OPERATORS, TensorType

_INDENT = "  "


def listing(graph: Graph) -> str:
    """The listing that ``print(graph)`` shows."""
    return "\n".join(_lines(graph, "", {}))


def type_text(dtype: Any, shape: Any) -> str:
    """Such as ``f32[batch, 64]``."""
    kind = {"f": "f", "i": "i", "u": "u", "b": "bool"}[dtype.kind] if dtype is not None else "?"
    bits = "" if kind in ("bool", "?") else str(dtype.itemsize * 8)
    if shape is None:
        return kind + bits
    return f"{kind}{bits}[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _lines(graph: Graph, indent: str, constants: dict[str, Any]) -> Iterator[str]:
    constants = {**constants, **graph.constants}
    inputs = ", ".join(f"%{one.name}: {type_text(one.dtype, one.shape)}" for one in graph.inputs)
    yield f"{indent}graph {graph.name}({inputs}) {{"
    for node in graph.nodes:
        outputs = ", ".join(_output(name, graph.types.get(name)) for name in node.outputs)
        arguments = ", ".join(_argument(name, constants) for name in node.inputs)
        shown, inner = _attributes(node)
        comment = f"  # {node.name}" if node.name and node.name not in node.outputs else ""
        refused = f"  # refused: {node.refused}" if node.refused else ""
        yield f"{indent}{_INDENT}{outputs} = {node.op}({arguments}){shown}{comment}{refused}"
        for name, one in inner:
            yield f"{indent}{_INDENT * 2}{name}:"
            yield from _lines(one, indent + _INDENT * 2, constants)
    yield f"{indent}{_INDENT}return {', '.join(_argument(one.name, constants) for one in graph.outputs)}"
    yield f"{indent}}}"


def _output(name: str, known: TensorType | None) -> str:
    if not name:
        return "_"
    return f"%{name}" if known is None else f"%{name}: {type_text(known.dtype, known.shape)}"


def _argument(name: str, constants: dict[str, Any]) -> str:
    if name not in constants:
        return f"%{name}" if name else "none"
    value = constants[name]
    if value.size <= 4 and value.ndim <= 1:
        return _plain(value)
    return f"{name}[{', '.join(map(str, value.shape))}]"


def _attributes(node: Node) -> tuple[str, list[tuple[str, Graph]]]:
    entry = OPERATORS.get(node.op)
    inner, shown = [], []
    for name, value in node.attributes.items():
        if isinstance(value, Graph):
            inner.append((name, value))
        elif value is not None and not (entry and name in entry.attributes and _is(value, entry.attributes[name])):
            shown.append(f"{name}={_plain(value)}")
    return (f" {{{', '.join(shown)}}}" if shown else ""), inner


def _is(value: Any, attribute: Any) -> bool:
    return not isinstance(value, np.ndarray) and type(value) is type(attribute.default) and value == attribute.default


def _plain(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return str(value.tolist()) if value.size <= 4 else type_text(value.dtype, value.shape)
    if isinstance(value, tuple):
        return str(list(value))
    if type(value).__name__ == "LSTMWeights":
        return f"{value.input_size} to {value.hidden_size}, {value.num_layers} layer(s)" + "".join(
            f", {one}" for one in (["bidirectional"] * value.bidirectional + value.differences)
        )
    return f"{value:g}" if isinstance(value, float) else str(value)
