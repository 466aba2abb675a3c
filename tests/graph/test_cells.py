"""Cells that were taken apart, in the ways that exporters and hands write them, become LSTM nodes."""

import itertools

import numpy as np
import pytest
from graphs import Builder, evaluate, ops, random, simplified

from fusedlstm.graph import Graph, Value, node

HIDDEN, FEATURES = 4, 3


def arrays(features=FEATURES, hidden=HIDDEN, seed=0):
    """Input weights, recurrent weights and a bias of each gate."""
    return {
        gate: (
            random(features, hidden, seed=seed + k),
            random(hidden, hidden, seed=seed + k + 9),
            random(hidden, seed=k),
        )
        for k, gate in enumerate("ifgo")
    }


def joined(b, x, h, weights, order="ifgo", how="add", cut="split", transposed=False):
    """The four sums, from weights side by side."""
    w, r, bias = (np.concatenate([weights[gate][k] for gate in order], -1) for k in range(3))
    if how == "gemm":
        z = b("Gemm", x, w.T if transposed else w, bias, transB=int(transposed))
        z = b("Gemm", h, r.T if transposed else r, z, transB=int(transposed))
    elif how == "concat":
        z = b("Add", bias, b("MatMul", b("Concat", h, x, axis=1), np.concatenate([r, w])))
    elif how == "two biases":
        z = b("Add", b("Gemm", x, w, 0.25 * bias), b("Gemm", h, r, 0.75 * bias))
    else:
        z = b("Add", b("Add", b("MatMul", x, w), b("MatMul", h, r)), bias)
    hidden = len(bias) // 4
    if cut == "split":
        parts = b("Split", z, outputs=4, axis=-1, num_outputs=4)
    elif cut == "slice":
        parts = [b("Slice", z, np.array([k * hidden]), np.array([(k + 1) * hidden]), np.array([1])) for k in range(4)]
    else:
        blocks = b("Reshape", z, np.array([-1, 4, hidden]))
        parts = [b("Gather", blocks, np.array(k), axis=1) for k in range(4)]
    return dict(zip(order, parts))


def separate(b, x, h, weights):
    return {
        gate: b("Add", b("Add", b("MatMul", x, w), bias), b("MatMul", h, r)) for gate, (w, r, bias) in weights.items()
    }


def cell(b, z, c, gate="Sigmoid", squash="Tanh", swapped=False):
    """c' and h' from the four sums."""
    i, f, g, o = b(gate, z["i"]), b(gate, z["f"]), b(squash, z["g"]), b(gate, z["o"])
    if swapped:
        new_c = b("Add", b("Mul", g, i), b("Mul", c, f))
        return b("Mul", b(squash, new_c), o), new_c
    new_c = b("Add", b("Mul", f, c), b("Mul", i, g))
    return b("Mul", o, b(squash, new_c)), new_c


@pytest.mark.parametrize("order", ["".join(one) for one in itertools.permutations("ifgo")][::5])
@pytest.mark.parametrize("how", ["add", "gemm", "concat", "two biases"])
@pytest.mark.parametrize("cut", ["split", "slice", "blocks"])
def test_one_step(order, how, cut):
    b = Builder(x=("batch", FEATURES), h=("batch", HIDDEN), c=("batch", HIDDEN))
    z = joined(b, "x", "h", arrays(), order, how, cut, transposed=order[0] == "o")
    found = simplified(b.graph(*cell(b, z, "c", swapped=cut == "slice")))
    assert ops(found).count("fusedlstm.LSTM") == 1
    assert not {"Sigmoid", "Tanh", "Mul", "fusedlstm.Dense"} & set(ops(found))


def test_separate_weights():
    b = Builder(x=("batch", FEATURES), h=("batch", HIDDEN), c=("batch", HIDDEN))
    found = simplified(b.graph(*cell(b, separate(b, "x", "h", arrays()), "c")))
    assert sorted(set(ops(found))) == ["Squeeze", "Unsqueeze", "fusedlstm.LSTM"]


