"""ONNX models, by hand and by PyTorch's exporters: the numbers of ONNX Runtime and PyTorch, or a refusal by name."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from onnx_models import (
    TensorProto,
    check,
    close,
    helper,
    model,
    node,
    onnx,
    random,
    runtime,
    saved,
    tensor,
    weights,
)

import fusedlstm as fl
from fusedlstm import formats

DATA = Path(__file__).parents[2] / "data"


@pytest.mark.parametrize(("features", "hidden"), [(3, 5), (13, 21), (1, 1), (16, 8)])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_matches_onnxruntime(features, hidden, directions, bias, tmp_path):
    w, r, b = weights(features, hidden, directions)
    proto = model(
        w,
        r,
        b if bias else None,
        inputs={"sequence_lens": "lengths", "initial_h": "h0", "initial_c": "c0"},
        hidden_size=hidden,
        direction="bidirectional" if directions == 2 else "forward",
    )
    lstm = fl.LSTM.load(saved(proto, tmp_path))
    assert (lstm.input_size, lstm.hidden_size, lstm.bidirectional) == (features, hidden, directions == 2)
    assert not lstm.batch_first
    x, h, c = random(9, 3, features), random(directions, 3, hidden, seed=2), random(directions, 3, hidden, seed=3)
    lengths = np.array([9, 4, 1], np.int32)
    close(lstm(x, (h, c), lengths=lengths), runtime(proto, x=x, lengths=lengths, h0=h, c0=c))


def test_layout_1_is_batch_first(tmp_path):
    w, r, b = weights()
    first = fl.LSTM.load(saved(model(w, r, b, layout=1), tmp_path))
    assert first.batch_first
    x = random(2, 6, 3)
    y, state = first(x)
    close((y.swapaxes(0, 1), state), runtime(model(w, r, b), x=x.swapaxes(0, 1)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "double"])
@pytest.mark.parametrize("raw", [True, False])
def test_types(dtype, raw, tmp_path):
    kind = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16, "double": TensorProto.DOUBLE}[dtype]
    arrays = weights()
    stored = [helper.make_tensor(name, kind, a.shape, a.ravel()) for name, a in zip("WRB", arrays, strict=True)]
    if raw:
        stored = [onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(one), one.name) for one in stored]
    assert all(one.HasField("raw_data") == raw for one in stored)
    lstm = fl.LSTM.load(saved(model(*stored), tmp_path))
    rounded = [onnx.numpy_helper.to_array(one).astype(np.float32) for one in stored]
    close(lstm(random(6, 2, 3)), runtime(model(*rounded), x=random(6, 2, 3)))


def _dequantized(**kwargs):
    rng = np.random.default_rng(3)
    integers, scale = rng.integers(-128, 128, (1, 20, 3), dtype=np.int8), np.float32(0.004)
    zero = np.int8(7)
    if "axis" in kwargs:
        scale, zero = rng.uniform(0.001, 0.005, 20).astype(np.float32), rng.integers(-9, 9, 20, dtype=np.int8)
    return {"q": integers, "s": scale, "z": zero}, [node("DequantizeLinear", ["q", "s", "z"], "W", **kwargs)]


def _folded(kind):
    """Tensors and nodes that make a W (1, 20, 3) in the way `kind` says."""
    w = weights()[0]
    ints = lambda *values: np.array(values, np.int64)  # noqa: E731
    match kind:
        case "identity of a Constant":
            made = helper.make_node("Constant", [], ["k"], value=tensor("k", w))
            return {}, [made, node("Identity", ["k"], "W")]
        case "transpose":
            return {"k": w.transpose(2, 0, 1).copy()}, [node("Transpose", ["k"], "W", perm=[1, 2, 0])]
        case "transpose and unsqueeze":
            return {"k": w[0].T.copy(), "a": ints(0)}, [
                node("Transpose", ["k"], "t"),
                node("Unsqueeze", ["t", "a"], "W"),
            ]
        case "reshape":
            return {"k": w.ravel(), "s": ints(1, -1, 3)}, [node("Reshape", ["k", "s"], "W")]
        case "reshape that keeps a size":
            return {"k": w.reshape(1, 4, 15), "s": ints(0, 20, 3)}, [node("Reshape", ["k", "s"], "W")]
        case "squeeze":
            return {"k": w[None, :, None], "a": ints(0, 2)}, [node("Squeeze", ["k", "a"], "W")]
        case "concat of slices":
            parts = [node("Slice", ["k", f"s{g}", f"e{g}", "a"], f"p{g}") for g in range(4)]
            bounds = {f"s{g}": ints(5 * g) for g in range(4)} | {f"e{g}": ints(5 * g + 5) for g in range(4)}
            bounds["e3"] = ints(2**62)
            return {"k": w, "a": ints(1), **bounds}, [*parts, node("Concat", ["p2", "p0", "p3", "p1"], "W", axis=1)]
        case "slices backwards":
            back = {"s": ints(-1, 0), "e": ints(-(2**62), 3), "a": ints(1, -1), "t": ints(-1, 1)}
            return {"k": w, **back}, [node("Slice", ["k", "s", "e", "a", "t"], "W")]
        case "split and concat":
            cut = helper.make_node("Split", ["k", "n"], ["p0", "p1", "p2"], axis=-2)
            return {"k": w, "n": ints(4, 6, 10)}, [cut, node("Concat", ["p2", "p0", "p1"], "W", axis=1)]
        case "split evenly":
            cut = helper.make_node("Split", ["k"], ["p0", "p1", "p2"], axis=1, num_outputs=3)
            return {"k": w}, [cut, node("Concat", ["p2", "p0", "p1"], "W", axis=1)]
        case "cast":
            return {"k": w.astype(np.float16)}, [node("Cast", ["k"], "W", to=TensorProto.FLOAT)]
        case "gather":
            order = np.roll(np.arange(20), 7).astype(np.int32) - 20
            return {"k": w, "i": order}, [node("Gather", ["k", "i"], "W", axis=1)]
        case "dequantize":
            return _dequantized()
        case "dequantize per axis":
            return _dequantized(axis=1)
    raise AssertionError(kind)


KINDS = [
    *(
        "identity of a Constant",
        "transpose",
        "transpose and unsqueeze",
        "reshape",
        "reshape that keeps a size",
        "squeeze",
    ),
    *("concat of slices", "slices backwards", "split and concat", "split evenly", "cast", "gather", "dequantize"),
    "dequantize per axis",
]


@pytest.mark.parametrize("kind", KINDS)
def test_folds_constants(kind, tmp_path):
    tensors, nodes = _folded(kind)
    check(model(tensors={"W": None, **tensors}, nodes=nodes), tmp_path)


@pytest.mark.parametrize("op", ["Unsqueeze", "Squeeze", "Slice", "Split", "Reshape"])
def test_old_operator_sets_keep_arguments_in_attributes(op, tmp_path):
    w = weights()[0]
    k, made = {
        "Unsqueeze": (w[0], [node(op, ["k"], "W", axes=[0])]),
        "Squeeze": (w[None], [node(op, ["k"], "W", axes=[0])]),
        "Slice": (np.tile(w, (1, 2, 1)), [node(op, ["k"], "W", starts=[20], ends=[40], axes=[1])]),
        "Split": (np.tile(w, (1, 2, 1)), [helper.make_node(op, ["k"], ["W", "rest"], axis=1, split=[20, 20])]),
        "Reshape": (w[0], [helper.make_node("Unsqueeze", ["k"], ["W"], axes=[0])]),
    }[op]
    check(model(tensors={"W": None, "k": k}, nodes=made, opset=9), tmp_path)


def test_names(tmp_path):
    w, r, _ = weights(5, 5)
    proto = model(tensors={"W2": w, "R2": r})
    proto.graph.node.append(helper.make_node("LSTM", ["x", "W2", "R2"], ["", "last"], hidden_size=5))
    path = saved(proto, tmp_path)
    assert list(formats.open(path).expect(fl.LSTMWeights)) == ["rnn", "last"]
    for name in ("rnn", "Y", "Y_h", "Y_c"):
        assert fl.LSTM.load(path, name).input_size == 3
    assert fl.LSTM.load(path, "last").input_size == 5
    with pytest.raises(fl.FormatError, match=r"model.onnx: expected one LSTM, found 2.*'rnn', 'last'"):
        fl.LSTM.load(path)
    with pytest.raises(fl.FormatError, match=r"called 'Y_x', found 'rnn', 'last'"):
        fl.LSTM.load(path, "Y_x")


def test_nodes_that_share_a_name_go_by_their_outputs(tmp_path):
    proto = model()
    proto.graph.node.append(helper.make_node("LSTM", ["x", "W", "R"], ["Z"], name="rnn", hidden_size=5))
    assert list(formats.open(saved(proto, tmp_path)).expect(fl.LSTMWeights)) == ["Y", "Z"]


@pytest.mark.parametrize("op", ["If", "Loop", "Scan"])
def test_inside_subgraphs(op, tmp_path):
    """The node is found, and sees the constants of the graph around it."""
    info = helper.make_tensor_value_info
    inner = helper.make_graph(
        [helper.make_node("LSTM", ["x", "Wt", "R"], ["Yi"], name="inner", hidden_size=5)],
        "body",
        [] if op == "If" else [info("x", TensorProto.FLOAT, None)],
        [info("Yi", TensorProto.FLOAT, None)],
    )
    w, r, _ = weights()
    outer = [node("Transpose", ["k"], "Wt", perm=[0, 2, 1])]
    if op == "If":
        other = helper.make_graph([node("Identity", ["Y"], "Yo")], "other", [], [info("Yo", TensorProto.FLOAT, None)])
        block = helper.make_node("If", ["yes"], ["out"], then_branch=inner, else_branch=other)
    else:
        block = helper.make_node(op, ["", "", "x"] if op == "Loop" else ["x"], ["out"], body=inner)
    proto = model(tensors={"k": w.transpose(0, 2, 1).copy(), "yes": np.array(True)}, nodes=outer)
    proto.graph.node.append(block)
    path = saved(proto, tmp_path)
    assert list(formats.open(path).expect(fl.LSTMWeights)) == ["rnn", "inner"]
    x = random(6, 2, 3)
    close(fl.LSTM.load(path, "inner")(x), runtime(model(w, r), x=x))


def test_initializers_that_are_inputs_too_are_constants(tmp_path):
    proto = model()
    proto.graph.input.extend(helper.make_tensor_value_info(one, TensorProto.FLOAT, None) for one in "WR")
    check(proto, tmp_path)


# -- what PyTorch exports ---------------------------------------------------------------------------------------------


def exported(module, x, **kwargs):
    torch = pytest.importorskip("torch")
    if kwargs["dynamo"]:
        pytest.importorskip("onnxscript")
        kwargs |= {"external_data": False, "verbose": False}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), tuple(map(torch.from_numpy, x)), file, **kwargs)
    return file.getvalue()


def chain(path, x, state=None):
    """A stack of layers: a node each, in the order of the file."""
    h_n, c_n = [], []
    for k, prefix in enumerate(formats.open(path).expect(fl.LSTMWeights)):
        lstm = fl.LSTM.load(path, prefix)
        d = 2 if lstm.bidirectional else 1
        x, (h, c) = lstm(x, None if state is None else tuple(s[k * d : k * d + d] for s in state))
        h_n.append(h)
        c_n.append(c)
    return x, (h_n, c_n)


EXPORTS = {
    "plain": ({}, {}),
    "two layers, both directions": ({"num_layers": 2, "bidirectional": True}, {}),
    "no bias": ({"bias": False, "bidirectional": True}, {}),
    "any batch": ({"num_layers": 2}, {"batch": True}),
    "state": ({"num_layers": 2, "bidirectional": True}, {"state": True}),
    "not folded": ({"num_layers": 2, "bidirectional": True}, {"do_constant_folding": False}),
}


@pytest.mark.parametrize(
    ("kind", "dynamo"),
    [(kind, False) for kind in EXPORTS]
    + [(kind, True) for kind in EXPORTS if kind != "not folded"],  # the old one's option
)
def test_matches_pytorch(kind, dynamo, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    options, how = EXPORTS[kind]
    module = torch.nn.LSTM(3, 5, **options)
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    x = [random(6, 2, 3)]
    state = (random(layers, 2, 5, seed=2), random(layers, 2, 5, seed=3)) if how.get("state") else None

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = module

        def forward(self, x, h=None, c=None):
            return self.rnn(x, None if h is None else (h, c))

    kwargs = {"dynamo": dynamo} | {key: value for key, value in how.items() if key == "do_constant_folding"}
    if how.get("batch"):
        kwargs |= (
            {"dynamic_shapes": ({1: torch.export.Dim("b")},)}
            if dynamo
            else {"input_names": ["x"], "dynamic_axes": {"x": {1: "b"}}}
        )
    path = saved(exported(Model(), [*x, *(state or ())], **kwargs), tmp_path)
    y, (h, c) = module(torch.from_numpy(x[0]), state and tuple(map(torch.from_numpy, state)))
    found, states = chain(path, x[0], state)
    close((found, map(np.concatenate, states)), (y.detach().numpy(), (h.detach().numpy(), c.detach().numpy())))


@pytest.mark.parametrize(("layers", "batch"), [(1, False), (1, True), (2, False)])
def test_projection_that_pytorch_drops_is_refused(layers, batch, tmp_path):
    """It writes a consistent LSTM of the wrong sizes: only the initial cell state gives it away."""
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 5, layers, proj_size=2)
    kwargs = {"dynamic_shapes": ({1: torch.export.Dim("b")},)} if batch else {}
    path = saved(exported(module, [random(6, 2, 3)], dynamo=True, **kwargs), tmp_path)
    for k, read in enumerate(formats.open(path).expect(fl.LSTMWeights).values()):
        with pytest.raises(
            fl.FormatError, match="do not fit" if k else "initial_c: .* dimension of 2.*found 5.*proj_size"
        ):
            read()


@pytest.mark.parametrize("name", ["onnx_torch", "onnx_torch_dynamo"])
def test_stored_pytorch_files(name):
    stored = np.load(DATA / "onnx_outputs.npz")
    y, states = chain(DATA / f"{name}.onnx", stored["x"])
    close((y, map(np.concatenate, states)), (stored["y"], (stored["h"], stored["c"])))


def test_stored_tf2onnx_file():
    stored = np.load(DATA / "onnx_tf2onnx_outputs.npz")
    y, _ = chain(DATA / "onnx_tf2onnx.onnx", stored["x"].swapaxes(0, 1))
    np.testing.assert_allclose(y.swapaxes(0, 1), stored["y"], rtol=0, atol=1e-5)
