"""Graphs: what they hold, what they refuse, how they print; sizes that are open; graphs for the shapes of one call."""

import numpy as np
import pytest
from graphs import FLOAT, INT, Builder, random

from fusedlstm.errors import FormatError
from fusedlstm.graph import Graph, Node, Value, evaluate, node
from fusedlstm.graph.dims import Dim
from fusedlstm.graph.passes import simplify
from fusedlstm.graph.specialise import deciding_inputs, specialise

X, Y = Value("x", FLOAT, ("batch", 4)), Value("y")


def refused(match, inputs=(X,), outputs=(Y,), nodes=(), constants=None):
    with pytest.raises(FormatError, match=match):
        Graph(inputs, outputs, nodes, constants or {})


def test_names():
    relu = node("Relu", ["x"], "y")
    Graph([X], [Value("y")], [relu])
    refused("Relu node 'y': expected 'z' to be defined before it, found it nowhere", nodes=[node("Relu", ["z"], "y")])
    refused("expected 'b' to be defined before it", nodes=[node("Relu", ["b"], "y"), node("Relu", ["y"], "b")])
    refused("tensor 'y': expected one definition, found two", nodes=[relu, node("Neg", ["x"], "y")])
    refused("tensor 'x': expected one definition", nodes=[relu], constants={"x": random(2)})
    refused("output 'y': expected it to be computed")
    refused("expected a name, found ''", inputs=[Value("", FLOAT, (1,))])


def test_nodes():
    with pytest.raises(FormatError, match="Relu node 'y': expected 1 inputs, found 2"):
        node("Relu", ["x", "x"], "y")
    with pytest.raises(FormatError, match="attribute alpha: expected none such, found 2"):
        node("Relu", ["x"], "y", alpha=2)
    with pytest.raises(FormatError, match="attribute axis: expected a whole number, found 'one'"):
        node("Softmax", ["x"], "y", axis="one")
    with pytest.raises(
        FormatError, match="attribute mode: expected constant or reflect or edge or wrap, found 'mirror'"
    ):
        node("Pad", ["x", "p"], "y", mode="mirror")
    with pytest.raises(FormatError, match="attribute kernel_shape: expected 1 or more, found"):
        node("MaxPool", ["x"], "y", kernel_shape=(0,))
    with pytest.raises(FormatError, match="attribute kernel_shape: expected whole numbers, found none"):
        node("MaxPool", ["x"], "y")
    with pytest.raises(FormatError, match="expected input 1, found none"):
        node("Where", ["x", "", "z"], "y")
    with pytest.raises(FormatError, match=r"expected an operator of docs/operators\.md, found Frobnicate"):
        node("Frobnicate", ["x"], "y")
    refused("expected an operator of", nodes=[Node("Frobnicate", ("x",), ("y",))])
    refused("expected attributes", nodes=[Node("Softmax", ("x",), ("y",))])
    graph = Graph([X], [Value("y")], [Node("Frobnicate", ("x",), ("y",), refused="it is not known")])
    assert graph.refusals == ("Frobnicate node 'y': it is not known",)
    with pytest.raises(FormatError, match="Frobnicate node 'y': it is not known"):
        evaluate(graph, {"x": random(2, 4)})


def test_bounds():
    refused("expected sizes of 0 or more", inputs=[Value("x", FLOAT, (-1,))], outputs=[Value("x")])
    refused("expected at most .* bytes", inputs=[Value("x", FLOAT, (2**40,))], outputs=[Value("x")])
    refused("expected at most 32 dimensions", inputs=[Value("x", FLOAT, (1,) * 40)], outputs=[Value("x")])
    refused("expected numbers, found", constants={"y": np.array(["text"])})
    nodes = [node("Relu", ["x"], f"y{k}") for k in range(50_001)]
    refused("expected at most 50000 nodes", nodes=nodes, outputs=[Value("y1")])


def test_constants_are_read_only():
    given = random(3)
    graph = Graph([], [Value("w")], [], {"w": given})
    with pytest.raises(ValueError, match="read-only"):
        graph.constants["w"][0] = 1


def test_a_listing_can_be_read():
    b = Builder(x=("batch", 4))
    y = b("Gemm", "x", random(6, 4), random(6), transB=1)
    graph = b.graph(b("Softmax", b("Clip", y, np.float32(0)), axis=1))
    assert str(graph).splitlines() == [
        "graph (%x: f32[batch, 4]) {",
        "  %t3 = Gemm(%x, t1[6, 4], t2[6]) {transB=1}",
        "  %t5 = Clip(%t3, 0.0)",
        "  %t6 = Softmax(%t5) {axis=1}",
        "  return %t6",
        "}",
    ]
    assert str(simplify(graph)).splitlines()[1:3] == [
        "  %t5: f32[batch, 6] = fusedlstm.Dense(%x, t1'[4, 6], t2'[6]) {activation=relu}",
        "  %t6: f32[batch, 6] = Softmax(%t5) {axis=1}",
    ]


