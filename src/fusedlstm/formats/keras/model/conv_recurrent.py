"""ConvLSTM layers: those over one or two axes as one node, others step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import FormatError
from .. import config as configuration
from .. import conv_lstm
from ..layers import config_of
from .activations import activated
from .call import FLOAT32, Call, Held, Tensor
from .pooling import channels_first
from .recurrent import initial, merged
from .registry import Made, layer

_MOST_STEPS = 256
_MANY = 3  # axes that the engine has no kernel for


@layer("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def _conv_lstm(call: Call) -> Made:
    rank = int(call.kind[-2])
    if call.flag("stateful", False) or call.mask:
        raise FormatError("expected a layer without masks that keeps no state, found stateful=True or a mask")
    x = call.cast(call.inputs[0].name, FLOAT32)
    call.expect_rank(x, rank + 3)
    first = initial(call, rank + 2)
    if len(first) not in (0, 2):
        raise FormatError(f"initial_state: expected h and c, found {len(first)} tensors")
    run = _whole if rank < _MANY else _by_steps
    y, last = run(call, x, [one.name for one in first], rank)
    out = [Tensor(y if call.flag("return_sequences", False) else last[0])]
    return [*out, *map(Tensor, last)] if call.flag("return_state", False) else out


def _whole(call: Call, x: str, first: Sequence[str], rank: int) -> tuple[str, list[str]]:
    """One node, channels last, forward."""
    known = conv_lstm.options({"class_name": call.kind, "config": call.config}, call.version)
    kernels = call.once(lambda: _kernels(call, rank))
    turns = channels_first(call)
    if turns:
        x, *first = (call.transpose(one, *_channels(call.rank(one), rank, -1)) for one in (x, *first))
    if known["reverse"]:
        x = call.flip(x, 1)
    options = {"strides": known["strides"], "dilations": known["dilation"]}
    options |= {name: known[name] for name in ("padding", "gate", "candidate", "output")}
    bias = ("",) if len(kernels) < 3 and first else ()
    y, *last = call.ops("fusedlstm.ConvLSTM", (x, *kernels, *bias, *first), 3, **options)
    if turns:
        y, *last = (call.transpose(one, *_channels(call.rank(one), rank, 1)) for one in (y, *last))
    return y, last


def _channels(axes: int, rank: int, way: int) -> list[int]:
    """The order of axes with channels moved behind those of space, or before them."""
    lead, space = list(range(axes - rank - 1)), list(range(axes - rank, axes))
    return [*lead, *space, axes - rank - 1] if way < 0 else [*lead, axes - 1, *range(axes - rank - 1, axes - 1)]


def _kernels(call: Call, rank: int) -> list[str]:
    """The kernels for x and h, gates first, and the bias."""
    kernel, recurrent, *bias = _variables(call, rank)
    return [*(call.constant(np.moveaxis(one, -1, 0)) for one in (kernel, recurrent)), *map(call.constant, bias)]


def _by_steps(call: Call, x: str, first: Sequence[str], rank: int) -> tuple[str, list[str]]:
    time = call.shape(x)[1]
    if type(time) is not int or not 1 <= time <= _MOST_STEPS:
        raise FormatError(f"expected a number of steps that is known, of at most {_MOST_STEPS}, found {time}")
    kernel, recurrent = call.once(lambda: _constants(call, rank))
    inputs = _inputs(call, x, kernel, rank, time)
    states = [_front(call, one) for one in first]
    steps: list[str] = []
    for one in reversed(inputs) if call.flag("go_backwards", False) else inputs:
        states = _step(call, one, states, recurrent)
        steps.append(states[0])
    last = [_back(call, one) for one in states]
    if not call.flag("return_sequences", False):
        return last[0], last
    return call.op("Concat", *(call.unsqueeze(_back(call, one), 1) for one in steps), axis=1), last


def _front(call: Call, x: str) -> str:
    rank = call.rank(x)
    return x if channels_first(call) else call.transpose(x, 0, rank - 1, *range(1, rank - 1))


def _back(call: Call, x: str) -> str:
    rank = call.rank(x)
    return x if channels_first(call) else call.transpose(x, 0, *range(2, rank), 1)


def _constants(call: Call, rank: int) -> tuple[list[str], str]:
    """The kernel and bias for x, the kernel for h, as ONNX has them."""
    kernel, recurrent, *bias = _variables(call, rank)
    own = [call.constant(np.moveaxis(kernel, (-1, -2), (0, 1))), *map(call.constant, bias)]
    return own, call.constant(np.moveaxis(recurrent, (-1, -2), (0, 1)))


def _variables(call: Call, rank: int) -> list[Any]:
    cell = call.held.weights.part("cell")
    found = cell.read(*("kernel", "recurrent_kernel", "bias")[: 3 if call.flag("use_bias", True) else 2])
    filters, taps = call.whole("filters"), call.sizes("kernel_size", rank)
    kernel, recurrent = (one.shape for one in found[:2])
    if kernel[:rank] != taps or recurrent != (*taps, filters, 4 * filters) or len(kernel) != rank + 2:
        raise FormatError(f"expected kernels of {taps} taps, found {kernel} and {recurrent}")
    return list(found)


def _inputs(call: Call, x: str, kernel: Sequence[str], rank: int, time: int) -> list[str]:
    """What x adds to the gates in each step: one convolution of all steps."""
    rest: list[Any] = list(call.shape(x)[2:])
    if not all(type(size) is int for size in rest):
        raise FormatError(f"expected sizes that are known, found {call.shape(x)}")
    padding = {"valid": "VALID", "same": "SAME_UPPER"}[call.choice("padding", "valid", "same")]
    options = {"strides": call.sizes("strides", rank, 1), "dilations": call.sizes("dilation_rate", rank, 1)}
    y = call.op("Conv", _front(call, call.reshape(x, -1, *rest)), *kernel, auto_pad=padding, **options)
    sizes: list[Any] = list(call.shape(y)[1:])
    y = call.reshape(y, -1, time, *sizes)
    return [call.squeeze(call.slice(y, 1, k, k + 1), 1) for k in range(time)]


def _step(call: Call, x: str, states: Sequence[str], recurrent: str) -> list[str]:
    """The states after a step; gates i, f, c, o."""
    gate, candidate = call.value("recurrent_activation"), call.value("activation")
    sums = x
    if states:
        sums = call.op("Add", x, call.op("Conv", states[0], recurrent, auto_pad="SAME_UPPER"))
    i, f, g, o = call.ops("Split", [sums], 4, axis=1, num_outputs=4)
    new = call.op("Mul", activated(call, i, gate), activated(call, g, candidate))
    if states:
        new = call.op("Add", call.op("Mul", activated(call, f, gate), states[1]), new)
    return [call.op("Mul", activated(call, o, gate), activated(call, new, candidate)), new]


def bidirectional(call: Call, forward: dict[str, Any], backward: dict[str, Any]) -> Made:
    """Two of them, the backward one's output turned back."""
    sequences = configuration.flag(forward, "return_sequences")
    if configuration.flag(forward, "return_state") or call.arguments.get("initial_state") is not None:
        raise FormatError("expected a Bidirectional ConvLSTM without states, found return_state or initial_state")
    outputs = []
    for way, item in (("forward_layer", forward), ("backward_layer", backward)):
        held = call.once(lambda way=way: Held(call.held.weights.part(way)), way)  # type: ignore[misc]
        config = {**config_of(item), "go_backwards": way == "backward_layer"}
        (y, *_) = _conv_lstm(call.with_(kind=item["class_name"], config=config, held=held))
        outputs.append(call.flip(y.name, 1) if sequences and way == "backward_layer" else y.name)
    return merged(call, outputs)
