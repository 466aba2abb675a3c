"""Every LSTM node of an ONNX model (https://onnx.ai/onnx/operators/onnx__LSTM.html).

W (directions, 4H, input), R (directions, 4H, H), B (directions, 8H) = Wb || Rb, gates in the order i, o, f, c;
P (directions, 3H), i, o, f. ONNX Runtime's DynamicQuantizeLSTM holds the same in integers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...errors import FormatError
from ...weights import DirectionWeights, LSTMWeights, reorder_gates
from .cell import cells, choice, direction
from .fold import Constants, NotConstantError
from .graph import Array, Branches, Inside, Scope, attributes, describe, is_op
from .quantized import INPUTS as QUANTIZED_INPUTS
from .quantized import dequantized
from .state import Sizes, initial_state

Reader = Callable[[], LSTMWeights]
_MAX_TWINS = 64
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


def lstms(graphs: Sequence[Inside], file_size: int) -> dict[str, Reader]:
    """Every LSTM node of a model's graphs, by its name and by the names of its outputs."""
    nodes = [(inside, node) for inside in graphs for node in inside.scope.graph.node if _is_lstm(node)]
    owners = Counter(name for _, node in nodes for name in _names(node))
    readers = [partial(_build, inside.scope, node, file_size) for inside, node in nodes]
    _join_twins([inside.branches for inside, _ in nodes], readers)
    listed: dict[str, Reader] = {}
    others: dict[str, Reader] = {}
    for (_, node), reader in zip(nodes, readers):
        names = [name for name in _names(node) if owners[name] == 1]
        if not names:
            raise FormatError(f"{describe(node)}: expected a name of its own, found one that other LSTM nodes have too")
        listed[names[0]] = reader
        others |= dict.fromkeys(names, reader)
    return listed | others


def _names(node: Any) -> list[str]:
    """What a caller may call a node: its name, and any of its outputs."""
    return list(dict.fromkeys(filter(None, (node.name, *node.output))))


def _join_twins(branches: Sequence[Branches], readers: list[partial[LSTMWeights]]) -> None:
    """One reader for LSTMs of the same weights in the two branches of an If, of which a run takes one."""
    inside = [k for k, path in enumerate(branches) if path][:_MAX_TWINS]
    built: dict[int, LSTMWeights | None] = {}
    for place, k in enumerate(inside):
        for j in inside[:place]:
            if readers[j] is readers[k] or not _exclude_each_other(branches[j], branches[k]):
                continue
            for one in (j, k):
                if one not in built:
                    try:
                        built[one] = readers[one]()
                    except FormatError:
                        built[one] = None
            if (first := built[j]) is not None and (second := built[k]) is not None and _same(first, second):
                readers[k] = readers[j]
                break


def _exclude_each_other(one: Branches, other: Branches) -> bool:
    return any(a[:2] == b[:2] and a != b for a, b in zip(one, other))


def _same(one: LSTMWeights, other: LSTMWeights) -> bool:
    """Whether two LSTMs are the same, number by number."""
    arrays = [
        [array for layer in lstm.layers for direction in layer for array in direction.arrays.values()]
        + [np.asarray(state) for states in lstm.initial_state or () for state in states]
        for lstm in (one, other)
    ]
    cells = [[direction.cell for layer in lstm.layers for direction in layer] for lstm in (one, other)]
    return (
        cells[0] == cells[1]
        and (one.batch_first, one.reverse) == (other.batch_first, other.reverse)
        and len(arrays[0]) == len(arrays[1])
        and all(map(np.array_equal, *arrays))
    )


def _is_lstm(node: Any) -> bool:
    return is_op(node, "LSTM") or _is_quantized(node)


def _is_quantized(node: Any) -> bool:
    return bool(node.domain == "com.microsoft" and node.op_type == "DynamicQuantizeLSTM")


def _build(scope: Scope, node: Any, file_size: int) -> LSTMWeights:
    try:
        return _weights(scope, node, Constants(file_size))
    except ValueError as error:
        raise FormatError(f"{describe(node)}: {error}") from error


def _weights(scope: Scope, node: Any, constants: Constants) -> LSTMWeights:
    given = attributes(node)
    order, directions = direction(given)
    layout = choice(given, "layout")
    inputs = QUANTIZED_INPUTS if _is_quantized(node) else _INPUTS
    if len(node.input) > len(inputs):
        raise FormatError(f"expected at most {len(inputs)} inputs, found {len(node.input)}")
    names = {which: name for which, name in zip(inputs, node.input, strict=False) if name}

    def constant(which: str) -> Array | None:
        try:
            return constants.get(scope, names[which]) if which in names else None
        except FormatError as error:
            raise FormatError(f"input {which}: {error}") from error

    w, r, b, peepholes = constant("W"), constant("R"), constant("B"), constant("P")
    if w is None or r is None:
        raise FormatError(f"expected inputs W and R, found {', '.join(names) or 'none'}")
    if _is_quantized(node):
        w = dequantized("W", w, constant("W_scale"), constant("W_zero_point"))
        r = dequantized("R", r, constant("R_scale"), constant("R_zero_point"))
    hidden = r.shape[-1] if r.ndim else 0
    _expect("R", r, (directions, 4 * hidden, hidden))
    _expect("W", w, (directions, 4 * hidden, w.shape[-1] if w.ndim else 0))
    if b is not None:
        _expect("B", b, (directions, 8 * hidden))
        with np.errstate(invalid="ignore", over="ignore"):
            b = np.sum(np.split(b.astype(np.promote_types(b.dtype, np.float32)), 2, axis=1), axis=0)
    if peepholes is not None:
        _expect("P", peepholes, (directions, 3 * hidden))
    if given.get("hidden_size", hidden) != hidden:
        raise FormatError(f"expected hidden_size = {hidden} as R has it, found {given['hidden_size']}")
    if "sequence_lens" in names:
        _check_lengths(scope, names["sequence_lens"], names.get("X", ""), layout, constants)
    layer = [
        DirectionWeights(
            reorder_gates(w[d], "iofg"),
            reorder_gates(r[d], "iofg"),
            None if b is None else reorder_gates(b[d], "iofg"),
            **({} if peepholes is None else _peepholes(peepholes[d])),
            cell=cell,
        )
        for d, cell in enumerate(cells(given, directions))
    ]
    return LSTMWeights(
        [layer],
        batch_first=layout == 1,
        reverse=order == "reverse",
        initial_state=initial_state(scope, names, Sizes(directions, hidden, layout), constants),
    )


def _peepholes(p: Array) -> dict[str, Array]:
    """Those of one direction, (3H,) in the order i, o, f; zeros are none."""
    return {f"peephole_{gate}": part for gate, part in zip("iof", np.split(p, 3), strict=True) if part.any()}


def _check_lengths(scope: Scope, name: str, x: str, layout: int, constants: Constants) -> None:
    """Lengths come from the caller; refuse those that the model fixes, unless they are the whole sequence."""
    try:
        lengths = constants.get(scope, name)
    except NotConstantError:
        return
    if (lengths != scope.declared_size(x, 1 if layout else 0)).any():
        raise FormatError(f"input sequence_lens: expected lengths that the caller passes, found {lengths.tolist()}")


def _expect(which: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype.kind != "f":
        raise FormatError(f"input {which}: expected floats of shape {shape}, found {array.dtype} {array.shape}")
