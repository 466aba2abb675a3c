"""Convolutions over any number of dimensions. Floats are summed in float64 and rounded once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Size
from .elementwise import wide
from .operator import Array, Attributes, Call, Shape, TensorType, differ, integer, integers, operator, same_types, text

AUTO_PAD = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
FEW = 8
"""Outputs of a group that would leave most of a panel empty: then vectors run across the groups."""


def across_groups(op: str, groups: int, weights: Shape) -> bool:
    """Whether a convolution is computed channel by channel, all groups at once, rather than as products of rows."""
    if op == "ConvTranspose":
        return groups > 1 and weights[0] == groups
    return groups > 1 and weights[0] // groups <= FEW


def geometry(
    a: Attributes, sizes: Sequence[Size], kernel: Sequence[int]
) -> tuple[list[int], list[int], list[Size], list[Size], list[Size]]:
    """Strides, dilations, zeros before and after, and the number of positions, of each spatial dimension."""
    n = len(sizes)
    strides, dilations = list(a["strides"] or (1,) * n), list(a["dilations"] or (1,) * n)
    pads, mode = a["pads"] or (0,) * (2 * n), a["auto_pad"]
    if not len(strides) == len(dilations) == len(kernel) == n or len(pads) != 2 * n:
        raise ValueError(f"expected strides, dilations and pads of {n} dimensions, found others")
    before: list[Size] = list(pads[:n])
    after: list[Size] = list(pads[n:])
    positions: list[Size] = []
    for axis, size in enumerate(sizes):
        reach, stride = dilations[axis] * (kernel[axis] - 1) + 1, strides[axis]
        if mode == "VALID":
            before[axis] = after[axis] = 0
        elif mode != "NOTSET":
            out = (size + stride - 1) // stride
            total = (out - 1) * stride + reach - size
            total = max(total, 0) if isinstance(total, int) else total
            small = total // 2
            before[axis], after[axis] = (small, total - small) if mode == "SAME_UPPER" else (total - small, small)
            positions.append(out)
            continue
        span = size + before[axis] + after[axis] - reach
        if a.get("ceil_mode"):
            count = (span + stride - 1) // stride + 1
            # A window that would start in the zeros behind the input is none.
            positions.append(count - 1 if (count - 1) * stride >= size + before[axis] else count)
        else:
            positions.append(span // stride + 1)
        if span < 0:
            raise ValueError(f"expected a kernel of at most {span + reach} along dimension {axis}, found {reach}")
    return strides, dilations, before, after, positions


def conv_shape(call: Call) -> Shape:
    """The shape of a convolution's output."""
    x, w = call.shapes[:2]
    if len(x) < 3 or len(w) != len(x):
        raise ValueError(f"expected an input (batch, channels, ...) and weights of its rank, found {x} and {w}")
    group, kernel = call.attributes["group"], w[2:]
    if tuple(call.attributes["kernel_shape"] or kernel) != kernel:
        raise ValueError(f"expected kernel_shape {kernel} as the weights have it, found another")
    if differ(x[1], w[1] * group) or w[0] % group:
        raise ValueError(f"expected {w[1] * group} channels in {group} groups, found input {x} and weights {w}")
    if call.has(2) and call.shapes[2] != (w[0],):
        raise ValueError(f"expected a bias of shape {(w[0],)}, found {call.shapes[2]}")
    return (x[0], w[0], *geometry(call.attributes, x[2:], kernel)[-1])


def _conv_rule(call: Call) -> list[TensorType]:
    return [TensorType(conv_shape(call), same_types(call))]


CONV: dict[str, Any] = {
    "auto_pad": text(*AUTO_PAD),
    "dilations": integers(least=1),
    "group": integer(1, least=1),
    "kernel_shape": integers(),
    "pads": integers(least=0),
    "strides": integers(least=1),
}


def convolve(a: Attributes, x: Array, w: Array, fill: float = 0) -> Array:
    """The sums, in the type of the inputs."""
    spatial = tuple(range(2, x.ndim))
    strides, dilations, before, after, _ = geometry(a, x.shape[2:], w.shape[2:])
    x = np.pad(x, [(0, 0), (0, 0), *zip(before, after)], constant_values=fill)
    reach = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, w.shape[2:])]
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, spatial)
    steps = tuple(slice(None, None, step) for step in strides)
    windows = windows[(slice(None), slice(None), *steps, *(slice(None, None, one) for one in dilations))]
    group, n = a["group"], len(spatial)
    out = []
    for part, weights in zip(np.split(windows, group, 1), np.split(w, group, 0)):
        axes = [1, *range(2 + n, 2 + 2 * n)]
        out.append(np.moveaxis(np.tensordot(part, weights, (axes, list(range(1, 2 + n)))), -1, 1))
    return np.concatenate(out, 1)


