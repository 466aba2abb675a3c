"""ONNX LSTMs that compute something else than the engine: each is refused by name."""

import numpy as np
import pytest
from onnx_models import TensorProto, check, helper, model, node, refused, saved, weights

import fusedlstm as fl


@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        ({"direction": "sideways"}, "direction: expected forward, reverse, bidirectional, found 'sideways'"),
        ({"direction": 1}, "direction: expected forward, reverse, bidirectional, found 1"),
        ({"clip": -3.0}, "clip: expected a number above 0, found -3.0"),
        ({"clip": 0.0}, "clip: expected a number above 0, found 0.0"),
        ({"clip": float("nan")}, "clip: expected a number above 0, found nan"),
        ({"clip": 3}, "clip: expected a number above 0, found 3"),
        ({"input_forget": 2}, "input_forget: expected 0 or 1, found 2"),
        ({"activations": ["Sigmoid", "Tanh", "Gelu"]}, "activations: expected Affine.*found 'Gelu'"),
        ({"activations": ["Sigmoid", "Tanh"]}, "activations: expected 3, three for each direction"),
        ({"activations": ["Sigmoid", "Tanh", "Tanh"] * 2}, "activations: expected 3, three for each direction"),
        ({"activations": 3}, "activations: expected 3"),
        ({"activation_alpha": [0.5]}, r"activation_alpha: expected as many as .* take, found 1 more"),
        ({"activation_beta": [0.5]}, "activation_beta: expected as many as .* take, found 1 more"),
        ({"activation_alpha": 0.5}, "activation_alpha: expected numbers, found 0.5"),
        (
            {"activations": ["Sigmoid", "Elu", "Tanh"], "activation_alpha": [float("inf")]},
            "activation elu: expected a finite alpha, found inf",
        ),
        (
            {"activations": ["ThresholdedRelu", "Tanh", "Tanh"]},
            "activation_alpha: expected a value for ThresholdedRelu",
        ),
        ({"activations": ["Affine", "Tanh", "Tanh"]}, "activation_alpha: expected a value for Affine"),
        (
            {"activations": ["Sigmoid", "ScaledTanh", "Tanh"], "activation_alpha": [0.5]},
            "activation_beta: expected a value for ScaledTanh",
        ),
        ({"layout": 2}, "layout: expected 0 or 1, found 2"),
        ({"layout": 1.0}, "layout: expected 0 or 1, found 1.0"),
        ({"hidden_size": 6}, "expected hidden_size = 5 as R has it, found 6"),
        ({"direction": "bidirectional"}, r"input R: expected floats of shape \(2, 20, 5\), found float32 \(1, 20, 5\)"),
        ({"surprise": 1}, "surprise: expected none such, found 1"),
    ],
)
def test_attributes(attributes, match, tmp_path):
    refused(model(**attributes), tmp_path, rf"LSTM node 'rnn': .*{match}")


def test_standard_attributes_spelled_out(tmp_path):
    w, r, b = weights(directions=2)
    acts = ["sigmoid", "TANH", "Tanh"] * 2
    check(model(w, r, b, direction="bidirectional", activations=acts, input_forget=0, layout=0), tmp_path)


@pytest.mark.parametrize(
    ("which", "shape", "match"),
    [
        ("W", (1, 16, 3), r"input W: expected floats of shape \(1, 20, 3\), found float32 \(1, 16, 3\)"),
        ("W", (20, 3), "input W"),
        ("W", (2, 20, 3), "input W"),
        ("W", (), "input W"),
        ("W", (1, 20, 0), "input size of 1 or more"),
        ("R", (1, 20, 4), "input R: expected floats of shape"),
        ("R", (1, 0, 0), "input W"),
        ("R", (), "input R"),
        ("B", (1, 20), r"input B: expected floats of shape \(1, 40\)"),
        ("B", (40,), "input B"),
    ],
)
def test_inconsistent_shapes(which, shape, match, tmp_path):
    refused(model(**{which.lower(): np.ones(shape, np.float32)}), tmp_path, match)


