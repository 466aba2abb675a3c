"""Convolutions: Keras has channels last and kernels (*taps, in, out), ONNX channels first and (out, in, *taps)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import FormatError
from .activations import OVER_AXES, activated
from .call import FLOAT32, Call
from .pooling import from_front, to_front
from .registry import Made, layer


def _rank(call: Call) -> int:
    """How many dimensions a window has."""
    return next(int(one) for one in reversed(call.kind.removesuffix("Transpose")) if one.isdigit())


def _windows(call: Call, rank: int) -> dict[str, Any]:
    """Strides, dilations and padding as ONNX has them."""
    strides, dilations = call.sizes("strides", rank, 1), call.sizes("dilation_rate", rank, 1)
    padding = call.choice("padding", "valid", "same", "causal", default="valid")
    found: dict[str, Any] = {"strides": strides, "dilations": dilations}
    if padding != "causal":
        return {**found, "auto_pad": {"valid": "VALID", "same": "SAME_UPPER"}[padding]}
    if rank != 1:
        raise FormatError(f"padding: expected 'causal' of one dimension, found {rank}")
    (taps,) = call.sizes("kernel_size", 1)
    return {**found, "pads": (dilations[0] * (taps - 1), 0)}


def _to_onnx(kernel: Any) -> Any:
    """(*taps, in, out) to (out, in, *taps)."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _expect(call: Call, kernel: Any, rank: int) -> None:
    taps = call.sizes("kernel_size", rank)
    if kernel.ndim != rank + 2 or kernel.shape[:rank] != taps:
        raise FormatError(f"expected a kernel of {taps} taps, found shape {kernel.shape}")


def _front(call: Call, rank: int) -> str:
    x = call.cast(call.x.name, FLOAT32)
    call.expect_rank(x, rank + 2)
    return to_front(call, x)


def _finished(call: Call, y: str) -> str:
    """With its channels where the layer has them, and its activation; right behind it, where that is all the same."""
    activation = call.config.get("activation")
    if isinstance(activation, str) and activation not in OVER_AXES:
        return from_front(call, activated(call, y, activation))
    return activated(call, from_front(call, y), activation)


@layer("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D")
def _conv(call: Call) -> Made:
    rank = _rank(call)
    names = ("kernel", "bias") if call.flag("use_bias", True) else ("kernel",)

    def made() -> list[str]:
        kernel, *bias = call.held.weights.read(*names)
        _expect(call, kernel, rank)
        return [call.constant(_to_onnx(kernel)), *map(call.constant, bias)]

    groups = call.whole("groups", 1)
    y = call.op("Conv", _front(call, rank), *call.once(made), group=groups, **_windows(call, rank))
    return _finished(call, y)


def _depthwise(kernel: Any) -> Any:
    """(*taps, in, multiplier) to (in * multiplier, 1, *taps)."""
    *taps, channels, multiplier = kernel.shape
    return np.moveaxis(kernel.reshape(*taps, channels * multiplier), -1, 0)[:, None]


@layer("DepthwiseConv1D", "DepthwiseConv2D")
def _depthwise_conv(call: Call) -> Made:
    rank, biased = _rank(call), call.flag("use_bias", True)

    def made() -> tuple[list[str], int]:
        found = None
        for name in ("kernel", "depthwise_kernel"):  # Keras 3's name for it, and Keras 2's
            try:
                found = call.held.weights.read(*(name, "bias")[: 2 if biased else 1])
                break
            except FormatError:
                if name == "depthwise_kernel":
                    raise
        assert found is not None
        kernel, *bias = found
        _expect(call, kernel, rank)
        return [call.constant(_depthwise(kernel)), *map(call.constant, bias)], kernel.shape[-2]

    constants, channels = call.once(made)
    y = call.op("Conv", _front(call, rank), *constants, group=channels, **_windows(call, rank))
    return _finished(call, y)


@layer("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D")
def _separable(call: Call) -> Made:
    rank, biased = _rank(call), call.flag("use_bias", True)

    def made() -> tuple[str, list[str], int]:
        names = ("depthwise_kernel", "pointwise_kernel", "bias")[: 3 if biased else 2]
        depthwise, pointwise, *bias = call.held.weights.read(*names)
        _expect(call, depthwise, rank)
        if pointwise.ndim != rank + 2:
            raise FormatError(f"expected a pointwise kernel of {rank + 2} dimensions, found {pointwise.shape}")
        constants = [call.constant(_to_onnx(pointwise)), *map(call.constant, bias)]
        return call.constant(_depthwise(depthwise)), constants, depthwise.shape[-2]

    first, second, channels = call.once(made)
    y = call.op("Conv", _front(call, rank), first, group=channels, **_windows(call, rank))
    return _finished(call, call.op("Conv", y, *second))


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Convolution2DTranspose")
def _transposed(call: Call) -> Made:
    rank, biased = _rank(call), call.flag("use_bias", True)

    def made() -> list[str]:
        kernel, *bias = call.held.weights.read(*("kernel", "bias")[: 2 if biased else 1])
        _expect(call, kernel, rank)
        # (*taps, out, in) to (in, out, *taps)
        return [call.constant(_to_onnx(kernel)), *map(call.constant, bias)]

    if call.whole("groups", 1) != 1:
        raise FormatError("groups: expected 1, found more")
    strides, dilations = call.sizes("strides", rank, 1), call.sizes("dilation_rate", rank, 1)
    taps = call.sizes("kernel_size", rank)
    padding = call.choice("padding", "valid", "same", default="valid")
    reach = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, taps)]
    options: dict[str, Any] = {"strides": strides, "dilations": dilations}
    more = call.config.get("output_padding")
    if more is None:
        options["output_padding"] = [max(stride - size, 0) for stride, size in zip(strides, reach)]
        options["auto_pad"] = {"valid": "VALID", "same": "SAME_UPPER"}[padding]
    else:
        options["output_padding"] = call.sizes("output_padding", rank, least=0)
        sides = [size // 2 if padding == "same" else 0 for size in reach]
        options["pads"] = [*sides, *sides]
    y = call.op("ConvTranspose", _front(call, rank), *call.once(made), **options)
    return _finished(call, y)
