"""Whole models on the command line: info, profile, run --input."""

import json

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from test_cli import invoke

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture
def path(tmp_path):
    """A dense layer on a batch of any size, as many times as another input says."""
    weights = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["product"], name="dense"),
        helper.make_node("Cast", ["times"], ["factor"], to=FLOAT),
        helper.make_node("Mul", ["product", "factor"], ["y"], name="scale"),
        helper.make_node("Relu", ["product"], ["positive"], name="relu"),
    ]
    inputs = [("x", FLOAT, ["batch", 3]), ("times", INT64, [])]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(name, FLOAT, ["batch", 4]) for name in ("y", "positive")],
        [numpy_helper.from_array(weights, "weights")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    return tmp_path / "a.onnx"


def test_info_shows_the_model(path):
    text = invoke("info", path)
    assert "4 nodes" in text
    assert "12 parameters" in text
    assert "input  x: f32[?, 3]" in text
    assert "output  positive: f32[?, 4]" in text
    assert "%y" not in text
    assert "%y" in invoke("info", "-v", path)
    about = json.loads(invoke("info", "--json", path))["model"]
    assert about["inputs"][0] == {"name": "x", "dtype": "float32", "shape": [None, 3]}
    assert about["parameters"] == 12


def test_info_says_why_a_model_is_refused(tmp_path):
    node = helper.make_node("RandomNormal", [], ["y"], shape=[2], name="dice")
    graph = helper.make_graph([node], "test", [], [helper.make_tensor_value_info("y", FLOAT, [2])])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    text = invoke("info", tmp_path / "a.onnx")
    assert "refused as a whole model" in text
    assert "dice" in text


def test_run_writes_the_outputs(path, tmp_path):
    x = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    feed = ("--input", f"x={tmp_path / 'x.npy'}", "--input", "times=3")
    text = invoke("run", path, *feed, "-o", tmp_path / "out.npz")
    assert "y: f32[5, 4]" in text
    wanted = onnxruntime.InferenceSession(path).run(None, {"x": x, "times": np.array(3)})
    with np.load(tmp_path / "out.npz") as found:
        for name, one in zip(("y", "positive"), wanted):
            np.testing.assert_allclose(found[name], one, rtol=1e-6, atol=1e-6)
    assert "out.npy: expected a name that ends with .npz" in invoke(
        "run", path, *feed, "-o", tmp_path / "out.npy", code=1
    )


def test_profile_shows_nodes_of_the_file(path):
    for more in ((), ("--input", "x=[7,3]", "--runs", "3"), ("--input", "times=2")):
        text = invoke("profile", path, *more)
        assert "µs a call" in text
        assert "dense" in text
        assert "scale" in text
    assert "x f32[7, 3]" in invoke("profile", path, "--input", "x=[7,3]")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("profile", "--input", "z=3"), "--input z: expected one of x, times"),
        (("profile", "--input", "x=[7,"), "expected a shape such as"),
        (("profile", "--input", "x=[7,4]"), "input 'x': expected an array (?, 3) of float32, found shape (7, 4)"),
        (("profile", "--input", "x=nowhere.npy"), "nowhere.npy: No such file"),
        (("run", "-o", "out.npz", "--input", "times=3"), "input 'x': expected an array"),
        (("run", "-o", "out.npz", "--input", "x=[7,3]", "--input", "times=3"), "[7,3]: No such file"),
        (("run", "-o", "out.npz", "x.npy", "--input", "times=3"), "expected a whole model's inputs alone"),
        (("run", "-o", "out.npz"), "expected IN.npy for an LSTM, or --input NAME=VALUE"),
    ],
)
def test_mistakes_are_told_in_a_line(path, arguments, words):
    command, *rest = arguments
    assert words in invoke(command, path, *rest, code=1)


def test_inputs_without_a_value(path):
    assert "expected NAME=VALUE" in invoke("profile", path, "--input", "x", code=2)
    assert "found it twice" in invoke("profile", path, "--input", "times=1", "--input", "times=2", code=2)
