"""A door for users of ONNX Runtime: their session, with the LSTMs of its graph run by fusedlstm.

``rewrite("model.onnx", "fast.onnx")`` turns LSTM nodes into nodes of our own operator, and ``library()`` is what a
session needs to run them::

    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(fusedlstm.onnxruntime.library())
    session = onnxruntime.InferenceSession("fast.onnx", options)

Weights are packed once, when the session is made; states and lengths go in and out as before, but for a row of
length 0, which keeps the state that it was given, where ONNX Runtime gives zeros. Threads are those of
`fusedlstm.set_num_threads`. Needs ONNX Runtime 1.17 or newer, and onnx for `rewrite`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["Rewritten", "library", "rewrite"]

DOMAIN = "fusedlstm"
MOST_BYTES = 1 << 31
"""Of a file that holds its own tensors."""
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
FREE = ("activation_alpha", "activation_beta", "hidden_size", "direction")
"""Attributes that are copied, or change nothing beside the activations that we take."""


@dataclass(frozen=True)
class Rewritten:
    """What `rewrite` did."""

    replaced: list[str] = field(default_factory=list)
    """Nodes that fusedlstm runs now, by name, or by their first output where they have none."""
    left: dict[str, str] = field(default_factory=dict)
    """Nodes that stayed as they were, and why."""


def library() -> str:
    """What `SessionOptions.register_custom_ops_library` takes.

    Returns
    -------
    str
        The path of a shared library, which is loaded into this process already.
    """
    return str(Path(_core.__file__).resolve())


def rewrite(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Rewritten:
    """Write a model whose LSTM nodes are run by fusedlstm.

    Taken are LSTMs of float32 in every direction, with the activations that ONNX has by default, whose weights are
    constants. Others are left to ONNX Runtime, and named.

    Parameters
    ----------
    source, target : path
        ONNX files.

    Returns
    -------
    Rewritten
        Which nodes were replaced, and why others were not.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError('rewrite needs onnx: pip install "fusedlstm[onnx]"') from error
    model = onnx.load(os.fspath(source))
    # Shapes behind our nodes are not known to ONNX Runtime; what can be is written down first.
    model = onnx.shape_inference.infer_shapes(model) if model.ByteSize() < MOST_BYTES else model
    done = Rewritten()
    constants = _Constants(model.graph)
    for node in list(model.graph.node):
        for inner in _within(node):
            done.left[_name_of(inner)] = f"it is in the body of {node.op_type} {node.name}".rstrip()
        if not _is_lstm(node):
            continue
        reason = _unsuited(node, constants)
        if reason:
            done.left[_name_of(node)] = reason
            continue
        _replace(node, model, constants)
        done.replaced.append(_name_of(node))
    if done.replaced and not any(one.domain == DOMAIN for one in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    onnx.save(model, os.fspath(target), save_as_external_data=model.ByteSize() >= MOST_BYTES)
    return done


class _Constants:
    """The tensors of a graph that nobody can change."""

    def __init__(self, graph: GraphProto) -> None:
        given = {one.name for one in graph.input}
        self._found: dict[str, Any] = {one.name: one for one in graph.initializer if one.name not in given}
        for node in graph.node:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                for one in node.attribute:
                    if one.name == "value":
                        self._found[node.output[0]] = one.t

    def type_of(self, name: str) -> int | None:
        """ONNX's number of its type; None: it is no constant."""
        found = self._found.get(name)
        return None if found is None else int(found.data_type)

    def sizes_of(self, name: str) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self._found[name].dims)


def _is_lstm(node: NodeProto) -> bool:
    return node.op_type == "LSTM" and node.domain in ("", "ai.onnx")


def _within(node: NodeProto) -> Iterator[NodeProto]:
    """The LSTMs in a node's bodies, however deep."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                if _is_lstm(inner):
                    yield inner
                yield from _within(inner)


def _name_of(node: NodeProto) -> str:
    return node.name or next((name for name in node.output if name), "LSTM")


def _unsuited(node: NodeProto, constants: _Constants) -> str:
    """Why a node is left as it is; empty: it is not."""
    import onnx

    said = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    given = dict(zip(INPUTS, node.input, strict=False))
    if given.get("P"):
        return "peepholes (P)"
    for name in ("W", "R", "B"):
        kind = constants.type_of(given.get(name, ""))
        if kind is None and (given.get(name) or name != "B"):
            return f"{name} is no constant"
        if kind not in (None, onnx.TensorProto.FLOAT):
            return f"{name} is of {onnx.TensorProto.DataType.Name(kind)}, not FLOAT"
    way = said.get("direction", b"forward").decode()
    if way not in ("forward", "reverse", "bidirectional"):
        return f"direction={way}"
    fault = _misfit(given, constants, 2 if way == "bidirectional" else 1, said.get("hidden_size"))
    if fault:
        return fault
    usual = ["sigmoid", "tanh", "tanh"] * (2 if way == "bidirectional" else 1)
    names = [one.decode() for one in said.pop("activations", [])]
    if names and [one.lower() for one in names] != usual:
        return f"activations={names}"
    for name, value in said.items():
        if name not in FREE and value not in (0, 0.0):
            return f"{name}={value!r}"
    return ""


def _misfit(given: dict[str, str], constants: _Constants, directions: int, hidden: int | None) -> str:
    """Which weights are not of the shape that ONNX says; empty: all are."""
    sizes = constants.sizes_of(given["R"])
    hidden = sizes[-1] if hidden is None and sizes else hidden
    features = constants.sizes_of(given["W"])[-1:]
    wanted = {"W": (directions, 4 * (hidden or 0), *features), "R": (directions, 4 * (hidden or 0), hidden)}
    wanted["B"] = (directions, 8 * (hidden or 0))
    for name, shape in wanted.items():
        if given.get(name) and (constants.sizes_of(given[name]) != shape or 0 in shape[:2]):
            return f"{name}: expected shape {shape}, found {constants.sizes_of(given[name])}"
    return ""


def _replace(node: NodeProto, model: ModelProto, constants: _Constants) -> None:
    """Make it ours: hidden_size and direction are said, and there is a bias."""
    import numpy as np
    import onnx

    said = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    directions, rows, _ = constants.sizes_of(node.input[1])
    inputs = [*node.input, *[""] * (len(INPUTS) - 1)][: len(INPUTS) - 1]
    if not inputs[3]:
        inputs[3] = _fresh(model, f"{_name_of(node)}_bias")
        zeros = np.zeros((directions, 2 * rows), np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(zeros, inputs[3]))
    while not inputs[-1]:
        inputs.pop()
    del node.input[:], node.attribute[:]
    node.domain = DOMAIN
    node.input.extend(inputs)
    for name, value in (("hidden_size", rows // 4), ("direction", said.get("direction", b"forward"))):
        node.attribute.append(onnx.helper.make_attribute(name, value))


def _fresh(model: ModelProto, name: str) -> str:
    taken = {one.name for one in model.graph.initializer}
    taken |= {one for node in model.graph.node for one in (*node.input, *node.output)}
    while name in taken:
        name += "_"
    return name
