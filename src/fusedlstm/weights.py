"""The neutral form of a trained LSTM: NumPy arrays in one canonical order, checked.

Every file format is read into :class:`LSTMWeights`, and the engine takes nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

GATES = "ifgo"
"""The canonical gate order, PyTorch's: input, forget, cell (candidate), output."""


class FormatError(ValueError):
    """A weights file that is damaged, hostile, unsupported or not what it claims to be.

    The message names the file, the tensor, what was expected and what was found.
    """


@dataclass(frozen=True, eq=False)
class DirectionWeights:
    """The weights of one layer in one direction, float32, gates in the order i, f, g, o.

    With H the hidden size, P the projection size (P = H without a projection)::

        z   = weight_ih @ x_t + weight_hh @ h_{t-1} + bias
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
        c_t = f * c_{t-1} + i * g
        h_t = weight_hr @ (o * tanh(c_t))          (without weight_hr: o * tanh(c_t))

    as in https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html.

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

    def __post_init__(self) -> None:
        for name, rank in (("weight_ih", 2), ("weight_hh", 2), ("bias", 1), ("weight_hr", 2)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _float32(name, value, rank))
        rows, projected = self.weight_hh.shape
        if rows == 0 or rows % 4:
            raise ValueError(f"weight_hh: expected 4 * hidden_size rows, found shape {self.weight_hh.shape}")
        hidden = rows // 4
        if self.weight_hr is None:
            _expect("weight_hh", self.weight_hh, (rows, hidden))
        else:
            _expect("weight_hr", self.weight_hr, (projected, hidden))
            if projected == 0:
                raise ValueError("weight_hr: expected a projection size of 1 or more, found 0")
        _expect("weight_ih", self.weight_ih, (rows, self.weight_ih.shape[1]))
        if self.weight_ih.shape[1] == 0:
            raise ValueError("weight_ih: expected an input size of 1 or more, found 0")
        if self.bias is not None:
            _expect("bias", self.bias, (rows,))

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
        fields = ("weight_ih", "weight_hh", "bias", "weight_hr")
        return {name: getattr(self, name) for name in fields if getattr(self, name) is not None}


@dataclass(frozen=True, eq=False)
class LSTMWeights:
    """A whole LSTM: layers, each with one direction or two.

    Parameters
    ----------
    layers : sequence of sequences of DirectionWeights
        ``layers[k]`` holds the forward direction of layer k and, if the LSTM is bidirectional, the
        backward one after it. Layer k > 0 takes the concatenated outputs of layer k - 1.
    batch_first : bool
        Whether the source model takes x as (batch, time, input) rather than (time, batch, input).

    Raises
    ------
    ValueError
        Layers that do not fit together; the message says which.

    Examples
    --------
    >>> import numpy as np, fusedlstm as fl
    >>> layer = fl.DirectionWeights(np.zeros((8, 3)), np.zeros((8, 2)), np.zeros(8))
    >>> fl.LSTMWeights([[layer]]).hidden_size
    2
    """

    layers: Sequence[Sequence[DirectionWeights]]
    batch_first: bool = True

    def __post_init__(self) -> None:
        layers = tuple(tuple(directions) for directions in self.layers)
        object.__setattr__(self, "layers", layers)
        if not layers:
            raise ValueError("layers: expected at least one layer, found none")
        first = layers[0]
        if len(first) not in (1, 2):
            raise ValueError(f"layers[0]: expected one direction or two, found {len(first)}")
        width = first[0].input_size
        for k, directions in enumerate(layers):
            if len(directions) != len(first):
                raise ValueError(
                    f"layers[{k}]: expected {len(first)} direction(s) as in layer 0, found {len(directions)}"
                )
            for d, one in enumerate(directions):
                where = f"layers[{k}][{d}]"
                if one.input_size != width:
                    raise ValueError(f"{where}.weight_ih: expected an input size of {width}, found {one.input_size}")
                sizes = (one.hidden_size, one.output_size, one.weight_hr is None)
                if sizes != (self.hidden_size, first[0].output_size, first[0].weight_hr is None):
                    raise ValueError(
                        f"{where}: expected hidden size {self.hidden_size} and projection size {self.proj_size} "
                        f"as in layer 0, found {one.hidden_size} and {0 if one.weight_hr is None else one.output_size}"
                    )
            width = sum(one.output_size for one in directions)

    @property
    def input_size(self) -> int:
        """Features of x at each step."""
        return self.layers[0][0].input_size

    @property
    def hidden_size(self) -> int:
        """Units of each layer and direction."""
        return self.layers[0][0].hidden_size

    @property
    def num_layers(self) -> int:
        """Stacked layers."""
        return len(self.layers)

    @property
    def bidirectional(self) -> bool:
        """Whether there is a backward direction."""
        return len(self.layers[0]) == 2

    @property
    def proj_size(self) -> int:
        """Size of the projected hidden state; 0 without a projection, as in PyTorch."""
        return 0 if self.layers[0][0].weight_hr is None else self.layers[0][0].output_size

    @property
    def num_parameters(self) -> int:
        """Numbers stored (biases counted once, as they are summed)."""
        return sum(a.size for directions in self.layers for one in directions for a in one.arrays.values())


def reorder_gates(array: npt.NDArray[Any], order: str) -> npt.NDArray[Any]:
    """Bring gate blocks along axis 0 from `order` (such as ONNX's ``"iofg"``) into ``"ifgo"``.

    Parameters
    ----------
    array : ndarray, shape (4H, ...)
        Four blocks of H rows.
    order : str
        The blocks' order in `array`, a permutation of ``"ifgo"``.
    """
    blocks = np.split(array, 4, axis=0)
    return np.concatenate([blocks[order.index(gate)] for gate in GATES], axis=0)


def _float32(name: str, value: npt.ArrayLike, rank: int) -> FloatArray:
    array = np.asarray(value)
    # Kind "f" excludes integers on purpose: quantised weights without their scale are a wrong answer.
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: expected a floating-point array, found dtype {array.dtype}")
    if array.ndim != rank:
        raise ValueError(f"{name}: expected {rank} dimension(s), found shape {array.shape}")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype=np.float32)
    if converted is value or converted.base is not None or not converted.flags.owndata:
        converted = converted.copy()  # the caller may change its own array later
    converted.flags.writeable = False
    return converted


def _expect(name: str, array: FloatArray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, found {array.shape}")
