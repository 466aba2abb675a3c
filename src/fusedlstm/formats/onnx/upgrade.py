"""Nodes of older operator sets of ONNX, said in the one that graphs use (https://onnx.ai/onnx/operators/).

Each function is given a node that may be old and emits what it means today.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import FormatError

OLDEST, NEWEST = 7, 28


@dataclass
class Old:
    """A node as the file has it."""

    op: str
    version: int  # of the operator set
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    rank: Callable[[str], int | None]  # of a tensor, where the file declares it
    fresh: Callable[[str], str]  # a name that is not taken
    made: list[tuple[str, Sequence[str], Sequence[str], dict[str, Any]]] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def emit(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node of today."""
        self.made.append((op, inputs, outputs, attributes))

    def between(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node whose one output is used here alone."""
        name = self.fresh(f"{next(filter(None, self.outputs), self.op)}/{op}")
        self.emit(op, inputs, [name], **attributes)
        return name

    def constant(self, value: Any) -> str:
        """Add a constant."""
        name = self.fresh(f"{next(filter(None, self.outputs), self.op)}/constant")
        self.constants[name] = np.asarray(value)
        return name

    def like(self, value: float, other: str) -> str:
        """A constant of the type that another tensor has."""
        return self.between("CastLike", [self.constant(np.float32(value)), other])

    def keep(self) -> None:
        """The node as it is now."""
        self.emit(self.op, self.inputs, self.outputs, **self.attributes)

    def to_input(self, index: int, name: str) -> None:
        """Turn an attribute of whole numbers into an input."""
        if name in self.attributes:
            self.inputs += [""] * (index + 1 - len(self.inputs))
            self.inputs[index] = self.constant(np.array(self.attributes.pop(name), np.int64))

    def refuse(self, reason: str) -> None:
        """It cannot be said."""
        raise FormatError(reason)


def upgraded(node: Old) -> Old:
    """The node with what it means today in `made` and `constants`.

    Raises
    ------
    FormatError
        An option that is not supported.
    """
    rule = _UPGRADES.get(node.op)
    if rule is not None and (not node.outputs or not (node.inputs or node.op == "Constant")):
        raise FormatError(f"expected inputs and outputs, found {len(node.inputs)} and {len(node.outputs)}")
    (rule or Old.keep)(node)
    return node


def _axes(node: Old) -> None:
    if node.version < (13 if node.op in ("Squeeze", "Unsqueeze", "ReduceSum") else 18):
        node.to_input(1, "axes")
    node.keep()


def _slice(node: Old) -> None:
    if node.version < 10:
        for index, name in enumerate(("starts", "ends", "axes"), 1):
            node.to_input(index, name)
    node.keep()


def _split(node: Old) -> None:
    if node.version < 13:
        node.to_input(1, "split")
    if len(node.inputs) < 2 or not node.inputs[1]:
        node.attributes.setdefault("num_outputs", len(node.outputs))
        if node.attributes["num_outputs"] != len(node.outputs):
            node.refuse(f"expected {len(node.outputs)} as num_outputs, found {node.attributes['num_outputs']}")
    node.keep()


def _upsample(node: Old) -> None:
    scales = node.inputs[1] if len(node.inputs) > 1 else node.constant(np.float32(node.attributes.get("scales", ())))
    mode = node.attributes.get("mode", "nearest")
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    node.emit(
        "Resize", [node.inputs[0], "", scales], node.outputs, mode="linear" if mode == "bilinear" else mode, **how
    )


def _resize(node: Old) -> None:
    if node.version < 11:
        node.attributes.update(coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        node.inputs.insert(1, "")
    node.keep()


def _dropout(node: Old) -> None:
    if node.version < 12:
        node.attributes.pop("ratio", None)
    node.keep()


def _clip(node: Old) -> None:
    if node.version < 11:
        x = node.inputs[0]
        limits = [node.like(node.attributes.pop(name), x) if name in node.attributes else "" for name in ("min", "max")]
        node.inputs[1:] = limits
    node.keep()


def _pad(node: Old) -> None:
    if node.version < 11:
        node.to_input(1, "pads")
        value = node.attributes.pop("value", 0.0)
        if value and node.attributes.get("mode", "constant") == "constant":
            node.inputs.append(node.like(value, node.inputs[0]))
    node.keep()


def _softmax(node: Old) -> None:
    if node.version >= 13:
        return node.keep()
    axis, x = node.attributes.pop("axis", 1), node.inputs[0]
    rank = node.rank(x)
    if rank is not None and axis in (rank - 1, -1):
        return node.emit(node.op, [x], node.outputs, axis=-1)
    flat = node.between(node.op, [node.between("Flatten", [x], axis=axis)], axis=-1)
    return node.emit("Reshape", [flat, node.between("Shape", [x])], node.outputs, allowzero=1)


def _batch(node: Old) -> None:
    if node.attributes.pop("training_mode", 0) or any(node.outputs[1:]):
        node.refuse("expected inference, found training mode")
    if not node.attributes.pop("spatial", 1):
        node.refuse("expected one mean for each channel, found spatial=0")
    node.attributes.pop("is_test", None)
    node.outputs = node.outputs[:1]
    node.keep()


def _top(node: Old) -> None:
    if node.version < 10:
        node.to_input(1, "k")
    node.keep()


def _scan(node: Old) -> None:
    if node.version < 9:
        node.refuse("expected Scan of operator set 9 or later, found an older one")
    node.keep()


def _scatter(node: Old) -> None:
    node.emit("ScatterElements", node.inputs, node.outputs, **node.attributes)


def _constant(node: Old) -> None:
    (kind, value), *more = node.attributes.items() or [("nothing", None)]
    dtype = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    plain = isinstance(value, np.ndarray) if kind == "value" else np.asarray(value).dtype.kind in "fi"
    if more or (kind != "value" and kind not in dtype) or not plain:
        node.refuse(f"expected a number or a tensor, found {kind}")
    node.constants[node.outputs[0]] = value if kind == "value" else np.array(value, dtype[kind])


_UPGRADES: dict[str, Callable[[Old], None]] = {
    "BatchNormalization": _batch,
    "Clip": _clip,
    "Constant": _constant,
    "Dropout": _dropout,
    "Hardmax": _softmax,
    "LogSoftmax": _softmax,
    "Pad": _pad,
    "Resize": _resize,
    "Scan": _scan,
    "Scatter": _scatter,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _axes,
    "TopK": _top,
    "Unsqueeze": _axes,
    "Upsample": _upsample,
    **{f"Reduce{name}": _axes for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum")},
    "ReduceSumSquare": _axes,
}
