"""Element-wise steps against the operators' meaning, for tensors that lie in memory in any way."""

import numpy as np
import pytest
from strided import Lying, check, floats, some_shape

UNARY = ["Neg", "Abs", "Reciprocal", "Floor", "Ceil", "Round", "Sign", "Erf", "Sin", "Cos", "Tan", "Atan", "Sinh"]
UNARY += ["Cosh", "Asinh", "Relu", "Sigmoid", "Tanh", "Exp", "Softplus", "Softsign", "HardSwish", "Mish"]
ACTIVATIONS = {
    "LeakyRelu": {"alpha": 0.2},
    "Elu": {"alpha": 1.5},
    "Selu": {},
    "Celu": {"alpha": 0.7},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "ThresholdedRelu": {"alpha": 0.5},
    "Shrink": {"bias": 0.3, "lambd": 0.6},
    "Swish": {"alpha": 1.3},
    "Gelu": {"approximate": "tanh"},
}
seeds = pytest.mark.parametrize("seed", range(6))


@seeds
@pytest.mark.parametrize("op", UNARY)
def test_functions_of_one_element(op, seed):
    rng = np.random.default_rng(seed)
    check(rng, op, floats(rng, *some_shape(rng, 0), scale=2.0), rtol=3e-6, atol=1e-6)


@seeds
@pytest.mark.parametrize("op", ["Sqrt", "Log", "Acosh"])
def test_functions_of_large_elements(op, seed):
    rng = np.random.default_rng(seed)
    check(rng, op, 1 + np.abs(floats(rng, *some_shape(rng), scale=3.0)))


@seeds
@pytest.mark.parametrize("op", ["Asin", "Acos", "Atanh"])
def test_functions_of_small_elements(op, seed):
    rng = np.random.default_rng(seed)
    check(rng, op, rng.uniform(-0.99, 0.99, some_shape(rng)).astype(np.float32))


@seeds
@pytest.mark.parametrize("op", ACTIVATIONS)
def test_activations_with_parameters(op, seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, *some_shape(rng), scale=2.0)
    x.reshape(-1)[0] = 0.5  # exactly at the threshold
    check(rng, op, x, rtol=3e-6, atol=1e-6, **ACTIVATIONS[op])
    check(rng, op, x, rtol=3e-6, atol=1e-6)


@seeds
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "Mod", "PRelu"])
def test_two_inputs_that_broadcast(op, seed):
    rng = np.random.default_rng(seed)
    shape = some_shape(rng)
    other = tuple(size if rng.integers(2) else 1 for size in shape)[rng.integers(len(shape)) :]
    x, y = floats(rng, *shape), floats(rng, *other)
    if op == "Pow":
        x = np.abs(x) + 0.1
    check(rng, op, x, y, rtol=1e-6, atol=1e-5 if op == "Mod" else 1e-6)
    if op != "PRelu":
        check(rng, op, floats(rng, *other) + (3 if op == "Pow" else 0), x)


@seeds
@pytest.mark.parametrize("op", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8])
def test_comparisons(op, seed, dtype):
    rng = np.random.default_rng(seed)
    shape = some_shape(rng)
    other = tuple(size if rng.integers(2) else 1 for size in shape)
    check(rng, op, rng.integers(-2, 3, shape).astype(dtype), rng.integers(-2, 3, other).astype(dtype))


@seeds
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_where(seed, dtype):
    rng = np.random.default_rng(seed)
    shape = some_shape(rng)

    def part():
        return tuple(size if rng.integers(3) else 1 for size in shape)

    values = [rng.integers(-2, 3, one).astype(dtype) for one in (part(), part())]
    check(rng, "Where", rng.integers(0, 2, part()).astype(np.bool_), *values)


@seeds
@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_inputs(op, seed, count):
    rng = np.random.default_rng(seed)
    shape = some_shape(rng)
    inputs = [floats(rng, *(size if rng.integers(3) else 1 for size in shape)) for _ in range(count)]
    check(rng, op, *inputs, rtol=3e-6)


@pytest.mark.parametrize("op", ["Min", "Max"])
def test_what_is_no_number_stays_so(op):
    rng = np.random.default_rng(0)
    for size in (1, 3, 16, 40):
        x, y = floats(rng, 2, size), floats(rng, 2, size)
        x[0, size // 2] = y[1, size - 1] = np.nan
        x[1, 0] = np.inf
        check(rng, op, x, y)


@seeds
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize(
    "op", ["Add", "Sub", "Mul", "Div", "Min", "Max", "Mod", "BitwiseAnd", "BitwiseOr", "BitwiseXor"]
)
def test_whole_numbers_wrap_around(op, dtype, seed):
    rng = np.random.default_rng(seed)
    limits, shape = np.iinfo(dtype), some_shape(rng)
    x, y = (rng.integers(limits.min, limits.max, shape, dtype, endpoint=True) for _ in range(2))
    if op in ("Div", "Mod"):
        y[(y == 0) | (y == -1 if limits.min < 0 else False)] = 3
    check(rng, op, x, y)


@seeds
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_single_bits(dtype, seed):
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max, some_shape(rng), dtype)
    check(rng, "BitwiseNot", x)
    if limits.min == 0:
        for direction in ("LEFT", "RIGHT"):
            check(rng, "BitShift", x, rng.integers(0, 12, x.shape).astype(dtype), direction=direction)


