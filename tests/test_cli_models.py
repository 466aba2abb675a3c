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
from fusedlstm import check_model
from fusedlstm.cli import cli
from fusedlstm.cli.feeds import Feeds

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
        (
            ("check", "--dtype", "int8", "--states", "x=positive"),
            "expected 'x' and 'positive' to have one type and shape",
        ),
        (("check", "--dtype", "int8", "--states", "x=z"), "--states x=z: expected one of x, times, =, and one of y, "),
        (("check", "--dtype", "int8", "--png", "a.txt"), "--png: expected a name that ends with .png, .svg, .pdf"),
        (("check", "--dtype", "int8", "--png", "no/such/a.png"), "--png: expected a file in a folder that is there"),
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


def small(path, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [
            helper.make_empty_tensor_value_info(one) if isinstance(one, str) else helper.make_tensor_value_info(*one)
            for one in outputs
        ],
        constants,
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
    model, rng = fl.Model.load(path), np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((5, 3)).astype(np.float32), "times": np.array(2)} for _ in range(4)]
    found = check_model.check_model(model, "int8", None, feeds)
    low = model.astype("int8")
    for one in found.outputs:
        errors = [low.run(feed)[one.name].astype(float) - model.run(feed)[one.name] for feed in feeds]
        assert one.max_error == np.abs(errors).max()
        assert one.rms_error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found.seconds_before > 0 < found.seconds_after and found.states == {} and found.runs == 4
    with pytest.raises(ValueError, match="expected finite numbers in float32, found NaN or inf alone"):
        check_model.check_model(model, "int8", None, [{**feeds[0], "x": np.full((5, 3), np.nan, np.float32)}])


def test_errors_know_nan_and_infinity():
    """What assert_array_equal takes for the same is no error; what it does not is one, and is not lost."""
    nan, inf = np.nan, np.inf
    exact = np.array([1, nan, inf, -inf, 2], np.float32)
    told = check_model.OutputError("y", 0.0, 0.0, np.sqrt(2.5), 0, 5)
    errors = check_model._Errors()
    errors.add(exact, exact.copy())
    assert errors.told("y") == told
    for place, number, largest in ((0, nan, nan), (0, inf, inf), (1, 0, nan), (2, -inf, inf), (3, 5, inf)):
        found = exact.copy()
        found[place] = number
        errors = check_model._Errors()
        errors.add(exact, found)
        errors.add(exact, exact)
        one = errors.told("y")
        np.testing.assert_equal(one.max_error, largest)
        assert one.broken == 1 and one.count == 10 and not np.isfinite(one.share)


def test_check_says_what_becomes_nan(tmp_path):
    weights = numpy_helper.from_array(np.ones((2, 3), np.float32), "weights")
    path = small(
        tmp_path / "b.onnx",
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        [("x", FLOAT, [2, 2])],
        ["y"],
        [weights],
    )
    np.save(tmp_path / "x.npy", np.array([[np.inf, 1], [1, 1]], np.float32))
    model, x = fl.Model.load(path), np.load(tmp_path / "x.npy")
    assert not np.array_equal(model.astype("int8")(x), model(x), equal_nan=True)
    text = invoke("check", path, "--dtype", "int8", "--input", f"x={tmp_path / 'x.npy'}")
    assert "y: NaN or inf in one of the two, for 3 of 6 numbers" in text and "(1 run; x f32[2, 2], given)" in text


@pytest.fixture
def handed(tmp_path):
    """A sequence that is handed through, one with a state whose names say so, and an export whose names say nothing."""
    free = [None, None, 3]
    through = [helper.make_node("Neg", ["audio_in"], ["audio_out"])]
    nodes = [helper.make_node("Add", ["x", "h"], ["h_out"]), helper.make_node("Neg", ["h_out"], ["y"])]
    two = [helper.make_node("Add", ["h", "x"], ["160"]), helper.make_node("Sub", ["c", "x"], ["161"])]
    two.append(helper.make_node("Add", ["160", "161"], ["y"]))
    one = [1, 3]
    return (
        small(tmp_path / "through.onnx", through, [("audio_in", FLOAT, free)], [("audio_out", FLOAT, free)]),
        small(
            tmp_path / "named.onnx",
            nodes,
            [("x", FLOAT, one), ("h", FLOAT, one)],
            [("y", FLOAT, one), ("h_out", FLOAT, one)],
        ),
        small(
            tmp_path / "open.onnx",
            two,
            [(k, FLOAT, one) for k in "xhc"],
            [(k, FLOAT, one) for k in ("y", "160", "161")],
        ),
    )


def test_states_are_those_of_the_stream(handed, tmp_path):
    through, with_names, unclear = handed
    text = invoke("check", through, "--dtype", "int8")
    assert "handed over" not in text and "(50 runs; audio_in f32[1, 20, 3]: standard normal)" in text
    assert "states handed over: h from h_out" in invoke("check", with_names, "--dtype", "int8")
    assert "50 runs" in invoke("check", with_names, "--dtype", "int8", "--states", "none")
    text = invoke("check", unclear, "--dtype", "int8")
    assert "50 runs" in text and "more than one way to pair them; say it: --states h=160" in text
    text = invoke("check", unclear, "--dtype", "int8", "--states", "h=160", "--states", "c=161")
    assert "50 steps" in text and "states handed over: h from 160, c from 161" in text
    np.save(tmp_path / "h.npy", np.ones((1, 3), np.float32))
    text = invoke("check", with_names, "--dtype", "int8", "--input", f"h={tmp_path / 'h.npy'}")
    assert "50 runs" in text and "no state, as --input gives it: h" in text
    assert fl.Model.load(with_names).stream().states == {"h": "h_out"}


