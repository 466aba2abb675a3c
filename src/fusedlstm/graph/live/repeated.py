"""What is the same for every step: a value of fixed inputs or constants, as many times as something else has steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..graph import Node
from .chunk import Chunk
from .flow import Flow

if TYPE_CHECKING:
    from .walk import Walk


def repeated(walk: Walk, one: Node) -> tuple[Flow, Callable[[Chunk], None]] | None:
    """How it goes, and what writes it, where a node takes the number of steps and nothing that goes along time."""
    types, name = walk.graph.types, one.outputs[0]
    if one.op not in ("ConstantOfShape", "Expand", "Tile") or name not in types:
        return None
    kind, (x, *_) = types[name], one.inputs
    axes = [axis for axis, size in enumerate(kind.shape) if type(size) is not int]
    like: tuple[int, ...] = (1,) * len(kind.shape)
    if one.op != "ConstantOfShape":
        like = (*like[len(types[x].shape) :], *types[x].shape) if x in types else ()
    if len(axes) != 1 or not like or like[axes[0]] != 1:
        return None
    (axis,) = axes
    flow = walk.as_long(kind.shape[axis])
    if flow is None:
        return None
    made = replace(flow, axis=axis, blame=None)

    def write(chunk: Chunk) -> None:
        if not chunk.new(made):
            return
        shape = np.array(chunk.sized(kind, made), np.int64)
        if one.op == "Tile":
            shape //= np.array(like)
        target = chunk.constant(shape, f"{name}/shape")
        inputs = [target] if one.op == "ConstantOfShape" else [chunk.name(x), target]
        chunk.put(name, chunk.add(one.op, inputs, name, **one.attributes))

    return made, write
