"""sigmoid and tanh against float64: 2 units in the last place, inside [-1, 1], monotone near saturation, on every ISA."""

import numpy as np
import pytest

from fusedlstm import _core

SMALLEST_NORMAL = 2.0**-126
SATURATED = {"sigmoid": 12, "tanh": 6}  # from here on the functions may not step back


def exact(name, x):
    """Float64, written so that neither branch cancels or overflows."""
    x = x.astype(float)
    if name == "tanh":
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def check(name, bits):
    """Hold the function against the definition for the float32 numbers with these bit patterns, in rising order."""
    x = bits.astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    if not x.size:
        return 0.0
    y = getattr(_core, name)(x)
    expected = exact(name, x)
    assert np.abs(y).max() <= 1
    # The order of positive floats is that of their bits; of negative ones the reverse.
    steps = np.diff(y) if x[0] >= 0 and not np.signbit(x[0]) else -np.diff(y)
    back = (steps < 0) & (np.abs(x[1:]) >= SATURATED[name])
    assert not back.any(), (name, x[1:][back][:3])
    # Flushed to zero; so may be what rounding takes below the smallest normal number.
    denormal = np.abs(expected) < SMALLEST_NORMAL * (1 + 2.0**-22)
    assert (np.abs(y[denormal]) <= SMALLEST_NORMAL * (1 + 2.0**-22)).all()
    error = np.abs(y - expected) / np.spacing(np.abs(expected).astype(np.float32)).astype(float)
    return float(error[~denormal].max(initial=0))


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_a_sample_of_all_floats(isa, name):
    block = 2**14
    worst = max(
        check(name, np.arange(start, start + block)) for start in range(0, 2**32, 2**32 // 509 // block * block)
    )
    for edge in (1e-3, 0.1, 0.17, 0.34, 0.35, 0.5, 1.0, 8.6, 9.0, 17.3, 43.9, 87.3, 88.0):
        start = int(np.float32(edge).view(np.uint32)) - block // 2
        for sign in (0, 2**31):
            worst = max(worst, check(name, np.arange(start + sign, start + sign + block)))
    assert 0.5 < worst <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_all_floats(isa, name):
    """All 2^32; minutes for each instruction set."""
    block = 2**22
    worst = max(check(name, np.arange(start, start + block)) for start in range(0, 2**32, block))
    print(f"{name} on {isa}: {worst:.3f} units in the last place")
    assert worst <= 2


def test_products_inside_the_cell(isa):
    """sigmoid(a) tanh(b) is divided once; magnitudes from far below 1 into saturation, all signs."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((2, 2**20)) * 10 ** rng.uniform(-4, 1.3, (2, 2**20))).astype(np.float32)
    expected = exact("sigmoid", a) * exact("tanh", b)
    y = _core.sigmoid_times_tanh(a, b)
    assert np.abs(y).max() <= 1
    assert (np.abs(y - expected) / np.spacing(np.abs(expected).astype(np.float32))).max() <= 5


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_special_values(isa, name):
    function = getattr(_core, name)
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-45], np.float32)
    low, middle = (0, 0.5) if name == "sigmoid" else (-1, 0)
    np.testing.assert_array_equal(function(x), np.array([np.nan, 1, low, middle, middle, 1, low, middle], np.float32))


def test_any_length(isa):
    """Lengths that are no multiple of the vector width."""
    x = np.linspace(-4, 4, 41).astype(np.float32)
    whole = _core.sigmoid(x)
    for count in range(42):
        np.testing.assert_array_equal(_core.sigmoid(x[:count]), whole[:count])
