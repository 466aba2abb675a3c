"""The neutral form of a trained ConvLSTM, as lstm.py has it for the LSTM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .assumption import Assumption
from .cell import SIGMOID, TANH, Activation
from .checked import Checked, FloatArray, expect, expect_type, float32

_LARGEST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class ConvLSTMWeights(Checked):
    """A ConvLSTM over one or two spatial axes, float32, gates in the order i, f, g, o.

    With ``*`` for the convolution of deep learning (the kernel is not turned round), F filters, and at each position
    of the grid::

        z   = weight_ih * x_t + weight_hh * h_{t-1} + bias
        i, f, g, o = gate(z_i), gate(z_f), candidate(z_g), gate(z_o)
        c_t = f c_{t-1} + i g
        h_t = o output(c_t)

    as Shi et al. 2015 (https://arxiv.org/abs/1506.04214) without their peepholes, which neither Keras nor Flax has. The
    convolution of x is the one described here; that of h has stride 1 and zeros around it, so that h keeps its size.

    Parameters
    ----------
    weight_ih : array_like, shape (4F, kernel..., channels)
        Input kernel.
    weight_hh : array_like, shape (4F, kernel..., F)
        Recurrent kernel.
    bias : array_like, shape (4F,), optional
        The sum of all biases that a framework adds to the gates, Flax's 1 on the forget gate as well.
    strides, dilation : sequence of int, optional
        For each spatial axis. Default: 1.
    padding : str
        ``"same"``: zeros around x, so that there is an output for each stride begun (where their number is odd, the
        end gets one more). ``"valid"``: none.
    channels_first : bool
        Whether frames are (channels, space...) rather than (space..., channels).
    reverse : bool
        Whether it runs from the last step to the first. Outputs stay at the steps they belong to.
    flip_output : bool
        With `reverse`: y in the order in which it was computed instead (Keras's go_backwards).
    gate, candidate, output : Activation
        Of i, f and o; of g; and of c on its way into h.
    assumed : sequence of Assumption
        What of this the source did not say.

    Raises
    ------
    TypeError
        An array is not of a floating type.
    ValueError
        Shapes or options that do not fit together.
    """

    weight_ih: FloatArray
    weight_hh: FloatArray
    bias: FloatArray | None = None
    strides: Sequence[int] | None = None
    dilation: Sequence[int] | None = None
    padding: str = "same"
    channels_first: bool = False
    reverse: bool = False
    flip_output: bool = False
    gate: Activation = SIGMOID
    candidate: Activation = TANH
    output: Activation = TANH
    assumed: Sequence[Assumption] = ()

    def __repr__(self) -> str:
        """Show the shapes; the arrays may be long."""
        arrays = {"weight_ih": self.weight_ih, "weight_hh": self.weight_hh, "bias": self.bias}
        shapes = [f"{name}={array.shape}" for name, array in arrays.items() if array is not None]
        return f"{type(self).__name__}({', '.join(shapes)}, strides={self.strides}, padding={self.padding!r})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "assumed", tuple(self.assumed))
        shape = getattr(self.weight_hh, "shape", ())
        if len(shape) not in (3, 4):
            raise ValueError(f"weight_hh: expected (4 filters, *kernel, filters) with 1 or 2 axes, found shape {shape}")
        for name in ("weight_ih", "weight_hh"):
            object.__setattr__(self, name, float32(name, getattr(self, name), len(shape)))
            if 0 in getattr(self, name).shape:
                raise ValueError(f"{name}: expected sizes of 1 or more, found shape {getattr(self, name).shape}")
        expect("weight_hh", self.weight_hh, (4 * self.filters, *self.weight_hh.shape[1:]))
        expect("weight_ih", self.weight_ih, (4 * self.filters, *self.weight_ih.shape[1:]))
        if self.bias is not None:
            object.__setattr__(self, "bias", float32("bias", self.bias, 1))
            expect("bias", self.bias, (4 * self.filters,))
        for name in ("strides", "dilation"):
            given = getattr(self, name)
            value = (1,) * self.rank if given is None else tuple(given)
            if len(value) != self.rank or not all(type(n) is int and 1 <= n <= _LARGEST for n in value):
                raise ValueError(f"{name}: expected {self.rank} whole number(s) of 1 or more, found {value}")
            object.__setattr__(self, name, value)
        if self.padding not in ("same", "valid"):
            raise ValueError(f"padding: expected 'same' or 'valid', found {self.padding!r}")
        if self.flip_output and not self.reverse:
            raise ValueError("flip_output: expected reverse beside it")
        for name in ("gate", "candidate", "output"):
            expect_type(name, getattr(self, name), Activation)

    @property
    def plain(self) -> bool:
        """Whether the activations are sigmoid and tanh."""
        return (self.gate, self.candidate, self.output) == (SIGMOID, TANH, TANH)

    @property
    def rank(self) -> int:
        """Spatial axes, 1 or 2."""
        return self.weight_hh.ndim - 2

    @property
    def channels(self) -> int:
        """Channels of x."""
        return int(self.weight_ih.shape[-1])

    @property
    def filters(self) -> int:
        """Channels of y, h and c."""
        return int(self.weight_hh.shape[-1])

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Size of the input kernel."""
        return tuple(self.weight_ih.shape[1:-1])

    @property
    def num_parameters(self) -> int:
        """Numbers stored (biases counted once, as they are summed)."""
        return self.weight_ih.size + self.weight_hh.size + (0 if self.bias is None else self.bias.size)

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """The spatial size of y, h and c for frames of `size`; below 1 where a frame is smaller than a window."""
        assert self.strides is not None and self.dilation is not None
        return tuple(
            -(-length // stride) if self.padding == "same" else (length - (kernel - 1) * dilation - 1) // stride + 1
            for length, kernel, stride, dilation in zip(size, self.kernel_size, self.strides, self.dilation)
        )
