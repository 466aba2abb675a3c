"""LSTM, GRU and RNN nodes in programs: any attributes, strides, lengths and states."""

import itertools

import numpy as np
import pytest
from graphs import INT, Builder, random
from onnx_models import onnx
from planned import check_planned, run_planned

from fusedlstm import _core
from fusedlstm.graph import evaluate
from fusedlstm.graph.passes import simplify
from fusedlstm.weights import FormatError

TIME, FEATURES = 5, 3
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ALL = [
    *("Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus", "Softsign", "Tanh"),
    "ThresholdedRelu",
]


def weights(op, hidden, directions=1, features=FEATURES):
    rows, scale = GATES[op] * hidden, 0.5 / hidden**0.5  # errors that grow from step to step would say nothing
    return (
        random(directions, rows, features, scale=scale),
        random(directions, rows, hidden, seed=1, scale=scale),
        random(directions, 2 * rows, seed=2, scale=scale),
    )


def layer(
    op,
    hidden=7,
    batch=2,
    time=TIME,
    direction="forward",
    layout=0,
    bias=True,
    lengths=None,
    state=True,
    outputs=2,
    **more,
):
    """A graph of one node, and what to feed it."""
    directions = 2 if direction == "bidirectional" else 1
    w, r, b = weights(op, hidden, directions)
    x = (batch, time, FEATURES) if layout else (time, batch, FEATURES)
    states = (batch, directions, hidden) if layout else (directions, batch, hidden)
    feed = {"x": random(*x, seed=3)}
    inputs = {"x": x}
    if lengths is not None:
        inputs["lengths"] = (INT, (batch,))
        feed["lengths"] = np.array(lengths)
    names = ["h", "c"][: 2 if op == "LSTM" else 1] if state else []
    for k, name in enumerate(names):
        inputs[name] = states
        feed[name] = random(*states, seed=4 + k)
    builder = Builder(**inputs)
    given = ["x", w, r, b if bias else "", "" if lengths is None else "lengths", *names]
    made = builder(op, *given, outputs=outputs, direction=direction, layout=layout, **more)
    return builder.graph(*([made] if outputs == 1 else made)), feed