def test_integer_weights(tmp_path):
    refused(model(w=np.ones((1, 20, 3), np.int8)), tmp_path, "input W: expected floats of shape .*found int8")


def test_peepholes(tmp_path):
    p = np.zeros((1, 15), np.float32)
    assert check(model(tensors={"p": p}, inputs={"P": "p"}), tmp_path).plain
    refused(
        model(tensors={"p": p[:, :10]}, inputs={"P": "p"}), tmp_path, r"input P: expected floats of shape \(1, 15\)"
    )


@pytest.mark.parametrize("which", ["W", "R", "B", "P"])
def test_weights_that_are_not_constant(which, tmp_path):
    _, _, b = weights()
    free = {which: "free"}
    refused(model(b=b, inputs=free), tmp_path, rf"input {which}: expected a constant, found the graph's input 'free'")
    made = [node("Mul", ["free", "free"], "made")]
    refused(
        model(b=b, inputs={which: "made"}, nodes=made), tmp_path, rf"input {which}: .*found the graph's input 'free'"
    )
    made = [node("MatMul", ["free", "free"], "made")]
    refused(
        model(b=b, inputs={which: "made"}, nodes=made), tmp_path, rf"input {which}: .*output of MatMul node 'make_made'"
    )


def test_missing_weights(tmp_path):
    refused(model(inputs={"R": ""}), tmp_path, "expected inputs W and R, found X, W")
    refused(
        model(inputs={"W": "nowhere"}, tensors={"nowhere": None}).graph and _dangling(),
        tmp_path,
        "'nowhere': used, but",
    )


def _dangling():
    proto = model()
    proto.graph.node[0].input[1] = "nowhere"
    return proto


# -- initial states and lengths ---------------------------------------------------------------------------------------


def _state(kind):
    """Tensors, nodes and the name of an initial state."""
    ones, zeros = np.ones((1, 2, 5), np.float32), np.zeros((1, 2, 5), np.float32)
    runtime_shape = [
        node("Shape", ["x"], "xs"),
        node("Gather", ["xs", "one"], "b"),
        node("Concat", ["one", "b", "five"], "s", axis=0),
    ]
    shape = {"one": np.array([1], np.int64), "five": np.array([5], np.int64)}
    match kind:
        case "zeros":
            return {"h": zeros}, [], "h"
        case "zeros of the batch":
            return shape, [*runtime_shape, node("ConstantOfShape", ["s"], "h")], "h"
        case "zeros expanded to the batch":
            return (
                shape | {"z": zeros[:, :1]},
                [*runtime_shape, node("Expand", ["z", "s"], "e"), node("Identity", ["e"], "h")],
                "h",
            )
        case "input":
            return {}, [], "h"
        case "part of an input":
            return shape | {"i": np.array([0], np.int64)}, [node("Gather", ["hs", "i"], "h")], "h"
        case "computed from an input":
            return {"k": ones}, [node("Mul", ["other", "k"], "h")], "h"
        case "embedding of an input":
            return {"k": ones}, [node("Cast", ["id"], "i", to=7), node("Gather", ["k", "i"], "h")], "h"
        case "computed from constants":
            return {"z": zeros}, [node("CumSum", ["z"], "h")], "h"
        case "random":
            return {}, [node("RandomNormalLike", ["x"], "h")], "h"
    raise AssertionError(kind)


FINE = [
    *("zeros", "zeros of the batch", "zeros expanded to the batch", "input", "part of an input"),
    *("computed from an input", "embedding of an input"),
]
LEARNED = ["computed from constants", "random"]


@pytest.mark.parametrize("which", ["initial_h", "initial_c"])
@pytest.mark.parametrize("kind", FINE + LEARNED)
def test_initial_state(kind, which, tmp_path):
    tensors, nodes, name = _state(kind)
    proto = model(tensors=tensors, nodes=nodes, inputs={which: name})
    if kind in LEARNED:
        refused(proto, tmp_path, rf"input {which}: expected zeros, a constant or a state that the caller passes")
    elif kind.startswith("zeros"):
        check(proto, tmp_path)
    else:
        fl.LSTM.load(saved(proto, tmp_path))


