"""Gathers, scatters, running sums and the largest elements: any axes, strides and indices."""

import numpy as np
import pytest
from graphs import FLOAT, INT, Builder, random
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import check_planned, run_planned

BOOL = np.dtype(np.bool_)
many = settings(deadline=None, max_examples=60)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**32 - 1)
KINDS = [FLOAT, INT, BOOL]


def data(rng, shape, kind=FLOAT):
    if kind == FLOAT:
        return rng.standard_normal(shape).astype(np.float32)
    return rng.integers(-9, 9, shape) if kind == INT else rng.random(shape) < 0.5


def picks(rng, size, shape):
    return rng.integers(-size, size, shape)


@many
@given(seed=seeds, shape=shapes, into=st.lists(st.integers(1, 3), max_size=2).map(tuple))
def test_gather(seed, shape, into):
    rng = np.random.default_rng(seed)
    axis, kind = int(rng.integers(-len(shape), len(shape))), KINDS[rng.integers(3)]
    x, index = data(rng, shape, kind), picks(rng, shape[axis], into)
    builder = Builder(x=(kind, np.transpose(x).shape), index=(INT, into))
    y = builder("Gather", builder("Transpose", "x"), "index", axis=axis)
    check_planned(builder.graph(y, builder("Transpose", y)), {"x": np.transpose(x), "index": index}, 0, 0)


@many
@given(seed=seeds, shape=shapes)
def test_gather_and_scatter_elements(seed, shape):
    rng = np.random.default_rng(seed)
    axis, kind = int(rng.integers(len(shape))), KINDS[rng.integers(3)]
    some = tuple(
        int(rng.integers(1, 6)) if k == axis else int(rng.integers(1, size + 1)) for k, size in enumerate(shape)
    )
    builder = Builder(x=(kind, shape), index=(INT, some))
    graph = builder.graph(builder("GatherElements", "x", "index", axis=axis))
    check_planned(graph, {"x": data(rng, shape, kind), "index": picks(rng, shape[axis], some)}, 0, 0)

    each = tuple(int(rng.integers(1, size + 1)) for size in shape)
    # Each place once: what is written last where two go to one place is nobody's promise.
    index = np.argsort(rng.random((*each[:axis], shape[axis], *each[axis + 1 :])), axis)
    index = np.take(index, range(each[axis]), axis)
    index = np.where(rng.random(each) < 0.5, index, index - shape[axis])
    builder = Builder(x=(kind, shape), index=(INT, each), updates=(kind, each))
    feed = {"x": data(rng, shape, kind), "index": index, "updates": data(rng, each, kind)}
    check_planned(builder.graph(builder("ScatterElements", "x", "index", "updates", axis=axis)), feed, 0, 0)


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("kind", [FLOAT, INT])
def test_scatters_that_reduce(reduction, kind):
    rng = np.random.default_rng(5)
    builder = Builder(
        x=(kind, (3, 5)), index=(INT, (4, 5)), nd=(INT, (6, 1)), updates=(kind, (4, 5)), rows=(kind, (6, 5))
    )
    graph = builder.graph(
        builder("ScatterElements", "x", "index", "updates", axis=0, reduction=reduction),
        builder("ScatterND", "x", "nd", "rows", reduction=reduction),
    )
    feed = {
        "x": data(rng, (3, 5), kind),
        "index": picks(rng, 3, (4, 5)),
        "nd": picks(rng, 3, (6, 1)),
        "updates": data(rng, (4, 5), kind),
        "rows": data(rng, (6, 5), kind),
    }
    check_planned(graph, feed)


@many
@given(seed=seeds, shape=shapes)
def test_gather_and_scatter_nd(seed, shape):
    rng = np.random.default_rng(seed)
    kind, batch = KINDS[rng.integers(3)], int(rng.integers(0, len(shape)))
    count = int(rng.integers(1, len(shape) - batch + 1))
    places = (*shape[:batch], *(int(n) for n in rng.integers(1, 4, rng.integers(1, 3))))
    index = np.stack([picks(rng, shape[batch + k], places) for k in range(count)], -1)
    builder = Builder(x=(kind, shape), index=(INT, index.shape))
    graph = builder.graph(builder("GatherND", "x", "index", batch_dims=batch))
    check_planned(graph, {"x": data(rng, shape, kind), "index": index}, 0, 0)

    count = int(rng.integers(1, len(shape) + 1))
    every = np.stack(np.unravel_index(rng.permutation(int(np.prod(shape[:count]))), shape[:count]), -1)
    index = every[: rng.integers(1, len(every) + 1)]
    updates = data(rng, (len(index), *shape[count:]), kind)
    builder = Builder(x=(kind, shape), index=(INT, index.shape), updates=(kind, updates.shape))
    graph = builder.graph(builder("ScatterND", "x", "index", "updates"))
    check_planned(graph, {"x": data(rng, shape, kind), "index": index, "updates": updates}, 0, 0)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(axis):
    builder = Builder(index=(INT, (2, 3)), values=(2,), off_on=(INT, (2,)))
    depth = builder.const(np.array([4]))
    graph = builder.graph(
        builder("OneHot", "index", depth, "values", axis=axis), builder("OneHot", "index", depth, "off_on", axis=axis)
    )
    index = np.array([[0, 3, -1], [4, -4, -5]])  # 4 and -5 are none of the places
    check_planned(graph, {"index": index, "values": np.array([-1, 7], np.float32), "off_on": np.array([3, 9])}, 0, 0)


