"""Initial states through If, through element-wise operators; twins in branches; cells taken apart: ONNX Runtime's numbers."""

import os

import numpy as np
import pytest
from onnx_models import TensorProto, close, helper, model, node, numpy_helper, runtime, saved, weights

import fusedlstm as fl

onnx = pytest.importorskip("onnx")
X = np.random.default_rng(3).normal(size=(4, 2, 3)).astype(np.float32)
H, C = (np.random.default_rng(k).normal(size=(1, 2, 5)).astype(np.float32) for k in (4, 5))


def branch(name, nodes, tensors=()):
    made = [numpy_helper.from_array(np.asarray(array), key) for key, array in dict(tensors).items()]
    out = nodes[-1].output[0]
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)], made)


def choice(condition, output, then, otherwise):
    """An If of one output."""
    return helper.make_node("If", [condition], [output], then_branch=then, else_branch=otherwise, name=f"if_{output}")


def by_rank(output, state, rank=3):
    """As torch.jit.script's nn.LSTM asks for the rank of what it is given."""
    flat = branch(f"{output}_flat", [node("Unsqueeze", [state, "axis"], f"{output}_u")])
    whole = branch(f"{output}_whole", [node("Identity", [state], f"{output}_i")])
    shape = [node("Shape", ["x"], f"{output}_s"), node("Size", [f"{output}_s"], f"{output}_r")]
    same = node("Equal", [f"{output}_r", "two"], f"{output}_flat")
    return [*shape, same, choice(f"{output}_flat", output, flat, whole)]


NUMBERS = {"two": np.array(2, np.int64), "axis": np.array([0], np.int64), "yes": np.array(True), "no": np.array(False)}


def declared(proto, **shapes):
    """Inputs of these shapes, as ONNX Runtime wants them for If."""
    for one in proto.graph.input:
        if one.name in shapes:
            one.CopyFrom(helper.make_tensor_value_info(one.name, TensorProto.FLOAT, shapes[one.name]))
    return proto


def test_an_if_that_hands_on_the_callers_state(tmp_path):
    nodes = [*by_rank("h", "h0"), *by_rank("c", "c0")]
    proto = model(nodes=nodes, tensors=NUMBERS, inputs={"initial_h": "h", "initial_c": "c"})
    for name in ("h0", "c0"):  # only branches name them
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 5]))
    declared(proto, x=[None, 2, 3])
    lstm = fl.LSTM.load(saved(proto, tmp_path))
    assert lstm.weights.initial_state is None
    close(lstm(X, (H, C)), runtime(proto, x=X, h0=H, c0=C))


@pytest.mark.parametrize("taken", ["yes", "no"])
def test_an_if_whose_condition_is_constant(tmp_path, taken):
    """Only the branch that it takes counts: here a learned state, there the caller's."""
    learned = np.random.default_rng(6).normal(size=(1, 1, 5)).astype(np.float32)
    then = branch("then", [node("Expand", ["z", "s"], "e")], {"z": learned, "s": np.array([1, 2, 5], np.int64)})
    otherwise = branch("else", [node("Identity", ["h0"], "i")])
    proto = model(nodes=[choice(taken, "h", then, otherwise)], tensors=NUMBERS, inputs={"initial_h": "h"})
    proto.graph.input.append(helper.make_tensor_value_info("h0", TensorProto.FLOAT, [1, 2, 5]))
    lstm = fl.LSTM.load(saved(proto, tmp_path))
    if taken == "yes":
        np.testing.assert_array_equal(lstm.weights.initial_state[0][0], learned[0])
        close(lstm(X), runtime(proto, x=X, h0=H))
    else:
        assert lstm.weights.initial_state is None
        close(lstm(X, (H, 0 * C)), runtime(proto, x=X, h0=H))