@seeds
@pytest.mark.parametrize("fmod", [0, 1])
def test_remainders_of_floats(fmod, seed):
    rng = np.random.default_rng(seed)
    shape = some_shape(rng)
    x, y = floats(rng, *shape, scale=5.0), floats(rng, *shape)
    check(rng, "Mod", x, np.where(np.abs(y) < 0.1, 1, y).astype(np.float32), fmod=fmod, rtol=1e-4, atol=1e-5)


TYPES = [np.float32, np.float16, np.bool_, np.int8, np.uint8, np.int16, np.int32, np.int64]


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", TYPES)
def test_casts(source, target):
    rng = np.random.default_rng(0)
    if np.dtype(source).kind == "f":
        x = floats(rng, 4, 9, scale=20.0)
        x = (np.abs(x) if np.dtype(target).kind == "u" else x).astype(source)
    else:
        x = rng.integers(0, 2, (4, 9)).astype(source)
        if source is not np.bool_:
            limits = np.iinfo(source)
            x = rng.integers(limits.min, limits.max, (4, 9), source)
            x = x // (1 << 40) if source is np.int64 and target is np.float16 else x
    check(rng, "Cast", x, to=np.dtype(target))
    check(rng, "CastLike", x, (np.zeros(1, target),))


def test_a_cast_to_float16_rounds_to_the_nearest():
    """Every float16 in steps, what lies between two of them, ties, the largest, and the numbers below the normal ones."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (halves[:-1] + halves[1:]) / 2
    x = np.concatenate([halves, middle, np.nextafter(middle, 0), np.nextafter(middle, 1e9)])
    x = np.concatenate([x, -x, [65504, 65519.9, 65520, 1e30, np.inf, np.nan, 1e-8, 1e-30]]).astype(np.float32)
    check(np.random.default_rng(0), "Cast", x, to=np.dtype(np.float16), rtol=0, atol=0)


@seeds
def test_clip(seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, *some_shape(rng))
    check(rng, "Clip", x, (np.float32(-0.5),), (np.float32(0.7),))
    check(rng, "Clip", x, "", (np.float32(0.1),))
    check(rng, "Clip", x, np.float32(-0.2))
    check(rng, "Clip", rng.integers(-9, 9, x.shape).astype(np.int32), (np.int32(-2),), (np.int32(5),))


@seeds
@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op, seed):
    rng = np.random.default_rng(seed)
    shape = some_shape(rng)
    x, y = (rng.integers(0, 2, one).astype(np.bool_) for one in (shape, shape[1:]))
    check(rng, op, x, y)
    check(rng, "Not", x)


def test_what_is_infinite():
    rng = np.random.default_rng(0)
    x = np.array([[1, np.inf, -np.inf, np.nan]] * 3, np.float32)
    check(rng, "IsNaN", x)
    for above, below in ((1, 1), (0, 1), (1, 0)):
        check(rng, "IsInf", x, detect_positive=above, detect_negative=below)


@seeds
@pytest.mark.parametrize("upper", [0, 1])
def test_triangles(upper, seed):
    rng = np.random.default_rng(seed)
    x = floats(rng, *some_shape(rng, 0, 2), *rng.integers(1, 9, 2))
    check(rng, "Trilu", x, upper=upper)
    check(rng, "Trilu", x, (np.int64(rng.integers(-9, 9)),), upper=upper)
    check(rng, "Trilu", x.astype(np.int64), np.array(rng.integers(-3, 4)), upper=upper)


def test_broadcast_inputs_that_are_views():
    """One number, a row and a column, all of them without memory of their own."""
    rng = np.random.default_rng(0)
    graph = Lying(rng)
    b = graph.builder
    wide = [
        b("Expand", graph.input(floats(rng, *shape)), np.array([3, 4, 5]))
        for shape in ((1, 1, 5), (4, 1), (1,), (3, 1, 1))
    ]
    graph.check(
        b("Add", b("Mul", wide[0], wide[1]), b("Sub", wide[2], wide[3])),
        b("Relu", wide[1]),
        b("Where", b("Less", *wide[:2]), *wide[2:]),
    )
