"""The neutral form of a trained LSTM: NumPy arrays in one canonical order, checked.

Every file format is read into :class:`LSTMWeights`, and the engine takes nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .._renamed import renamed
from .assumption import Assumption
from .cell import DirectionWeights
from .checked import Checked, expect, expect_type, float32

PRODUCTS = {
    "float32": ("float32",),
    "float16": ("float32",),
    "bfloat16": ("float32", "bfloat16"),
    "int8": ("int16", "int16/int8", "int8"),
}
"""By what weights may be held in, what x and h may be rounded to in products with them; the first is the default."""
DTYPES = tuple(PRODUCTS)

GATES = "ifgo"
"""The canonical gate order, PyTorch's: input, forget, cell (candidate), output."""


def checked_products(dtype: str, products: str | None) -> str:
    """What x and h are rounded to beside weights of `dtype`; by default the first of `PRODUCTS`.

    Raises
    ------
    ValueError
        It does not go with `dtype`.
    """
    choices = PRODUCTS[dtype]
    if products and products not in choices:
        takers = ", ".join(name for name in DTYPES if products in PRODUCTS[name])
        hint = f" (it goes with dtype {takers})" if takers else ""
        one_of = "one of " if len(choices) > 1 else ""
        raise ValueError(
            f"products: expected {one_of}{', '.join(choices)} beside {dtype} weights, found {products!r}{hint}"
        )
    return products or choices[0]