def test_ifs_that_say_nothing_definite(tmp_path):
    learned = branch("then", [node("Identity", ["z"], "e")], {"z": H})
    zeros = branch("else", [node("Identity", ["n"], "i")], {"n": 0 * H})
    nodes = [node("Shape", ["x"], "xs"), node("Size", ["xs"], "xr"), node("Equal", ["xr", "two"], "flat")]
    proto = model(nodes=[*nodes, choice("flat", "h", learned, zeros)], tensors=NUMBERS, inputs={"initial_h": "h"})
    with pytest.raises(fl.FormatError, match="input initial_h: expected zeros, a constant or a state that the caller"):
        fl.LSTM.load(saved(proto, tmp_path))
    proto.graph.node[-2].attribute.pop()
    with pytest.raises(fl.FormatError, match="If node 'if_h': expected a condition and two branches of 1 outputs"):
        fl.LSTM.load(saved(proto, tmp_path))


# -- element-wise operators -------------------------------------------------------------------------------------------

UNARY = {
    **{
        op: {}
        for op in ("Abs", "Neg", "Exp", "Sqrt", "Tanh", "Sigmoid", "Relu", "Sin", "Cos", "Floor", "Ceil", "Round")
    },
    **{
        op: {}
        for op in ("Sign", "Reciprocal", "Erf", "Softplus", "Softsign", "Atan", "Sinh", "Log", "HardSwish", "Mish")
    },
    "Elu": {"alpha": 0.7},
    "LeakyRelu": {"alpha": 0.3},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "Selu": {},
    "Celu": {"alpha": 1.3},
    "ThresholdedRelu": {"alpha": 0.2},
    "Gelu": {"approximate": "tanh"},
}
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "PRelu")


def state_through(tmp_path, nodes, tensors):
    proto = model(nodes=nodes, tensors=tensors, inputs={"initial_h": "h"})
    lstm = fl.LSTM.load(saved(proto, tmp_path))
    assert lstm.weights.initial_state is not None
    found, expected = lstm(X), runtime(proto, x=X)
    close(found, expected)


@pytest.mark.parametrize("op", UNARY)
def test_unary(tmp_path, op):
    positive = op in ("Sqrt", "Log", "Reciprocal")
    values = np.random.default_rng(7).normal(size=(1, 1, 5)).astype(np.float32)
    values = np.abs(values) + 0.1 if positive else values
    expand = node("Expand", ["v", "s"], "h")
    nodes = [node(op, ["z"], "v", **UNARY[op]), expand]
    state_through(tmp_path, nodes, {"z": values, "s": np.array([1, 2, 5], np.int64)})


@pytest.mark.parametrize("op", BINARY)
def test_binary(tmp_path, op):
    rng = np.random.default_rng(8)
    a, b = rng.uniform(0.5, 2, (1, 1, 5)).astype(np.float32), rng.uniform(0.5, 2, (5,)).astype(np.float32)
    nodes = [node(op, ["a", "b"], "v"), node("Expand", ["v", "s"], "h")]
    state_through(tmp_path, nodes, {"a": a, "b": b, "s": np.array([1, 2, 5], np.int64)})


def test_choices_and_limits(tmp_path):
    rng = np.random.default_rng(9)
    a, b = (rng.normal(size=(1, 2, 5)).astype(np.float32) for _ in range(2))
    nodes = [
        node("Greater", ["a", "b"], "g"),
        node("Not", ["g"], "n"),
        node("Where", ["n", "a", "b"], "w"),
        node("Clip", ["w", "low", "high"], "k"),
        node("Mul", ["k", "ones"], "h"),
    ]
    same = np.broadcast_to(a[:, :1], a.shape), np.broadcast_to(b[:, :1], b.shape)
    tensors = {"a": same[0].copy(), "b": same[1].copy(), "low": np.float32(-0.5), "high": np.float32(0.7)}
    state_through(tmp_path, nodes, {**tensors, "ones": np.ones((1, 2, 5), np.float32)})


def test_weights_through_element_wise_operators(tmp_path):
    """As exporters leave weight norm and scales in the graph."""
    w, r, b = weights()
    nodes = [node("Mul", ["W0", "scale"], "W"), node("Sub", ["R0", "shift"], "R"), node("Add", ["B0", "B0"], "B")]
    tensors = {"W0": w, "R0": r, "B0": b, "scale": np.float32(0.5), "shift": np.float32(0.1), "W": None, "R": None}
    proto = model(b=b, nodes=nodes, tensors={**tensors, "B": None})
    close(fl.LSTM.load(saved(proto, tmp_path))(X), runtime(proto, x=X))


