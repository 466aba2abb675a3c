"""Whole models on the command line: info, profile, run --input."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper, save
from test_cli import invoke

import fusedlstm as fl
from fusedlstm.cli import cli

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
        (("profile", "--input", "x=[7,4]"), "made up times as i64[]: --input says what it is"),
        (("check", "--dtype", "int8", "--input", "x=[7,4]"), "made up times as i64[]: --input says what it is"),
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


def small(path, nodes, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_an_equals_sign_in_names_and_paths(path, tmp_path):
    folder = tmp_path / "run=3"
    folder.mkdir()
    np.save(folder / "x.npy", np.ones((2, 3), np.float32))
    invoke("run", path, "--input", f"x={folder / 'x.npy'}", "--input", "times=1", "-o", tmp_path / "out.npz")
    odd = small(tmp_path / "b.onnx", [helper.make_node("Neg", ["x=y"], ["z"])], [("x=y", FLOAT, [2])], ["z"])
    assert "x=y f32[2]" in invoke("profile", odd, "--input", "x=y=[2]", "--runs", "1")


def test_outputs_with_names_that_mean_something_elsewhere(tmp_path):
    names = ["file", "allow_pickle", "../up", "line\n\x1b[31mred", "self"]
    nodes = [helper.make_node("Neg", ["runs"], [name]) for name in names]
    model = small(tmp_path / "b.onnx", nodes, [("runs", FLOAT, [2])], names)
    np.save(tmp_path / "x.npy", np.ones(2, np.float32))
    text = invoke("run", model, "--input", f"runs={tmp_path / 'x.npy'}", "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        assert sorted(found.files) == sorted(names)
        assert all(np.array_equal(found[name], [-1, -1]) for name in names)
    for shown in (text, invoke("info", "-v", model), invoke("profile", model, "--runs", "1")):
        assert "\\x1b[31mred" in shown
        assert "\x1b" not in shown


def test_names_that_move_the_cursor(tmp_path):
    """In whatever is said of a file: inputs, outputs, nodes, and what is refused."""
    bad = "a\x1b[31mb\x07\n\x9b"
    weights = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.ones((3, 4), np.float32)))
    nodes = [weights, helper.make_node("MatMul", [bad, "w"], ["z" + bad], name=bad)]
    model = small(tmp_path / "b.onnx", nodes, [(bad, FLOAT, [2, 3])], ["z" + bad])
    dice = helper.make_node("RandomNormal", [], ["y"], shape=[2], name=bad)
    other = small(tmp_path / "c.onnx", [dice], [], ["y"])
    low = tmp_path / "low.safetensors"
    for code, arguments in (
        (1, ("run", model, "--input", "x=3", "-o", tmp_path / "out.npz")),
        (1, ("profile", model, "--input", "x=3")),
        (1, ("check", model, "--dtype", "int8", "--keep", "none")),
        (0, ("check", model, "--dtype", "int8", "--keep", "a*")),
        (0, ("convert", model, low, "--whole", "--dtype", "int8")),
        (0, ("info", "-v", model)),
        (0, ("info", other)),
        (1, ("profile", other)),
    ):
        text = invoke(*arguments, code=code)
        assert "\\x1b[31m" in text, arguments
        assert not {"\x1b", "\x07", "\x9b"} & set(text), arguments


@pytest.mark.parametrize("name", ["a\0b", "\0", "q" * 70_000, "é" * 33_000])
def test_outputs_with_names_that_no_archive_holds(tmp_path, name):
    nodes = [helper.make_node("Neg", ["x"], [one]) for one in (name, "a")]
    model = small(tmp_path / "b.onnx", nodes, [("x", FLOAT, [])], [name, "a"])
    text = invoke("run", model, "--input", "x=1", "-o", tmp_path / "out.npz", code=1)
    assert "expected a name for" in text and "of 65,535 bytes and no NUL" in text and len(text) < 400
    assert not (tmp_path / "out.npz").exists()
    fits = small(
        tmp_path / "c.onnx", [helper.make_node("Neg", ["x"], ["q" * 65_531])], [("x", FLOAT, [])], ["q" * 65_531]
    )
    invoke("run", fits, "--input", "x=1", "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        assert found.files == ["q" * 65_531]


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (TensorProto.UINT8, "300", "--input x: expected uint8, found 300"),
        (INT64, "9" * 30, "--input x: expected int64, found 9"),
        (TensorProto.BOOL, "2", "2: No such file"),
        (TensorProto.BOOL, "true", ""),
    ],
)
def test_numbers_that_do_not_fit(tmp_path, kind, value, words):
    model = small(tmp_path / "b.onnx", [helper.make_node("Cast", ["x"], ["y"], to=FLOAT)], [("x", kind, [])], ["y"])
    arguments = ("run", model, "--input", f"x={value}", "-o", tmp_path / "out.npz")
    assert words in invoke(*arguments, code=1 if words else 0)


def test_convert_writes_whole_models(path, tmp_path):
    out = tmp_path / "a.safetensors"
    text = invoke("convert", path, out, "--whole")
    assert "Model(x: float32[?, 3], times: int64[] -> y: float32[?, 4], positive: float32[?, 4]), 12 parameters" in text
    x = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    for found, wanted in zip(fl.Model.load(out)(x, 3), fl.Model.load(path)(x, 3)):
        np.testing.assert_array_equal(found, wanted)
    assert "12 parameters" in invoke("info", out)
    assert "expected another file" in invoke("convert", out, out, "--whole", code=1)
    assert "--force" in invoke("convert", path, out, "--whole", code=1)
    assert "expected no --prefix" in invoke("convert", path, out, "--whole", "--prefix", "a", code=1)
    text = invoke("convert", path, out, "--whole", "--dtype", "int8", "--products", "int8", "--force")
    assert "positive: float32[?, 4], dtype=int8 by int8), 12 parameters" in text
    assert fl.Model.load(out).dtype == "int8"
    assert "12 parameters, int8 by int8 weights\n" in invoke("info", out)
    about = json.loads(invoke("info", "--json", out))["model"]
    assert (about["dtype"], about["weights"]) == ("int8", "int8 by int8 weights")
    assert "float32" not in invoke("info", path)
    assert "it holds a whole model" in invoke("convert", out, tmp_path / "b.safetensors", code=1)


def test_check_tells_of_every_output(path, tmp_path):
    """Against the same runs by hand."""
    text = invoke("check", path, "--dtype", "int8", "--input", "x=[5,3]", "--input", "times=3")
    assert "int8 by int16 against float32" in text and "times as fast" in text and "50 runs" in text
    for name in fl.Model.load(path).outputs:
        assert any(line.startswith(f"{name} ") for line in text.splitlines())
    assert "int8 weights\n" in text
    kept = invoke("check", path, "--dtype", "int8", "--keep", "dense", "--input", "x=[5,3]")
    assert "int8 weights; float32 stays: dense (Dense) 100.0%" in kept
    assert "expected names, found ''" in invoke("check", path, "--dtype", "int8", "--keep", "", code=1)
    assert "expected a node with weights" in invoke("check", path, "--dtype", "int8", "--keep", "none", code=1)
    weights = [fl.DirectionWeights(np.ones((8, 3), np.float32), np.ones((8, 2), np.float32))]
    fl.LSTM(fl.LSTMWeights([weights])).save(tmp_path / "lstm.safetensors")
    assert "expected a whole model" in invoke(
        "check", tmp_path / "lstm.safetensors", "--dtype", "int8", "--keep", "a", code=1
    )


def test_check_of_what_is_piped_in(path, tmp_path):
    """It comes once, whatever it turns out to be."""
    weights = [fl.DirectionWeights(np.ones((8, 3), np.float32), np.ones((8, 2), np.float32))]
    fl.LSTM(fl.LSTMWeights([weights])).save(tmp_path / "lstm.safetensors")
    for source, more in ((path, ["--input", "x=[5,3]", "--input", "times=3"]), (tmp_path / "lstm.safetensors", [])):
        told = CliRunner().invoke(cli, ["check", "-", "--dtype", "int8", *more], input=Path(source).read_bytes())
        assert told.exit_code == 0, told.stderr
        assert "<stdin>: int8 by int16 against float32" in told.stdout


def test_check_of_a_model(path):
    from fusedlstm.check_model import check_model

    model, rng = fl.Model.load(path), np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((5, 3)).astype(np.float32), "times": np.array(2)} for _ in range(4)]
    found = check_model(model, "int8", None, feeds)
    low = model.astype("int8")
    for one in found.outputs:
        errors = [low.run(feed)[one.name].astype(float) - model.run(feed)[one.name] for feed in feeds]
        assert one.max_error == np.abs(errors).max()
        assert one.rms_error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found.seconds_before > 0 < found.seconds_after and not found.states
    with pytest.raises(ValueError, match="expected finite numbers in float32"):
        check_model(model, "int8", None, [{**feeds[0], "x": np.full((5, 3), np.nan, np.float32)}])
