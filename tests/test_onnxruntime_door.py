"""fusedlstm.onnxruntime: sessions of ONNX Runtime's with our operator, against the same sessions without it."""

import threading

import numpy as np
import pytest

import fusedlstm as fl

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import fusedlstm.onnxruntime as door  # noqa: E402

F, I32 = TensorProto.FLOAT, TensorProto.INT32


def draw(rng, *shape):
    return (rng.uniform(-1, 1, shape) / np.sqrt(shape[-1])).astype(np.float32)


def file_of(path, nodes, inputs, outputs, constants, graph_inputs=(), opset=17):
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (*inputs, *graph_inputs)]
    made = [helper.make_tensor_value_info(name, F, None) for name in outputs]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", infos, made, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def session(path, ours=False):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if ours:
        options.register_custom_ops_library(door.library())
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def random_lstm(seed, path):
    """An LSTM with whichever inputs and outputs: its file, and a function that draws a feed."""
    rng = np.random.default_rng(seed)
    inputs, hidden = int(rng.integers(1, 40)), int(rng.integers(1, 40))
    direction = ("forward", "reverse", "bidirectional")[seed % 3]
    count = 2 if direction == "bidirectional" else 1
    constants = {"w": draw(rng, count, 4 * hidden, inputs), "r": draw(rng, count, 4 * hidden, hidden)}
    with_bias, with_lengths, with_h, with_c = rng.random(4) < 0.5
    if with_bias:
        constants["b"] = draw(rng, count, 8 * hidden)
    names = [
        "x",
        "w",
        "r",
        "b" if with_bias else "",
        "lengths" if with_lengths else "",
        "h" if with_h else "",
        "c" if with_c else "",
    ]
    outputs = [name if wanted else "" for name, wanted in zip(("y", "y_h", "y_c"), rng.random(3) < 0.7)]
    outputs = outputs if any(outputs) else ["y", "", ""]
    more = {"activations": ["Sigmoid", "Tanh", "Tanh"] * count} if seed % 2 else {}
    node = helper.make_node("LSTM", names, outputs, name="rnn", hidden_size=hidden, direction=direction, **more)
    infos = [("x", F, ["t", "n", inputs])]
    infos += [("lengths", I32, ["n"])] if with_lengths else []
    infos += [(name, F, [count, "n", hidden]) for name, there in (("h", with_h), ("c", with_c)) if there]
    file_of(path, [node], infos, [name for name in outputs if name], constants)

    def feed():
        time, batch = int(rng.integers(1, 9)), int(rng.integers(1, 6))
        found = {"x": rng.standard_normal((time, batch, inputs)).astype(np.float32)}
        if with_lengths:
            found["lengths"] = rng.integers(1, time + 1, batch).astype(np.int32)
        for name, there in (("h", with_h), ("c", with_c)):
            if there:
                found[name] = rng.standard_normal((count, batch, hidden)).astype(np.float32)
        return found

    return feed


@pytest.mark.parametrize("seed", range(24))
def test_random_lstms_are_theirs(tmp_path, seed):
    feed = random_lstm(seed, tmp_path / "a.onnx")
    assert door.rewrite(tmp_path / "a.onnx", tmp_path / "b.onnx") == door.Rewritten(["rnn"], {})
    (node,) = onnx.load(tmp_path / "b.onnx").graph.node
    assert (node.op_type, node.domain) == ("LSTM", "fusedlstm")
    theirs, ours = session(tmp_path / "a.onnx"), session(tmp_path / "b.onnx", True)
    for _ in range(3):
        given = feed()
        for expected, found in zip(theirs.run(None, given), ours.run(None, given), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_a_whole_model_has_our_bits(tmp_path):
    """Embedding, LSTM, dense: nodes around ours run as before, and y is that of LSTM."""
    rng = np.random.default_rng(0)
    constants = {
        "table": draw(rng, 100, 24),
        "w": draw(rng, 1, 128, 24),
        "r": draw(rng, 1, 128, 32),
        "b": draw(rng, 1, 256),
    }
    constants |= {"head": draw(rng, 32, 5), "one": np.array([1])}
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "ids"], ["x"]),
        node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=32),
        node("Squeeze", ["y", "one"], ["flat"]),
        node("MatMul", ["flat", "head"], ["out"]),
    ]
    path = file_of(tmp_path / "a.onnx", nodes, [("ids", TensorProto.INT64, ["t", "n"])], ["out", "flat"], constants)
    assert door.rewrite(path, tmp_path / "b.onnx").replaced == ["y"]
    ids = rng.integers(0, 100, (12, 3))
    theirs, (out, flat) = (
        session(path).run(None, {"ids": ids}),
        session(tmp_path / "b.onnx", True).run(None, {"ids": ids}),
    )
    np.testing.assert_allclose(out, theirs[0], rtol=0, atol=2e-6)
    lstm = fl.LSTM.load(path)
    y, _ = lstm(constants["table"][ids] if not lstm.batch_first else constants["table"][ids].swapaxes(0, 1))
    np.testing.assert_array_equal(flat, y if not lstm.batch_first else y.swapaxes(0, 1))


