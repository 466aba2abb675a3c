"""The modules that take the place of PyTorch's: same parameters, same hooks, another way to compute."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn.modules import rnn as originals

from ..lstm import LSTM as Engine
from .fused import Fused, RefusedError, Tensors


class Accelerated:
    """What they have in common; a module becomes one by its class, and stays the object that it was."""

    original: Any
    """The class that it was."""
    _fused: Fused
    training: bool

    def _may(self, x: Any, state: Any) -> bool:
        """Whether a call may run here: not where gradients, other devices or precisions are at work."""
        if self.training:
            self._fused.why = "in training"
        elif torch.is_grad_enabled() and self._wants_gradient(x, state):
            self._fused.why = "with gradients"
        elif torch.is_autocast_enabled("cpu"):
            self._fused.why = "under autocast"
        elif forward_ad._current_level >= 0:
            self._fused.why = "under forward-mode differentiation"
        else:
            return True
        return False

    def _wants_gradient(self, x: Any, state: Any) -> bool:
        tensors = (x, *(state or ()), *self._parameters.values())  # type: ignore[attr-defined]
        return any(one is not None and one.requires_grad for one in tensors)

    def extra_repr(self) -> str:
        shown: str = super().extra_repr()  # type: ignore[misc]
        dtype = self._fused.dtype
        return f"{shown}, runs in fusedlstm{f' as {dtype}' if dtype else ''}"

    def train(self, mode: bool = True) -> Any:
        """Whoever trains may write to weights in ways that nobody counts."""
        if mode != self.training:
            self._fused.forget()
        return super().train(mode)  # type: ignore[misc]


class LSTM(Accelerated, originals.RNNBase):  # type: ignore[misc]
    """A ``torch.nn.LSTM`` that runs here."""

    original = originals.LSTM
    check_forward_args = original.check_forward_args
    get_expected_cell_size = original.get_expected_cell_size
    permute_hidden = original.permute_hidden

    def forward(self, input: Any, hx: Any = None) -> Any:
        if self._may(input, hx):
            try:
                lstm = self._fused.of(self._parameters, pack_lstm)
                state = None if hx is None else (hx[0].numpy(), hx[1].numpy())
                y, (h, c) = lstm(input.numpy(), state)
                return torch.from_numpy(y), (torch.from_numpy(h), torch.from_numpy(c))
            except (RuntimeError, ValueError, TypeError, RefusedError) as error:
                self._fused.why = str(error)
        return self.original.forward(self, input, hx)


def pack_lstm(tensors: Tensors, fused: Fused) -> Engine:
    engine = Engine.from_state_dict(tensors, "", batch_first=True)
    return engine
