"""Pooling, and its counterpart, upsampling."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ....errors import FormatError
from .call import Call
from .registry import operator


def _batched(call: Call, rank: int) -> tuple[str, bool]:
    """The input with a batch, and whether it had none."""
    x = call.tensor("self")
    alone = call.rank(x) == rank + 1
    if not alone and call.rank(x) != rank + 2:
        raise FormatError(f"expected {rank + 1} or {rank + 2} dimensions, found {call.shape(x)}")
    return (call.unsqueeze(x, 0) if alone else x), alone


def _window(call: Call, rank: int) -> dict[str, Any]:
    kernel = call.ints("kernel_size", rank)
    stride = call.value("stride", [])
    return {
        "kernel_shape": kernel,
        "strides": call.ints("stride", rank) if stride not in ([], None) else kernel,
        "pads": call.ints("padding", rank, 0) * 2,
        "ceil_mode": int(call.flag("ceil_mode", False)),
    }


def _max(rank: int, indexed: bool, call: Call) -> list[str]:
    x, alone = _batched(call, rank)
    options = {**_window(call, rank), "dilations": call.ints("dilation", rank, 1)}
    if not indexed:
        made = [call.op("MaxPool", x, **options)]
    else:
        made = call.ops("MaxPool", [x], 2, **options)
        made[1] = _places(call, x, made[1], rank)
    return [call.squeeze(one, 0) if alone else one for one in made]


def _places(call: Call, x: str, places: str, rank: int) -> str:
    """PyTorch counts places within a channel, ONNX within the whole tensor."""
    count = call.op("ReduceProd", call.op("Shape", x, start=2), call.int_list(0), keepdims=0)
    return call.op("Mod", places, count)


def _average(rank: int, call: Call) -> str:
    x, alone = _batched(call, rank)
    options = _window(call, rank)
    if call.has("divisor_override"):
        if options["ceil_mode"] or any(options["pads"]):
            raise FormatError("divisor_override: expected no padding and ceil_mode, found them")
        made = call.op("AveragePool", x, **options)
        factor = float(np.prod(options["kernel_shape"])) / call.whole("divisor_override")
        made = call.op("Mul", made, call.like(x, factor))
    else:
        made = call.op("AveragePool", x, count_include_pad=int(call.flag("count_include_pad", True)), **options)
    return call.squeeze(made, 0) if alone else made


for _n in (1, 2, 3):
    operator(f"max_pool{_n}d.default")(partial(_max, _n, False))
    operator(f"max_pool{_n}d_with_indices.default")(partial(_max, _n, True))
    operator(f"avg_pool{_n}d.default")(partial(_average, _n))


def _adaptive(rank: int, op: str, call: Call) -> list[str | None]:
    """As many windows along an axis as are asked for, which may overlap."""
    x, alone = _batched(call, rank)
    sizes = call.value("output_size")
    sizes = sizes if isinstance(sizes, list) else [sizes] * rank
    if len(sizes) != rank:
        raise FormatError(f"output_size: expected {rank} numbers, found {str(sizes)[:80]!r}")
    axes = [axis for axis, size in enumerate(sizes, 2) if size == 1]
    if axes:
        x = call.op(f"Reduce{op}", x, call.int_list(*axes))
    for axis, size in enumerate(sizes, 2):
        known = call.shape(x)[axis]
        if size is None or size == 1 or (type(known) is int and size == known):
            continue
        if type(size) is not int or type(known) is not int or not 0 < size <= 256:
            raise FormatError(
                f"output_size: expected 1 where sizes are open, found {str(sizes)[:80]} of {call.shape(x)}"
            )
        x = _windows(call, op, x, axis, known, size)
    return [call.squeeze(x, 0) if alone else x, None]


def _windows(call: Call, op: str, x: str, axis: int, size: int, count: int) -> str:
    if size % count == 0:
        rank = call.rank(x) - 2
        kernel = [size // count if k == axis - 2 else 1 for k in range(rank)]
        return call.op("AveragePool" if op == "Mean" else "MaxPool", x, kernel_shape=kernel, strides=kernel)
    parts = []
    for k in range(count):
        part = call.slice(x, axis, k * size // count, -(-(k + 1) * size // count))
        parts.append(call.op(f"Reduce{op}", part, call.int_list(axis)))
    return call.op("Concat", *parts, axis=axis)


for _n in (1, 2, 3):
    operator(f"adaptive_avg_pool{_n}d.default", *([f"_adaptive_avg_pool{_n}d.default"] if _n > 1 else []))(
        partial(_adaptive, _n, "Mean")
    )
    operator(f"adaptive_max_pool{_n}d.default")(partial(_adaptive, _n, "Max"))


def _resized(call: Call, mode: str, rank: int) -> str:
    """To a size, or by a factor, which the file may state as well."""
    name = "input" if call.has("input") else "self"
    x = call.tensor(name)
    if call.rank(x) != rank + 2:
        raise FormatError(f"expected {rank + 2} dimensions, found {call.shape(x)}")
    corners = call.value("align_corners", False)
    where = "align_corners" if corners else "asymmetric" if mode == "nearest" else "half_pixel"
    options: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": where, "nearest_mode": "floor"}
    if mode == "cubic":
        options["cubic_coeff_a"] = -0.75
    sizes = call.value("output_size", None)
    factors = [
        call.value(one) for one in ("scale_factors", "scales", "scales_d", "scales_h", "scales_w") if call.has(one)
    ]
    factors = [one for part in factors for one in (part if isinstance(part, list) else [part])]
    if sizes is None or (len(factors) == rank and not corners):
        if len(factors) != rank or not all(type(one) is float for one in factors):
            raise FormatError(f"scale_factors: expected {rank} numbers, found {str(factors)[:80]}")
        scales = call.constant(np.array([1, 1, *factors], np.float32))
        return call.op("Resize", x, "", scales, **options)
    head = call.op("Shape", x, start=0, end=2)
    wanted = call.op("Concat", head, call.list_of("output_size", sizes), axis=0)
    return call.op("Resize", x, "", "", wanted, **options)


for _name, _mode, _n in [
    *((f"upsample_nearest{n}d", "nearest", n) for n in (1, 2, 3)),
    *(("upsample_linear1d", "linear", 1), ("upsample_bilinear2d", "linear", 2), ("upsample_trilinear3d", "linear", 3)),
    ("upsample_bicubic2d", "cubic", 2),
]:
    operator(f"{_name}.default", f"{_name}.vec")(partial(_resized, mode=_mode, rank=_n))
