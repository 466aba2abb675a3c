"""Loops that are no LSTM: their bodies one after the other, against what Loop and Scan mean."""

import numpy as np
import pytest

import fusedlstm as fl
from fusedlstm.graph import Graph, Node, Value, evaluate, node

FLOAT = np.dtype(np.float32)


def inner(inputs, outputs, nodes):
    """A graph inside a node."""
    return Graph.unchecked(tuple(map(Value, inputs)), tuple(map(Value, outputs)), tuple(nodes))


def leaky(turn="turn", extra=()):
    """s' = 0.5 s + x[turn], which is handed out as well."""
    return [
        node("Gather", ["x", turn], "now"),
        node("Mul", ["s", "half"], "less"),
        node("Add", ["less", "now"], "new"),
        *extra,
    ]


def loop(count, body=None, condition="go"):
    """A model that walks x (time, 3) so many times; of each turn it gives the state."""
    body = inner(["turn", "go", "s"], [condition, "new", "new"], body or leaky())
    return Graph(
        [Value("x", FLOAT, ("time", 3)), Value("first", FLOAT, (3,))],
        [Value("last"), Value("all")],
        [
            node("Shape", ["x"], "length", start=0, end=1),
            node("Loop", [count, "", "first"], ["last", "all"], "walk", body=body),
        ],
        {"half": np.array(0.5, np.float32), "three": np.array(3, np.int64)},
    )


def agrees(graph, **inputs):
    model = fl.Model(graph)
    assert any(one.op in ("Loop", "Scan") for one in model.simplified.nodes)
    found, expected = model.run(inputs), evaluate(graph, inputs)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)


def arrays(time):
    rng = np.random.default_rng(time)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in (("x", (time, 3)), ("first", (3,)))}


@pytest.mark.parametrize("time", [1, 4, 7])
def test_the_length_of_a_call_says_how_often(time):
    agrees(loop("length"), **arrays(time))


def test_a_constant_number_of_turns():
    agrees(loop("three"), **arrays(5))


def test_loops_inside_loops():
    again = inner(["t2", "go2", "u"], ["go2", "u2"], [node("Mul", ["u", "half"], "u2")])
    inside = node("Loop", ["three", "", "new"], ["least"], body=again)
    body = inner(["turn", "go", "s"], ["go", "least", "new"], leaky(extra=[inside]))
    graph = loop("length")
    nodes = [graph.nodes[0], node("Loop", ["length", "", "first"], ["last", "all"], body=body)]
    agrees(Graph(graph.inputs, graph.outputs, nodes, graph.constants), **arrays(4))


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_scans(turned, axis):
    body = inner(["s", "now"], ["new", "new"], leaky()[1:])
    shape = ("time", 3) if axis == 0 else (3, "time")
    options = {"scan_input_axes": (axis,), "scan_input_directions": (turned,), "scan_output_axes": (1,)}
    scan = node("Scan", ["first", "x"], ["last", "all"], body=body, num_scan_inputs=1, **options)
    inputs = [Value("x", FLOAT, shape), Value("first", FLOAT, (3,))]
    graph = Graph(inputs, [Value("last"), Value("all")], [scan], {"half": np.array(0.5, np.float32)})
    given = arrays(5)
    given["x"] = given["x"] if axis == 0 else given["x"].T.copy()
    agrees(graph, **given)


def test_what_decides_while_it_runs_is_refused():
    small = [node("ReduceMax", ["new"], "most", keepdims=0), node("Less", ["most", "half"], "still")]
    model = fl.Model(loop("length", leaky(extra=small), "still"))
    with pytest.raises(ValueError, match="Loop node 'walk': a Loop that is no LSTM is supported where shapes say"):
        model.run(arrays(4))


def test_too_many_turns_are_refused():
    with pytest.raises(ValueError, match="or runs too often"):
        fl.Model(loop("length")).run(arrays(10_000))


@pytest.mark.parametrize("count", [[], [2, 3]])
def test_a_count_that_is_no_number(count):
    graph = loop("three")
    graph = Graph(graph.inputs, graph.outputs, graph.nodes, {**graph.constants, "three": np.array(count, np.int64)})
    with pytest.raises(ValueError, match="Loop node 'walk': a Loop that is no LSTM is supported where shapes say"):
        fl.Model(graph).run(arrays(4))


def test_a_node_that_is_refused_inside():
    body = [*leaky(), Node("Mystery", ("new",), ("found",), {}, "", "this operator is not supported")]
    with pytest.raises(fl.FormatError, match="Mystery node 'found': this operator is not supported"):
        fl.Model(loop("length", body))