def test_gates_that_share_a_sigmoid():
    b = Builder(x=("batch", FEATURES), h=("batch", HIDDEN), c=("batch", HIDDEN))
    z = joined(b, "x", "h", arrays(), "ifog", cut="slice")
    gates = b("Sigmoid", b("Concat", z["i"], z["f"], z["o"], axis=1))
    i, f, o = b("Split", gates, outputs=3, axis=1, num_outputs=3)
    new_c = b("Add", b("Mul", f, "c"), b("Mul", i, b("Tanh", z["g"])))
    simplified(b.graph(b("Mul", o, b("Tanh", new_c)), new_c))

    b = Builder(x=("batch", FEATURES), h=("batch", HIDDEN), c=("batch", HIDDEN))
    w, r, bias = (np.concatenate([arrays()[gate][k] for gate in "ifog"], -1) for k in range(3))
    z = b("Add", b("Add", b("MatMul", "x", w), b("MatMul", "h", r)), bias)
    three, g = b("Split", z, np.array([12, 4]), outputs=2, axis=1)
    i, f, o = b("Split", b("Sigmoid", three), outputs=3, axis=1, num_outputs=3)
    new_c = b("Add", b("Mul", f, "c"), b("Mul", i, b("Tanh", g)))
    found = simplified(b.graph(b("Mul", o, b("Tanh", new_c)), new_c))
    assert ops(found).count("fusedlstm.LSTM") == 1


@pytest.mark.parametrize(("gate", "squash"), [("HardSigmoid", "Tanh"), ("Sigmoid", "Relu"), ("Sigmoid", "Softsign")])
def test_other_activations(gate, squash):
    b = Builder(x=("batch", FEATURES), h=("batch", HIDDEN), c=("batch", HIDDEN))
    found = simplified(b.graph(*cell(b, joined(b, "x", "h", arrays()), "c", gate, squash)))
    (one,) = [one for one in found.nodes if one.op == "fusedlstm.LSTM"]
    assert one.attributes["weights"].layers[0][0].cell.gate.name in (gate.lower(), "hard_sigmoid")


def test_peepholes():
    b = Builder(x=("batch", FEATURES), h=("batch", HIDDEN), c=("batch", HIDDEN))
    z = joined(b, "x", "h", arrays())
    z["i"], z["f"] = (b("Add", z[gate], b("Mul", "c", random(HIDDEN, seed=k))) for k, gate in enumerate("if"))
    new_c = b("Add", b("Mul", b("Sigmoid", z["f"]), "c"), b("Mul", b("Sigmoid", z["i"]), b("Tanh", z["g"])))
    o = b("Sigmoid", b("Add", z["o"], b("Mul", new_c, random(HIDDEN, seed=5))))
    found = simplified(b.graph(b("Mul", o, b("Tanh", new_c)), new_c))
    (one,) = [one for one in found.nodes if one.op == "fusedlstm.LSTM"]
    assert "peephole_o" in one.attributes["weights"].layers[0][0].arrays


def test_what_is_no_lstm_stays():
    b = Builder(x=("batch", FEATURES), h=("batch", HIDDEN), c=("batch", HIDDEN))
    z = joined(b, "x", "h", arrays())
    i, f, g, o = b("Sigmoid", z["i"]), b("HardSigmoid", z["f"]), b("Tanh", z["g"]), b("Sigmoid", z["o"])
    new_c = b("Add", b("Mul", f, "c"), b("Mul", i, g))
    found = simplified(b.graph(b("Mul", o, b("Tanh", new_c))))
    assert "fusedlstm.LSTM" not in ops(found)