def test_dims():
    batch, time = Dim.symbol("batch"), Dim.symbol("time")
    assert batch + time == time + batch and batch * time == time * batch != batch
    assert (batch * 4) // 2 == batch * 2 and (batch * time * 6) // (time * 3) == batch * 2
    assert batch - batch == 0 and type(batch - batch) is int
    assert (batch * time + batch * 2) // (time + 2) == batch
    assert (time - 2) // 2 == (time - 2) // 2 != (time - 1) // 2
    assert (time * 6) // 4 == (time * 3) // 2 and (time * 3) // 6 == time // 2 != time // 3
    assert not batch < 0 and not batch > 0
    assert str(batch * 4 - 2) == "4*batch - 2" and str(time // 2) == "((time)//2)"
    long = batch
    for k in range(50):  # expressions stay small
        long = (long + k) * (time + k) // 7
    assert len(str(long)) < 1000


def test_shapes_of_one_call():
    b = Builder(x=("batch", "time", 4), y=("batch", 4))
    graph = simplify(b.graph(b("Add", b("ReduceSum", "x", np.array([1]), keepdims=0), "y")))
    special = specialise(graph, {"x": (2, 3, 4), "y": (2, 4)})
    assert special.types[graph.outputs[0].name].shape == (2, 4)
    for wrong, match in (
        ({"x": (2, 3, 5), "y": (2, 4)}, r"input 'x': expected shape \(2, 3, 4\), found \(2, 3, 5\)"),
        ({"x": (2, 3, 4), "y": (3, 4)}, r"input 'y': expected shape \(2, 4\), found \(3, 4\)"),
        ({"x": (2, 3), "y": (2, 4)}, "input 'x': expected shape"),
        ({"x": (2, 3, 4)}, "input 'y': expected a shape and a type, found none"),
        ({"x": (-1, 3, 4), "y": (-1, 4)}, "expected sizes of 0 or more"),
        ({"x": (2**30, 2**30, 4), "y": (2**30, 4)}, "expected at most .* bytes"),
    ):
        with pytest.raises(FormatError, match=match):
            specialise(graph, wrong)


def test_inputs_that_decide():
    b = Builder(x=("batch", 4), count=(INT, ()), lengths=(INT, ("batch",)))
    steps = b("Range", np.array(0), b("Add", "count", np.array(1)), np.array(1))
    graph = b.graph(steps, b("Less", "lengths", np.array(3)))
    assert deciding_inputs(simplify(graph)) == ["count"]
    special = specialise(graph, {"x": (2, 4), "lengths": (2,)}, {"count": np.array(5)})
    assert special.constants[steps].tolist() == list(range(6))
    with pytest.raises(
        FormatError, match="Range node .*: its shape depends on values that are known only when it runs"
    ):
        specialise(graph, {"x": (2, 4), "lengths": (2,), "count": ()})


def test_shapes_that_depend_on_values():
    b = Builder(x=(4,))
    with pytest.raises(FormatError, match="NonZero node .*: its shape depends on values"):
        specialise(b.graph(b("NonZero", "x")), {"x": (4,)})
    with pytest.raises(FormatError, match="NonZero node .*: expected an input with axes, found one number"):
        specialise(b.graph(b("NonZero", np.float32(2))), {"x": (4,)})


@pytest.mark.parametrize(
    "build",
    [
        lambda b: b("Expand", np.float32(1), np.array([2**20, 2**20])),
        lambda b: b("ConstantOfShape", np.array([2**31, 2**31])),
        lambda b: b("Tile", b("Expand", np.float32(1), np.array([2**12])), np.array([2**30])),
        lambda b: b("Range", np.array(0), np.array(2**60), np.array(1)),
        lambda b: b("Pad", random(4), np.array([2**40, 0])),
    ],
)
def test_constants_that_blow_up(build):
    b = Builder(x=(4,))
    graph = b.graph(b("ReduceMax", build(b)), "x")
    with pytest.raises(FormatError, match="expected at most .* bytes"):
        simplify(graph)


def test_constants_that_are_many_times_the_file_are_not_made():
    b = Builder(x=(4,))
    y = b("Expand", np.float32(1), np.array([1 << 20]))
    for _ in range(60):
        y = b("Mul", b("Neg", y), np.float32(0.5))
    graph = simplify(b.graph(b("Mul", b("ReduceMax", y), "x")))
    assert sum(value.nbytes for value in graph.constants.values()) < 1 << 27
    assert "Neg" in {one.op for one in graph.nodes}
