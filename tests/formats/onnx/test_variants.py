"""ONNX LSTMs that are not plain: the numbers of ONNX Runtime, or of the oracle where the runtime refuses."""

import io
import warnings

import numpy as np
import pytest
from onnx_models import check, close, model, node, peepholes, random, refused, runtime, saved, tensor, weights
from run import run

import fusedlstm as fl
from fusedlstm import formats

OWN = {  # activations with parameters of their own
    "Affine": (0.7, 0.1),
    "Elu": (0.6,),
    "HardSigmoid": (0.3, 0.4),
    "LeakyRelu": (0.2,),
    "Relu": (),
    "ScaledTanh": (0.9, 0.8),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": (0.05,),
}
DEFAULTS = {"HardSigmoid": "hard_sigmoid", "LeakyRelu": "leaky_relu", "Elu": "elu"}


def parameters(names):
    """The attributes for a list of activations."""
    alpha = [OWN[name][0] for name in names if len(OWN[name]) > 0]
    beta = [OWN[name][1] for name in names if len(OWN[name]) > 1]
    given = {"activations": names, "activation_alpha": alpha, "activation_beta": beta}
    return {key: value for key, value in given.items() if value}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("role", [0, 1, 2])
@pytest.mark.parametrize("clip", [None, 0.2])
def test_activations(name, role, clip, tmp_path):
    names = ["Sigmoid", "Tanh", "Tanh"]
    names[role] = name
    check(model(*weights(), **parameters(names), **({"clip": clip} if clip else {})), tmp_path)


@pytest.mark.parametrize("name", DEFAULTS)
def test_activations_without_parameters(name, tmp_path):
    read = check(model(*weights(), activations=["Sigmoid", name, "Tanh"]), tmp_path)
    assert read.layers[0][0].cell.candidate.name == DEFAULTS[name]


def test_activations_of_each_direction(tmp_path):
    """The parameters are consumed in order, by those activations alone that take them."""
    names = ["HardSigmoid", "Tanh", "LeakyRelu", "Sigmoid", "Affine", "ScaledTanh"]
    read = check(model(*weights(directions=2), direction="bidirectional", **parameters(names)), tmp_path)
    forward, backward = (one.cell for one in read.layers[0])
    assert (forward.gate.alpha, forward.gate.beta, forward.output.alpha) == pytest.approx((0.3, 0.4, 0.2))
    assert (backward.candidate.alpha, backward.candidate.beta) == pytest.approx((0.7, 0.1))
    assert (backward.output.alpha, backward.output.beta) == pytest.approx((0.9, 0.8))
    fewer = parameters(names) | {"activation_alpha": [0.3, 0.2, 0.7, 0.9], "activations": [*names[:5], "Elu"]}
    check(model(*weights(directions=2), direction="bidirectional", **fewer | {"activation_beta": [0.4, 0.1]}), tmp_path)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("input_forget", [0, 1])
def test_peepholes_clip_and_input_forget(bias, direction, clip, input_forget, tmp_path):
    directions = 2 if direction == "bidirectional" else 1
    w, r, b = weights(directions=directions)
    p = peepholes(directions=directions)
    given = {"direction": direction, "input_forget": input_forget} | ({"clip": clip} if clip else {})
    check(model(w, r, b if bias else None, tensors={"p": p}, inputs={"P": "p"}, **given), tmp_path)


def test_peepholes_of_one_gate(tmp_path):
    p = peepholes()
    p[:, 5:] = 0
    read = check(model(*weights(), tensors={"p": p}, inputs={"P": "p"}), tmp_path)
    assert [name for name in read.layers[0][0].arrays if name.startswith("peep")] == ["peephole_i"]


