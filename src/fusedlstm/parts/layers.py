"""Layers with weights, as torch.nn has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..weights import FloatArray
from ..weights.checked import expect, float32
from .flow import Builder, Flow
from .part import Weighted

_PADDING = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _set(part: Weighted, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(part, name, value)


def _vectors(part: Weighted, size: int, *names: str) -> None:
    """Arrays of one dimension, where they are there."""
    for name in names:
        if (value := getattr(part, name)) is not None:
            _set(part, **{name: float32(name, value, 1)})
            expect(name, getattr(part, name), (size,))


@dataclass(frozen=True, eq=False)
class Embedding(Weighted):
    """A row of a table for each whole number (torch.nn.Embedding).

    Parameters
    ----------
    weight : array_like, shape (num_embeddings, embedding_dim)
        The table.
    """

    ARRAYS: ClassVar = ("weight",)

    weight: FloatArray

    def __post_init__(self) -> None:
        _set(self, weight=float32("weight", self.weight, 2))

    def build(self, builder: Builder, x: Flow) -> Flow:
        """Look up."""
        if x.name != builder.INPUT or not builder.words:
            raise ValueError(f"expected whole numbers, which only the model's input can be, found {x}")
        y = builder.add("Gather", [builder.constant("weight", self.weight), x.name])
        return Flow(y, (*x.shape, int(self.weight.shape[1])), x.time)


@dataclass(frozen=True, eq=False)
class Linear(Weighted):
    """y = x W^T + b over the last axis (torch.nn.Linear).

    Parameters
    ----------
    weight : array_like, shape (out_features, in_features)
        W.
    bias : array_like, shape (out_features,), optional
        b.
    """

    weight: FloatArray
    bias: FloatArray | None = None

    def __post_init__(self) -> None:
        _set(self, weight=float32("weight", self.weight, 2))
        _vectors(self, len(self.weight), "bias")

    def build(self, builder: Builder, x: Flow) -> Flow:
        """A product and a sum."""
        x = builder.expect(x, -1, int(self.weight.shape[1]), "features")
        y = builder.add("MatMul", [x.name, builder.constant("weight", self.weight.T)])
        if self.bias is not None:
            y = builder.add("Add", [y, builder.constant("bias", self.bias)])
        return Flow(y, (*x.shape[:-1], len(self.weight)), None if x.time == len(x.shape) - 1 else x.time)


@dataclass(frozen=True, eq=False)
class Conv1d(Weighted):
    """A convolution over (batch, channels, time) (torch.nn.Conv1d).

    Parameters
    ----------
    weight : array_like, shape (out_channels, in_channels / groups, kernel_size)
        The kernels.
    bias : array_like, shape (out_channels,), optional
        Added to each channel.
    stride, dilation, groups : int
        As in PyTorch; a state dict does not say them.
    padding : int or str
        Steps that are added on both sides, ``"same"`` or ``"valid"``.
    padding_mode : str
        What is added: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
    """

    weight: FloatArray
    bias: FloatArray | None = None
    stride: int = 1
    padding: int | str = 0
    dilation: int = 1
    groups: int = 1
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        _set(self, weight=float32("weight", self.weight, 3))
        _vectors(self, len(self.weight), "bias")
        for name in ("stride", "dilation", "groups", "padding"):
            value, least = getattr(self, name), int(name != "padding")
            value = value[0] if isinstance(value, tuple) and len(value) == 1 else value
            if name == "padding" and value in ("same", "valid"):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name}: expected a whole number of {least} or more, found {value!r}")
            _set(self, **{name: int(value)})
        if self.padding_mode not in _PADDING:
            raise ValueError(f"padding_mode: expected one of {', '.join(_PADDING)}, found {self.padding_mode!r}")
        if self.padding == "same" and self.stride != 1:
            raise ValueError(f"padding: expected a stride of 1 with 'same', found {self.stride}")
        if len(self.weight) % self.groups:
            raise ValueError(f"groups: expected a divisor of {len(self.weight)} channels, found {self.groups}")

    def build(self, builder: Builder, x: Flow) -> Flow:
        """A convolution, and padding that is none of zeros before it."""
        if len(x.shape) != 3:
            raise ValueError(f"expected (batch, channels, time), found {x}")
        if builder.lengths:
            raise ValueError("expected no lengths, as a convolution reads over the end of a row")
        channels, kernel = int(self.weight.shape[1]) * self.groups, int(self.weight.shape[2])
        if x.time == 1 and x.name == builder.INPUT:
            x = replace(x, time=2)
        if x.time != 2:
            raise ValueError(f"expected (batch, channels, time), found {x}; put fl.Transpose(1, 2) before it")
        x = builder.expect(x, 1, channels, "channels")
        total = self.dilation * (kernel - 1) if self.padding == "same" else 0
        sides = (total // 2, total - total // 2)
        if isinstance(self.padding, int):
            sides = (self.padding, self.padding)
        name = x.name
        if self.padding_mode != "zeros" and any(sides):
            pads = builder.constant("pads", np.array([0, 0, sides[0], 0, 0, sides[1]]))
            name, sides = builder.add("Pad", [name, pads], mode=_PADDING[self.padding_mode]), (0, 0)
        inputs = [name, builder.constant("weight", self.weight)]
        if self.bias is not None:
            inputs.append(builder.constant("bias", self.bias))
        options = {"strides": (self.stride,), "dilations": (self.dilation,), "group": self.groups, "pads": sides}
        return Flow(builder.add("Conv", inputs, **options), (x.shape[0], len(self.weight), None), 2)


@dataclass(frozen=True, eq=False)
class LayerNorm(Weighted):
    """Mean 0 and variance 1 over the last axes, then a gain and an offset (torch.nn.LayerNorm).

    Parameters
    ----------
    weight : array_like
        The gain, of the shape of the last axes.
    bias : array_like, optional
        The offset, of the same shape.
    eps : float
        Added to the variance; a state dict does not say it.
    """

    weight: FloatArray
    bias: FloatArray | None = None
    eps: float = 1e-5

    def __post_init__(self) -> None:
        rank = np.ndim(self.weight)
        if rank == 0:
            raise ValueError("weight: expected 1 dimension or more, found none")
        _set(self, weight=float32("weight", self.weight, rank), eps=_eps(self.eps))
        if self.bias is not None:
            _set(self, bias=float32("bias", self.bias, rank))
            expect("bias", self.bias, self.weight.shape)

    def build(self, builder: Builder, x: Flow) -> Flow:
        """One node."""
        rank = self.weight.ndim
        if len(x.shape) <= rank:
            raise ValueError(f"expected more than {rank} dimension(s), found {x}")
        for axis in range(-rank, 0):
            x = builder.expect(x, axis, int(self.weight.shape[axis]), "features")
        inputs = [x.name, builder.constant("weight", self.weight)]
        if self.bias is not None:
            inputs.append(builder.constant("bias", self.bias))
        return replace(x, name=builder.add("LayerNormalization", inputs, axis=-rank, epsilon=self.eps))


@dataclass(frozen=True, eq=False)
class BatchNorm1d(Weighted):
    """Channels by the mean and variance of the training (torch.nn.BatchNorm1d); x is (batch, channels[, time]).

    Parameters
    ----------
    running_mean, running_var : array_like, shape (channels,)
        Of the training.
    weight, bias : array_like, shape (channels,), optional
        Gain and offset.
    eps : float
        Added to the variance; a state dict does not say it.
    """

    ARRAYS: ClassVar = ("running_mean", "running_var", "weight", "bias")
    NEEDED: ClassVar = ("running_mean", "running_var")

    running_mean: FloatArray
    running_var: FloatArray
    weight: FloatArray | None = None
    bias: FloatArray | None = None
    eps: float = 1e-5

    def __post_init__(self) -> None:
        _set(self, running_mean=float32("running_mean", self.running_mean, 1), eps=_eps(self.eps))
        _vectors(self, len(self.running_mean), "running_var", "weight", "bias")

    def build(self, builder: Builder, x: Flow) -> Flow:
        """One node."""
        if len(x.shape) not in (2, 3):
            raise ValueError(f"expected (batch, channels) or (batch, channels, time), found {x}")
        if len(x.shape) == 3:
            if x.time == 1 and x.name == builder.INPUT:
                x = replace(x, time=2)
            if x.time != 2:
                raise ValueError(f"expected (batch, channels, time), found {x}; put fl.Transpose(1, 2) before it")
        size = len(self.running_mean)
        x = builder.expect(x, 1, size, "channels")
        gain = np.ones(size, np.float32) if self.weight is None else self.weight
        offset = np.zeros(size, np.float32) if self.bias is None else self.bias
        given = {"weight": gain, "bias": offset, "running_mean": self.running_mean, "running_var": self.running_var}
        inputs = [x.name, *(builder.constant(name, value) for name, value in given.items())]
        return replace(x, name=builder.add("BatchNormalization", inputs, epsilon=self.eps))


def _eps(value: float) -> float:
    if not 0 <= value < np.inf:
        raise ValueError(f"eps: expected 0 or more, found {value}")
    return float(value)
