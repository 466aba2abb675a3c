"""The modules that take the place of PyTorch's: the same parameters and hooks, another way to compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn.modules import rnn as originals
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .exchange import TYPE, RefusedError, back, plain
from .fused import Fused
from .operators import lstm, rnn
from .packs import PackedLSTM, PackedRNN, Tensors

_FAILED = (RuntimeError, ValueError, TypeError, RefusedError)


def names_of(module: Any) -> Sequence[str]:
    """The parameters of a module or cell, in the order of PyTorch's operators."""
    found: Sequence[str] = getattr(module, "_flat_weights_names", Cell.names)
    return found


class Accelerated:
    """What they have in common; a module becomes one by its class, and stays the object that it was."""

    original: Any
    """The class that it was."""
    kind: str
    names: Sequence[str]
    """Of the parameters, in the order of PyTorch's operators."""

    training: bool
    batch_first: bool
    _fused: Fused
    _parameters: dict[str, Any]

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As the original; what it runs is said in docs/integrations.md."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return self._traced(input, hx)
        if self._may(input, hx):
            fused = self._fused
            try:
                found = self._run(fused.of(self._parameters, self._pack), input, hx)
            except _FAILED as error:
                fused.why = str(error)
            else:
                fused.why = ""
                return found
        return self.original.forward(self, input, hx)

    def extra_repr(self) -> str:
        """The original's, and who runs it."""
        shown: str = super().extra_repr()  # type: ignore[misc]
        dtype = self._fused.dtype
        return f"{shown}, by fusedlstm{f' in {dtype}' if dtype else ''}"

    def train(self, mode: bool = True) -> Any:
        """Whoever trains may write to weights in ways that nobody counts."""
        if mode != self.training:
            self._fused.forget()
        return super().train(mode)  # type: ignore[misc]

    def _may(self, x: Any, hx: Any) -> bool:
        """Whether a call may run here."""
        if self.training:
            self._fused.why = "in training"
        elif torch.is_grad_enabled() and self._wants_gradient(x, hx):
            self._fused.why = "with gradients"
        elif torch.is_autocast_enabled("cpu"):
            self._fused.why = "under autocast"
        elif forward_ad._current_level >= 0:
            self._fused.why = "under forward-mode differentiation"
        else:
            return True
        return False

    def _wants_gradient(self, x: Any, hx: Any) -> bool:
        states = () if hx is None else hx if isinstance(hx, (tuple, list)) else (hx,)
        return any(getattr(one, "requires_grad", False) for one in (x, *states, *self._parameters.values()))

    def _pack(self, tensors: Tensors, dtype: Any, products: Any) -> Any:
        names = [name for name in self.names if name in tensors]
        lacking = [name for name in self.names if name not in tensors and self._needs(name)]
        if lacking or len(names) != len(tensors):
            raise RefusedError(f"parameters {', '.join(tensors)}: expected {', '.join(self.names)}")
        ordered = {name: tensors[name] for name in names}
        return (
            PackedLSTM(ordered, dtype, products)
            if self.kind == "lstm"
            else PackedRNN(self.kind, ordered, dtype, products)
        )

    def _needs(self, name: str) -> bool:
        """Whether one that is not there is computed in each call, or missing; biases of a cell may be None."""
        return name.startswith("weight") or name not in self._parameters

    def _run(self, packed: Any, x: Any, hx: Any) -> Any:
        raise NotImplementedError

    def _states(self, hx: Any, dtype: Any) -> list[Any]:
        """The states that a call was given, plain; none where it was given none."""
        if hx is None:
            return []
        parts = hx if self.kind == "lstm" else (hx,)
        if not isinstance(parts, (tuple, list)) or len(parts) != (2 if self.kind == "lstm" else 1):
            raise RefusedError(f"hx of type {type(hx).__name__}")
        return [plain("hx", one, dtype) for one in parts]

    def _final(self, states: Sequence[Any]) -> Any:
        return tuple(states) if self.kind == "lstm" else states[0]

    def _traced(self, x: Any, hx: Any) -> Any:
        """A node of the program that is being made."""
        if not self._traceable(x, hx):
            return self._untraced(x, hx)
        cell = not self.names[0].endswith("_l0")
        names = [name for name in self.names if getattr(self, name, None) is not None]
        weights = [getattr(self, name) for name in names]
        states = () if hx is None else hx if self.kind == "lstm" else (hx,)
        alone = x.dim() == (1 if cell else 2)
        first = not cell and self.batch_first
        if alone:
            x, states = x.unsqueeze(0 if first or cell else 1), [one.unsqueeze(0 if cell else 1) for one in states]
        if cell:
            x, states = x.unsqueeze(0), [one.unsqueeze(0) for one in states]
        if not states:
            batch, count = x.shape[0 if first else 1], sum(name.startswith("weight_hh") for name in names)
            sizes = [getattr(self, "proj_size", 0) or self.hidden_size, self.hidden_size]  # type: ignore[attr-defined]
            states = [x.new_zeros(count, batch, size) for size in sizes[: 2 if self.kind == "lstm" else 1]]
        options = (weights, ",".join(names), first, self._fused.dtype or "", self._fused.products or "")
        y, *final = lstm(x, *states, *options) if self.kind == "lstm" else rnn(x, *states, *options, self.kind)
        if alone and not cell:
            y = y.squeeze(0 if first else 1)
        for axis in ([0] if cell else []) + ([0 if cell else 1] if alone else []):
            final = [one.squeeze(axis) for one in final]
        return self._final(final) if cell else (y, self._final(final))

    def _traceable(self, x: Any, hx: Any) -> bool:
        weight = getattr(self, self.names[0])
        if self.training or torch.is_autocast_enabled("cpu") or isinstance(x, PackedSequence):
            return False
        if x.device.type != "cpu" or weight.device.type != "cpu" or x.dtype != weight.dtype:
            return False
        if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            return False
        # What is exported or traced is run later; what is compiled, now.
        later = torch.compiler.is_exporting() or torch.jit.is_tracing()
        return later or not (torch.is_grad_enabled() and self._wants_gradient(x, hx))

    def _untraced(self, x: Any, hx: Any) -> Any:
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            return self.original.forward(self, x, hx)
        return self._eager(x, hx)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _eager(self, x: Any, hx: Any) -> Any:
        """Outside of what is compiled, as torch.compile leaves PyTorch's own."""
        return self.original.forward(self, x, hx)


