"""One direction of one layer: its arrays, and what its step computes where it differs from the plain cell.

Every variant is one choice in a single cell, in this order::

    z = W x + R h + b                          each side normalised on its own first if gate_norm == "sides"
    z_i += peephole_i c;  z_f += peephole_f c
    z = norm(z) gain + b                       if gate_norm == "gates": each gate by itself, the bias after it
    z = clip(z, gate_clip)                     z_o below as well
    i, f, g = gate(z_i), gate(z_f), candidate(z_g)      coupled: f = 1 - i, or i = 1 - f
    c = clip(f c + i g, cell_clip);  c = norm(c) if cell_norm == "carried"
    o = gate(z_o + peephole_o c)               normalised and clipped like the others
    m = o output(c)                            output(norm(c)) if cell_norm == "output"
    h = clip(weight_hr m + bias_hr, projection_clip)    or m without a projection
    c, h = zoneout c_before + (1 - zoneout) c, the same for h
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from .checked import Checked, FloatArray, expect, expect_type, float32

ARRAYS = (
    *("weight_ih", "weight_hh", "bias", "weight_hr", "bias_hr"),
    *("peephole_i", "peephole_f", "peephole_o", "norm_ih", "norm_hh", "norm_c", "norm_c_bias"),
)
"""The arrays that a direction may have, by field name."""

FUNCTIONS: dict[str, tuple[float, float]] = {
    "affine": (1.0, 0.0),
    "clipped_relu": (6.0, 0.0),
    "elu": (1.0, 0.0),
    "exponential": (0.0, 0.0),
    "gelu": (0.0, 0.0),
    "gelu_tanh": (0.0, 0.0),
    "hard_sigmoid": (0.2, 0.5),
    "leaky_relu": (0.01, 0.0),
    "mish": (0.0, 0.0),
    "relu": (0.0, 0.0),
    "scaled_tanh": (1.0, 1.0),
    "selu": (1.6732632423543772, 1.0507009873554805),
    "sigmoid": (0.0, 0.0),
    "silu": (0.0, 0.0),
    "softplus": (0.0, 0.0),
    "softsign": (0.0, 0.0),
    "tanh": (0.0, 0.0),
    "thresholded_relu": (1.0, 0.0),
}
"""Names with their default alpha and beta, ONNX's where ONNX has them (0 where there is none)."""


@dataclass(frozen=True)
class Activation(Checked):
    """An element-wise function with up to two parameters.

    With a and b for alpha and beta (definitions and defaults:
    https://onnx.ai/onnx/operators/onnx__LSTM.html, and Keras for the last seven)::

        affine a x + b              relu max(0, x)           leaky_relu x if x >= 0 else a x
        thresholded_relu x if x >= a else 0                  elu x if x >= 0 else a (exp(x) - 1)
        sigmoid 1 / (1 + exp(-x))   tanh                     scaled_tanh a tanh(b x)
        hard_sigmoid min(max(a x + b, 0), 1)                 softsign x / (1 + |x|)
        softplus log(1 + exp(x))    silu x sigmoid(x)        exponential exp(x)
        clipped_relu min(max(x, 0), a)                       selu b x if x >= 0 else b a (exp(x) - 1)
        mish x tanh(log(1 + exp(x)))
        gelu x normal_cdf(x)        gelu_tanh  x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2

    Parameters
    ----------
    name : str
        One of `FUNCTIONS`.
    alpha, beta : float, optional
        Default: those of `FUNCTIONS`.

    Raises
    ------
    ValueError
        An unknown name, or a parameter that is not finite.
    """

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if self.name not in FUNCTIONS:
            raise ValueError(f"activation: expected one of {', '.join(FUNCTIONS)}, found {self.name!r}")
        for name, default in zip(("alpha", "beta"), FUNCTIONS[self.name]):
            value = getattr(self, name)
            object.__setattr__(self, name, default if value is None else float(value))
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"activation {self.name}: expected a finite {name}, found {value}")

    def __str__(self) -> str:
        """The name, with the parameters that are not the default ones."""
        found, usual = {"alpha": self.alpha, "beta": self.beta}, FUNCTIONS[self.name]
        unusual = [f"{name}={value:g}" for (name, value), default in zip(found.items(), usual) if value != default]
        return self.name + (f"({', '.join(unusual)})" if unusual else "")


