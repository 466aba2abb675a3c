"""Products of matrices: constant or computed, of any strides, in batches, and Einstein's sums."""

import numpy as np
import pytest
from graphs import INT, Builder, random
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import check_planned, run_planned

many = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)


@many
@given(seed=seeds)
def test_matmul(seed):
    rng = np.random.default_rng(seed)
    batch = [int(n) for n in rng.integers(1, 4, rng.integers(0, 3))]
    rows, inputs, outputs = (int(n) for n in rng.choice([1, 2, 5, 16, 63, 64, 70, 130], 3))
    sides = []
    for shape in ((rows, inputs), (inputs, outputs)):
        own = [size if rng.random() < 0.7 else 1 for size in batch[int(rng.integers(0, len(batch) + 1)) :]]
        sides.append((*own, *shape))
    orders = [rng.permutation(len(shape)) for shape in sides]
    held = [tuple(shape[k] for k in order) for shape, order in zip(sides, orders)]
    builder = Builder(x=held[0], w=held[1])
    names = [builder("Transpose", name, perm=tuple(np.argsort(order).tolist())) for name, order in zip("xw", orders)]
    y = builder("MatMul", *names)
    again = builder("Transpose", y, perm=tuple(range(max(map(len, sides))))[::-1])
    feed = {"x": random(*held[0], seed=seed), "w": random(*held[1], seed=seed + 1)}
    check_planned(builder.graph(again if rng.random() < 0.5 else y), feed, 1e-4, 1e-4)


@pytest.mark.parametrize("x", [(5,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("w", [(5,), (5, 4), (2, 5, 4)])
@pytest.mark.parametrize("kind", [np.float32, np.int64, np.int32])
def test_vectors_and_whole_numbers(x, w, kind):
    builder = Builder(x=(np.dtype(kind), x), w=(np.dtype(kind), w))
    graph = builder.graph(builder("MatMul", "x", "w"))
    rng = np.random.default_rng(0)
    feed = {name: (rng.standard_normal(shape) * 9).astype(kind) for name, shape in (("x", x), ("w", w))}
    if kind != np.float32:
        feed["x"].reshape(-1)[:2] = np.iinfo(kind).max
    check_planned(graph, feed)


@pytest.mark.parametrize("x", [(5,), (3, 5), (2, 3, 5), (0, 5)])
@pytest.mark.parametrize("w", [(5,), (5, 4), (2, 5, 4)])
def test_constant_weights(x, w):
    if x == (0, 5) and len(w) == 3:
        x = (2, 0, 5)
    builder = Builder(x=x)
    check_planned(builder.graph(builder("MatMul", "x", random(*w))), {"x": random(*x)})
    builder = Builder(w=w)
    check_planned(builder.graph(builder("MatMul", random(*x), "w")), {"w": random(*w)})


def test_nothing_to_sum_over():
    builder = Builder(x=(2, 0), w=(0, 3))
    found = check_planned(builder.graph(builder("MatMul", "x", "w")), {"x": random(2, 0), "w": random(0, 3)})
    assert not found[0].any()


@pytest.mark.parametrize("which", range(16))
@pytest.mark.parametrize("bias", [None, (4,), (3, 1), (3, 4), (1,)])
@pytest.mark.parametrize("constant", [False, True])
def test_gemm(which, bias, constant):
    left, right, alpha, beta = which & 1, which >> 1 & 1, (1.0, 0.5)[which >> 2 & 1], (1.0, -2.0)[which >> 3]
    shapes = {"x": (5, 3) if left else (3, 5), "w": (4, 5) if right else (5, 4)}
    if bias is not None:
        shapes["c"] = bias
    feed = {name: random(*shape, seed=k) for k, (name, shape) in enumerate(shapes.items())}
    builder = Builder(**{name: shape for name, shape in shapes.items() if not (constant and name == "w")})
    w = feed.pop("w") if constant else "w"
    y = builder("Gemm", "x", w, *(["c"] if bias is not None else []), alpha=alpha, beta=beta, transA=left, transB=right)
    check_planned(builder.graph(y), feed)


def test_gemm_of_whole_numbers():
    kind = np.dtype(np.int32)
    builder = Builder(x=(kind, (2, 3)), w=(kind, (3, 4)), c=(kind, (4,)))
    feed = {one.name: np.arange(np.prod(one.shape), dtype=np.int32).reshape(one.shape) for one in builder.inputs}
    check_planned(builder.graph(builder("Gemm", "x", "w", "c", alpha=3.0, beta=2.0)), feed)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("bqhd,bkhd->bhqk", [(2, 4, 3, 5), (2, 6, 3, 5)]),
        ("bhqk,bkhd->bqhd", [(2, 3, 4, 6), (2, 6, 3, 5)]),
        ("ij,jk", [(3, 4), (4, 5)]),
        ("ij,jk->ki", [(3, 4), (4, 5)]),
        ("i,j->ij", [(3,), (4,)]),
        ("i,i->", [(3,), (3,)]),
        ("ij->ji", [(3, 4)]),
        ("ij->i", [(3, 4)]),
        ("ij->", [(3, 4)]),
        ("ii->i", [(4, 4)]),
        ("ii", [(4, 4)]),
        ("ijk,ij->k", [(2, 3, 4), (2, 3)]),
        ("ijk,kl,lm->ijm", [(2, 3, 4), (4, 5), (5, 6)]),
        ("abc,cd,ef->abef", [(2, 3, 4), (4, 5), (2, 3)]),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 6)]),
        ("...ij,jk->...ki", [(2, 3, 4), (4, 6)]),
        ("b...,b...->b...", [(2, 3, 4), (2, 3, 4)]),
        ("ijk,ilk->jil", [(2, 3, 4), (2, 5, 4)]),
        ("abcd,acde->ebd", [(2, 3, 4, 5), (2, 4, 5, 6)]),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_einsum(equation, shapes, whole):
    kind = INT if whole else np.dtype(np.float32)
    names = [f"x{k}" for k in range(len(shapes))]
    builder = Builder(**{name: (kind, shape) for name, shape in zip(names, shapes)})
    graph = builder.graph(builder("Einsum", *names, equation=equation))
    feed = {name: (random(*shape, seed=k) * 5).astype(kind) for k, (name, shape) in enumerate(zip(names, shapes))}
    check_planned(graph, feed, 1e-5, 1e-4)


