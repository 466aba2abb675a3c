"""Recurrent layers: LSTM, GRU, SimpleRNN, RNN of cells, and two of them in a Bidirectional."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....errors import FormatError
from ....graph.graph import Value
from .. import config as configuration
from ..layers import is_conv_lstm
from .call import BOOL, FLOAT32, INT32, INT64, Call, Tensor
from .cells import STATES, Cell, cells_of, run
from .registry import Made, layer


@dataclass(frozen=True)
class Masked:
    """A sequence whose valid steps were brought to the front of each row."""

    lengths: str
    order: str
    """The index (batch, time, 1) of the step that is at each place."""
    place: str
    """The index of the last valid step until each step, (batch, time, 1); 0 is none."""
    valid: str


def _masked(call: Call, mask: str, x: str) -> Masked:
    rows, time = call.expect_rank(mask, 2)
    if rows == 1 and call.shape(x)[0] != 1:
        raise FormatError("mask: expected a row for each of the input's, found one for all")
    numbers = call.cast(mask, INT64)
    lengths = call.cast(call.op("ReduceSum", numbers, call.ints(1), keepdims=0), INT32)
    names = call.ops("TopK", [call.cast(mask, FLOAT32), call.size(mask, 1)], 2, axis=1)
    call.typed(names[1], (call.shape(mask)[0], time), numbers)  # as many as there are steps
    place = call.op("CumSum", numbers, call.constant(np.asarray(1, np.int64)))
    return Masked(lengths, call.unsqueeze(names[1], 2), call.unsqueeze(place, 2), mask)


def _refuse_zeros() -> None:
    """Keras puts the zeros of unrolled backward layers at the wrong steps, and those of one backend nowhere."""
    raise FormatError("unroll: expected False beside a mask of a sequence that is run backward, found True")


def _front(call: Call, x: str, masked: Masked) -> str:
    return call.op("GatherND", x, masked.order, batch_dims=1)


def _back(call: Call, y: str, masked: Masked, zero: bool) -> str:
    """Each valid step where it was; the others repeat what was before them, or are zero."""
    padded = call.op("Pad", y, call.ints(0, 1, 0, 0, 0, 0))
    place = masked.place
    if zero:
        place = call.op("Mul", place, call.unsqueeze(call.cast(masked.valid, INT64), 2))
    return call.op("GatherND", padded, place, batch_dims=1)


@layer("LSTM", "GRU", "SimpleRNN", "RNN", "CuDNNLSTM")
def _recurrent(call: Call) -> Made:
    item = _item(call)
    cells = cells_of(item, call.held.weights)
    x, mask, states = _given(call, [cells])
    if call.flag("go_backwards", False):
        x, mask = (call.flip(one, 1) if one else "" for one in (x, mask))
    masked = _masked(call, mask, x) if mask else None
    x = _front(call, x, masked) if masked else x
    lengths, finals = masked.lengths if masked else "", []
    for k, cell in enumerate(cells):
        found = run(call, [cell], x, states[0][k : k + 1], lengths, False, f"cell {k}")
        x = found.y
        finals.append(found.states[0])
    y = finals[-1][0]
    zero = call.flag("zero_output_for_mask", False) and call.kind != "CuDNNLSTM"
    if zero and masked and call.flag("go_backwards", False) and call.flag("unroll", False):
        _refuse_zeros()
    sequences = call.flag("return_sequences", False)
    if sequences:
        y = _back(call, x, masked, zero) if masked else x
    elif zero and masked:
        y = call.op("Mul", y, call.cast(call.slice(mask, 1, -1, 1 << 62), FLOAT32))
    _keep(call, [finals])
    out = [Tensor(y, call.mask if sequences else "")]
    return [*out, *(Tensor(one) for cell in finals for one in cell)] if call.flag("return_state", False) else out


@layer("Bidirectional")
def _bidirectional(call: Call) -> Made:
    forward, backward = _ways(call)
    turned = configuration.flag(forward, "go_backwards")  # Keras 2: the backward layer runs forward then
    if is_conv_lstm(forward):
        if turned:
            raise FormatError("go_backwards: expected False of the forward layer in a Bidirectional, found True")
        from .conv_recurrent import bidirectional

        return bidirectional(call, forward, backward)
    ways = [
        cells_of(one, call.held.weights.part(f"{name}_layer"))
        for name, one in (("forward", forward), ("backward", backward))
    ]
    x, mask, states = _given(call, ways)
    masked = _masked(call, mask, x) if mask else None
    if masked and configuration.flag(forward, "unroll"):
        _refuse_zeros()
    x = _front(call, x, masked) if masked else x
    lengths = masked.lengths if masked else ""
    if not turned and len(ways[0]) == len(ways[1]) == 1 and ways[0][0].alike == ways[1][0].alike:
        found = run(call, [ways[0][0], ways[1][0]], x, [*states[0], *states[1]], lengths, False, "both")
        units = ways[0][0].units
        outputs = [call.slice(found.y, 2, k * units, (k + 1) * units) for k in range(2)]
        finals, whole = [[one] for one in found.states], found.y
    else:
        outputs, finals, whole = [], [], ""
        for d, cells in enumerate(ways):
            y, last = x, []
            for k, cell in enumerate(cells):
                found = run(call, [cell], y, states[d][k : k + 1], lengths, turned != (d == 1), f"way {d} cell {k}")
                y = found.y
                last.append(found.states[0])
            outputs.append(y)
            finals.append(last)
    sequences = configuration.flag(forward, "return_sequences")
    if sequences and masked:
        outputs = [_back(call, one, masked, True) for one in outputs]
        whole = ""
    if sequences and turned:
        outputs = [call.flip(one, 1) for one in outputs]
    if not sequences:
        outputs, whole = [last[-1][0] for last in finals], ""
    both = [whole] if whole and call.config.get("merge_mode", "concat") == "concat" else merged(call, outputs)
    _keep(call, finals)
    out = [Tensor(one, call.mask if sequences else "") for one in both]
    if configuration.flag(forward, "return_state"):
        out += [Tensor(one) for last in finals for cell in last for one in cell]
    return out


def merged(call: Call, outputs: Sequence[str]) -> list[str]:
    """The outputs of two directions as a Bidirectional merges them."""
    merge = call.choice("merge_mode", "concat", "sum", "mul", "ave", None, default="concat")
    if merge is None:
        return list(outputs)
    if merge == "concat":
        return [call.op("Concat", *outputs, axis=-1)]
    y = call.op("Mul" if merge == "mul" else "Add", *outputs)
    return [call.op("Mul", y, call.scalar(0.5, y)) if merge == "ave" else y]


def _item(call: Call) -> dict[str, Any]:
    return {"class_name": call.kind, "config": dict(call.config)}


def _ways(call: Call) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configurations of both directions; Keras 2 states the backward one only where it differs."""
    forward, backward = call.config.get("layer"), call.config.get("backward_layer")
    if not isinstance(forward, dict):
        raise FormatError(f"layer: expected a configuration, found {str(forward)[:80]!r}")
    if backward is None:
        return forward, forward
    turned = configuration.flag(forward, "go_backwards")
    if not isinstance(backward, dict) or configuration.flag(backward, "go_backwards") == turned:
        raise FormatError(
            f"go_backwards: expected {not turned} of the backward layer in a Bidirectional, found {turned}"
        )
    return forward, backward