def test_state_of_another_size(tmp_path):
    proto = model(tensors={"c": np.zeros((1, 2, 7), np.float32)}, inputs={"initial_c": "c"})
    refused(proto, tmp_path, r"initial_c: expected a last dimension of 5, the hidden size of R, found 7")


def test_lengths(tmp_path):
    proto = model(tensors={"n": np.array([6, 6], np.int32)}, inputs={"sequence_lens": "n"})
    refused(proto, tmp_path, r"sequence_lens: expected lengths that the caller passes, found \[6, 6\]")
    del proto.graph.input[:]
    proto.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, None, 3]))
    check(proto, tmp_path)


# -- other LSTMs ------------------------------------------------------------------------------------------------------


def test_no_lstm(tmp_path):
    proto = model()
    proto.graph.node[0].op_type = "GRU"
    refused(proto, tmp_path, "expected an LSTM, found none in this ONNX")


def test_quantized_operator(tmp_path):
    proto = model(lstm={"op_type": "DynamicQuantizeLSTM", "domain": "com.microsoft"})
    refused(proto, tmp_path, "com.microsoft.DynamicQuantizeLSTM node 'rnn': input W: expected 8-bit integers")
    proto = model(lstm={"op_type": "DynamicQuantizeLSTM"})
    refused(proto, tmp_path, "expected an LSTM, found none")
    refused(model(lstm={"domain": "my.own"}), tmp_path, "expected an LSTM, found none")


def test_inside_a_function(tmp_path):
    body = helper.make_node("LSTM", ["x", "W", "R"], ["y"], name="inner", hidden_size=5)
    opset = [helper.make_opsetid("", 20)]
    proto = model()
    proto.functions.append(helper.make_function("my.own", "F", ["x", "W", "R"], ["y"], [body], opset))
    refused(proto, tmp_path, "LSTM node 'inner': input W: expected a constant, found the graph's input 'W'", "inner")
    body.attribute[0].ref_attr_name = "size"
    proto.functions[0].CopyFrom(helper.make_function("my.own", "F", ["x", "W", "R"], ["y"], [body], opset))
    refused(proto, tmp_path, "attribute 'hidden_size' is of a kind that is not supported", "inner")


@pytest.mark.parametrize(
    "sizes, message",
    [
        ([node("Shape", [], "s")], "Shape node 'make_s': expected an input, found none"),
        ([node("Add", ["one", "one", "one"], "s")], "expected 2 inputs, found 3"),
        ([node("Where", ["one"], "s")], "expected 3 inputs, found 1"),
        (
            [node("Equal", ["one", "one"], "t"), node("Sub", ["t", "t"], "s")],
            "expected numbers that go together, found others",
        ),
        ([node("Gather", ["three", "three"], "s")], "expected indices into 3 elements along axis 0, found others"),
        ([node("Gather", ["three", "one"], "s", axis=4)], "expected one of 1 axes, found 4"),
        ([node("Split", ["three"], "s", axis=-2)], "expected one of 1 axes, found -2"),
        ([node("Reshape", ["three", "zeros"], "s")], "expected one of 1 axes, found 1"),
        ([node("Constant", [], "s", value_float="5")], "expected a number or a tensor, found value_float"),
        ([node("Constant", [], "s", value=5)], "tensor 's': expected a tensor, found int"),
        ([node("ConstantOfShape", ["three"], "s", value=5.0)], "tensor 's': expected a tensor, found float"),
    ],
)
def test_operators_that_are_not_given_what_they_take(tmp_path, sizes, message):
    one, three = np.array([1], np.int64), np.array([2, 1, 5], np.int64)
    tensors = {"h0": np.ones((1, 1, 5), np.float32), "one": one, "three": three, "zeros": 0 * three}
    tensors["s"] = None
    proto = model(tensors=tensors, nodes=[*sizes, node("Expand", ["h0", "s"], "h")], inputs={"initial_h": "h"})
    refused(proto, tmp_path, message)
