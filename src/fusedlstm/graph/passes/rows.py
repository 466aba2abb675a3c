"""Products of rows that were made flat for it: the product takes them as they are."""

from __future__ import annotations

from ..draft import Draft, DraftNode


def rewrite(draft: Draft) -> None:
    """Reshape, Gemm with a constant matrix, Reshape back: MatMul and Add."""
    for one in draft.of("Gemm"):
        _unflatten(draft, one)


def _unflatten(draft: Draft, one: DraftNode) -> None:
    a, weights = one.attributes, draft.constant(one.inputs[1])
    flat, back = draft.made_by(one.inputs[0], "Reshape", "Squeeze"), draft.taken_by(one.output, "Reshape", "Unsqueeze")
    if flat is None or back is None or weights is None or a["transA"] or (a["alpha"], a["beta"]) != (1.0, 1.0):
        return
    before, after, rows = (draft.shape(name) for name in (flat.inputs[0], back.output, one.inputs[0]))
    if before is None or after is None or rows is None or before[:-1] != after[:-1]:
        return
    if before[-1] != rows[-1] or after[-1] != weights.shape[0 if a["transB"] else 1]:
        return
    bias = draft.constant(one.inputs[2]) if len(one.inputs) > 2 and one.inputs[2] else None
    if len(one.inputs) > 2 and (bias is None or bias.ndim != 1):
        return
    matrix = draft.add_constant(weights.T.copy(), one.inputs[1]) if a["transB"] else one.inputs[1]
    product = draft.between("MatMul", [flat.inputs[0], matrix], one.output, one.name)
    made = product if bias is None else draft.between("Add", [product, one.inputs[2]], one.output, one.name)
    draft.forward(back.output, made)
    draft.remove(back)