@pytest.mark.parametrize("op", ["CumSum", "CumProd"])
@pytest.mark.parametrize("kind", [FLOAT, INT, np.dtype(np.int32)])
def test_running_sums(op, kind):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((3, 4, 5)) * 3).astype(kind)
    for axis, exclusive, reverse in np.ndindex(3, 2, 2):
        builder = Builder(x=(kind, (3, 4, 5)))
        y = builder(op, "x", np.array(axis - 3), exclusive=exclusive, reverse=reverse)
        check_planned(builder.graph(y), {"x": x}, 1e-6, 1e-6)


@many
@given(seed=seeds, shape=shapes, largest=st.integers(0, 1))
def test_the_largest(seed, shape, largest):
    rng = np.random.default_rng(seed)
    axis, kind = int(rng.integers(-len(shape), len(shape))), KINDS[rng.integers(2)]
    count = int(rng.integers(1, shape[axis] + 1))
    builder = Builder(x=(kind, shape))
    both = builder("TopK", "x", np.array([count]), outputs=2, axis=axis, largest=largest)
    x = np.round(data(rng, shape, kind))  # some are equal
    check_planned(builder.graph(*both), {"x": x}, 0, 0)
    check_planned(builder.graph(both[1]), {"x": x}, 0, 0)


def test_not_a_number_is_the_largest():
    x = np.array([[1, np.nan, 3, np.inf, -np.inf]], np.float32)
    for largest in (0, 1):
        builder = Builder(x=x.shape)
        check_planned(builder.graph(*builder("TopK", "x", np.array([3]), outputs=2, largest=largest)), {"x": x}, 0, 0)


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("axis", [1, -2])
def test_tensor_scatter(mode, axis):
    builder = Builder(past=(2, 3, 5, 4), update=(2, 3, 2, 4) if axis == -2 else (2, 2, 5, 4), start=(INT, (2,)))
    graph = builder.graph(builder("TensorScatter", "past", "update", "start", axis=axis, mode=mode))
    feed = {name: random(*shape) for name, shape in (("past", (2, 3, 5, 4)), ("update", graph.inputs[1].shape))}
    check_planned(graph, {**feed, "start": np.array([1, 0 if mode == "linear" else 4])}, 0, 0)


CASES = {
    "Gather": ((3, 4), (2, 2), None, {"axis": 1}),
    "GatherElements": ((3, 4), (3, 2), None, {"axis": 1}),
    "GatherND": ((3, 4), (2, 2), None, {}),
    "ScatterElements": ((3, 4), (3, 2), (3, 2), {"axis": 1}),
    "ScatterND": ((3, 4), (2, 2), (2,), {}),
}


@pytest.mark.parametrize("op", CASES)
@pytest.mark.parametrize("wrong", [4, -5, 2**62, -(2**63), 2**63 - 1])
def test_an_index_out_of_range_is_told(op, wrong):
    shape, indices, updates, more = CASES[op]
    builder = Builder(x=shape, index=(INT, indices), **({} if updates is None else {"updates": updates}))
    graph = builder.graph(builder(op, *(one.name for one in builder.inputs), **more))
    feed = {"x": random(*shape), "index": np.zeros(indices, np.int64)}
    if updates is not None:
        feed["updates"] = random(*updates)
    run_planned(graph, feed)
    feed["index"].reshape(-1)[-1] = wrong
    with pytest.raises(ValueError, match=f"{op} node .*: expected indices within the tensor"):
        run_planned(graph, feed)


def test_an_embedding_of_text():
    builder = Builder(text=(np.dtype(np.uint8), (2, 9)))
    table = builder.const(random(256, 24))
    graph = builder.graph(builder("Gather", table, builder("Cast", "text", to=INT)))
    check_planned(graph, {"text": np.random.default_rng(0).integers(0, 256, (2, 9)).astype(np.uint8)}, 0, 0)