def test_reverse_with_lengths(tmp_path):
    proto = model(*weights(), direction="reverse", inputs={"sequence_lens": "lengths"})
    x, lengths = random(6, 3, 3), np.array([2, 6, 1], np.int32)
    close(
        run(formats.open(saved(proto, tmp_path)).load(fl.LSTMWeights), x, lengths=lengths),
        runtime(proto, x=x, lengths=lengths),
    )


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_rows_of_length_0(direction, tmp_path):
    """The one result that we do not share with ONNX Runtime: it gives zeros as their last state, we the first state."""
    wired = {"sequence_lens": "lengths", "initial_h": "h0", "initial_c": "c0"}
    proto = model(*weights(), direction=direction, inputs=wired)
    x, state, lengths = random(6, 2, 3), (random(1, 2, 5, seed=2), random(1, 2, 5, seed=3)), np.array([0, 6], np.int32)
    y, states = run(formats.open(saved(proto, tmp_path)).load(fl.LSTMWeights), x, state, lengths)
    expected, last = runtime(proto, x=x, lengths=lengths, h0=state[0], c0=state[1])
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    for found, first, theirs in zip(states, state, last, strict=True):
        np.testing.assert_allclose(found[:, 1], theirs[:, 1], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(found[:, 0], first[:, 0])
        assert not theirs[:, 0].any()


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_layout_1(direction, tmp_path):
    """ONNX Runtime refuses layout 1, so the same model with its axes turned is the judge."""
    directions = 2 if direction == "bidirectional" else 1
    arrays, state = weights(directions=directions), random(directions, 1, 5, seed=3)
    given = {"direction": direction, "clip": 0.4, "input_forget": 1}
    read = []
    for layout in (0, 1):
        h = state.swapaxes(0, 1) if layout else state
        wired = {"tensors": {"h": h}, "inputs": {"initial_h": "h"}}
        read.append(formats.open(saved(model(*arrays, layout=layout, **wired, **given), tmp_path)).load(fl.LSTMWeights))
    x = random(6, 1, 3)
    y, state_n = run(read[1], x.swapaxes(0, 1))
    assert read[1].batch_first and not read[0].batch_first
    close((y.swapaxes(0, 1), state_n), run(read[0], x), atol=0)
    close(run(read[0], x), runtime(model(*arrays, **wired | {"tensors": {"h": state}}, **given), x=x))


# -- initial states that the model holds ------------------------------------------------------------------------------


def learned(kind, batch=2):
    """Tensors, nodes and the name of an initial state, and what it is (1, 5)."""
    row = random(1, 1, 5, seed=5)
    repeated = np.repeat(row, batch, axis=1)
    one, five, twice = (np.array([value], np.int64) for value in (1, 5, 2))
    sizes = [node("Shape", ["x"], "xs"), node("Gather", ["xs", "one"], "b")]
    shape = [*sizes, node("Concat", ["one", "b", "five"], "s", axis=0)]
    known = {"one": one, "five": five, "z": row}
    match kind:
        case "constant":
            return {"h": repeated}, [], row
        case "expanded":
            return known, [*shape, node("Expand", ["z", "s"], "h")], row
        case "expanded as PyTorch does":
            minus = node("Mul", ["ones", "negative"], "minus")
            same = [node("Equal", ["s", "minus"], "same"), node("Where", ["same", "ones", "s"], "t")]
            more = {"ones": np.ones(3, np.int64), "negative": np.array(-1, np.int64)}
            return known | more, [*shape, minus, *same, node("Expand", ["z", "t"], "h")], row
        case "sliced from a stack":
            stack = np.concatenate([row * 2, row, row * 3])
            cut = {"stack": stack, "from": one, "to": twice, "axis": np.array([0], np.int64)}
            three = {"three": np.array([3], np.int64)}
            size = [*sizes, node("Concat", ["three", "b", "five"], "s", axis=0), node("Expand", ["stack", "s"], "e")]
            return known | cut | three, [*size, node("Slice", ["e", "from", "to", "axis"], "h")], row
        case "tiled":
            return known, [*sizes, node("Concat", ["one", "b", "one"], "s", axis=0), node("Tile", ["z", "s"], "h")], row
        case "filled":
            fill = tensor("", np.array([0.5], np.float32))
            return known, [*shape, node("ConstantOfShape", ["s"], "h", value=fill)], np.full((1, 1, 5), 0.5)
        case "beside zeros":
            return (
                {"a": repeated[:, :, :2], "k": np.zeros((1, batch, 3), np.float32)},
                [node("Concat", ["k", "a"], "h", axis=2)],
                np.concatenate([np.zeros((1, 1, 3)), row[:, :, :2]], 2),
            )
        case "of a transposed input":
            turn = [node("Transpose", ["x"], "xt", perm=[1, 0, 2]), node("Shape", ["xt"], "xs")]
            pick = node("Gather", ["xs", "nought"], "b")
            join = node("Concat", ["one", "b", "five"], "s", axis=0)
            return (
                known | {"nought": np.array([0], np.int64), "z": repeated},  # which fits no other size
                [*turn, pick, join, node("Expand", ["z", "s"], "h")],
                row,
            )
    raise AssertionError(kind)


KINDS = [
    *("constant", "expanded", "expanded as PyTorch does", "sliced from a stack", "tiled", "filled", "beside zeros"),
    "of a transposed input",
]


def declare(proto, *sizes):
    """Say the rank of x, as every exporter does."""
    from onnx import TensorProto, helper

    kept = [one for one in proto.graph.input if one.name != "x"]
    del proto.graph.input[:]
    proto.graph.input.extend([helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes), *kept])
    return proto