SIGMOID, TANH = Activation("sigmoid"), Activation("tanh")


@dataclass(frozen=True)
class Cell(Checked):
    """How one direction of one layer differs from the plain cell; the defaults are the plain cell.

    Parameters
    ----------
    gate, candidate, output : Activation
        Of i, f and o; of g; and of c on its way into h.
    coupled : str
        ``"forget"``: f = 1 - i (ONNX's input_forget). ``"input"``: i = 1 - f (TFLite's CIFG). The coupled gate's own
        weights are not used.
    gate_clip, cell_clip, projection_clip : float
        Limits of the pre-activations, the cell state and the projected hidden state; inf: none.
    gate_norm : str
        Layer normalisation of the pre-activations: ``"gates"``: each gate's sum by itself, the bias added afterwards
        (TFLite); ``"sides"``: W x and R h each over all four gates, then the sum (TensorFlow Addons, Haste).
    cell_norm : str
        Layer normalisation of the cell state: ``"carried"``: the normalised c is the new state (TensorFlow Addons);
        ``"output"``: only h sees it (Haste).
    norm_epsilon : float
        Added to the variance.
    cell_zoneout, hidden_zoneout : float
        The share of the old c and h that stays, 0 to 1 (Krueger et al. 2017, at inference).

    Raises
    ------
    ValueError
        A value outside of what is listed.
    """

    gate: Activation = SIGMOID
    candidate: Activation = TANH
    output: Activation = TANH
    coupled: str = ""
    gate_clip: float = math.inf
    cell_clip: float = math.inf
    projection_clip: float = math.inf
    gate_norm: str = ""
    cell_norm: str = ""
    norm_epsilon: float = 0.0
    cell_zoneout: float = 0.0
    hidden_zoneout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("gate", "candidate", "output"):
            expect_type(name, getattr(self, name), Activation)
        for name, choices in (
            ("coupled", ("", "forget", "input")),
            ("gate_norm", ("", "gates", "sides")),
            ("cell_norm", ("", "carried", "output")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {choices}, found {getattr(self, name)!r}")
        for name in ("gate_clip", "cell_clip", "projection_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a number above 0, found {getattr(self, name)}")
        for name in ("cell_zoneout", "hidden_zoneout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share from 0 to 1, found {getattr(self, name)}")
        if not 0 <= self.norm_epsilon < math.inf:
            raise ValueError(f"norm_epsilon: expected 0 or more, found {self.norm_epsilon}")

    @property
    def differences(self) -> dict[str, object]:
        """The choices that are not the plain cell's, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


PLAIN = Cell()


@dataclass(frozen=True, eq=False)
class DirectionWeights(Checked):
    """The weights of one layer in one direction, float32, gates in the order i, f, g, o.

    With H the hidden size, P the projection size (P = H without a projection)::

        z   = weight_ih @ x_t + weight_hh @ h_{t-1} + bias
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
        c_t = f * c_{t-1} + i * g
        h_t = weight_hr @ (o * tanh(c_t))          (without weight_hr: o * tanh(c_t))

    as in https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html. Where `cell` says otherwise, or arrays of
    variants are given, the step is that of the head of this module.

    Parameters
    ----------
    weight_ih : array_like, shape (4H, input)
        Input weights.
    weight_hh : array_like, shape (4H, P)
        Recurrent weights.
    bias : array_like, shape (4H,), optional
        The sum of all biases that a framework adds to the gates.
    weight_hr : array_like, shape (P, H), optional
        The projection of the hidden state.
    bias_hr : array_like, shape (P,), optional
        Its bias.
    peephole_i, peephole_f, peephole_o : array_like, shape (H,), optional
        Weights from c to the input, forget and output gate; the last one sees the new c.
    norm_ih, norm_hh : array_like, shape (4H,), optional
        Gains of the layer normalisation: with ``cell.gate_norm == "gates"`` norm_ih alone, with ``"sides"`` both.
        Offsets are part of `bias`.
    norm_c, norm_c_bias : array_like, shape (H,), optional
        Gain and offset of the normalised cell state, where ``cell.cell_norm`` asks for one.
    cell : Cell
        What is not as above.

    Raises
    ------
    TypeError
        An array is not of a floating type.
    ValueError
        Shapes that do not fit together.
    """

    weight_ih: FloatArray
    weight_hh: FloatArray
    bias: FloatArray | None = None
    weight_hr: FloatArray | None = None
    bias_hr: FloatArray | None = None
    peephole_i: FloatArray | None = None
    peephole_f: FloatArray | None = None
    peephole_o: FloatArray | None = None
    norm_ih: FloatArray | None = None
    norm_hh: FloatArray | None = None
    norm_c: FloatArray | None = None
    norm_c_bias: FloatArray | None = None
    cell: Cell = PLAIN

    def __repr__(self) -> str:
        """Show the shapes; the arrays may be long."""
        shapes = [f"{name}={array.shape}" for name, array in self.arrays.items()]
        cell = [f"cell={self.cell}"] if self.cell.differences else []
        return f"{type(self).__name__}({', '.join((*shapes, *cell))})"

    def __post_init__(self) -> None:
        expect_type("cell", self.cell, Cell)
        for name in ARRAYS:
            value, rank = getattr(self, name), 2 if name.startswith("weight") else 1
            if value is not None:
                object.__setattr__(self, name, float32(name, value, rank))
        rows, projected = self.weight_hh.shape
        if rows == 0 or rows % 4:
            raise ValueError(f"weight_hh: expected 4 * hidden_size rows, found shape {self.weight_hh.shape}")
        hidden = rows // 4
        if self.weight_hr is None:
            expect("weight_hh", self.weight_hh, (rows, hidden))
        else:
            expect("weight_hr", self.weight_hr, (projected, hidden))
            if projected == 0:
                raise ValueError("weight_hr: expected a projection size of 1 or more, found 0")
        expect("weight_ih", self.weight_ih, (rows, self.weight_ih.shape[1]))
        if self.weight_ih.shape[1] == 0:
            raise ValueError("weight_ih: expected an input size of 1 or more, found 0")
        for name, size in (("bias", rows), ("bias_hr", projected), ("norm_ih", rows), ("norm_hh", rows)):
            if getattr(self, name) is not None:
                expect(name, getattr(self, name), (size,))
        for name in ("peephole_i", "peephole_f", "peephole_o", "norm_c", "norm_c_bias"):
            if getattr(self, name) is not None:
                expect(name, getattr(self, name), (hidden,))
        needed = {
            "norm_ih": bool(self.cell.gate_norm),
            "norm_hh": self.cell.gate_norm == "sides",
            "norm_c": bool(self.cell.cell_norm),
        }
        for name, wanted in needed.items():
            if wanted != (getattr(self, name) is not None):
                raise ValueError(f"{name}: {'expected with' if wanted else 'unused by'} this cell's normalisation")
        if self.norm_c_bias is not None and self.norm_c is None:
            raise ValueError("norm_c_bias: expected norm_c beside it")
        if self.weight_hr is None and (self.bias_hr is not None or self.cell.projection_clip != math.inf):
            raise ValueError("bias_hr, projection_clip: expected weight_hr beside them")

    @property
    def plain(self) -> bool:
        """Whether this is PyTorch's cell: no option of `cell`, no array beyond PyTorch's."""
        return not self.differences

    @property
    def differences(self) -> list[str]:
        """What is not PyTorch's cell, in words."""
        more = [name for name in self.arrays if name not in ("weight_ih", "weight_hh", "bias", "weight_hr")]
        return [f"{name}={value}" for name, value in self.cell.differences.items()] + more

    @property
    def input_size(self) -> int:
        """Features of x at each step."""
        return int(self.weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """Units, the size of the cell state."""
        return int(self.weight_hh.shape[0]) // 4

    @property
    def output_size(self) -> int:
        """Size of the hidden state: the projection size, or the hidden size without one."""
        return int(self.weight_hh.shape[1])

    @property
    def arrays(self) -> dict[str, FloatArray]:
        """The arrays that are present, by field name."""
        return {name: getattr(self, name) for name in ARRAYS if getattr(self, name) is not None}