@operator("Conv", _conv_rule, (2, 3), **CONV)
def _conv(a: Attributes, x: Array, w: Array, bias: Array | None = None) -> Array:
    found = convolve(a, wide(x), wide(w))
    if bias is not None:
        found = found + wide(bias).reshape(-1, *(1,) * (x.ndim - 2))
    return found.astype(x.dtype)


def transposed(
    a: Attributes, sizes: Sequence[Size], kernel: Sequence[int]
) -> tuple[list[Size], list[Size], list[Size]]:
    """Of a transposed convolution: sizes of the output, and what is cut off before and after."""
    n = len(sizes)
    strides, dilations = a["strides"] or (1,) * n, a["dilations"] or (1,) * n
    more, wanted = a["output_padding"] or (0,) * n, a["output_shape"]
    pads = a["pads"] or (0,) * (2 * n)
    if any(len(one) != n for one in (strides, dilations, more)) or len(pads) != 2 * n:
        raise ValueError(f"expected strides, dilations and pads of {n} dimensions, found others")
    out: list[Size] = []
    before: list[Size] = list(pads[:n])
    after: list[Size] = list(pads[n:])
    for axis, size in enumerate(sizes):
        whole = strides[axis] * (size - 1) + more[axis] + dilations[axis] * (kernel[axis] - 1) + 1
        if wanted or a["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
            target = wanted[axis - n] if wanted else size * strides[axis]
            total = whole - target
            total = max(total, 0) if isinstance(total, int) else total
            small = total // 2
            upper = a["auto_pad"] == "SAME_UPPER"
            before[axis], after[axis] = (small, total - small) if upper else (total - small, small)
            out.append(target)
        else:
            out.append(whole - before[axis] - after[axis])
        if out[-1] < 0:
            raise ValueError(f"expected pads of at most {whole} along dimension {axis}, found more")
    return out, before, after


def _transpose_rule(call: Call) -> list[TensorType]:
    x, w = call.shapes[:2]
    if len(x) < 3 or len(w) != len(x) or differ(x[1], w[0]):
        raise ValueError(f"expected an input (batch, channels, ...) and weights that fit it, found {x} and {w}")
    group = call.attributes["group"]
    if tuple(call.attributes["kernel_shape"] or w[2:]) != w[2:] or w[0] % group:
        raise ValueError(f"expected kernel_shape and group that fit weights of shape {w}, found others")
    if call.has(2) and call.shapes[2] != (w[1] * group,):
        raise ValueError(f"expected a bias of shape {(w[1] * group,)}, found {call.shapes[2]}")
    return [TensorType((x[0], w[1] * group, *transposed(call.attributes, x[2:], w[2:])[0]), same_types(call))]


@operator(
    "ConvTranspose",
    _transpose_rule,
    (2, 3),
    output_padding=integers(least=0),
    output_shape=integers(least=0),
    **CONV,
)
def _conv_transpose(a: Attributes, x: Array, w: Array, bias: Array | None = None) -> Array:
    n, kernel, group = x.ndim - 2, w.shape[2:], a["group"]
    sizes, before, _ = transposed(a, x.shape[2:], kernel)
    strides, dilations = a["strides"] or (1,) * n, a["dilations"] or (1,) * n
    spread = [s * (size - 1) + d * (k - 1) + 1 for s, size, d, k in zip(strides, x.shape[2:], dilations, kernel)]
    room = [max(one, start + size) for one, start, size in zip(spread, before, sizes)]
    y = np.zeros((x.shape[0], w.shape[1] * group, *room), wide(x).dtype)
    parts, weights = np.split(wide(x), group, 1), np.split(wide(w), group, 0)
    for tap in itertools.product(*map(range, kernel)):
        at = tuple(
            slice(t * d, t * d + s * (size - 1) + 1, s) for t, d, s, size in zip(tap, dilations, strides, x.shape[2:])
        )
        at_tap: Any = (slice(None), slice(None), *tap)
        products = [np.moveaxis(np.tensordot(p, v[at_tap], (1, 0)), -1, 1) for p, v in zip(parts, weights)]
        if math.prod(x.shape):
            y[(slice(None), slice(None), *at)] += np.concatenate(products, 1)
    y = y[(slice(None), slice(None), *(slice(start, start + size) for start, size in zip(before, sizes)))]
    return (y if bias is None else y + wide(bias).reshape(-1, *(1,) * n)).astype(x.dtype)
