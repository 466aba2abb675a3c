"""Every activation that a cell may have, against float64, over a wide sample of float32, on every ISA."""

import math

import numpy as np
import pytest
from conftest import ISAS
from reference import ACTIVATIONS

import fusedlstm as fl
from fusedlstm import _core

SMALLEST_NORMAL = 2.0**-126
# Units in the last place. The tail of gelu_tanh depends on its polynomial's rounding, as much as 100 times.
LIMITS = dict.fromkeys(ACTIVATIONS, 3.0) | {"gelu": 5.0, "mish": 5.0, "gelu_tanh": 250.0}

normal_tail = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[float])


def logistic(x):
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


# As in reference.py, but without cancellation in float64 where the result is small.
EXACT = ACTIVATIONS | {
    "gelu": lambda x, a, b: x * normal_tail(x),
    "gelu_tanh": lambda x, a, b: x * logistic(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)),
    "softplus": lambda x, a, b: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "silu": lambda x, a, b: x * logistic(x),
    "sigmoid": lambda x, a, b: logistic(x),
}


def sample():
    every = np.arange(0, 2**32, 2**32 // 100_003, dtype=np.uint64).astype(np.uint32).view(np.float32)
    grids = [np.linspace(-high, high, 40_001).astype(np.float32) for high in (1, 15, 100)]
    x = np.concatenate([every[np.isfinite(every)], *grids])
    return x[(np.abs(x) >= SMALLEST_NORMAL) | (x == 0)]


@pytest.mark.parametrize("parameters", [(), (0.3, 0.7), (1.7, -0.4)], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_accuracy(isa, name, parameters):
    """Results within a factor of 128 of the smallest normal number may be flushed to zero."""
    function = fl.Activation(name, *parameters)
    alpha, beta = (float(np.float32(value)) for value in (function.alpha, function.beta))
    x = sample()
    y = _core.activate(function, x)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(float), alpha, beta)
        limit = np.finfo(np.float32).max
        overflow, tiny = np.abs(exact) > limit, np.abs(exact) < 128 * SMALLEST_NORMAL
        np.testing.assert_array_equal(
            y[np.abs(exact) > limit * 1.0001], np.sign(exact[np.abs(exact) > limit * 1.0001]) * np.inf
        )
        assert np.abs(y[tiny]).max(initial=0) <= 129 * SMALLEST_NORMAL
        # What alpha x loses to beta is lost in x's own last place, not in the result's.
        size = np.maximum(np.abs(exact), np.abs(alpha * x.astype(float)) if name in ("affine", "hard_sigmoid") else 0)
        units = np.abs(y - exact) / np.spacing(np.minimum(size, limit).astype(np.float32)).astype(float)
    worst = float(units[~overflow & ~tiny].max(initial=0))
    assert worst <= LIMITS[name], (worst, name, x[~overflow & ~tiny][np.argmax(units[~overflow & ~tiny])])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_special_values(isa, name):
    """Not a number stays so; infinities go where the definition takes them, or are not a number where it has none."""
    function = fl.Activation(name)
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38], np.float32)
    with np.errstate(all="ignore"):
        expected = ACTIVATIONS[name](x.astype(float), function.alpha, function.beta).astype(np.float32)
    expected[:2] = np.nan  # a comparison may take it for 0
    np.testing.assert_allclose(_core.activate(function, x), expected, rtol=1e-6)


def test_limits_hold():
    """Where a definition has a limit, no result is beyond it."""
    x = sample()
    for name, low, high in (("hard_sigmoid", 0, 1), ("softsign", -1, 1), ("relu", 0, np.inf), ("softplus", 0, np.inf)):
        y = _core.activate(fl.Activation(name), x)
        assert low <= y.min() and y.max() <= high, name


def test_the_same_bits_on_any_instruction_set():
    fused = [isa for isa in ISAS if isa != "scalar"]
    x, before = sample(), _core.isa()
    try:
        for name in ACTIVATIONS:
            found = set()
            for isa in fused:
                _core.use_isa(isa)
                found.add(_core.activate(fl.Activation(name, 0.3, 0.7), x).tobytes())
            assert len(found) <= 1, name
    finally:
        _core.use_isa(before)


def test_unknown_functions_are_refused():
    with pytest.raises(ValueError, match="activation: expected one of affine, .*found 'softmax'"):
        fl.Activation("softmax")
    with pytest.raises(ValueError, match="activation elu: expected a finite alpha, found inf"):
        fl.Activation("elu", np.inf)