def unrolled(b, steps, weights, states, order="ifgo", ahead=False, **how):
    """Hidden states of each step."""
    h, c = states
    seen = []
    for t in range(steps):
        if ahead:
            w, r, bias = (np.concatenate([weights[gate][k] for gate in order], -1) for k in range(3))
            z = b("Add", ahead(b, t, w, bias), b("MatMul", h, r))
            z = dict(zip(order, b("Split", z, outputs=4, axis=-1, num_outputs=4)))
        else:
            z = joined(b, how["x"](b, t), h, weights, order)
        h, c = cell(b, z, c)
        seen.append(h)
    return seen, c


def by_gather(axis):
    return lambda b, t: b("Gather", "x", np.array(t), axis=axis)


def by_slice(axis):
    def take(b, t):
        part = b("Slice", "x", np.array([t]), np.array([t + 1]), np.array([axis]))
        return b("Squeeze", part, np.array([axis]))

    return take


@pytest.mark.parametrize("take", [by_gather, by_slice])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("zero", [True, False])
def test_unrolled(take, axis, zero):
    steps = 5
    shape = (steps, "batch", FEATURES) if axis == 0 else ("batch", steps, FEATURES)
    b = Builder(x=shape, h=("batch", HIDDEN), c=("batch", HIDDEN))
    states = ("h", "c")
    if zero:
        size = b("Gather", b("Shape", "x"), np.array([1 - axis]), axis=0)
        zeros = b("ConstantOfShape", b("Concat", size, np.array([HIDDEN]), axis=0))
        states = (zeros, zeros)
    seen, c = unrolled(b, steps, arrays(), states, x=take(axis))
    stacked = b("Concat", *(b("Unsqueeze", h, np.array([axis])) for h in seen), axis=axis)
    found = simplified(b.graph(stacked, seen[-1], c))
    (one,) = [one for one in found.nodes if one.op == "fusedlstm.LSTM"]
    assert one.attributes["x_batch_first"] == axis
    assert not {"Slice", "Sigmoid", "Concat"} & set(ops(found)) and ops(found).count("Gather") == 1, found


def test_steps_that_are_fed_what_they_said_are_no_layer():
    b = Builder(x=("batch", FEATURES), h=("batch", HIDDEN), c=("batch", HIDDEN))
    x, h, c, back = "x", "h", "c", random(HIDDEN, FEATURES, seed=5)
    for _ in range(4):
        h, c = cell(b, joined(b, x, h, arrays()), c)
        x = b("Tanh", b("MatMul", h, back))
    found = simplified(b.graph(h, c))
    assert ops(found).count("fusedlstm.LSTM") == 4


def test_unrolled_by_split_and_backwards():
    steps = 4
    b = Builder(x=(steps, 2, FEATURES))
    parts = [b("Squeeze", one, np.array([0])) for one in b("Split", "x", outputs=steps, axis=0, num_outputs=steps)]
    zero = b.const(np.zeros((2, HIDDEN), np.float32))
    seen, _ = unrolled(b, steps, arrays(), (zero, zero), x=lambda b, t: parts[steps - 1 - t])
    stacked = b("Concat", *(b("Unsqueeze", h, np.array([0])) for h in reversed(seen)), axis=0)
    found = simplified(b.graph(stacked))
    assert ops(found) == ["fusedlstm.LSTM"] and found.nodes[0].attributes["weights"].reverse


def test_two_unrolled_layers():
    steps = 3
    b = Builder(x=(steps, 2, FEATURES))
    zero = b.const(np.zeros((2, HIDDEN), np.float32))
    first, _ = unrolled(b, steps, arrays(), (zero, zero), x=by_gather(0))
    second, _ = unrolled(b, steps, arrays(HIDDEN, seed=50), (zero, zero), x=lambda b, t: first[t])
    found = simplified(b.graph(second[-1]))
    assert ops(found).count("fusedlstm.LSTM") == 1
    (one,) = [one for one in found.nodes if one.op == "fusedlstm.LSTM"]
    assert one.attributes["weights"].num_layers == 2