def test_attention_from_its_parts():
    builder = Builder(x=(2, 6, 24), mask=(2, 1, 1, 6))
    heads = np.array([2, 6, 3, 8])

    def part(seed):
        dense = builder("MatMul", "x", random(24, 24, seed=seed, scale=0.2))
        return builder("Transpose", builder("Reshape", dense, heads), perm=(0, 2, 1, 3))

    q, k, v = part(1), part(2), part(3)
    scores = builder("MatMul", q, builder("Transpose", k, perm=(0, 1, 3, 2)))
    scores = builder("Sigmoid", builder("Add", builder("Mul", scores, np.array(8**-0.5, np.float32)), "mask"))
    found = builder("Transpose", builder("MatMul", scores, v), perm=(0, 2, 1, 3))
    graph = builder.graph(builder("Reshape", found, np.array([2, 6, 24])))
    check_planned(graph, {"x": random(2, 6, 24), "mask": random(2, 1, 1, 6)})


def test_the_same_bits_as_constant_weights_and_for_a_row_alone():
    x, w = random(40, 130), random(130, 70, seed=1)
    builder = Builder(x=x.shape, w=w.shape)
    (computed,) = run_planned(builder.graph(builder("MatMul", "x", "w")), {"x": x, "w": w})
    builder = Builder(x=x.shape)
    (constant,) = run_planned(builder.graph(builder("MatMul", "x", w)), {"x": x})
    np.testing.assert_array_equal(computed, constant)
    builder = Builder(x=(1, 130), w=w.shape)
    graph = builder.graph(builder("MatMul", "x", builder("Transpose", builder("Transpose", "w"))))
    for row in range(40):
        np.testing.assert_array_equal(run_planned(graph, {"x": x[row : row + 1], "w": w})[0], computed[row : row + 1])