class Layer(Accelerated):
    """Modules of whole sequences."""

    @property
    def names(self) -> Any:  # type: ignore[override]
        return names_of(self)

    def _run(self, packed: Any, x: Any, hx: Any) -> Any:
        held = self._fused.held
        states = self._states(hx, held)
        if isinstance(x, PackedSequence):
            return self._run_packed(packed, x, states)
        y, *final = back(packed.run(plain("input", x, held), states, None, self.batch_first), held)
        return y, self._final(final)

    def _run_packed(self, packed: Any, x: Any, states: Sequence[Any]) -> Any:
        """Rows by their lengths, as they are sorted in it."""
        data, batch_sizes, order, back_again = x
        held = self._fused.held
        padded, lengths = pad_packed_sequence(PackedSequence(plain("input", data, held), batch_sizes))
        if order is not None:
            states = [one.index_select(1, order) for one in states]
        y, *final = back(packed.run(padded, states, lengths.numpy(), False), held)
        if back_again is not None:
            final = [one.index_select(1, back_again) for one in final]
        return PackedSequence(pack_padded_sequence(y, lengths).data, batch_sizes, order, back_again), self._final(final)


class LSTM(Layer, originals.RNNBase):  # type: ignore[misc]
    """A ``torch.nn.LSTM``."""

    original, kind = originals.LSTM, "lstm"
    # Not a subclass of the original, which torch.compile does not look into.
    check_forward_args = original.check_forward_args
    get_expected_cell_size = original.get_expected_cell_size
    permute_hidden = original.permute_hidden

    def _run(self, packed: Any, x: Any, hx: Any) -> Any:
        if packed.direct is not None and not isinstance(x, PackedSequence):
            h, c = (None, None) if hx is None else hx
            found = packed.direct(TYPE, x, self.batch_first, h, c, None)
            if found is not None:
                y, h, c = found
                return y, (h, c)
        return super()._run(packed, x, hx)


class GRU(Layer, originals.RNNBase):  # type: ignore[misc]
    """A ``torch.nn.GRU``."""

    original, kind = originals.GRU, "gru"


class RNN(Layer, originals.RNNBase):  # type: ignore[misc]
    """A ``torch.nn.RNN``."""

    original = originals.RNN

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.mode.lower()  # type: ignore[no-any-return]


class Cell(Accelerated):
    """Modules of one step."""

    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

    def _run(self, packed: Any, x: Any, hx: Any) -> Any:
        held = self._fused.held
        return self._final(back(packed.step(plain("input", x, held), self._states(hx, held)), held))


class LSTMCell(Cell, originals.RNNCellBase):  # type: ignore[misc]
    """A ``torch.nn.LSTMCell``."""

    original, kind = originals.LSTMCell, "lstm"

    def _run(self, packed: Any, x: Any, hx: Any) -> Any:
        if packed.step_direct is not None:
            h, c = (None, None) if hx is None else hx
            found = packed.step_direct(TYPE, x, h, c)
            if found is not None:
                return found
        return super()._run(packed, x, hx)


class GRUCell(Cell, originals.RNNCellBase):  # type: ignore[misc]
    """A ``torch.nn.GRUCell``."""

    original, kind = originals.GRUCell, "gru"


class RNNCell(Cell, originals.RNNCellBase):  # type: ignore[misc]
    """A ``torch.nn.RNNCell``."""

    original = originals.RNNCell

    @property
    def kind(self) -> str:  # type: ignore[override]
        return f"rnn_{self.nonlinearity}"
