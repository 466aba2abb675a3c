"""Each pass on small graphs: what it makes of them, and that it computes the same."""

import numpy as np
import pytest
from graphs import INT, Builder, ops, random, simplified

from fusedlstm.graph import Graph, Value, evaluate, node
from fusedlstm.graph.dims import parsed
from fusedlstm.graph.passes import fold, simplify, single


def only(graph, *wanted, **sizes):
    """The graph after all passes, which has these operators and no others."""
    found = simplified(graph, **sizes)
    assert sorted(ops(found)) == sorted(wanted), found
    return found


def test_constants_are_computed():
    b = Builder(x=("batch", 4))
    scale = b("Exp", b("Mul", b.const(random(4)), b.const(np.float32(0.5))))
    only(b.graph(b("Mul", "x", scale)), "Mul")


def test_shapes_that_are_known_are_constants():
    b = Builder(x=("batch", 6, 4))
    width = b("Gather", b("Shape", "x"), np.array([1]), axis=0)
    shape = b("Concat", np.array([-1]), b("Mul", width, np.array([4])), axis=0)
    found = only(b.graph(b("Reshape", "x", shape)), "Reshape")
    assert found.constants[shape].tolist() == [-1, 24]


def test_sizes_that_are_open_are_kept_as_expressions():
    b = Builder(x=("batch", "time", 4))
    flat = b("Reshape", "x", np.array([0, -1]))
    found = simplified(b.graph(flat))
    assert str(found.types[flat].shape[1]) == "4*time"


@pytest.mark.parametrize(
    "op, first, second, size",
    [
        ("Add", -2, "time", "time - 2"),
        ("Add", "time", -2, "time - 2"),
        ("Sub", 2, "time", "-time + 2"),
        ("Mul", 3, "time", "3*time"),
        ("Mul", "batch", "time", "batch*time"),
        ("Div", "time", 2, "time // 2"),
        ("Mod", "time", 2, "time - time // 2 * 2"),
    ],
)
def test_sizes_with_a_constant_on_either_side(op, first, second, size):
    b = Builder(x=("batch", "time"))
    shape = b("Shape", "x")
    sizes = {name: b("Gather", shape, np.array([k])) for k, name in enumerate(("batch", "time"))}
    made = b(op, *(sizes.get(one, np.array([one])) for one in (first, second)))
    y = b("ConstantOfShape", made)
    graph = fold(b.graph(y))
    assert graph.types[y].shape[0] == parsed(size)


@pytest.mark.parametrize(
    "start, end, size",
    [
        (0, ("time", 0), "time"),
        (2, ("time", -1), "time - 3"),
        (("time", -1), 1 << 62, "1"),
        (("-time", 3), 1 << 62, "time - 3"),
        (0, ("time", 5), "time"),
        (-(1 << 62), -2, "time - 2"),
    ],
)
def test_slices_whose_ends_are_sizes(start, end, size):
    b = Builder(x=("time", 3))
    time = b("Gather", b("Shape", "x"), np.array([0]))

    def place(one):
        if isinstance(one, int):
            return np.array([one])
        return b("Add", b("Neg", time) if one[0] == "-time" else time, np.array([one[1]]))

    y = b("Slice", "x", place(start), place(end), np.array([0]))
    graph = b.graph(y)
    assert str(fold(graph).types[y].shape[0]) == size
    simplified(graph, time=7)


def test_if_on_a_shape():
    then, other = Builder(), Builder()
    then.prefix, other.prefix = "then_", "else_"

    def branch(b, *outputs):
        return Graph.unchecked((), tuple(map(Value, outputs)), tuple(b.nodes), "b")

    a, c = branch(then, then("Neg", "x")), branch(other, other("Relu", "x"))
    for shape, kept in (((2, 1), "Neg"), ((2, 3), "Relu")):
        b = Builder(x=shape)
        one = b("Equal", b("Gather", b("Shape", "x"), np.array(1), axis=0), np.array(1))
        b.nodes.append(node("If", [one], ["y"], then_branch=a, else_branch=c))
        only(b.graph("y"), kept)
    b = Builder(x=(2, "time"))
    one = b("Equal", b("Gather", b("Shape", "x"), np.array(1), axis=0), np.array(1))
    b.nodes.append(node("If", [one], ["y"], then_branch=a, else_branch=c))
    assert "If" in ops(simplified(b.graph("y"), time=1))
    simplified(b.graph("y"), time=2)