def test_a_loop_that_carries_nothing():
    """What it hands out at each turn is what it makes there, and not whether it goes on."""
    body = inner(
        ["turn", "go"], ["go", "twice"], [node("Gather", ["x", "turn"], "now"), node("Add", ["now"] * 2, "twice")]
    )
    graph = Graph(
        [Value("x", FLOAT, ("time", 3))],
        [Value("all")],
        [node("Shape", ["x"], "length", start=0, end=1), node("Loop", ["length"], ["all"], "walk", body=body)],
    )
    agrees(graph, x=arrays(5)["x"])


# -- loops that go on while they count, as TensorFlow writes them ------------------------------------------------------

INT32 = np.dtype(np.int32)


def counted(condition, *, most="many", start=0, begin="yes", last=False):
    """A model that walks x (time, 3) by a counter of its own, and carries a number that it never changes."""
    nodes = [
        node("Add", ["count", "one"], "next"),
        *leaky("count"),
        node("Add", ["new", "held"], "kept"),
        node("Identity", ["held"], "held on"),
        node("Cast", ["next"], "next.f", to=FLOAT),
        node("Cast", ["length"], "length.f", to=FLOAT),
        *condition,
    ]
    body = inner(["turn", "go", "count", "s", "held"], ["goes on", "next", "kept", "held on", "new"], nodes)
    outputs = ["end", "last", "", "all"]
    whole = [
        node("Shape", ["x"], "sizes", start=0, end=1),
        node("Squeeze", ["sizes"], "size"),
        node("Cast", ["size"], "length", to=INT32),
        node("Less", ["start", "length"], "not empty"),
        node("Loop", [most, begin, "start", "first", "outside"], outputs, "walk", body=body),
    ]
    constants = {
        "half": np.array(0.5, np.float32),
        "outside": np.array([1, 2, 3], np.float32),
        "one": np.array(1, np.int32),
        "start": np.array(start, np.int32),
        "many": np.array(1 << 40, np.int64),
        "few": np.array(2, np.int64),
        "three": np.array(3, np.float32),
        "yes": np.array(True),
    }
    names = ["last", "all", *(["end"] if last else [])]
    return Graph(
        [Value("x", FLOAT, ("time", 3)), Value("first", FLOAT, (3,))], [Value(one) for one in names], whole, constants
    )


LESS = [node("Less", ["next.f", "length.f"], "goes on")]
CASES = {
    "less": (LESS, {}),
    "greater": ([node("Greater", ["length.f", "next.f"], "goes on")], {}),
    "whole numbers": ([node("Less", ["next", "length"], "goes on")], {}),
    "up to": (
        [
            node("Less", ["next.f", "length.f"], "inside"),
            node("Cast", ["turn"], "turn.f", to=FLOAT),
            node("LessOrEqual", ["turn.f", "three"], "short"),
            node("And", ["short", "inside"], "goes on"),
        ],
        {},
    ),
    "turns": (
        [
            node("Cast", ["turn"], "turn.f", to=FLOAT),
            node("Less", ["turn.f", "three"], "short"),
            node("Less", ["next.f", "length.f"], "inside"),
            node("And", ["short", "inside"], "goes on"),
        ],
        {},
    ),
    "if there are any": (LESS, {"most": "size", "begin": "not empty"}),
    "a limit": (LESS, {"most": "few"}),
    "the length": (LESS, {"most": "size"}),
    "from one on": (LESS, {"start": 1}),
    "the counter afterwards": (LESS, {"last": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_counting(name):
    condition, how = CASES[name]
    graph = counted(condition, **how)
    model = fl.Model(graph)
    for time in (2, 5, 6):
        inputs = arrays(time)
        expected = evaluate(graph, inputs)
        for one, value in model.run(inputs).items():
            np.testing.assert_allclose(value, expected[one], rtol=1e-5, atol=1e-6)
    for one in model.simplified.nodes:
        if one.op == "Loop" and not how.get("last"):
            assert len(one.inputs) == 3  # how often, whether, and the state


def test_what_the_numbers_decide_is_refused():
    graph = counted([node("ReduceSum", ["new"], "sum", keepdims=0), node("Less", ["sum", "three"], "goes on")])
    with pytest.raises(ValueError, match="Loop node 'walk'.*where shapes say how often it runs"):
        fl.Model(graph)(*arrays(3).values())