@pytest.mark.parametrize("which", ["initial_h", "initial_c"])
@pytest.mark.parametrize("kind", KINDS)
def test_learned_state(kind, which, tmp_path):
    tensors, nodes, row = learned(kind)
    sizes = (2 if "transposed" in kind else "batch", 3)
    proto = declare(model(*weights(), tensors=tensors, nodes=nodes, inputs={which: "h"}), "time", *sizes)
    read = check(proto, tmp_path)
    states = [part[0] for part in read.initial_state]
    if which == "initial_c":
        states.reverse()
    np.testing.assert_array_equal(states[0], row[:, 0].astype(np.float32))
    assert not states[1].any()


def test_both_learned_and_both_directions(tmp_path):
    row = random(2, 1, 5, seed=5)
    tensors = {"h": np.repeat(row, 2, 1), "c": np.repeat(row, 2, 1) * 0.5}
    wired = {"tensors": tensors, "inputs": {"initial_h": "h", "initial_c": "c"}, "direction": "bidirectional"}
    check(model(*weights(directions=2), **wired), tmp_path)


def test_states_that_differ_from_row_to_row(tmp_path):
    proto = model(*weights(), tensors={"h": random(1, 2, 5)}, inputs={"initial_h": "h"})
    refused(proto, tmp_path, "input initial_h: expected one state for every row of the batch, found rows that differ")


def test_state_that_depends_on_the_batch(tmp_path):
    tensors, nodes, _ = learned("expanded")
    nodes = [*nodes[:-1], node("Cast", ["s"], "f", to=1), node("Expand", ["f", "grow"], "h")]
    tensors["grow"] = np.array([1, 2, 3], np.int64)
    proto = declare(model(tensors=tensors, nodes=nodes, inputs={"initial_h": "h"}, w=_small(3), r=_small(3)), 6, "b", 3)
    proto.graph.node[-1].attribute[0].i = 3
    refused(proto, tmp_path, "expected one state for every row of the batch, found rows that differ")


def _small(columns):
    return random(1, 12, columns)


@pytest.mark.parametrize(("h", "c"), [("k", "free"), ("free", "k")])
def test_half_a_state_of_the_model(h, c, tmp_path):
    proto = model(tensors={"k": np.ones((1, 2, 5), np.float32)}, inputs={"initial_h": h, "initial_c": c})
    refused(proto, tmp_path, "initial_h, initial_c: expected both from the caller or both from the model")


@pytest.mark.parametrize("shape", [(1, 2, 4, 5), (2, 2, 5), (5,)])
def test_learned_states_of_another_shape(shape, tmp_path):
    proto = model(tensors={"k": np.ones(shape, np.float32)}, inputs={"initial_h": "k"})
    refused(proto, tmp_path, r"input initial_h: expected floats of shape \(1, batch, 5\)")


def test_huge_states(tmp_path):
    huge = {"s": np.array([1, 2**40, 5], np.int64), "z": np.ones((1, 1, 5), np.float32)}
    for op in (node("Expand", ["z", "s"], "h"), node("Tile", ["z", "s"], "h")):
        refused(
            model(tensors=huge, nodes=[op], inputs={"initial_h": "h"}), tmp_path, "of a size that the file justifies"
        )
    fill = node("ConstantOfShape", ["s"], "h", value=tensor("", np.ones(1, np.float32)))
    refused(model(tensors=huge, nodes=[fill], inputs={"initial_h": "h"}), tmp_path, "of a size that the file justifies")


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_learned_state_as_pytorch_exports_it(dynamo, batch_first, bidirectional, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.LSTM(3, 5, bidirectional=bidirectional, batch_first=batch_first)
            directions = 2 if bidirectional else 1
            self.h0 = torch.nn.Parameter(torch.randn(directions, 1, 5))
            self.c0 = torch.nn.Parameter(torch.randn(directions, 1, 5))

        def forward(self, x):
            batch = x.shape[0 if batch_first else 1]
            return self.rnn(x, (self.h0.expand(-1, batch, -1).contiguous(), self.c0.repeat(1, batch, 1)))

    module, x = Model().eval(), torch.from_numpy(random(4, 6, 3))
    how = (
        {"dynamo": True, "external_data": False, "verbose": False}  # it fixes the batch wherever a state is given
        if dynamo
        else {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": [0, 1]}}
    )
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), file, **how)
    read = formats.open(saved(file.getvalue(), tmp_path)).load(fl.LSTMWeights)
    y, states = module(x)
    x = x.numpy().swapaxes(0, 1) if batch_first else x.numpy()
    found, found_states = run(read, x)
    expected = y.detach().numpy()
    close(
        (found, found_states),
        (expected.swapaxes(0, 1) if batch_first else expected, [one.detach().numpy() for one in states]),
    )