def test_a_branch_that_is_never_taken_may_be_wrong():
    b, inner = Builder(x=(2, 3)), Builder()
    inner.prefix = "then_"
    wrong = inner("MatMul", "x", random(4, 4))
    then = Graph.unchecked((), (Value(wrong),), tuple(inner.nodes), "")
    other = Graph.unchecked((), (Value("x"),), (), "")
    b.inputs.append(Value("flag", np.dtype(np.bool_), ()))
    b.nodes.append(node("If", ["flag"], ["y"], then_branch=then, else_branch=other))
    graph = Graph(b.inputs, [Value("y")], b.nodes, inner.constants)
    simplified(graph)


@pytest.mark.parametrize(
    "build",
    [
        lambda b: b("Dropout", b("Identity", "x")),
        lambda b: b("Transpose", b("Transpose", "x", perm=(1, 2, 0)), perm=(2, 0, 1)),
        lambda b: b("Squeeze", b("Unsqueeze", "x", np.array([1])), np.array([1])),
        lambda b: b("Reshape", b("Flatten", "x", axis=2), np.array([-1, 4, 5])),
        lambda b: b("Slice", "x", np.array([0]), np.array([2**62]), np.array([1])),
        lambda b: b("Pad", "x", np.zeros(6, np.int64)),
        lambda b: b("Concat", "x", axis=0),
        lambda b: b("Cast", "x", to=np.dtype(np.float32)),
        lambda b: b("Add", b("Mul", "x", np.float32(1)), np.float32(0)),
        lambda b: b("Concat", *b("Split", "x", outputs=3, axis=2, num_outputs=3), axis=-1),
        lambda b: b("Sum", "x"),
        lambda b: b("Expand", "x", np.array([1, 4, 5])),
    ],
)
def test_what_changes_nothing_goes(build):
    b = Builder(x=("batch", 4, 5))
    only(b.graph(b("Relu", build(b))), "Relu")


def test_a_slice_of_several_axes():
    """Those of which it takes all are left out, as TensorFlow writes `x[:, :2]`."""
    b = Builder(x=("batch", 4, 5))
    ends = np.array([2**31 - 1, 2, 2**31 - 1])
    taken = b("Slice", "x", np.zeros(3, np.int64), ends, np.arange(3), np.ones(3, np.int64))
    found = only(b.graph(taken), "Slice")
    assert [found.constants[name].tolist() for name in found.nodes[0].inputs[1:]] == [[0], [2], [1], [1]]
    only(b.graph(b("Slice", "x", np.array([0, -1]), np.array([9, -9]), np.array([1, 2]), np.array([1, -1]))), "Slice")


def test_outputs_keep_their_names():
    b = Builder(x=(2, 3))
    inner = b("Relu", "x")
    graph = b.graph(b("Identity", inner), inner, b("Identity", "x"))
    found = simplified(graph)
    assert [one.name for one in found.outputs] == [one.name for one in graph.outputs]


@pytest.mark.parametrize(
    ("build", "op"),
    [
        (lambda b, x: b("Mul", x, b("Sigmoid", x)), "Swish"),
        (lambda b, x: b("Mul", b("Sigmoid", b("Mul", x, np.float32(1.702))), x), "Swish"),
        (lambda b, x: b("Mul", x, b("Tanh", b("Softplus", x))), "Mish"),
        (lambda b, x: b("Mul", x, b("HardSigmoid", x, alpha=1 / 6, beta=0.5)), "HardSwish"),
        (
            lambda b, x: b(
                "Mul", b("Mul", x, np.float32(0.5)), b("Add", b("Erf", b("Div", x, np.float32(2**0.5))), np.float32(1))
            ),
            "Gelu",
        ),
        (
            lambda b, x: b(
                "Mul",
                np.float32(0.5),
                b("Mul", x, b("Add", b("Erf", b("Mul", x, np.float32(0.5**0.5))), np.float32(1))),
            ),
            "Gelu",
        ),
        (lambda b, x: b("Div", np.float32(1), b("Add", b("Exp", b("Neg", x)), np.float32(1))), "Sigmoid"),
        (lambda b, x: b("Max", x, np.float32(0)), "Relu"),
        (lambda b, x: b("Clip", x, np.float32(0)), "Relu"),
        (lambda b, x: b("Log", b("Add", b("Exp", x), np.float32(1))), "Softplus"),
    ],
)
def test_activations(build, op):
    b = Builder(x=("batch", 7))
    only(b.graph(build(b, "x")), op)