@renamed(products="activations")
@dataclass(frozen=True, eq=False)
class LSTMWeights(Checked):
    """A whole LSTM: layers, each with one direction or two.

    Parameters
    ----------
    layers : sequence of sequences of DirectionWeights
        ``layers[k]`` holds the forward direction of layer k and, if the LSTM is bidirectional, the
        backward one after it. Layer k > 0 takes the merged outputs of layer k - 1. Layers may differ in size.
    batch_first : bool
        Whether the source model takes x as (batch, time, input) rather than (time, batch, input).
    merge : str
        How the outputs of two directions become one: ``"concat"``, ``"sum"``, ``"mul"``, ``"ave"`` (the mean), or
        ``"none"``: the last layer's stay apart, and y is a pair. Keras's Bidirectional has these.
    reverse : bool
        One direction only, which runs from each row's last step to its first. Outputs stay at the steps they belong to.
    flip_output : bool
        With `reverse`: y in the order in which it was computed instead, its time axis turned round (Keras's
        go_backwards).
    padding : str
        What y holds at masked steps and past a row's length: ``"zero"``, or ``"repeat"`` (with one direction only): the
        output computed before, zeros if none was, as Keras does.
    residual : sequence of bool, optional
        For each layer, whether its input is added to its (merged) output at valid steps, before the next layer sees it.
    initial_state : (h, c), optional
        Learned initial states, one array (directions, size) for each layer in h and in c; used when a call gives none.
    dtype : str
        What the matrices are held in when this runs: ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"int8"``. Here
        they are float32 in any case.
    products : str
        What x and h are rounded to when they are multiplied: beside int8 weights ``"int16"``, the default,
        ``"int16/int8"`` (x and h) or ``"int8"``; beside bfloat16 ones ``"float32"``, the default, or ``"bfloat16"``;
        else ``"float32"``.
    assumed : sequence of Assumption
        What of this the source did not say; nothing where the caller says it.

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
    merge: str = "concat"
    reverse: bool = False
    flip_output: bool = False
    padding: str = "zero"
    residual: Sequence[bool] | None = None
    initial_state: tuple[Sequence[npt.ArrayLike], Sequence[npt.ArrayLike]] | None = None
    dtype: str = DTYPES[0]
    products: str = ""
    assumed: Sequence[Assumption] = ()
    RENAMED: ClassVar[dict[str, str]] = {"activations": "products"}

    def __repr__(self) -> str:
        """Show the sizes; the arrays may be long."""
        more = [
            f"{name}={value}" for name in ("num_layers", "bidirectional", "proj_size") if (value := getattr(self, name))
        ]
        precision = [f"dtype={self.precision}"] if self.dtype != DTYPES[0] else []
        sizes = [str(self.input_size), str(self.hidden_size), *more, *precision, f"batch_first={self.batch_first}"]
        return f"{type(self).__name__}({', '.join((*sizes, *self.differences))})"

    def __post_init__(self) -> None:
        if isinstance(self.layers, DirectionWeights) or any(isinstance(one, DirectionWeights) for one in self.layers):
            raise TypeError(
                "layers: expected a list of layers, each a list of one direction or two, found a DirectionWeights in "
                "the place of a layer: LSTMWeights([[direction]])"
            )
        layers = tuple(tuple(directions) for directions in self.layers)
        object.__setattr__(self, "layers", layers)
        if not layers:
            raise ValueError("layers: expected at least one layer, found none")
        first = layers[0]
        if len(first) not in (1, 2):
            raise ValueError(f"layers[0]: expected one direction or two, found {len(first)}")
        expect_type("layers[0][0]", first[0], DirectionWeights)
        width = first[0].input_size
        for k, directions in enumerate(layers):
            if len(directions) != len(first):
                raise ValueError(
                    f"layers[{k}]: expected {len(first)} direction(s) as in layer 0, found {len(directions)}"
                )
            for d, one in enumerate(directions):
                expect_type(f"layers[{k}][{d}]", one, DirectionWeights)
                where, own = f"layers[{k}][{d}]", directions[0]
                if one.input_size != width:
                    raise ValueError(f"{where}.weight_ih: expected an input size of {width}, found {one.input_size}")
                if (one.hidden_size, one.output_size, one.weight_hr is None) != (
                    *(own.hidden_size, own.output_size),
                    own.weight_hr is None,
                ):
                    raise ValueError(
                        f"{where}: expected hidden size {own.hidden_size} and projection size {_projection(own)} "
                        f"as in the forward direction, found {one.hidden_size} and {_projection(one)}"
                    )
            output = self._width(directions)
            if self.residual is not None and k < len(self.residual) and self.residual[k] and output != width:
                raise ValueError(f"residual[{k}]: expected a layer as wide as its input, found {width} to {output}")
            width = output
        self._check_options()

    def _check_options(self) -> None:
        object.__setattr__(self, "assumed", tuple(self.assumed))
        for name, choices in (
            ("merge", ("concat", "sum", "mul", "ave", "none")),
            ("padding", ("zero", "repeat")),
            ("dtype", DTYPES),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {choices}, found {getattr(self, name)!r}")
        object.__setattr__(self, "products", checked_products(self.dtype, self.products))
        if self.reverse and self.bidirectional:
            raise ValueError("reverse: expected one direction, found two")
        if self.flip_output and not self.reverse:
            raise ValueError("flip_output: expected reverse beside it")
        if self.padding == "repeat" and self.bidirectional:
            raise ValueError("padding: 'repeat' has no meaning for two merged directions, expected 'zero'")
        if self.merge == "none" and self.num_layers > 1:
            raise ValueError(f"merge: 'none' leaves two outputs, expected one layer, found {self.num_layers}")
        if self.residual is not None:
            object.__setattr__(self, "residual", tuple(bool(one) for one in self.residual))
            if self.merge == "none" and any(self.residual):
                raise ValueError("residual: expected none with merge='none', which has two outputs")
            if len(self.residual) != self.num_layers:
                raise ValueError(f"residual: expected {self.num_layers} values, found {len(self.residual)}")
        if self.initial_state is not None:
            checked = []
            if len(self.initial_state) != 2:
                raise ValueError(f"initial_state: expected a pair (h, c), found {len(self.initial_state)} parts")
            for name, state, size in zip("hc", self.initial_state, ("output_size", "hidden_size")):
                if len(state) != self.num_layers:
                    raise ValueError(f"initial_state {name}: expected {self.num_layers} arrays, found {len(state)}")
                arrays = tuple(float32(f"initial_state {name}", one, 2) for one in state)
                for k, one in enumerate(arrays):
                    shape = (len(self.layers[k]), getattr(self.layers[k][0], size))
                    expect(f"initial_state {name}[{k}]", one, shape)
                checked.append(arrays)
            object.__setattr__(self, "initial_state", tuple(checked))

    def _width(self, directions: Sequence[DirectionWeights]) -> int:
        """Features that a layer passes on."""
        return directions[0].output_size * (len(directions) if self.merge in ("concat", "none") else 1)

    @property
    def equal_layers(self) -> bool:
        """Whether all layers have one size, so that h and c are one array each."""
        return len({(directions[0].hidden_size, directions[0].output_size) for directions in self.layers}) == 1

    @property
    def differences(self) -> list[str]:
        """What is not as in torch.nn.LSTM, in words; where directions differ, each by its name, such as l0_reverse."""
        found = []
        if not self.equal_layers:
            found.append(f"hidden_sizes={[directions[0].hidden_size for directions in self.layers]}")
        cells = {
            f"l{k}{'_reverse' * d}": one.differences
            for k, directions in enumerate(self.layers)
            for d, one in enumerate(directions)
        }
        if len(set(map(tuple, cells.values()))) == 1:
            found += next(iter(cells.values()))
        else:
            found += [f"{name}: {' '.join(cell)}" for name, cell in cells.items() if cell]
        if self.merge != "concat":
            found.append(f"merge={self.merge!r}")
        if any(self.residual or ()):
            found.append(f"residual={[k for k, one in enumerate(self.residual or ()) if one]}")
        found += [name for name in ("reverse", "flip_output", "initial_state") if getattr(self, name)]
        if self.padding != "zero":
            found.append(f"padding={self.padding!r}")
        return found

    @property
    def precision(self) -> str:
        """Its dtype, and what x and h are rounded to where that is not the default: ``"int8 by int8"``."""
        default = self.products == PRODUCTS[self.dtype][0]
        return self.dtype if default else f"{self.dtype} by {self.products}"

    @property
    def plain(self) -> bool:
        """Whether this is what torch.nn.LSTM computes: equal layers of plain cells, and none of the options."""
        return not self.differences

    @property
    def input_size(self) -> int:
        """Features of x at each step."""
        return self.layers[0][0].input_size

    @property
    def hidden_size(self) -> int:
        """Units of each direction; where layers differ, those of the last one."""
        return self.layers[-1][0].hidden_size

    @property
    def output_size(self) -> int:
        """Features of y; where ``merge`` is ``"none"``, of both outputs together."""
        return self._width(self.layers[-1])

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
        """Size of the projected hidden state (of the last layer); 0 without a projection, as in PyTorch."""
        return _projection(self.layers[-1][0])

    @property
    def num_parameters(self) -> int:
        """Numbers stored (biases counted once, as they are summed)."""
        return sum(a.size for directions in self.layers for one in directions for a in one.arrays.values())


def _projection(one: DirectionWeights) -> int:
    return 0 if one.weight_hr is None else one.output_size


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
