"""Live PyTorch modules."""

from __future__ import annotations

import sys
from typing import Any

from ...weights import LSTMWeights
from ...weights.named import Named
from ...weights.state_dict import lstms


def from_module(module: Any) -> LSTMWeights:
    """The weights of a live ``torch.nn.LSTM`` or ``torch.nn.LSTMCell``; dropout between layers is off, as in eval mode.

    Raises
    ------
    TypeError
        Another module, a subclass included: it may compute something else.
    """
    torch = sys.modules.get("torch")  # whoever has a module has imported it
    kind: Any = type(module)
    if torch is not None and torch.nn.utils.parametrize.is_parametrized(module):
        kind = kind.__base__  # such as weight norm, which gives the module a class of its own
    if kind.__module__ == "fusedlstm.torch.modules":  # that was accelerated
        kind = kind.original
    if torch is None or kind not in (torch.nn.LSTM, torch.nn.LSTMCell):
        raise TypeError(f"expected a torch.nn.LSTM or torch.nn.LSTMCell, found {type(module).__qualname__}")
    tensors = module.state_dict()
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise ValueError(f"{name}: expected values, found a tensor on the meta device")
    named = Named(
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        lambda name: tensors[name].detach().cpu().float().numpy(),
    )
    found = lstms(named, batch_first=getattr(module, "batch_first", True))
    return found[""]()
