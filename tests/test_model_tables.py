"""Tables that rows are looked up in, embeddings above all, in lower precisions: the rounded rows, to the bit."""

import numpy as np
import pytest
from rounding import held

import fusedlstm as fl
from fusedlstm.graph import Graph, Value, node

dtypes = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
f4 = np.float32


def table(count, width, seed=0):
    made = np.random.default_rng([seed, count, width]).standard_normal((count, width)).astype(f4)
    made[0] = 0
    made[1 % count] *= f4(2.0**-18)  # below the normal numbers of float16
    return made


def model(nodes, constants, shape=(None, None), outputs=("y",)):
    made = [Value(name, np.dtype(f4), None) for name in outputs]
    return fl.Model(Graph([Value("ids", np.dtype(np.int64), shape)], made, nodes, constants))


def embedding(w, **attributes):
    return model([node("Gather", ["w", "ids"], ["y"], "embed/look", **attributes)], {"w": w})


def same(found, wanted):
    assert found.dtype == f4
    np.testing.assert_array_equal(found, wanted)  # int8 has one zero


@dtypes
@pytest.mark.parametrize("count, width", [(1, 1), (7, 3), (300, 64), (5, 511), (5, 513), (4, 1100)])
@pytest.mark.parametrize("axis", [0, -2])
def test_rows_are_the_rounded_ones(dtype, count, width, axis):
    w = table(count, width)
    ids = np.random.default_rng(1).integers(-count, count, (3, 5))
    low = embedding(w, axis=axis).astype(dtype)
    same(low(ids), held(w, dtype)[ids])
    same(low(ids[:, :0]), np.zeros((3, 0, width)))


@dtypes
def test_other_axes_of_indices_and_of_what_is_made(dtype):
    w, ids = table(40, 6), np.arange(24).reshape(2, 3, 4)
    nodes = [
        node("Transpose", ["ids"], ["turned"], perm=[2, 0, 1]),
        node("Gather", ["w", "turned"], ["rows"]),
        node("Transpose", ["rows"], ["y"], perm=[3, 1, 0, 2]),
    ]
    low = model(nodes, {"w": w}, (None, None, None)).astype(dtype)
    same(low(ids), held(w, dtype)[ids.transpose(2, 0, 1)].transpose(3, 1, 0, 2))


@dtypes
def test_kept_in_float32_or_of_no_weights(dtype):
    w, ids = table(9, 4), np.array([[3, -1, 8]])
    full = embedding(w)
    same(full.astype(dtype, keep=["embed"])(ids), w[ids])
    same(full.astype(dtype).astype("float32")(ids), w[ids])
    columns = model([node("Gather", ["w", "ids"], ["y"], "columns", axis=1)], {"w": w})
    same(columns.astype(dtype)(ids % 4), w[:, ids % 4])
    with pytest.raises(ValueError, match="keep: expected a node with weights, of none; found 'columns'"):
        columns.astype(dtype, keep=["columns"])


def test_one_table_of_an_embedding_and_of_a_head():
    w, ids = table(9, 4), np.array([[3, -1, 8]])
    nodes = [
        node("Gather", ["w", "ids"], ["rows"], "embed"),
        node("Transpose", ["w"], ["t"], perm=[1, 0]),
        node("MatMul", ["rows", "t"], ["y"], "head"),
    ]
    kept, low = held(w, "int8"), model(nodes, {"w": w})
    np.testing.assert_allclose(low.astype("int8")(ids), kept[ids] @ kept.T, rtol=0, atol=2e-3)
    np.testing.assert_allclose(low.astype("int8", keep=["head"])(ids), kept[ids] @ w.T, rtol=0, atol=1e-5)
    np.testing.assert_allclose(low.astype("int8", keep=["embed"])(ids), w[ids] @ kept.T, rtol=0, atol=2e-3)


@dtypes
@pytest.mark.parametrize("bad", [9, -10, 2**62, -(2**63)])
def test_indices_out_of_range(dtype, bad):
    low = embedding(table(9, 4)).astype(dtype)
    with pytest.raises(ValueError, match="expected indices within the tensor, found one that is out of range"):
        low(np.array([[0, bad]]))
    assert low(np.array([[0, 8]])).shape == (1, 2, 4)


@dtypes
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers(dtype, bad):
    w = table(9, 4)
    w[5, 2] = bad
    with pytest.raises(
        ValueError, match=rf"'embed/look': weights\[5, 2\]: expected a finite number for {dtype} weights"
    ):
        embedding(w).astype(dtype)(np.array([[0]]))


@dtypes
def test_live_and_in_pools(dtype):
    weights = fl.LSTMWeights([[fl.DirectionWeights(table(32, 12), table(32, 8, 1), table(1, 32, 2)[0])]])
    low = fl.Sequential(fl.Embedding(table(20, 12, 3)), fl.LSTM(weights), shape=(None, None)).astype(dtype)
    ids = np.random.default_rng(4).integers(0, 20, (1, 11))
    whole, stream = low(ids), low.stream()
    same(np.concatenate([stream.process(ids[:, k : k + 2]) for k in range(0, 11, 2)], axis=1), whole)
