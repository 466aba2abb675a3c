"""Numbers of steps: ranges that are as long as the sequence go on from where the last one was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..graph import Node
from .chunk import Chunk
from .flow import Flow

if TYPE_CHECKING:
    from .walk import Walk


def counted(walk: Walk, node: Node) -> tuple[Flow, Callable[[Chunk], None]] | None:
    """How a range goes that is as long as another tensor has steps, and what writes it; None where it is another one.

    What is kept is a number, and not one for each row: rows of a pool step alone.
    """
    kind = walk.graph.types.get(node.outputs[0])
    ends = [walk.graph.constants.get(name) for name in (node.inputs[0], node.inputs[2])]
    if walk.rows or kind is None or any(one is None or one.item() != int(one.item()) for one in ends):
        return None
    start, step = (int(one.item()) for one in ends)  # type: ignore[union-attr]
    flow = walk.as_long(kind.shape[0])
    if flow is None:
        return None
    state = walk.state(node, "next", np.array([start], np.int64))

    def write(chunk: Chunk) -> None:
        count, name = chunk.new(flow), node.outputs[0]
        if not count:
            return
        now = chunk.state(state)
        made = chunk.add("Add", [now, chunk.constant(np.arange(count) * step, f"{name}/steps")], name)
        chunk.keep(
            state, chunk.add("Add", [now, chunk.constant(np.array([count * step]), f"{name}/count")], state.name)
        )
        chunk.put(name, chunk.add("Cast", [made], name, to=kind.dtype) if kind.dtype != np.int64 else made)

    return flow.moved(0), write