def test_gelu_with_tanh():
    b = Builder(x=("batch", 7))
    cubic = b("Add", "x", b("Mul", np.float32(0.044715), b("Pow", "x", np.float32(3))))
    inner = b("Tanh", b("Mul", cubic, np.float32((2 / np.pi) ** 0.5)))
    y = b("Mul", b("Mul", "x", b("Add", inner, np.float32(1))), np.float32(0.5))
    (one,) = only(b.graph(y), "Gelu").nodes
    assert one.attributes["approximate"] == "tanh"


@pytest.mark.parametrize("root", ["Div", "Reciprocal", "Pow"])
@pytest.mark.parametrize("square", ["Mul", "Pow"])
def test_layer_normalisation(root, square):
    b = Builder(x=("batch", 5, 8))
    centred = b("Sub", "x", b("ReduceMean", "x", np.array([-1])))
    squared = b("Mul", centred, centred) if square == "Mul" else b("Pow", centred, np.float32(2))
    variance = b("Add", b("ReduceMean", squared, np.array([2])), np.float32(1e-3))
    if root == "Div":
        y = b("Div", centred, b("Sqrt", variance))
    elif root == "Reciprocal":
        y = b("Mul", centred, b("Reciprocal", b("Sqrt", variance)))
    else:
        y = b("Mul", b("Pow", variance, np.float32(-0.5)), centred)
    y = b("Add", b("Mul", y, random(8)), random(8, seed=1))
    (one,) = only(b.graph(y), "LayerNormalization").nodes
    assert one.attributes["epsilon"] == pytest.approx(1e-3)


@pytest.mark.parametrize("stable", [True, False])
def test_softmax(stable):
    b = Builder(x=("batch", 5, 8))
    x = b("Sub", "x", b("ReduceMax", "x", np.array([1]))) if stable else "x"
    e = b("Exp", x)
    only(b.graph(b("Div", e, b("ReduceSum", e, np.array([1])))), "Softmax")


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", None])
@pytest.mark.parametrize("how", ["matmul", "gemm", "scaled", "normalised"])
def test_dense(how, activation):
    b = Builder(x=("batch", 4))
    if how == "gemm":
        y = b("Gemm", "x", random(6, 4), random(6), transB=1, alpha=0.5, beta=2.0)
    else:
        y = b("Add", b("MatMul", "x", random(4, 6)), random(6))
    if how == "scaled":
        y = b("Sub", b("Mul", y, random(6, seed=2)), random(1, 6, seed=3))
    if how == "normalised":
        y = b("BatchNormalization", y, *(random(6, seed=k) for k in range(3)), random(6, seed=4) ** 2)
    only(b.graph(b(activation, y) if activation else y), "fusedlstm.Dense")


def test_dense_along_a_sequence():
    b = Builder(x=("batch", "time", 4))
    flat = b("Reshape", "x", np.array([-1, 4]))
    y = b("Reshape", b("MatMul", flat, random(4, 6)), np.array([-1, 5, 6]))
    y = b("Relu", b("Add", y, random(6)))
    only(b.graph(y), "Reshape", "Reshape", "fusedlstm.Dense", time=5)


@pytest.mark.parametrize("turned", [0, 1])
def test_rows_that_were_made_flat(turned):
    b = Builder(x=("batch", 3, 4))
    rows = b("Reshape", "x", np.array([-1, 4]))
    y = b("Gemm", rows, random(5, 4) if turned else random(4, 5), random(5, seed=1), transB=turned)
    only(b.graph(b("Reshape", y, np.array([-1, 3, 5]))), "fusedlstm.Dense")
    only(b.graph(b("Reshape", y, np.array([-1, 5, 3]))), "Reshape", "fusedlstm.Dense", "Reshape")
    only(b.graph(b("Reshape", y, np.array([-1, 3, 5])), y), "Reshape", "fusedlstm.Dense", "Reshape")


def test_dense_layers_that_share_their_input():
    b = Builder(x=("batch", 4))
    a, c, d = (b("Relu", b("MatMul", "x", random(4, width))) for width in (3, 5, 2))
    only(b.graph(a, c, d), "fusedlstm.Dense", "Split")


