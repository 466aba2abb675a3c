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
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_masks_and_the_like_stay(dtype, bad):
    w = table(9, 4)
    w[5, 2] = bad
    same(embedding(w).astype(dtype)(np.arange(9)[None]), w[None])
    column = table(9, 1) * f4(1e6)  # such as ids that are held as floats
    same(embedding(column).astype(dtype)(np.arange(9)[None]), column[None])
    large = table(9, 4) * f4(1e6)
    same(embedding(large).astype("float16")(np.arange(9)[None]), large[None])


@dtypes
def test_places_of_a_sequence_whatever_its_length(dtype):
    """Indices that follow from shapes are constants of a call, or are computed: the rows are the same."""
    w = table(5000, 64)
    nodes = [
        node("Shape", ["ids"], ["shape"]),
        node("Gather", ["shape", "one"], ["time"]),
        node("Range", ["zero", "time", "one"], ["places"]),
        node("Gather", ["w", "places"], ["rows"], "places/look"),
        node("Gather", ["v", "ids"], ["words"], "words/look"),
        node("Add", ["words", "rows"], ["y"]),
    ]
    numbers = {"zero": np.array(0), "one": np.array(1), "w": w, "v": np.zeros((3, 64), f4)}
    low = model(nodes, numbers).astype(dtype)
    for count in (1, 2, 10, 5000):
        same(low(np.zeros((1, count), np.int64)), held(w, dtype)[None, :count])


@dtypes
def test_an_input_that_is_fixed_in_a_stream(dtype):
    w, v = table(7, 16), table(30, 16, 1)
    weights = fl.LSTMWeights([[fl.DirectionWeights(table(32, 16), table(32, 8, 1), table(1, 32, 2)[0])]])
    lstm = fl.Sequential(fl.LSTM(weights), shape=(None, None, 16)).graph
    nodes = [
        node("Gather", ["w", "who"], ["speaker"], "speaker/look"),
        node("Unsqueeze", ["speaker", "one"], ["alone"]),
        node("Gather", ["v", "ids"], ["words"], "words/look"),
        node("Add", ["words", "alone"], [lstm.inputs[0].name]),
        *lstm.nodes,
    ]
    inputs = [Value("ids", np.dtype(np.int64), (None, None)), Value("who", np.dtype(np.int64), (None,))]
    constants = {"w": w, "v": v, "one": np.array([1]), **lstm.constants}
    low = fl.Model(Graph(inputs, lstm.outputs, nodes, constants)).astype(dtype)
    ids, who = np.random.default_rng(4).integers(0, 30, (1, 9)), np.array([5])
    stream = low.stream(fixed={"who": who})
    same(np.concatenate([stream.process(ids[:, k : k + 2]) for k in range(0, 9, 2)], axis=1), low(ids, who))


@dtypes
def test_in_graphs_inside(dtype):
    w, ids = table(9, 4), np.array([[3, -1, 8]])
    branches = {
        name: Graph.unchecked((), (Value(name),), (node("Gather", [table_of, "ids"], [name], f"{name}/look"),))
        for name, table_of in (("then_branch", "w"), ("else_branch", "v"))
    }
    nodes = [
        node("ReduceMax", ["ids"], ["most"], keepdims=0),
        node("Greater", ["most", "zero"], ["which"]),
        node("If", ["which"], ["y"], "choice", **branches),
    ]
    full = model(nodes, {"w": w, "v": table(9, 4, 1), "zero": np.array(0)})
    same(full.astype(dtype)(ids), held(w, dtype)[ids])
    same(full.astype(dtype, keep=["then_branch"])(ids), w[ids])
    with pytest.raises(
        ValueError, match="keep: expected a node with weights, of 'then_branch/look', 'else_branch/look'"
    ):
        full.astype(dtype, keep=["head"])


def test_tables_are_packed_once():
    w = table(2000, 64)
    nodes = [node("Gather", ["w", "ids"], ["y"], "look")]
    low = model(nodes, {"w": w}).astype("int8")
    low(np.zeros((1, 1), np.int64))
    packed = {key: value for key, value in low._packed._made.items() if key[0] == "table"}
    for count in range(2, 14):
        low(np.zeros((1, count), np.int64))
    assert {key: value for key, value in low._packed._made.items() if key[0] == "table"} == packed and len(packed) == 1


@dtypes
def test_live_and_in_pools(dtype):
    weights = fl.LSTMWeights([[fl.DirectionWeights(table(32, 12), table(32, 8, 1), table(1, 32, 2)[0])]])
    low = fl.Sequential(fl.Embedding(table(20, 12, 3)), fl.LSTM(weights), shape=(None, None)).astype(dtype)
    ids = np.random.default_rng(4).integers(0, 20, (1, 11))
    whole, stream = low(ids), low.stream()
    same(np.concatenate([stream.process(ids[:, k : k + 2]) for k in range(0, 11, 2)], axis=1), whole)
