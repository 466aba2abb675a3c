"""Operators for whoever traces: torch.compile, torch.export, torch.jit.trace.

They take the weights beside the input, so that a program holds them as it holds all others. A gradient through them is
that of PyTorch's own operators.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .exchange import RefusedError, back, plain
from .fused import Fused
from .packs import PackedLSTM, PackedRNN

PACKS = 64
"""Packed weights that are kept for programs, the least recently used going first."""

_packs: OrderedDict[Any, Fused] = OrderedDict()


def _packed(kind: str, weights: Sequence[Tensor], names: str, dtype: str, products: str) -> tuple[Any, Any]:
    key = (kind, names, dtype, products, *(one.data_ptr() for one in weights))
    fused = _packs.get(key)
    if fused is None:
        fused = _packs[key] = Fused(dtype or None, products or None)
        while len(_packs) > PACKS:
            _packs.popitem(last=False)
    named = dict(zip(names.split(","), weights))

    def pack(*arguments: Any) -> Any:
        return PackedLSTM(*arguments) if kind == "lstm" else PackedRNN(kind, *arguments)

    return fused.of(named, pack), fused.held


def _settings(names: str) -> tuple[bool, int, bool]:
    """Whether there are biases, how many layers there are, and whether there are two directions."""
    found = names.split(",")
    ways = 1 + any(one.endswith("_reverse") for one in found)
    return "bias_ih" in names, sum(one.startswith("weight_hh") for one in found) // ways, ways == 2


def _own(kind: str, x: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor], names: str, first: bool) -> Any:
    """What PyTorch computes."""
    biased, layers, both = _settings(names)
    given: Any = list(states) if kind == "lstm" else states[0]
    return getattr(torch.ops.aten, kind).input(x, given, list(weights), biased, layers, 0.0, False, both, first)


def _run(
    kind: str,
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    names: str,
    batch_first: bool,
    dtype: str,
    products: str,
) -> tuple[Tensor, ...]:
    try:
        packed, held = _packed(kind, weights, names, dtype, products)
        given = plain("x", x, held), [plain("state", one, held) for one in states]
        return back(packed.run(*given, None, batch_first), held)
    except (RefusedError, ValueError):
        return tuple(one.clone() for one in _own(kind, x, states, weights, names, batch_first))


@torch.library.custom_op("fusedlstm::run_lstm", mutates_args=())  # type: ignore[untyped-decorator]
def lstm(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    names: str,
    batch_first: bool,
    dtype: str,
    products: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """An LSTM of a batch of sequences: y, h and c."""
    y, h, c = _run("lstm", x, (h_0, c_0), weights, names, batch_first, dtype, products)
    return y, h, c


@torch.library.custom_op("fusedlstm::run_rnn", mutates_args=())  # type: ignore[untyped-decorator]
def rnn(
    x: Tensor,
    h_0: Tensor,
    weights: Sequence[Tensor],
    names: str,
    batch_first: bool,
    dtype: str,
    products: str,
    kind: str,
) -> tuple[Tensor, Tensor]:
    """A GRU or an RNN of a batch of sequences: y and h."""
    y, h = _run(kind, x, (h_0,), weights, names, batch_first, dtype, products)
    return y, h


@lstm.register_fake  # type: ignore[untyped-decorator]
def _(x: Any, h_0: Any, c_0: Any, weights: Any, names: str, batch_first: bool, dtype: str, products: str) -> Any:
    ways = 1 + _settings(names)[2]
    return x.new_empty((*x.shape[:-1], ways * h_0.shape[-1])), torch.empty_like(h_0), torch.empty_like(c_0)


@rnn.register_fake  # type: ignore[untyped-decorator]
def _(x: Any, h_0: Any, weights: Any, names: str, batch_first: bool, dtype: str, products: str, kind: str) -> Any:
    ways = 1 + _settings(names)[2]
    return x.new_empty((*x.shape[:-1], ways * h_0.shape[-1])), torch.empty_like(h_0)


def _remember(ctx: Any, inputs: Any, output: Any) -> None:
    lstm_inputs = len(output) == 3
    x, h_0, *more = inputs
    states = [h_0, more.pop(0)] if lstm_inputs else [h_0]
    weights, names, batch_first, *_ = more
    ctx.kind = "lstm" if lstm_inputs else more[-1]
    ctx.names, ctx.batch_first, ctx.states = names, batch_first, len(states)
    ctx.count = len(more) - 1
    ctx.save_for_backward(x, *states, *weights)


def _backward(context: Any, *gradients: Any) -> Any:
    """Of PyTorch's own operators, run again."""
    with torch.enable_grad():
        tensors = [one.detach().requires_grad_() for one in context.saved_tensors]
        x, states, weights = tensors[0], tensors[1 : 1 + context.states], tensors[1 + context.states :]
        made = _own(context.kind, x, states, weights, context.names, context.batch_first)
        found = torch.autograd.grad(made, tensors, gradients, allow_unused=True)
    return *found[: 1 + context.states], list(found[1 + context.states :]), *[None] * context.count


lstm.register_autograd(_backward, setup_context=_remember)
rnn.register_autograd(_backward, setup_context=_remember)