def test_a_bias_for_each_row_is_none_of_a_dense_layer():
    b = Builder(x=(6, 4))
    only(b.graph(b("Add", b("MatMul", "x", random(4, 6)), random(6, 1))), "fusedlstm.Dense", "Add")


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_convolution(dims, mode):
    b = Builder(x=("batch", 4, *(9,) * dims))
    pads = np.array([0, 0, *(1,) * dims, 0, 0, *(2,) * dims])
    y = b("Pad", "x", pads, mode=mode)
    y = b("Conv", y, random(6, 4, *(3,) * dims), strides=(2,) * dims)
    y = b("Add", y, random(6, *(1,) * dims))
    y = b("BatchNormalization", y, *(random(6, seed=k) for k in range(3)), random(6, seed=4) ** 2)
    (one,) = only(b.graph(b("Relu", b("Mul", y, random(1, 6, *(1,) * dims)))), "fusedlstm.Conv").nodes
    assert one.attributes["pad_mode"] == mode and one.attributes["activation"].name == "relu"


def test_pad_before_the_channels_are_there():
    b = Builder(x=("batch", 20))
    y = b("Unsqueeze", b("Pad", "x", np.array([0, 0, 0, 4]), mode="reflect"), np.array([1]))
    only(b.graph(b("Conv", y, random(3, 1, 5), strides=(2,))), "Unsqueeze", "fusedlstm.Conv")


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
def test_pad_before_pooling(op):
    b = Builder(x=("batch", 4, 9))
    fill = np.float32(0 if op == "AveragePool" else -np.inf)
    y = b("Pad", "x", np.array([0, 0, 1, 0, 0, 1]), fill)
    only(b.graph(b(op, y, kernel_shape=(3,))), op)


def test_zeros_before_a_maximum_stay():
    b = Builder(x=("batch", 4, 9))
    y = b("Pad", "x", np.array([0, 0, 1, 0, 0, 1]), np.float32(0))
    only(b.graph(b("MaxPool", y, kernel_shape=(3,))), "Pad", "MaxPool")


def test_convolution_of_one_tap_is_a_dense_layer():
    b = Builder(x=("batch", "time", 4))
    y = b("Conv", b("Transpose", "x", perm=(0, 2, 1)), random(6, 4, 1), random(6))
    only(b.graph(b("Relu", b("Transpose", y, perm=(0, 2, 1)))), "fusedlstm.Dense")


def lstm(b, x, directions=1, features=4, hidden=3, seed=0, states=None, **attributes):
    w, r, bias = (
        random(directions, 4 * hidden, features, seed=seed),
        random(directions, 4 * hidden, hidden, seed=seed + 1),
        random(directions, 8 * hidden, seed=seed + 2),
    )
    direction = attributes.pop("direction", "bidirectional" if directions == 2 else "forward")
    given = ["", *states] if states else []
    return b("LSTM", x, w, r, bias, *given, outputs=3, hidden_size=hidden, direction=direction, **attributes)


def test_batch_first_around_an_lstm():
    b = Builder(x=("batch", "time", 4))
    y, _, _ = lstm(b, b("Transpose", "x", perm=(1, 0, 2)))
    y = b("Transpose", b("Squeeze", y, np.array([1])), perm=(1, 0, 2))
    (one,) = only(b.graph(y), "fusedlstm.LSTM").nodes
    assert one.attributes["x_batch_first"] and one.attributes["y_batch_first"]


def test_directions_side_by_side():
    b = Builder(x=("time", "batch", 4))
    y, _, _ = lstm(b, "x", directions=2)
    y = b("Reshape", b("Transpose", y, perm=(0, 2, 1, 3)), np.array([0, 0, -1]))
    only(b.graph(y), "fusedlstm.LSTM")


@pytest.mark.parametrize("take", ["gather", "slice", "state"])
def test_last_step(take):
    b = Builder(x=("time", "batch", 4))
    y, h, _ = lstm(b, "x")
    y = b("Squeeze", y, np.array([1]))
    if take == "gather":
        y = b("Gather", y, np.array(-1), axis=0)
    elif take == "slice":
        y = b("Squeeze", b("Slice", y, np.array([-1]), np.array([2**62]), np.array([0])), np.array([0]))
    else:
        y = b("Squeeze", h, np.array([0]))
    one = only(b.graph(y), "fusedlstm.LSTM", "Squeeze").nodes[0]
    assert not one.outputs[0] and one.outputs[1]