def _given(call: Call, ways: Sequence[Sequence[Cell]]) -> tuple[str, str, list[list[list[str]]]]:
    """The sequence, its mask, and by direction and cell the states to start from, empty for zeros."""
    inner = call.config.get("layer") if call.kind == "Bidirectional" else None
    if configuration.flag(_item(call), "time_major") or configuration.flag(inner, "time_major"):
        raise FormatError("time_major: expected False, found True, which is not supported")
    if not call.inputs:
        raise FormatError("expected a sequence, found no input")
    x = call.cast(call.inputs[0].name, FLOAT32)
    call.expect_rank(x, 3)
    first = [one.name for one in initial(call, 2)]
    wanted, passed = [STATES[cell.kind] for cells in ways for cell in cells], bool(first)
    if not first and _stateful(call):
        first = _states(call, ways)
    if first and len(first) != sum(wanted):
        raise FormatError(f"initial_state: expected {sum(wanted)} tensors, found {len(first)}")
    states: list[list[list[str]]] = []
    for cells in ways:
        own = []
        for cell in cells:
            count = STATES[cell.kind]
            own.append(first[:count])
            first = first[count:]
        states.append([one for one in own if one])
    # Keras 3 looks for masks where a call has one tensor alone; what comes out carries the mask all the same.
    mask = "" if call.keras3 and passed and call.arguments.get("mask") is None else call.mask
    return x, call.cast(mask, BOOL) if mask else "", states


def initial(call: Call, rank: int) -> list[Tensor]:
    """The states that a call starts from, each of `rank` dimensions; none where it says none."""
    given = call.arguments.get("initial_state")
    if given is None:
        return list(call.inputs[1:])
    return [one for one in call.several("initial_state", flat(given), rank) if one]


def flat(tree: Any) -> list[Tensor]:
    """The tensors in an argument, which may hold nothing else."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, (list, tuple)):
        return [tensor for one in tree for tensor in flat(one)]
    if tree is None:
        return []
    raise FormatError(f"expected tensors of the model, found {str(tree)[:80]!r}")


def _stateful(call: Call) -> bool:
    inner = call.config.get("layer") if call.kind == "Bidirectional" else None
    return call.flag("stateful", False) or (isinstance(inner, dict) and configuration.flag(inner, "stateful"))


def _state_names(call: Call, ways: Sequence[Sequence[Cell]]) -> list[tuple[str, int]]:
    """A name for each state of a layer that keeps them, and its size."""
    found = []
    for d, cells in enumerate(ways):
        for k, cell in enumerate(cells):
            for one in "hc"[: STATES[cell.kind]]:
                way = ("forward_", "backward_")[d] if len(ways) == 2 else ""
                found.append((f"{call.name}.{way}{one}{k if len(cells) > 1 else ''}", cell.units))
    return found


def _states(call: Call, ways: Sequence[Sequence[Cell]]) -> list[str]:
    """The states of a layer that keeps them, as inputs of the model; a second call goes on from the first."""
    batch = call.shape(call.inputs[0].name)[0]
    memory = call.held.memory
    if "states" not in memory:
        names = _state_names(call, ways)
        memory["state names"] = [name for name, _ in names]
        size = batch if type(batch) is int else "batch"
        memory["states"] = [call.reader.input(Value(f"{name}.in", FLOAT32, (size, units))) for name, units in names]
    found: list[str] = memory["states"]
    return found


def _keep(call: Call, finals: Sequence[Sequence[Sequence[str]]]) -> None:
    """The last states of a layer that keeps them are outputs of the model."""
    if not _stateful(call) or "state names" not in call.held.memory:
        return
    last = [one for cells in finals for cell in cells for one in cell]
    call.held.memory["states"] = last
    call.reader.states.update(zip((f"{name}.out" for name in call.held.memory["state names"]), last))
