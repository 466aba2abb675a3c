"""Pooling and convolutions against the operators' meaning."""

import numpy as np
import pytest
from strided import check, floats

from fusedlstm.errors import FormatError

seeds = pytest.mark.parametrize("seed", range(12))
AUTO = ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]


def sliding(rng, kernel, small=False):
    """Attributes of windows that fit into axes of 8 to 12."""
    n = len(kernel)
    found = {"strides": tuple(map(int, rng.integers(1, 4, n))), "dilations": tuple(map(int, rng.integers(1, 3, n)))}
    auto = AUTO[rng.integers(4)]
    if auto != "NOTSET":
        return {**found, "auto_pad": auto}
    pads = [int(rng.integers(0, size if small else 4)) for size in kernel * 2]
    return {**found, "pads": tuple(pads)}


@seeds
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("space", [1, 2, 3])
def test_pools(op, space, seed):
    rng = np.random.default_rng([seed, space])
    x = floats(rng, int(rng.integers(1, 3)), int(rng.choice([1, 3, 9, 20])), *rng.integers(8, 13, space))
    kernel = tuple(map(int, rng.integers(1, 4, space)))
    more = sliding(rng, kernel, small=True)
    if "pads" in more:
        more["ceil_mode"] = int(rng.integers(2))
    if op == "AveragePool":
        more["count_include_pad"] = int(rng.integers(2))
    if op == "LpPool":
        more["p"] = int(rng.integers(1, 4))
    check(rng, op, x, kernel_shape=kernel, **more)


@seeds
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8])
@pytest.mark.parametrize("column_major", [0, 1])
def test_where_the_largest_are(seed, dtype, column_major):
    rng = np.random.default_rng(seed)
    space = int(rng.integers(1, 4))
    x = rng.integers(0, 6, (2, 3, *rng.integers(8, 11, space))).astype(dtype)
    kernel = tuple(map(int, rng.integers(2, 4, space)))
    more = sliding(rng, kernel, small=True)
    check(rng, "MaxPool", x, outputs=2, kernel_shape=kernel, storage_order=column_major, **more)
    check(rng, "MaxPool", x, kernel_shape=kernel, **more)


@seeds
def test_pools_over_all_of_space(seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, 2, int(rng.integers(1, 40)), *rng.integers(1, 9, rng.integers(1, 4)))
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        check(rng, op, x)
    for p in (1, 2, 3):
        check(rng, "GlobalLpPool", x, p=p)


def conv_case(rng, groups, each, channels, space):
    kernel = tuple(map(int, rng.integers(1, 4, space)))
    x = floats(rng, int(rng.integers(1, 3)), groups * channels, *rng.integers(8, 13, space))
    w, bias = floats(rng, groups * each, channels, *kernel), floats(rng, groups * each)
    return kernel, x, w, (bias,) if rng.integers(2) else ""


@seeds
@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(1, 5, 3), (6, 1, 1), (20, 1, 1), (5, 3, 1), (3, 2, 4), (2, 40, 3), (70, 1, 1)])
def test_convolutions_in_groups(sizes, space, seed):
    """(groups, outputs of each, channels of each)"""
    rng = np.random.default_rng([seed, space])
    kernel, x, w, bias = conv_case(rng, *sizes, space)
    inputs = [x, (w,)] + ([bias] if bias else [])
    check(rng, "Conv", *inputs, group=sizes[0], rtol=1e-4, atol=1e-4, **sliding(rng, kernel))


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_groups_with_padding_that_goes_on(mode):
    rng = np.random.default_rng(0)
    x, w = floats(rng, 2, 6, 11), floats(rng, 12, 1, 3)
    check(rng, "fusedlstm.Conv", x, (w,), group=6, pads=(2, 1), pad_mode=mode, atol=1e-5)


def test_many_taps_go_in_the_order_of_other_products():
    """A depthwise convolution has the bits of the same one without groups, all other weights being 0."""
    rng = np.random.default_rng(1)
    channels = 5
    x, own = floats(rng, 1, channels, 200), floats(rng, channels, 1, 150)
    whole = np.zeros((channels, channels, 150), np.float32)
    whole[range(channels), range(channels)] = own[:, 0]
    found = [check(rng, "Conv", x, (w,), group=g, atol=1e-4)[0] for w, g in ((own, channels), (whole[:1], 1))]
    np.testing.assert_allclose(found[0][:, :1], found[1], rtol=0, atol=1e-5)


@seeds
@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(1, 5, 3), (1, 1, 8), (6, 1, 1), (4, 3, 1), (3, 2, 4)])
def test_transposed_convolutions(sizes, space, seed):
    rng = np.random.default_rng([seed, space])
    groups, each, channels = sizes
    kernel = tuple(map(int, rng.integers(1, 5, space)))
    x = floats(rng, int(rng.integers(1, 3)), groups * channels, *rng.integers(1, 6, space))
    w, bias = floats(rng, groups * channels, each, *kernel), floats(rng, groups * each)
    strides, dilations = (tuple(map(int, rng.integers(1, 4, space))) for _ in range(2))
    more = {"strides": strides, "dilations": dilations, "group": groups}
    how = rng.integers(3)
    if how == 0:
        more["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER"]))
    elif how == 1:
        more["output_padding"] = tuple(int(rng.integers(step)) for step in strides)
        reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel)]
        more["pads"] = tuple(int(rng.integers(0, max(1, (size + 1) // 2))) for size in reach * 2)
    inputs = [x, (w,)] + ([(bias,)] if rng.integers(2) else [])
    check(rng, "ConvTranspose", *inputs, rtol=1e-4, atol=1e-4, **more)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_weights_that_are_computed_are_refused(op):
    rng = np.random.default_rng(0)
    with pytest.raises(FormatError, match=f"{op} node .*: weights that are computed are not supported"):
        check(rng, op, floats(rng, 1, 2, 5), floats(rng, 2, 2, 3))