def test_zero_states_go():
    b = Builder(x=("time", "batch", 4))
    size = b("Gather", b("Shape", "x"), np.array([1]), axis=0)
    zeros = b("Expand", np.float32(0), b("Concat", np.array([1]), size, np.array([3]), axis=0))
    y, _, _ = lstm(b, "x", states=(zeros, zeros))
    (one,) = only(b.graph(b("Squeeze", y, np.array([1]))), "fusedlstm.LSTM").nodes
    assert one.inputs == ("x",)


def turned(b, x, axis=0, end=-(2**62)):
    return b("Slice", x, np.array([-1]), np.array([end]), np.array([axis]), np.array([-1]))


@pytest.mark.parametrize("end", [-(2**62), -(2**31)])
def test_two_directions_written_apart(end):
    b = Builder(x=("time", "batch", 4))
    forward, h, _ = lstm(b, "x")
    backward, _, c = lstm(b, turned(b, "x", end=end), seed=7)
    forward, backward = (b("Squeeze", y, np.array([1])) for y in (forward, backward))
    both = b("Concat", forward, turned(b, backward, end=end), axis=2)
    found = simplified(b.graph(both, h, c))
    (one,) = [one for one in found.nodes if one.op == "fusedlstm.LSTM"]
    assert one.attributes["weights"].bidirectional
    assert set(ops(found)) <= {"fusedlstm.LSTM", "Slice", "Squeeze", "Unsqueeze"}


def test_stack():
    b = Builder(x=("time", "batch", 4), h=(2, "batch", 3), c=(2, "batch", 3))
    rows = [[b("Slice", s, np.array([k]), np.array([k + 1]), np.array([0])) for s in "hc"] for k in range(2)]
    y, h0, c0 = lstm(b, "x", states=rows[0])
    y, h1, c1 = lstm(b, b("Squeeze", y, np.array([1])), features=3, seed=9, states=rows[1])
    outputs = b("Squeeze", y, np.array([1])), b("Concat", h0, h1, axis=0), b("Concat", c0, c1, axis=0)
    found = only(b.graph(*outputs), "fusedlstm.LSTM")
    assert found.nodes[0].attributes["weights"].num_layers == 2 and found.nodes[0].inputs == ("x", "h", "c")


def test_layers_of_two_sizes_stay_apart():
    b = Builder(x=("time", "batch", 4))
    y, _, _ = lstm(b, "x")
    y, _, _ = lstm(b, b("Squeeze", y, np.array([1])), features=3, hidden=5, seed=9)
    only(b.graph(b("Squeeze", y, np.array([1]))), "fusedlstm.LSTM", "fusedlstm.LSTM")


def test_lengths_stay():
    b = Builder(x=(4, 2, 4), lengths=(np.dtype(np.int32), (2,)))
    y, h, _ = b("LSTM", "x", random(1, 12, 4), random(1, 12, 3), "", "lengths", outputs=3)
    graph = b.graph(b("Gather", b("Squeeze", y, np.array([1])), np.array(-1), axis=0), h)
    inputs = {"x": random(4, 2, 4), "lengths": np.array([4, 2], np.int32)}
    found = simplified(graph, inputs)
    assert "Gather" in ops(found)


def test_times_zero_of_whole_numbers():
    b = Builder(x=(2, 3), k=(INT, ()))
    zero = b("Cast", b("Mul", "k", np.array(0)), to=np.dtype(np.float32))
    only(b.graph(b("Add", b("Relu", "x"), zero)), "Relu")


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_computed_as_float32(dtype):
    dtype = np.dtype(dtype)
    b = Builder(x=(dtype, ("time", "batch", 4)))
    w, r, bias = (b.const(value, dtype) for value in (random(1, 12, 4), random(1, 12, 3), random(1, 24)))
    y, _, _ = b("LSTM", "x", w, r, bias, outputs=3)
    y = b("Mul", b("Squeeze", y, np.array([1])), b.const(np.array(2, dtype), dtype))
    y = b("Cast", b("Cast", y, to=np.dtype(np.float32)), to=dtype)
    graph = b.graph(y)
    found = simplify(single(graph))
    assert sorted(ops(found)) == ["Mul", "fusedlstm.LSTM"] and found.inputs[0].dtype == np.float32
    x = random(3, 2, 4)
    wanted = evaluate(graph, {"x": x.astype(dtype)})[y]
    np.testing.assert_allclose(evaluate(found, {"x": x})[y], wanted, atol=5e-3 if dtype == np.float16 else 1e-6)


def test_float32_is_left_as_it_is():
    b = Builder(x=("batch", 4))
    graph = b.graph(b("Relu", "x"))
    assert single(graph) is graph
