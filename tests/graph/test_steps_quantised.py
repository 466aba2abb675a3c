"""Integers that stand for floats: the engine gives exactly what ONNX defines."""

import numpy as np
import pytest
from graphs import Builder, random
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import check_planned, run_planned

from fusedlstm.graph.passes import simplify
from fusedlstm.weights import FormatError

many = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)
BYTES = [np.dtype(np.uint8), np.dtype(np.int8)]


def anything(rng, shape, kind):
    """The largest products as well."""
    limits = np.iinfo(kind)
    if rng.random() < 0.3:
        return rng.choice([limits.min, limits.max], shape).astype(kind)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(kind)


@pytest.mark.parametrize("kind", [*BYTES, np.dtype(np.int16), np.dtype(np.uint16)])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("block", [0, 2])
def test_there_and_back(kind, axis, block):
    rng = np.random.default_rng(0)
    shape = (4, 3, 6)
    own = () if axis is None else (shape[axis],)
    if block and axis is not None:
        own = tuple(size // block if k == axis % 3 else size for k, size in enumerate(shape))
    scale, zero = rng.uniform(0.01, 0.2, own).astype(np.float32), anything(rng, own, kind)
    builder = Builder(x=shape)
    more = {"axis": 1 if axis is None else axis, "block_size": block if axis is not None else 0}
    y = builder("QuantizeLinear", "x", scale, builder.const(zero), **more)
    back = builder("DequantizeLinear", y, scale, builder.const(zero), **more)
    x = random(*shape, scale=9)
    x[0, 0] = [0.5 * 0.1, 1e9, -1e9, 0, np.inf, -np.inf]
    check_planned(builder.graph(y, back), {"x": x}, 0, 0)


def test_halves_go_to_the_even_number():
    x = np.arange(-9, 9, dtype=np.float32) / 2
    one = np.float32(1)
    builder = Builder(x=x.shape)
    y = builder("QuantizeLinear", "x", one, builder.const(np.int8(0)))
    (found,) = check_planned(builder.graph(y), {"x": x}, 0, 0)
    np.testing.assert_array_equal(found, np.round(x))
    kind = np.dtype(np.int8)
    builder = Builder(x=(kind, (18, 1)))
    given = [one, np.int8(0), np.ones((1, 1), np.int8), one, np.int8(0), np.float32(2), np.int8(0)]
    y = builder("QLinearMatMul", "x", *(builder.const(value) for value in given))
    (found,) = check_planned(builder.graph(y), {"x": np.arange(-9, 9, dtype=np.int8)[:, None]}, 0, 0)
    np.testing.assert_array_equal(found[:, 0], np.round(x))


@many
@given(seed=seeds)
def test_dynamic(seed):
    rng = np.random.default_rng(seed)
    builder = Builder(x=(3, 5))
    x = (rng.standard_normal((3, 5)) * 10.0 ** rng.integers(-3, 4) + rng.integers(-2, 3)).astype(np.float32)
    outputs = builder("DynamicQuantizeLinear", "x", outputs=3)
    check_planned(builder.graph(*outputs), {"x": x * (rng.random() < 0.9)}, 0, 0)
    check_planned(builder.graph(outputs[0]), {"x": x}, 0, 0)


@many
@given(seed=seeds, inputs=st.sampled_from([1, 7, 255, 256, 257, 600, 1500]), constant=st.booleans())
def test_products_of_whole_numbers(seed, inputs, constant):
    rng = np.random.default_rng(seed)
    one, other = (BYTES[k] for k in rng.integers(0, 2, 2))
    batch = (2,) if rng.random() < 0.5 else ()
    x, w = anything(rng, (*batch, 3, inputs), one), anything(rng, (inputs, 5), other)
    zeros = [anything(rng, (), one), anything(rng, (5,) if rng.random() < 0.5 else (), other)]
    shapes = {"x": (one, x.shape)} if constant else {"x": (one, x.shape), "w": (other, w.shape)}
    builder = Builder(**shapes)
    given_zeros = [builder.const(value) for value in zeros][: int(rng.integers(0, 3))]
    y = builder("MatMulInteger", "x", builder.const(w) if constant else "w", *given_zeros)
    check_planned(builder.graph(y), {"x": x} if constant else {"x": x, "w": w}, 0, 0)


@many
@given(seed=seeds, channels=st.sampled_from([1, 4, 30, 120]), groups=st.sampled_from([1, 2]))
def test_convolutions_of_whole_numbers(seed, channels, groups):
    rng = np.random.default_rng(seed)
    one, other = (BYTES[k] for k in rng.integers(0, 2, 2))
    x, w = anything(rng, (2, channels * groups, 6, 5), one), anything(rng, (4, channels, 3, 2), other)
    x_zero, w_zero = anything(rng, (), one), anything(rng, (4,) if rng.random() < 0.5 else (), other)
    builder = Builder(x=(one, x.shape))
    more = {"pads": (1, 0, 2, 1), "strides": (1, 2), "group": groups}
    y = builder("ConvInteger", "x", *(builder.const(value) for value in (w, x_zero, w_zero)), **more)
    check_planned(builder.graph(y), {"x": x}, 0, 0)

    scales = [rng.uniform(0.01, 0.1, shape).astype(np.float32) for shape in ((), (4,), ())]
    y_zero, bias = anything(rng, (), one), rng.integers(-9999, 9999, 4).astype(np.int32)
    given = [scales[0], x_zero, w, scales[1], np.broadcast_to(w_zero, (4,)), scales[2] * channels * 99, y_zero, bias]
    builder = Builder(x=(one, x.shape))
    y = builder("QLinearConv", "x", *(builder.const(value) for value in given), **more)
    check_planned(builder.graph(y), {"x": x}, 0, 0)


@many
@given(seed=seeds)
def test_scaled_products(seed):
    rng = np.random.default_rng(seed)
    one, other, made = (BYTES[k] for k in rng.integers(0, 2, 3))
    x, w = anything(rng, (2, 3, 40), one), anything(rng, (40, 5), other)
    columns = (5,) if rng.random() < 0.5 else ()
    given = [
        *(np.float32(0.02), anything(rng, (), one), w),
        *(rng.uniform(0.01, 0.1, columns).astype(np.float32), anything(rng, columns, other)),
        *(np.float32(3), anything(rng, (), made)),
    ]
    builder = Builder(x=(one, x.shape))
    y = builder("QLinearMatMul", "x", *(builder.const(value) for value in given))
    check_planned(builder.graph(y), {"x": x}, 0, 0)


def test_what_quantising_a_model_gives():
    """Dense layers as ONNX Runtime's dynamic quantisation writes them."""
    builder = Builder(x=(3, 300))
    w = np.random.default_rng(0).integers(-128, 128, (300, 8)).astype(np.int8)
    y, scale, zero = builder("DynamicQuantizeLinear", "x", outputs=3)
    sums = builder("MatMulInteger", y, w, zero, builder.const(np.int8(3)))
    factor = builder("Mul", scale, np.array(0.01, np.float32))
    found = builder("Mul", builder("Cast", sums, to=np.dtype(np.float32)), factor)
    graph = builder.graph(builder("Add", found, random(8)))
    for one in (graph, simplify(graph)):
        check_planned(one, {"x": random(3, 300)}, 1e-6, 1e-6)


def test_weights_that_are_constants_are_floats_at_once():
    w, scale, zero = (
        np.arange(-60, 60, dtype=np.int8).reshape(12, 10),
        np.full(10, 0.1, np.float32),
        np.zeros(10, np.int8),
    )
    builder = Builder(x=(3, 12))
    floats = builder("DequantizeLinear", builder.const(w), scale, builder.const(zero), axis=1)
    graph = simplify(builder.graph(builder("MatMul", "x", floats)))
    assert [one.op for one in graph.nodes] == ["fusedlstm.Dense"]
    check_planned(graph, {"x": random(3, 12)})


def test_what_is_refused_says_what_helps():
    builder = Builder(x=(np.dtype(np.uint8), (2, 300)), w=(np.dtype(np.uint8), (300,)))
    with pytest.raises(FormatError, match=r"MatMulInteger node .*load the float file and model.astype\(.int8.\)"):
        run_planned(
            builder.graph(builder("MatMulInteger", "x", "w")),
            {"x": np.zeros((2, 300), np.uint8), "w": np.zeros(300, np.uint8)},
        )
