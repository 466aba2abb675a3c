"""Dense layers over the same input become one with stacked weights, taken apart behind it."""

from __future__ import annotations

import numpy as np

from ..draft import Draft, DraftNode

_MOST_COLUMNS = 4096


def rewrite(draft: Draft) -> None:
    """Groups of layers that share input and activation."""
    groups: dict[tuple[object, ...], list[DraftNode]] = {}
    for one in draft.of("fusedlstm.Dense"):
        bias = draft.constant(one.inputs[2]) if len(one.inputs) > 2 else None
        weights = draft.constant(one.inputs[1])
        if weights is not None and (len(one.inputs) < 3 or bias is not None):
            groups.setdefault((one.inputs[0], one.attributes["activation"], weights.dtype), []).append(one)
    for group in groups.values():
        if len(group) > 1:
            _join(draft, group)


def _join(draft: Draft, group: list[DraftNode]) -> None:
    weights = [draft.constants[one.inputs[1]] for one in group]
    widths = [matrix.shape[1] for matrix in weights]
    kind = draft.types.get(group[0].output)
    if sum(widths) > _MOST_COLUMNS or kind is None:
        return
    biases = [
        draft.constants[one.inputs[2]] if len(one.inputs) > 2 else np.zeros(width, matrix.dtype)
        for one, width, matrix in zip(group, widths, weights)
    ]
    base = group[0].output
    inputs = [group[0].inputs[0], draft.add_constant(np.concatenate(weights, 1), base)]
    if any(len(one.inputs) > 2 for one in group):
        inputs.append(draft.add_constant(np.concatenate(biases), base))
    joined = draft.between("fusedlstm.Dense", inputs, base, group[0].name, activation=group[0].attributes["activation"])
    sizes = draft.add_constant(np.array(widths, np.int64), base)
    outputs = [one.output for one in group]
    draft.add("Split", [joined, sizes], outputs, axis=len(kind.shape) - 1)
    draft.remove(*group)
