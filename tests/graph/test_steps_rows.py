"""Reductions, softmax and normalisations against the operators' meaning, along any axes of tensors that lie in any way."""

import numpy as np
import pytest
from strided import check, floats, some_shape

seeds = pytest.mark.parametrize("seed", range(8))
REDUCTIONS = ["Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]


def some_axes(rng, rank):
    return tuple(int(axis) for axis in rng.permutation(rank)[: rng.integers(1, rank + 1)])


@seeds
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, *some_shape(rng))
    x = np.abs(x) + 0.1 if name == "LogSum" else x
    for keepdims in (0, 1):
        check(rng, f"Reduce{name}", x, (np.array(some_axes(rng, x.ndim)),), keepdims=keepdims)
    check(rng, f"Reduce{name}", x)
    check(rng, f"Reduce{name}", x, noop_with_empty_axes=1)


@pytest.mark.parametrize(
    "shape, axes", [((3, 5000), 1), ((5000, 70), 0), ((2, 300, 33), 1), ((2, 3, 70, 5), (1, 3)), ((4, 1), 1)]
)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_long_rows(name, shape, axes):
    rng = np.random.default_rng(1)
    x = floats(rng, *shape, scale=0.1 if name != "LogSumExp" else 30) + np.float32(name in ("Prod", "LogSum"))
    check(
        rng,
        f"Reduce{name}",
        np.abs(x) if name == "LogSum" else x,
        (np.atleast_1d(axes),),
        rtol=2e-4 if name == "Prod" else 3e-6,
        atol=3e-5,
    )


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8])
def test_reductions_of_whole_numbers(name, dtype):
    rng = np.random.default_rng(2)
    for _ in range(4):
        x = rng.integers(1, 5, some_shape(rng)).astype(dtype)
        check(
            rng, f"Reduce{name}", x, (np.array(some_axes(rng, x.ndim)),), atol=1 if name in ("Mean", "LogSumExp") else 0
        )


@pytest.mark.parametrize("name", ["Max", "Min"])
def test_extremes_of_truth_values(name):
    rng = np.random.default_rng(3)
    check(rng, f"Reduce{name}", rng.integers(0, 2, (3, 4, 5)).astype(np.bool_), (np.array([1]),))


@pytest.mark.parametrize("name", ["Max", "Min", "Sum", "LogSumExp"])
def test_rows_with_infinities_and_no_numbers(name):
    rng = np.random.default_rng(4)
    for size in (1, 5, 16, 50):
        x = floats(rng, 4, size)
        x[0, size // 2] = np.nan
        x[1, 0], x[2, -1], x[3] = np.inf, -np.inf, -np.inf
        check(rng, f"Reduce{name}", x, (np.array([1]),))
        check(rng, f"Reduce{name}", np.ascontiguousarray(x.T), (np.array([0]),))


@pytest.mark.parametrize("name", ["Sum", "Max", "Min", "Prod", "LogSumExp"])
def test_rows_of_nothing(name):
    rng = np.random.default_rng(5)
    check(rng, f"Reduce{name}", np.zeros((3, 0, 2), np.float32), (np.array([1]),))


@seeds
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_places_of_extremes(op, seed, dtype):
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, some_shape(rng)).astype(dtype)
    if dtype is np.float32 and seed % 2:
        x.reshape(-1)[rng.integers(x.size)] = np.nan
    for last in (0, 1):
        check(
            rng, op, x, axis=int(rng.integers(-x.ndim, x.ndim)), keepdims=int(rng.integers(2)), select_last_index=last
        )


@seeds
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax(op, seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, *some_shape(rng), scale=4.0)
    check(rng, op, x, axis=int(rng.integers(-x.ndim, x.ndim)), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_of_long_rows_and_masks(op):
    rng = np.random.default_rng(6)
    x = floats(rng, 3, 4000, scale=20.0)
    x[0, 1000:] = -np.inf if op == "Softmax" else -200
    x[1] += 1e4
    check(rng, op, x, rtol=2e-5)
    check(rng, op, np.ascontiguousarray(x.T), axis=0, rtol=2e-5)


@seeds
def test_layer_normalisation(seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, *some_shape(rng, 1, 4, 20), scale=3.0) + np.float32(seed)
    axis = int(rng.integers(x.ndim))
    gain, bias = (floats(rng, *x.shape[axis:]) for _ in range(2))
    check(rng, "LayerNormalization", x, gain, bias, axis=axis, epsilon=1e-3, outputs=3, atol=2e-5)
    check(rng, "LayerNormalization", x, (gain,), (bias[..., :1],), axis=axis - x.ndim, epsilon=1e-3, atol=2e-5)
    check(rng, "LayerNormalization", x, (gain,), axis=axis, epsilon=1e-3, atol=2e-5)
    check(rng, "RMSNormalization", x, gain, axis=axis, epsilon=1e-3)


def test_a_row_of_nearly_equal_numbers():
    rng = np.random.default_rng(7)
    x = np.float32(1000) + floats(rng, 5, 3000, scale=0.01)
    check(rng, "LayerNormalization", x, (np.ones(3000, np.float32),), epsilon=0.0, rtol=1e-4, atol=1e-4)


@seeds
def test_normalisations_by_channel(seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, int(rng.integers(1, 4)), 6, *some_shape(rng, 1, 3, 7))
    scale, bias, mean = (floats(rng, 6) for _ in range(3))
    var = np.abs(floats(rng, 6)) + 0.1
    check(rng, "InstanceNormalization", x, scale, (bias,), epsilon=1e-2, atol=1e-5)
    check(rng, "BatchNormalization", x, (scale,), (bias,), (mean,), (var,), atol=1e-5)
    check(rng, "BatchNormalization", x, scale, bias, mean, var, atol=1e-5)
    for groups in (1, 2, 3, 6):
        check(rng, "GroupNormalization", x, (scale,), bias, num_groups=groups, epsilon=1e-2, atol=1e-5)
    check(rng, "GroupNormalization", x, floats(rng, 2), (floats(rng, 2),), num_groups=2, epsilon=1e-2, atol=1e-5)
    check(rng, "BatchNormalization", floats(rng, 5, 6), (scale,), (bias,), (mean,), (var,), atol=1e-5)


@seeds
def test_other_normalisations(seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, *some_shape(rng, 4, 4), scale=2.0)
    check(
        rng,
        "MeanVarianceNormalization",
        x,
        axes=some_axes(rng, 4) if x.size > 40 else (0, 1, 2, 3),
        rtol=1e-4,
        atol=1e-4,
    )
    x[0] = 0
    check(rng, "LpNormalization", x, axis=int(rng.integers(-4, 4)), p=1 + seed % 2)
    check(rng, "LRN", x, size=int(rng.integers(1, 6)), alpha=0.3, beta=0.6, bias=1.2)
    check(rng, "LRN", floats(rng, 3, 7), size=3)
