"""Parts without weights: activations by name, the last step, residual connections, axes that change places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._assumed import tell_axes
from ..lstm import LSTM
from ..model import Model
from ..weights import Activation
from .flow import Builder, Flow
from .part import Part


def _op(op: str, **attributes: Any) -> Callable[[Builder, str], str]:
    return lambda builder, x: builder.add(op, [x], **attributes)


def _clip(low: float, high: float) -> Callable[[Builder, str], str]:
    def build(builder: Builder, x: str) -> str:
        limits = [builder.constant(name, np.float32(value)) for name, value in (("min", low), ("max", high))]
        return builder.add("Clip", [x, *limits])

    return build


def _logsigmoid(builder: Builder, x: str) -> str:
    return builder.add("Neg", [builder.add("Softplus", [builder.add("Neg", [x])])])


FUNCTIONS: dict[str, Callable[[Builder, str], str]] = {
    "celu": _op("Celu"),
    "elu": _op("Elu"),
    "gelu": _op("Gelu"),
    "gelu_tanh": _op("Gelu", approximate="tanh"),
    "hardsigmoid": _op("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hardswish": _op("HardSwish"),
    "hardtanh": _clip(-1, 1),
    "leaky_relu": _op("LeakyRelu"),
    "log_softmax": _op("LogSoftmax", axis=-1),
    "logsigmoid": _logsigmoid,
    "mish": _op("Mish"),
    "relu": _op("Relu"),
    "relu6": _clip(0, 6),
    "selu": _op("Selu"),
    "sigmoid": _op("Sigmoid"),
    "silu": _op("Swish"),
    "softmax": _op("Softmax", axis=-1),
    "softplus": _op("Softplus"),
    "softsign": _op("Softsign"),
    "tanh": _op("Tanh"),
}
"""Those of torch.nn.functional by their names there, with its defaults; softmax and log_softmax over the last axis."""

_WITH_PARAMETERS = {
    "elu": ("Elu", ("alpha",)),
    "hard_sigmoid": ("HardSigmoid", ("alpha", "beta")),
    "leaky_relu": ("LeakyRelu", ("alpha",)),
}


@dataclass(frozen=True, eq=False)
class Function(Part):
    """An activation: a name of `FUNCTIONS`, or an `Activation` with parameters of its own."""

    what: str | Activation

    def __post_init__(self) -> None:
        known = FUNCTIONS if isinstance(self.what, str) else _WITH_PARAMETERS
        if (self.what if isinstance(self.what, str) else self.what.name) not in known:
            raise ValueError(f"expected an activation of {', '.join(known)}, found {str(self.what)!r}")

    @property
    def kind(self) -> str:
        """The name."""
        return str(self.what)

    def build(self, builder: Builder, x: Flow) -> Flow:
        """Mostly one node."""
        if isinstance(self.what, str):
            return replace(x, name=FUNCTIONS[self.what](builder, x.name))
        op, parameters = _WITH_PARAMETERS[self.what.name]
        attributes = {name: getattr(self.what, name) for name in parameters}
        return replace(x, name=builder.add(op, [x.name], **attributes))


@dataclass(frozen=True, eq=False)
class Recurrent(Part):
    """An `LSTM` among the parts: y of it, from a state of zeros or the one that it learned."""

    lstm: LSTM

    @property
    def kind(self) -> str:
        """As the class is called."""
        return "LSTM"

    def build(self, builder: Builder, x: Flow) -> Flow:
        """One node."""
        weights, steps = self.lstm.weights, 1 if self.lstm.batch_first else 0
        if weights.merge == "none":
            raise ValueError("expected directions that are merged, found merge='none'")
        if builder.lengths and (weights.flip_output or weights.padding == "repeat"):
            raise ValueError("expected no lengths beside an output that is turned round or repeated")
        if len(x.shape) != 3:
            raise ValueError(f"expected (batch, time, {weights.input_size}), found {x}")
        if x.time == 2:
            raise ValueError(f"expected features last, found {x}; put fl.Transpose(1, 2) before it")
        tell_axes(self.lstm._untold)
        if x.time is not None and x.time != steps and x.name != builder.INPUT and builder.recurrent:
            raise ValueError(f"expected {'batch' if steps else 'time'} first, as this LSTM has it, found {x}")
        x = builder.expect(x, -1, weights.input_size, "features")
        builder.recurrent = True
        inputs = [x.name, "", "", builder.lengths]
        options = {"weights": weights, "x_batch_first": steps, "y_batch_first": steps}
        y = builder.add("fusedlstm.LSTM", inputs, **options)
        return Flow(y, (*x.shape[:-1], weights.output_size), steps)


@dataclass(frozen=True, eq=False)
class Last(Part):
    """The last step of each row: the last valid one where the model takes lengths."""

    def build(self, builder: Builder, x: Flow) -> Flow:
        """Pick it."""
        if len(x.shape) != 3 or x.time is None:
            raise ValueError(f"expected steps, such as (batch, time, features), found {x}")
        left = (*x.shape[: x.time], *x.shape[x.time + 1 :])
        if not builder.lengths:
            last = builder.constant("last", np.array(-1))
            return Flow(builder.add("Gather", [x.name, last], axis=x.time), left)
        name = x.name if x.time == 1 else builder.add("Transpose", [x.name], perm=(1, 0, 2))
        before = builder.add("Sub", [builder.lengths, builder.constant("one", np.array(1))])
        index = builder.add("Unsqueeze", [before, builder.constant("axis", np.array([1]))])
        return Flow(builder.add("GatherND", [name, index], batch_dims=1), left)


@dataclass(frozen=True, eq=False)
class Transpose(Part):
    """Two axes change places, as x.transpose(dim0, dim1) in PyTorch: between Conv1d and LSTM."""

    dim0: int
    dim1: int

    def build(self, builder: Builder, x: Flow) -> Flow:
        """A view."""
        rank = len(x.shape)
        for name, dim in (("dim0", self.dim0), ("dim1", self.dim1)):
            if not -rank <= dim < rank:
                raise ValueError(f"{name}: expected an axis of {x}, found {dim}")
        perm, (a, b) = list(range(rank)), (self.dim0 % rank, self.dim1 % rank)
        perm[a], perm[b] = b, a
        time = None if x.time is None else perm.index(x.time)
        return Flow(builder.add("Transpose", [x.name], perm=perm), tuple(x.shape[k] for k in perm), time)


class Residual(Part):
    """x and what parts make of it, added.

    Parameters
    ----------
    *parts
        As for `Sequential`.
    """

    def __init__(self, *parts: Any) -> None:
        self.parts = tuple(parts_of(parts))

    def build(self, builder: Builder, x: Flow) -> Flow:
        """The parts, and a sum."""
        y = builder.run(self.parts, x)
        before = replace(x, shape=builder.shape) if x.name == builder.INPUT else x
        if len(y.shape) != len(before.shape) or any(
            None not in pair and pair[0] != pair[1] for pair in zip(y.shape, before.shape)
        ):
            raise ValueError(f"expected what comes out to have the shape of what comes in, {before}, found {y}")
        return replace(y, name=builder.add("Add", [x.name, y.name]))


def parts_of(given: Sequence[Any]) -> list[Part]:
    """What a caller gave, with the parts of a `Sequential` in its place.

    Raises
    ------
    TypeError, ValueError
        Something that is no part.
    """
    if not given:
        raise ValueError("expected parts, found none")
    found: list[Part] = []
    for k, one in enumerate(given):
        if isinstance(one, Part):
            found.append(one)
        elif isinstance(one, LSTM):
            found.append(Recurrent(one))
        elif isinstance(one, (str, Activation)):
            try:
                found.append(Function(one))
            except ValueError as error:
                raise ValueError(f"part {k}: {error}") from None
        elif isinstance(one, Model) and hasattr(one, "parts"):
            found += one.parts
        else:
            what = type(one).__name__
            raise TypeError(f"part {k}: expected a part, an LSTM or the name of an activation, found {what}")
    return found
