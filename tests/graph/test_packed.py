"""Weights that are packed once for all plans of a model: what shares a name need not be the same matrix."""

import numpy as np
import pytest
from graphs import Builder, evaluate, random

import fusedlstm as fl


def by_rows(build, weights):
    """Weights times the number of rows, which every call settles anew."""
    rows = build("Cast", build("Shape", "x", start=0, end=1), to=np.dtype(np.float32))
    return build("Mul", weights, rows)


def dense():
    build = Builder(x=("rows", 6))
    return build.graph(build("MatMul", "x", by_rows(build, random(6, 5))))


def gemm():
    build = Builder(x=("rows", 6))
    return build.graph(build("Gemm", "x", by_rows(build, random(5, 6)), random(5), transB=1))


def convolution():
    build = Builder(x=("rows", 6, 9))
    return build.graph(build("Conv", "x", by_rows(build, random(12, 6, 3)), by_rows(build, random(12))))


def channels():
    build = Builder(x=("rows", 6, 9))
    return build.graph(build("Conv", "x", by_rows(build, random(6, 1, 3)), group=6))


def transposed(groups):
    build = Builder(x=("rows", 6, 9))
    return build.graph(build("ConvTranspose", "x", by_rows(build, random(6, 3, 3)), group=groups))


def recurrent():
    build = Builder(x=("rows", 2, 4))
    y = build(
        "GRU",
        "x",
        by_rows(build, random(1, 15, 4, scale=0.03)),
        by_rows(build, random(1, 15, 5, scale=0.03)),
        hidden_size=5,
    )
    return build.graph(y)


def normalised():
    build = Builder(x=("rows", 6))
    gain, bias, mean = (by_rows(build, random(6, seed=k)) for k in range(3))
    var = build("Abs", by_rows(build, random(6, seed=3)))
    return build.graph(build("BatchNormalization", "x", gain, bias, mean, var))


KINDS = [dense, gemm, convolution, channels, lambda: transposed(1), lambda: transposed(6), recurrent, normalised]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_depend_on_the_shape_of_a_call(kind):
    graph = kind()
    model = fl.Model(graph)
    for rows in (1, 4, 2, *range(5, 18), 1):
        x = random(*(rows if isinstance(size, str) else size for size in graph.inputs[0].shape), seed=rows)
        (wanted,) = evaluate(graph, {"x": x}).values()
        np.testing.assert_allclose(model(x), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_windows_of_whole_numbers_in_several_groups_share_their_weights():
    u1 = np.dtype(np.uint8)
    build = Builder(x=(u1, (2, 4, 9)), z=(u1, (2, 2, 9)))
    w = build.const(np.random.default_rng(0).integers(0, 255, (8, 2, 3)), np.uint8)
    graph = build.graph(build("ConvInteger", "x", w, group=2), build("ConvInteger", "z", w))
    given = {one.name: np.random.default_rng(1).integers(0, 255, one.shape).astype(u1) for one in graph.inputs}
    found, wanted = fl.Model(graph).run(given), evaluate(graph, given)
    assert all(np.array_equal(found[name], value) for name, value in wanted.items())
