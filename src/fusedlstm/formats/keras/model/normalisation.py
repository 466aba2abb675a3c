"""Normalisations, with the statistics that training left."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import FormatError
from .call import FLOAT32, Call
from .constants import array_of
from .registry import Made, layer


def _x(call: Call) -> str:
    return call.cast(call.x.name, FLOAT32)


def _axes(call: Call, given: Any, rank: int) -> list[int]:
    given = given if isinstance(given, (list, tuple)) else [given]
    return sorted({call.axis(one, rank) for one in given})


@layer("BatchNormalization", carries=True)
def _batch(call: Call) -> Made:
    x = _x(call)
    rank = call.rank(x)
    axes = _axes(call, call.value("axis", -1), rank)
    if len(axes) != 1:
        raise FormatError(f"axis: expected one, found {axes}")
    call.only("renorm", False)
    scaled, centred = call.flag("scale", True), call.flag("center", True)
    epsilon = call.number("epsilon", 1e-3)

    def made() -> tuple[Any, Any]:
        names = [*["gamma"] * scaled, *["beta"] * centred, "moving_mean", "moving_variance"]
        arrays = [one.astype(np.float64) for one in call.held.weights.read(*names)]
        own = dict(zip(names, arrays))
        with np.errstate(all="ignore"):
            scale = own.get("gamma", 1.0) / np.sqrt(own["moving_variance"] + epsilon)
        return scale, own.get("beta", 0.0) - own["moving_mean"] * scale

    scale, shift = call.once(made)
    shape = [1] * (rank - axes[0])
    shape[0] = -1
    return call.affine(x, scale.reshape(shape), shift.reshape(shape))


@layer("LayerNormalization", carries=True)
def _layer(call: Call) -> Made:
    x = _x(call)
    rank = call.rank(x)
    axes = _axes(call, call.value("axis", -1), rank)
    call.only("rms_scaling", False)
    scaled, centred, epsilon = call.flag("scale", True), call.flag("center", True), call.number("epsilon", 1e-3)
    names = [*["gamma"] * scaled, *["beta"] * centred]
    arrays = call.once(lambda: dict(zip(names, call.held.weights.read(*names) if names else [])))
    if axes != list(range(axes[0], rank)):
        return _over(call, x, axes, epsilon, arrays)
    shape = call.shape(x)[axes[0] :]
    if not all(type(size) is int for size in shape):
        raise FormatError(f"axis: expected sizes that are known, found {shape}")
    given = [arrays.get("gamma", np.ones(shape, np.float32)), *(arrays[one] for one in names if one == "beta")]
    constants = call.once(lambda: [call.constant(one.reshape(shape)) for one in given], "constants")
    return call.op("LayerNormalization", x, *constants, axis=axes[0], epsilon=epsilon)


def _over(call: Call, x: str, axes: list[int], epsilon: float, arrays: dict[str, Any]) -> str:
    """Axes that are not the last ones."""
    over = call.ints(*axes)
    centred = call.op("Sub", x, call.op("ReduceMean", x, over))
    variance = call.op("ReduceMean", call.op("Mul", centred, centred), over)
    deviation = call.op("Sqrt", call.op("Add", variance, call.scalar(epsilon, x)))
    y = call.op("Div", centred, deviation)
    shape: list[Any] = [call.shape(x)[axis] if axis in axes else 1 for axis in range(call.rank(x))]
    own = {name: array.reshape(shape) for name, array in arrays.items()}
    return call.affine(y, own.get("gamma"), own.get("beta"))


@layer("RMSNormalization")
def _rms(call: Call) -> Made:
    x = _x(call)
    rank = call.rank(x)
    axis, *_ = axes = _axes(call, call.value("axis", -1), rank)
    if axes != list(range(axis, rank)):
        raise FormatError(f"axis: expected the last ones, found {axes}")
    scale = call.once(lambda: call.constant(call.held.weights.read("scale")[0]))
    return call.op("RMSNormalization", x, scale, axis=axis, epsilon=call.number("epsilon", 1e-6))


@layer("GroupNormalization", carries=True)
def _group(call: Call) -> Made:
    x = _x(call)
    rank = call.rank(x)
    if rank < 3:
        raise FormatError(f"expected three dimensions or more, found shape {call.shape(x)}")
    axis = call.axis(call.value("axis", -1), rank)
    channels = call.shape(x)[axis]
    if type(channels) is not int:
        raise FormatError("expected a known number of channels, found none")
    groups = call.whole("groups", 32, least=-1)
    groups = channels if groups == -1 else groups
    if not groups or channels % groups:
        raise FormatError(f"groups: expected a part of {channels} channels, found {groups}")
    scaled, centred = call.flag("scale", True), call.flag("center", True)

    def made() -> list[str]:
        names = [*["gamma"] * scaled, *["beta"] * centred]
        own = dict(zip(names, call.held.weights.read(*names) if names else []))
        usual = {"gamma": np.ones(channels, np.float32), "beta": np.zeros(channels, np.float32)}
        return [call.constant(own.get(one, usual[one]).reshape(-1)) for one in usual]

    order = [0, axis, *(one for one in range(1, rank) if one != axis)]
    y = call.op(
        "GroupNormalization",
        call.transpose(x, *order),
        *call.once(made),
        num_groups=groups,
        epsilon=call.number("epsilon", 1e-3),
    )
    return call.transpose(y, *np.argsort(order).tolist())


@layer("UnitNormalization", carries=True)
def _unit(call: Call) -> Made:
    x = _x(call)
    over = call.ints(*_axes(call, call.value("axis", -1), call.rank(x)))
    squares = call.op("Max", call.op("ReduceSumSquare", x, over), call.scalar(1e-12, x))
    return call.op("Div", x, call.op("Sqrt", squares))


@layer("Rescaling", carries=True, since=3)
def _rescaling(call: Call) -> Made:
    scale, offset = (
        array_of(call.value(key, usual) if not isinstance(call.value(key, usual), dict) else call.number(key))
        for key, usual in (("scale", 1.0), ("offset", 0.0))
    )
    return call.affine(_x(call), scale, offset)


@layer("Normalization", carries=True, since=3)
def _normalization(call: Call) -> Made:
    x = _x(call)
    rank = call.rank(x)
    given = call.config.get("axis", -1)
    axes = [] if given is None else _axes(call, given, rank)
    shape = [call.shape(x)[axis] if axis in axes else 1 for axis in range(rank)]
    if not all(type(size) is int for size in shape):
        raise FormatError(f"axis: expected sizes that are known, found {call.shape(x)}")
    mean, variance = call.config.get("mean"), call.config.get("variance")

    def made() -> tuple[Any, Any]:
        if mean is not None and variance is not None:
            found = [np.asarray(array_of(_inner(one)), np.float64) for one in (mean, variance)]
        else:
            found = [one.astype(np.float64) for one in call.held.weights.read("mean", "variance", more=1)]
        return found[0], np.maximum(np.sqrt(found[1]), 1e-7)

    middle, deviation = call.once(made)
    try:
        middle, deviation = (np.broadcast_to(one, shape) if one.ndim != rank else one for one in (middle, deviation))
        middle, deviation = (one.reshape(shape) for one in (middle, deviation))
    except ValueError as error:
        raise FormatError(f"expected statistics of shape {shape}, found {middle.shape}") from error
    if call.flag("invert", False):
        return call.affine(x, deviation, middle)
    centred = call.op("Sub", x, call.constant(middle.astype(np.float32)))
    return call.op("Div", centred, call.constant(deviation.astype(np.float32)))


def _inner(value: Any) -> Any:
    """Numbers, or an array that Keras wrote with its class."""
    if isinstance(value, dict):
        config = value.get("config", value)
        return config.get("value") if isinstance(config, dict) else config
    return value