def test_data_stays_what_it_is(handed, tmp_path):
    """Each run has it, contiguous and in memory, whatever the outputs are."""
    model = fl.Model.load(handed[1])
    np.save(tmp_path / "h.npy", np.asfortranarray(np.ones((1, 3), np.float32)))
    fed = Feeds(model, ["x=[1,3]", f"h={tmp_path / 'h.npy'}"])
    first, second = fed.next(), fed.next()
    assert type(first["h"]) is np.ndarray and first["h"].flags.carray
    np.testing.assert_array_equal(second["h"], np.ones((1, 3)))
    assert not np.array_equal(first["x"], second["x"]) and fed.handed.states == {}
    np.testing.assert_array_equal(first["x"], Feeds(model, []).next()["x"])  # the same ones every time
    assert fed.about()[1] == {"name": "h", "dtype": "float32", "shape": [1, 3], "made_up": None}


def test_whole_numbers_are_some_that_the_model_has_a_use_for(tmp_path):
    """Rows of the table, full lengths in the layout of the layer, sequences of 20 steps."""
    rng = np.random.default_rng(0)
    table, w, r = rng.standard_normal((7, 4)), rng.standard_normal((1, 12, 4)), rng.standard_normal((1, 12, 3))
    held = [
        numpy_helper.from_array(one.astype(np.float32), name) for name, one in zip(("table", "w", "r"), (table, w, r))
    ]
    nodes = [
        helper.make_node("Cast", ["tokens"], ["rows"], to=INT64),
        helper.make_node("Gather", ["table", "rows"], ["x"]),
        helper.make_node("LSTM", ["x", "w", "r", "", "lengths"], ["y"], hidden_size=3),
    ]
    held[1] = numpy_helper.from_array(rng.standard_normal((1, 12, 4)).astype(np.float32), "w")
    inputs = [("tokens", TensorProto.INT32, ["time", "rows of it"]), ("lengths", TensorProto.INT32, ["rows of it"])]
    path = small(tmp_path / "b.onnx", nodes, inputs, ["y"], held)
    fed = Feeds(fl.Model.load(path), [])
    runs = [fed.next() for _ in range(20)]
    assert {run["tokens"].shape for run in runs} == {(20, 1)} and {tuple(run["lengths"]) for run in runs} == {(20,)}
    assert set(np.concatenate([run["tokens"] for run in runs]).ravel()) == set(range(1, 7))
    assert "tokens i32[20, 1]: 1 to 6, lengths i32[1]: 20" in invoke("check", path, "--dtype", "int8")
    assert Feeds(fl.Model.load(path), ["tokens=[5,3]"]).next()["lengths"].tolist() == [5, 5, 5]
    fixed = small(
        tmp_path / "c.onnx",
        [helper.make_node("Slice", ["x", "zero", "count", "zero"], ["y"])],
        [("x", FLOAT, [1, "n"]), ("count", INT64, [1])],
        ["y"],
        [numpy_helper.from_array(np.zeros(1, np.int64), "zero")],
    )
    assert Feeds(fl.Model.load(fixed), []).next()["count"] == [1]


def test_sizes_that_the_model_does_not_run_with(tmp_path):
    """Windows of a convolution longer than 20 steps take 100; where nothing fits the error says what was made up."""

    def windows(steps):
        kernel = numpy_helper.from_array(np.ones((1, 2, steps), np.float32), "kernel")
        nodes = [helper.make_node("Conv", ["x", "kernel"], ["y"])]
        return small(tmp_path / f"{steps}.onnx", nodes, [("x", FLOAT, ["b", 2, "t"])], ["y"], [kernel])

    assert Feeds(fl.Model.load(windows(50)), []).next()["x"].shape == (1, 2, 100)
    assert "made up x as f32[1, 2, 1]" in invoke("check", windows(500), "--dtype", "int8", code=1)


def test_long_names_are_whole_where_there_is_no_terminal(tmp_path):
    names = [f"a_very_long_name_of_an_output_of_a_model_that_somebody_made_{'x' * 60}_{k}" for k in range(2)]
    path = small(
        tmp_path / "b.onnx", [helper.make_node("Neg", ["x"], [one]) for one in names], [("x", FLOAT, [2])], names
    )
    text = invoke("check", path, "--dtype", "int8", "--png", tmp_path / "a.png")
    assert all(one in text for one in names) and (tmp_path / "a.png").stat().st_size > 5000


def test_pictures_take_names_as_they_are(tmp_path):
    names = ["$x_$", "y$", "$\\bad{$", "n" * 300]
    path = small(
        tmp_path / "b.onnx", [helper.make_node("Neg", ["x"], [one]) for one in names], [("x", FLOAT, [2])], names
    )
    invoke("check", path, "--dtype", "int8", "--png", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_no_color(path):
    told = CliRunner(env={"NO_COLOR": "1"}).invoke(cli, ["info", str(path)], color=True)
    assert told.exit_code == 0 and "\x1b" not in told.stdout
    assert "\x1b" in CliRunner(env={"NO_COLOR": ""}).invoke(cli, ["info", str(path)], color=True).stdout