def left(tmp_path, inputs=("x", "w", "r", "b"), graph_inputs=(), constants=(), **attributes):
    rng = np.random.default_rng(0)
    all_constants = {"w": draw(rng, 1, 16, 3), "r": draw(rng, 1, 16, 4), "b": draw(rng, 1, 32), **dict(constants)}
    node = helper.make_node("LSTM", list(inputs), ["y"], name="rnn", **{"hidden_size": 4, **attributes})
    path = file_of(tmp_path / "a.onnx", [node], [("x", F, ["t", "n", 3])], ["y"], all_constants, graph_inputs)
    done = door.rewrite(path, tmp_path / "b.onnx")
    assert done.replaced == [] and onnx.load(tmp_path / "b.onnx").graph.node[0].domain == ""
    return done.left["rnn"]


def test_what_is_not_ours_is_left_and_named(tmp_path):
    assert left(tmp_path, activations=["Relu", "Tanh", "Tanh"]) == "activations=['Relu', 'Tanh', 'Tanh']"
    assert left(tmp_path, clip=3.0) == "clip=3.0"
    assert left(tmp_path, input_forget=1) == "input_forget=1"
    assert left(tmp_path, layout=1) == "layout=1"
    peepholes = [("p", np.zeros((1, 12), np.float32))]
    assert left(tmp_path, ("x", "w", "r", "b", "", "", "", "p"), constants=peepholes) == "peepholes (P)"
    assert left(tmp_path, graph_inputs=[("r", F, [1, 16, 4])]) == "R is no constant"  # a caller may give another one
    assert left(tmp_path, constants=[("w", np.zeros((1, 16, 3)))]) == "W is of DOUBLE, not FLOAT"
    for name, shape in (("w", (16, 3)), ("w", (1, 0, 3)), ("r", (1, 16, 5)), ("r", (2, 16, 4)), ("b", (1, 16))):
        why = left(tmp_path, constants=[(name, np.zeros(shape, np.float32))])
        assert why.startswith(f"{name.upper()}: expected shape") and why.endswith(f"found {shape}")
    assert left(tmp_path, hidden_size=8) == "W: expected shape (1, 32, 3), found (1, 16, 3)"


def test_lstms_in_bodies_are_left_and_named(tmp_path):
    rng = np.random.default_rng(0)
    constants = {"w": draw(rng, 1, 16, 3), "r": draw(rng, 1, 16, 4)}
    inner = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="rnn", hidden_size=4)
    body = helper.make_graph([inner], "body", [], [helper.make_tensor_value_info("y", F, None)])
    node = helper.make_node("If", ["yes"], ["out"], name="choice", then_branch=body, else_branch=body)
    inputs = [("x", F, ["t", "n", 3]), ("yes", TensorProto.BOOL, [])]
    path = file_of(tmp_path / "a.onnx", [node], inputs, ["out"], constants)
    assert door.rewrite(path, tmp_path / "b.onnx") == door.Rewritten([], {"rnn": "it is in the body of If choice"})


def test_bad_input_is_an_error_and_loses_nothing(tmp_path):
    rng = np.random.default_rng(0)
    constants = {"w": draw(rng, 1, 16, 3), "r": draw(rng, 1, 16, 4), "b": draw(rng, 1, 32)}
    node = helper.make_node("LSTM", ["x", "w", "r", "b", "n", "h"], ["y"], hidden_size=4)
    inputs = [("x", F, None), ("n", I32, None), ("h", F, None)]
    path = file_of(tmp_path / "a.onnx", [node], inputs, ["y"], constants)
    door.rewrite(path, tmp_path / "b.onnx")
    ours = session(tmp_path / "b.onnx", True)
    x, n, h = np.zeros((5, 2, 3), np.float32), np.array([5, 2], np.int32), np.zeros((1, 2, 4), np.float32)
    right = ours.run(None, {"x": x, "n": n, "h": h})[0]
    for bad in ({"x": x[..., :2]}, {"x": x[0]}, {"n": n[:1]}, {"n": n + 1}, {"n": n - 3}, {"h": h[:, :1]}):
        with pytest.raises(Exception, match="fusedlstm::LSTM: expected"):
            ours.run(None, {"x": x, "n": n, "h": h, **bad})
    np.testing.assert_array_equal(ours.run(None, {"x": x, "n": n, "h": h})[0], right)
    empty = ours.run(None, {"x": x[:, :0], "n": n[:0], "h": h[:, :0]})[0]
    assert empty.shape == (5, 1, 0, 4)


def test_sessions_come_and_go_and_run_on_many_threads(tmp_path):
    feed = random_lstm(1, tmp_path / "a.onnx")
    door.rewrite(tmp_path / "a.onnx", tmp_path / "b.onnx")
    given = feed()
    expected = session(tmp_path / "b.onnx", True).run(None, given)  # the session is gone by the next line
    ours, wrong = session(tmp_path / "b.onnx", True), []

    def work():
        for _ in range(50):
            if any((a != b).any() for a, b in zip(expected, ours.run(None, given), strict=True)):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
