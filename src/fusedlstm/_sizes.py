"""What an LSTM says of its sizes."""

from __future__ import annotations

from .weights import LSTMWeights


class Sizes:
    """The sizes of an LSTM, its layout and precision, as its weights have them."""

    __slots__ = ()

    weights: LSTMWeights

    @property
    def input_size(self) -> int:
        """Features of x at each step."""
        return self.weights.input_size

    @property
    def hidden_size(self) -> int:
        """Units of each direction; where layers differ, those of the last one."""
        return self.weights.hidden_size

    @property
    def output_size(self) -> int:
        """Features of y at each step: those of all directions, unless they are merged."""
        return self.weights.output_size

    @property
    def num_layers(self) -> int:
        """Stacked layers."""
        return self.weights.num_layers

    @property
    def bidirectional(self) -> bool:
        """Whether there is a backward direction."""
        return self.weights.bidirectional

    @property
    def proj_size(self) -> int:
        """Size of the projected hidden state; 0 without a projection."""
        return self.weights.proj_size

    @property
    def batch_first(self) -> bool:
        """Whether x is (batch, time, input) rather than (time, batch, input)."""
        return self.weights.batch_first

    @property
    def dtype(self) -> str:
        """The precision of the packed weights: ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"int8"``."""
        return self.weights.dtype