@pytest.mark.parametrize("op", ["GRU", "RNN", "LSTM"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("layout", [0, 1])
def test_each_direction_and_layout(op, direction, layout):
    for lengths, state, bias in itertools.product([None, (5, 2), (0, 4)], [False, True], [False, True]):
        graph, feed = layer(op, direction=direction, layout=layout, lengths=lengths, state=state, bias=bias)
        check_planned(graph if op != "LSTM" else simplify(graph), feed)


@pytest.mark.parametrize("hidden", [1, 5, 16, 21, 40, 64, 67])
@pytest.mark.parametrize("linear", [0, 1])
def test_any_size(hidden, linear):
    for batch, time in ((1, 1), (1, 9), (3, 4), (20, 3), (1, 700)):
        check_planned(*layer("GRU", hidden, batch, time, linear_before_reset=linear), rtol=2e-5, atol=2e-6)
        check_planned(*layer("RNN", hidden, batch, time), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ALL)
def test_any_activation(name):
    more = {"activation_alpha": (0.7,), "activation_beta": (0.2,)}
    takes = {"Affine": 2, "HardSigmoid": 2, "ScaledTanh": 2, "Elu": 1, "LeakyRelu": 1, "ThresholdedRelu": 1}.get(
        name, 0
    )
    kept = dict(list(more.items())[:takes])
    check_planned(*layer("RNN", activations=(name,), **kept))
    for linear in (0, 1):
        check_planned(*layer("GRU", activations=("Sigmoid", name), linear_before_reset=linear, clip=0.9, **kept))
        check_planned(*layer("GRU", activations=(name, "Tanh"), linear_before_reset=linear, **kept))


@pytest.mark.parametrize("op", ["GRU", "RNN", "LSTM"])
def test_clip_and_functions_of_each_direction(op):
    names = {"GRU": ("HardSigmoid", "Relu"), "RNN": ("Relu",), "LSTM": ("HardSigmoid", "Relu", "Tanh")}[op]
    usual = {"GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh")}[op]
    graph, feed = layer(op, direction="bidirectional", activations=(*usual, *names), clip=0.3)
    check_planned(simplify(graph), feed)


@pytest.mark.parametrize("op", ["GRU", "RNN", "LSTM"])
def test_nothing_to_run(op):
    for batch, time in ((0, 3), (2, 0)):
        found = check_planned(simplify(layer(op, batch=batch, time=time)[0]), layer(op, batch=batch, time=time)[1])
        assert found[0].size == 0


@pytest.mark.parametrize("op", ["GRU", "RNN", "LSTM"])
@pytest.mark.parametrize("wanted", [0, 1])
def test_one_of_the_outputs(op, wanted):
    """What nobody reads is not made."""
    for direction, lengths in itertools.product(("forward", "bidirectional"), (None, (3, 5))):
        graph, feed = layer(op, direction=direction, lengths=lengths)
        graph = graph.replace(outputs=graph.outputs[wanted : wanted + 1])
        if wanted:
            one = graph.nodes[0]
            graph = graph.replace(nodes=(type(one)(one.op, one.inputs, ("", *one.outputs[1:]), one.attributes),))
        check_planned(simplify(graph), feed)


@pytest.mark.parametrize("op", ["GRU", "RNN", "LSTM"])
@pytest.mark.parametrize("lengths", [(6, 1), (-1, 2)])
def test_lengths_that_make_no_sense_are_told(op, lengths):
    graph, feed = layer(op, lengths=lengths)
    with pytest.raises(ValueError, match=f"{op} node .*: expected lengths from 0"):
        run_planned(simplify(graph), feed)


@pytest.mark.parametrize("op", ["GRU", "RNN", "LSTM"])
def test_weights_that_are_computed_are_refused(op):
    hidden = 4
    w, r, _ = weights(op, hidden)
    builder = Builder(x=(TIME, 1, FEATURES), w=w.shape)
    graph = builder.graph(builder(op, "x", builder("Neg", "w"), r))
    with pytest.raises(FormatError, match=f"{op} node .*: weights that are computed are not supported"):
        run_planned(simplify(graph), {"x": random(TIME, 1, FEATURES), "w": w})


@pytest.mark.parametrize("op", ["GRU", "RNN", "LSTM"])
@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_floats(op, kind):
    """Computed as float32."""
    graph, feed = layer(op, lengths=(5, 2))
    dtype = np.dtype(kind)
    inputs = [type(one)(one.name, dtype if one.dtype.kind == "f" else one.dtype, one.shape) for one in graph.inputs]
    constants = {
        name: value.astype(kind) if value.dtype.kind == "f" else value for name, value in graph.constants.items()
    }
    graph = graph.replace(inputs=tuple(inputs), constants=constants)
    feed = {name: value.astype(kind) if value.dtype.kind == "f" else value for name, value in feed.items()}
    check_planned(simplify(graph), feed, *((2e-3, 1e-3) if kind == np.float16 else (1e-5, 1e-6)))


def test_around_other_nodes():
    """Strides that views make, and outputs that are put together with others."""
    builder = Builder(x=(2, FEATURES, TIME))
    turned = builder("Transpose", "x", perm=(2, 0, 1))
    y, h = builder("GRU", turned, *weights("GRU", 7, 2), outputs=2, direction="bidirectional")
    flat = builder("Reshape", builder("Transpose", y, perm=(0, 2, 1, 3)), np.array([0, 0, -1]))
    again, last = builder("RNN", flat, *weights("RNN", 3, features=14), outputs=2)
    both = builder("Concat", flat, builder("Squeeze", again, np.array([1])), axis=2)
    turned_again = builder("Transpose", both, perm=(1, 2, 0))
    check_planned(builder.graph(turned_again, h, last), {"x": random(2, FEATURES, TIME)})


@pytest.mark.parametrize("op", ["GRU", "RNN"])
def test_the_same_bits_for_a_row_alone_and_on_every_instruction_set(op):
    before, found = _core.isa(), []
    for linear, name in itertools.product((0, 1) if op == "GRU" else (None,), (None, "Softsign")):
        more = {} if linear is None else {"linear_before_reset": linear}
        more |= {} if name is None else {"activations": ("Sigmoid", name)[-2 if op == "GRU" else -1 :]}
        found.clear()
        try:
            for isa in _core.available_isas():
                _core.use_isa(isa)
                if isa == "scalar":  # rounds products twice now and then
                    continue
                graph, feed = layer(op, 37, 9, 11, **more)
                y, h = run_planned(graph, feed)
                for row in range(9):
                    one, part = layer(op, 37, 1, 11, **more)
                    part = {"x": feed["x"][:, row : row + 1], "h": feed["h"][:, row : row + 1]}
                    alone = run_planned(one, part)
                    np.testing.assert_array_equal(alone[0], y[:, :, row : row + 1])
                    np.testing.assert_array_equal(alone[1], h[:, row : row + 1])
                found.append((y, h))
        finally:
            _core.use_isa(before)
        for other in found[1:]:
            np.testing.assert_array_equal(found[0][0], other[0])
            np.testing.assert_array_equal(found[0][1], other[1])


@pytest.mark.parametrize("op", ["GRU", "RNN"])
def test_as_torch_has_it(op):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = getattr(torch.nn, op)(FEATURES, 20, bidirectional=True)
    own = {name: value.detach().numpy() for name, value in module.named_parameters()}
    order = [1, 0, 2] if op == "GRU" else [0]  # r, z, n there
    turned = {name: np.concatenate([np.split(value, len(order))[k] for k in order]) for name, value in own.items()}

    def both(kind):
        return np.stack([turned[f"{kind}_l0"], turned[f"{kind}_l0_reverse"]])

    bias = np.concatenate([both("bias_ih"), both("bias_hh")], 1)
    builder = Builder(x=(6, 2, FEATURES), h=(2, 2, 20))
    more = {"linear_before_reset": 1} if op == "GRU" else {}
    outputs = builder(
        op, "x", both("weight_ih"), both("weight_hh"), bias, "", "h", outputs=2, direction="bidirectional", **more
    )
    x, h = random(6, 2, FEATURES), random(2, 2, 20, seed=1)
    y, last = run_planned(builder.graph(*outputs), {"x": x, "h": h})
    expected, expected_last = (one.detach().numpy() for one in module(torch.tensor(x), torch.tensor(h)))
    np.testing.assert_allclose(y.transpose(0, 2, 1, 3).reshape(6, 2, 40), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, expected_last, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["GRU", "RNN"])
def test_as_onnx_runtime_has_it(op):
    runtime = pytest.importorskip("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    for direction, linear, lengths in itertools.product(
        ("forward", "reverse", "bidirectional"), (0, 1), (None, (6, 3, 1))
    ):
        directions = 2 if direction == "bidirectional" else 1
        graph, feed = layer(
            op, 20, 3, 6, direction, lengths=lengths, **({"linear_before_reset": linear} if op == "GRU" else {})
        )
        names = ["x", "W", "R", "B", "" if lengths is None else "lengths", "h"]
        more = {"linear_before_reset": linear} if op == "GRU" else {}
        node = helper.make_node(op, names, ["y", "h_n"], hidden_size=20, direction=direction, **more)
        inputs = [
            helper.make_tensor_value_info(name, kinds.INT32 if name == "lengths" else kinds.FLOAT, value.shape)
            for name, value in feed.items()
        ]
        outputs = [
            helper.make_tensor_value_info("y", kinds.FLOAT, (6, directions, 3, 20)),
            helper.make_tensor_value_info("h_n", kinds.FLOAT, (directions, 3, 20)),
        ]
        constants = [
            onnx.numpy_helper.from_array(value, name) for name, value in zip("WRB", weights(op, 20, directions))
        ]
        model = helper.make_model(
            helper.make_graph([node], "g", inputs, outputs, constants),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        theirs = {name: value.astype(np.int32) if name == "lengths" else value for name, value in feed.items()}
        for found, expected in zip(run_planned(graph, feed), session.run(None, theirs)):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


def test_states_of_streams():
    """A sequence in two parts, the state carried over, is the sequence in one."""
    for op, more in (("GRU", {"linear_before_reset": 1}), ("GRU", {}), ("RNN", {}), ("LSTM", {})):
        count = 3 if op == "LSTM" else 2
        whole, feed = layer(op, 18, 2, 6, outputs=count, **more)
        wanted = run_planned(simplify(whole), feed)
        half = simplify(layer(op, 18, 2, 3, outputs=count, **more)[0])
        first = run_planned(half, {**feed, "x": feed["x"][:3]})
        then = run_planned(half, dict(zip(feed, (feed["x"][3:], *first[1:]))))
        np.testing.assert_array_equal(np.concatenate([first[0], then[0]]), wanted[0])
        for one, other in zip(then[1:], wanted[1:]):
            np.testing.assert_array_equal(one, other)


def test_evaluate_is_what_is_compared_with():
    """The check itself can fail."""
    graph, feed = layer("GRU")
    other = {name: value * 1.01 for name, value in feed.items()}
    assert not np.allclose(run_planned(graph, feed)[0], evaluate(graph, other)[graph.outputs[0].name], rtol=1e-5)