def test_operators_that_are_not_folded_are_named(tmp_path):
    proto = model(nodes=[node("CumSum", ["z", "axis"], "h")], tensors={"z": H, **NUMBERS}, inputs={"initial_h": "h"})
    with pytest.raises(fl.FormatError, match="found the output of CumSum node 'make_h', which is not folded"):
        fl.LSTM.load(saved(proto, tmp_path))
    old = [node("Mul", ["z", "z"], "h", broadcast=1)]  # of opset 6, whose broadcasting was another
    with pytest.raises(fl.FormatError, match="Mul node 'make_h': .*attribute broadcast: expected none such"):
        fl.LSTM.load(saved(model(nodes=old, tensors={"z": H}, inputs={"initial_h": "h"}), tmp_path))


# -- twins ------------------------------------------------------------------------------------------------------------


def twins(tmp_path, second_scale):
    """The same LSTM in both branches of an If, with the caller's state and without; or another one in the second."""
    w, r, _ = weights()
    graphs = []
    for which, scale in (("a", 1.0), ("b", second_scale)):
        lstm = helper.make_node(
            "LSTM", ["x", f"W{which}", f"R{which}"], [f"Y{which}"], name=f"lstm_{which}", hidden_size=5
        )
        graphs.append(branch(which, [lstm], {f"W{which}": w, f"R{which}": r * np.float32(scale)}))
    nodes = [node("Shape", ["x"], "xs"), node("Size", ["xs"], "xr"), node("Equal", ["xr", "two"], "flat")]
    graph = helper.make_graph(
        [*nodes, choice("flat", "Y", *graphs)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2, 3])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(NUMBERS["two"], "two")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return saved(proto, tmp_path)


def test_the_same_lstm_in_both_branches_is_one(tmp_path):
    path = twins(tmp_path, 1.0)
    assert list(fl.LSTM.load_all(path)) == ["lstm_a"]
    for name in (None, "lstm_a", "lstm_b", "Yb"):
        assert fl.LSTM.load(path, name).hidden_size == 5


def test_another_lstm_in_the_other_branch_is_another(tmp_path):
    assert list(fl.LSTM.load_all(twins(tmp_path, 2.0))) == ["lstm_a", "lstm_b"]


# -- no LSTM ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_other_operators_are_named(tmp_path, kind):
    proto = model()
    proto.graph.node[0].op_type = kind
    with pytest.raises(fl.FormatError, match=f"found none in this ONNX; it has {kind} operators"):
        fl.LSTM.load(saved(proto, tmp_path))


def test_cells_taken_apart_are_named(tmp_path):
    nodes = [node(op, ["x"], f"{op}{k}") for op, count in (("Sigmoid", 3), ("Tanh", 2)) for k in range(count)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, [1, 3])], [value("Tanh1", 1, [1, 3])])
    path = saved(helper.make_model(graph), tmp_path)
    with pytest.raises(
        fl.FormatError, match="it has no LSTM operator, but 3 Sigmoid and 2 Tanh, in which no LSTM was recognised"
    ):
        fl.LSTM.load(path)


SHARED = os.environ.get("FUSEDLSTM_MODELS", "")


@pytest.mark.skipif(not os.path.isdir(SHARED), reason="needs a folder of real models, named by FUSEDLSTM_MODELS")
def test_silero(tmp_path):
    """Two sampling rates, each with and without a state: two LSTMs."""
    found = fl.LSTM.load_all(os.path.join(SHARED, "silero_vad.onnx"))
    assert [(lstm.input_size, lstm.hidden_size) for lstm in found.values()] == [(128, 128)] * 2
    assert fl.LSTM.load(os.path.join(SHARED, "silero_vad_16k_op15.onnx")).hidden_size == 128