def test_input_multiplied_ahead():
    steps = 4
    b = Builder(x=(steps, "batch", FEATURES), h=("batch", HIDDEN), c=("batch", HIDDEN))
    w, _, bias = (np.concatenate([arrays()[gate][k] for gate in "ifgo"], -1) for k in range(3))
    whole = b("Add", b("MatMul", "x", w), bias)
    seen, c = unrolled(
        b, steps, arrays(), ("h", "c"), ahead=lambda b, t, w, bias: b("Gather", whole, np.array(t), axis=0)
    )
    found = simplified(b.graph(seen[-1], c))
    assert ops(found).count("fusedlstm.LSTM") == 1
    assert "fusedlstm.Dense" not in ops(found)


def body(x_shape=("batch", FEATURES), loop=False, turned=False):
    """A step as the body of Scan or Loop: states, then what is handed out at each step."""
    b = Builder(**({"i": (np.dtype(np.int64), ()), "go": (np.dtype(np.bool_), ())} if loop else {}))
    b.prefix = "b_"
    b.inputs += [Value("h_in"), Value("c_in")] + ([] if loop else [Value("x_t")])
    x = b("Gather", "x", "i", axis=1) if loop else "x_t"
    h, c = cell(b, joined(b, x, "h_in", arrays()), "c_in")
    outs = [b("Identity", "go")] if loop else []
    outs += [h, c, b("Identity", h)]
    inner = Graph.unchecked(tuple(b.inputs), tuple(map(Value, outs)), tuple(b.nodes), "body")
    return inner, b.constants


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("turned", [0, 1])
def test_scan(axis, backwards, turned):
    inner, constants = body()
    shape = ("time", "batch", FEATURES) if axis == 0 else ("batch", "time", FEATURES)
    scan = node(
        "Scan",
        ["h", "c", "x"],
        ["h_n", "c_n", "y"],
        body=inner,
        num_scan_inputs=1,
        scan_input_axes=(axis,),
        scan_input_directions=(backwards,),
        scan_output_axes=(axis,),
        scan_output_directions=(turned,),
    )
    b = Builder(h=("batch", HIDDEN), c=("batch", HIDDEN), x=shape)
    graph = Graph(b.inputs, [Value("y"), Value("h_n"), Value("c_n")], [scan], constants)
    found = simplified_loop(graph, time=6, batch=2)
    assert ops(found).count("fusedlstm.LSTM") == 1 and "Scan" not in ops(found)


def simplified_loop(graph, **sizes):
    """As `simplified`, for graphs whose shapes are not known before."""
    from graphs import close, simplify, values_for

    inputs, found = values_for(graph, **sizes), simplify(graph)
    close(evaluate(found, inputs), evaluate(graph, inputs))
    return found


@pytest.mark.parametrize("static", [True, False])
def test_loop(static):
    inner, constants = body(loop=True)
    b = Builder(h=("batch", HIDDEN), c=("batch", HIDDEN), x=("batch", 5 if static else "time", FEATURES))
    count = b.const(np.array(5)) if static else b("Gather", b("Shape", "x"), np.array(1), axis=0)
    b.nodes.append(node("Loop", [count, b.const(np.array(True)), "h", "c"], ["h_n", "c_n", "y"], body=inner))
    graph = Graph(b.inputs, [Value("y"), Value("h_n"), Value("c_n")], b.nodes, {**b.constants, **constants})
    found = simplified_loop(graph, time=6, batch=2)
    assert ops(found).count("fusedlstm.LSTM") == 1 and "Loop" not in ops(found)


def test_loop_of_another_length_stays():
    inner, constants = body(loop=True)
    b = Builder(h=("batch", HIDDEN), c=("batch", HIDDEN), x=("batch", 5, FEATURES))
    b.nodes.append(node("Loop", [b.const(np.array(4)), "", "h", "c"], ["h_n", "c_n", "y"], body=inner))
    graph = Graph(b.inputs, [Value("h_n")], b.nodes, {**b.constants, **constants})
    assert "Loop" in ops(simplified_loop(graph, batch=2))
