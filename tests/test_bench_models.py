"""`fusedlstm bench FILE` and benchmarks/models.py: whole models beside other engines."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from suite import model_tables
from suite import models as cases

import fusedlstm as fl
from fusedlstm.bench import report, session
from fusedlstm.bench.whole import convert, engine, engines, runner

f4 = np.float32
ROOT = Path(__file__).parents[1]


def case_file(case, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(case.make())
    return path, case.feed({name: one.dtype for name, one in fl.Model.load(path).inputs.items()})


def measured(name, path, feed, folder, peers=engines.PEERS, **said):
    return runner.measure(runner.Measured(name, path, feed, *convert.forms(path, feed, folder), **said), 1, 0.0, peers)


@pytest.fixture
def made(tmp_path):
    """A step with states, and its inputs."""
    pytest.importorskip("onnx")
    return case_file(cases.MADE[0], tmp_path)


def test_inputs_are_matched_by_names_and_shapes():
    feed = {"x": np.zeros((1, 4), f4), "h": np.ones((1, 8), f4), "c": np.full((1, 8), 2, f4)}
    matched = partial(engine.matched, feed)
    for names in (["c", "x", "h"], ["serving_default_c:0", "serving_default_x:0", "serving_default_h:0"]):
        found = matched(names, [(1, 8), (-1, 4), ("batch", 8)])
        assert [one.flat[0] for one in found] == [2, 0, 1]
    found = matched(["args_1", "args_0", "args_2"], [(1, 8), (1, 4), (1, 8)])  # nothing but shapes: in order
    assert [one.flat[0] for one in found] == [1, 0, 2]
    with pytest.raises(ValueError, match="expected the inputs x, h, c, found a, b; it keeps states inside"):
        matched(["a", "b"], [(1, 4), (1, 8)])
    with pytest.raises(ValueError, match="expected an input for c"):
        matched(["x", "h", "z"], [(1, 4), (1, 8), (1, 9)])


def test_outputs_may_be_in_another_order_and_shape():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 2, 5)).astype(f4)
    assert engine.difference([a, b, c], [c, a + 1e-7, b.reshape(1, 2, 5)]) == (pytest.approx(1e-7, rel=1), [1, 2, 0])
    assert engine.difference([a], [b])[0] > 0.1
    assert engine.difference([a], [b[:1]]) == (float("inf"), [])
    assert engine.difference([a], [np.full_like(a, np.nan)])[0] == float("inf")


@pytest.mark.parametrize("case", cases.MADE, ids=lambda case: case.name)
def test_models_beside_onnx_runtime(case, tmp_path):
    pytest.importorskip("onnxruntime")
    path, feed = case_file(case, tmp_path)
    rows = measured(case.name, path, feed, tmp_path)
    assert [row.stream for row in rows] == [False, True][: 1 + ("h0" in feed)]
    for row in rows:
        peer = row.engines["onnxruntime"]
        assert peer.difference < 1e-5
        assert (
            row.ours.microseconds > 0 and row.speedup == row.engines[row.best_peer].microseconds / row.ours.microseconds
        )
        assert "not installed" in row.left_out.get("openvino", "not installed") or "openvino" in row.engines
        assert row.left_out["keras"] == "reads keras, and nothing here made that of the file" or not row.left_out


def test_states_are_handed_over(made):
    """Three steps of every engine's stream are ours."""
    pytest.importorskip("onnxruntime")
    path, feed = made
    ours = engines.Ours(path, feed, 1)
    pairs = runner.states(ours)
    assert pairs == {1: 1, 2: 2, 3: 3, 4: 4}
    state = dict(feed)
    for _ in range(3):
        found = ours.model.run(state)
        state |= dict(zip(list(feed)[1:], list(found.values())[1:], strict=True))
    for kind in (engines.OnnxRuntime, engines.OpenVINO, engines.Tract):
        if not runner.installed(kind):
            continue
        peer = kind(path, feed, 1)
        _, which = engine.difference(list(ours.model.run(feed).values()), peer.outputs())
        peer.stream({to: which[at] for to, at in pairs.items()})
        if kind is engines.Tract:
            last = [peer.call() for _ in range(3)][-1]
        else:
            for _ in range(3):
                peer.call()
            last = peer._out
        assert np.allclose(last[which[0]], next(iter(found.values())), rtol=1e-4, atol=1e-6), kind.name
    ours.stream(pairs)
    for _ in range(2):
        ours.call()
    assert np.allclose(ours.call(), next(iter(found.values())), rtol=1e-5, atol=1e-7)


class Wrong(engines.OnnxRuntime):
    """Computes another function."""

    name = "wrong"

    def outputs(self):
        return [one + 1 for one in super().outputs()]


class Absent(engines.OnnxRuntime):
    name, needs, install = "absent", ("no_such_module",), "no-such-package"


class Elsewhere(engines.Keras):
    name, needs, install = "elsewhere", ("no_such_module",), "no-such-package"


def test_who_is_wrong_is_not_timed(made, tmp_path):
    pytest.importorskip("onnxruntime")
    for row in measured("step", *made, tmp_path, (Wrong, Absent, Elsewhere)):
        assert list(row.engines) == ["fusedlstm"]
        assert row.best_peer is None and row.speedup is None
        assert row.left_out["wrong"].startswith("other outputs than ours: off by ")
        assert row.left_out["absent"] == "not installed: pip install no-such-package"
        assert row.left_out["elsewhere"] == "reads keras, and nothing here made that of the file"  # installed or not


def test_files_are_known_by_what_is_in_them(made, tmp_path):
    path, feed = made
    odd = path.rename(tmp_path / "model.weights")
    assert convert.kind_of(odd) == ("onnx", (".onnx",))
    (form,), _ = convert.forms(odd, feed, tmp_path)
    assert form.path.suffix == ".onnx" and form.path.read_bytes() == odd.read_bytes()
    np.savez(tmp_path / "a.npz", x=np.ones(3, f4))
    with pytest.raises(ValueError, match=r"a\.npz: expected a file of one of ONNX, .* found NumPy archive"):
        convert.kind_of(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="expected a file of one of"):
        convert.kind_of(tmp_path)


def test_what_is_nan_in_both_is_no_difference():
    one = np.array([1, np.nan, np.inf, 2], f4)
    assert engine.difference([one], [one.copy()]) == (0.0, [0])
    for k, other in ((1, 0), (1, np.inf), (2, -np.inf), (2, 3), (0, np.nan), (0, np.inf)):
        changed = one.copy()
        changed[k] = other
        assert engine.difference([one], [changed])[0] == np.inf


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "Exception from src/inference/core.cpp:94:\nCheck 'false' failed at src/a/b.cpp:151:\nNo Loop\nmore",
            "No Loop",
        ),
        ("Not converted:\n\n-- Loop", "Not converted: -- Loop"),
        ("plain\nmore", "plain"),
        ("", "ValueError"),
    ],
)
def test_reasons_say_something(said, reason):
    assert runner._reason(ValueError(said)) == reason


class Crashing(engines.OnnxRuntime):
    name = "crashing"

    def __init__(self, path, feed, threads):
        os._exit(3)


def test_an_engine_that_crashes_loses_nothing(made, tmp_path):
    pytest.importorskip("onnxruntime")
    peers = (engines.OnnxRuntime, Crashing)
    with session.Session(1) as measuring:
        model = runner.Measured("step", *made, *convert.forms(*made, tmp_path))
        for row in runner._measured(measuring, model, 1, 0.0, peers):
            assert list(row.engines) == ["fusedlstm", "onnxruntime"]
            assert row.left_out["crashing"] == "it crashed, and the process with it"


def test_streams_have_as_many_rows_as_the_states(made, tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    path, _ = made
    model = onnx.load(path)
    for one in (*model.graph.input, *model.graph.output):
        dims = one.type.tensor_type.shape.dim
        if len(dims) == 3:
            dims[1].ClearField("dim_value")
            dims[1].dim_param = "rows"
    del model.graph.value_info[:]
    onnx.save(model, path)
    loaded, rng = fl.Model.load(path), np.random.default_rng(0)
    feed = {
        name: rng.standard_normal([3 if size is None else size for size in one.shape]).astype(f4)
        for name, one in loaded.inputs.items()
    }
    assert [feed[name].shape[1] for name in ("x", "h0")] == [3, 3]
    rows = measured("step", path, feed, tmp_path, ())
    assert [row.stream for row in rows] == [False, True]
    ours = engines.Ours(path, feed, 1)
    ours.stream(runner.states(ours))
    np.testing.assert_allclose(ours.call(), next(iter(loaded.run(feed).values())), rtol=1e-5, atol=1e-6)


def test_a_stream_that_does_not_open_loses_no_calls(made, tmp_path, monkeypatch):
    def refuse(self, pairs):
        raise ValueError("no such stream")

    monkeypatch.setattr(engines.Ours, "stream", refuse)
    (row,) = measured("step", *made, tmp_path, ())
    assert row.left_out["a step of a stream"] == "no such stream" and row.ours.microseconds > 0


def test_programs_of_pytorch_in_their_own_convention(tmp_path):
    """Arguments by name, tuples and dicts, states in buffers: each beside ours, and two steps of those."""
    torch = pytest.importorskip("torch")

    class Named(torch.nn.Module):
        def forward(self, pair, table, *, scale):
            return {"y": pair[0] * table["k"] + pair[1], "z": pair[1] * scale}

    class Kept(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("h", torch.zeros(1, 4))

        def forward(self, x):
            self.h.copy_(torch.tanh(self.h * 0.5 + x))
            return self.h * 2

    some = [torch.randn(2, 3) for _ in range(4)]
    programs = (
        torch.export.export(Named(), ((some[0], some[1]), {"k": some[2]}), {"scale": some[3]}),
        torch.export.export(Kept(), (torch.randn(1, 4),)),
    )
    for k, program in enumerate(programs):
        path = tmp_path / f"{k}.pt2"
        torch.export.save(program, path)
        rng = np.random.default_rng(k)
        feed = {name: rng.standard_normal(one.shape).astype(f4) for name, one in fl.Model.load(path).inputs.items()}
        for row in measured("program", path, feed, tmp_path, (engines.Torch,)):
            assert row.engines["torch"].difference < 1e-6, row.left_out
    assert list(feed) == ["x", "h.in"]
    theirs = engines.Torch(path, feed, 1)
    theirs.outputs()
    theirs.stream({1: 1})
    with theirs.session():
        found = theirs.call()[0].numpy()
    first = np.tanh(feed["h.in"] * 0.5 + feed["x"])
    np.testing.assert_allclose(found, 2 * np.tanh(first * 0.5 + feed["x"]), rtol=1e-5, atol=1e-6)


def bench(*arguments):
    command = [sys.executable, "-c", "from fusedlstm.cli import main; main()", "bench", "--seconds", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})


def script(name, *arguments):
    command = [sys.executable, ROOT / "benchmarks" / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def figures(microseconds, *quartiles):
    return runner.Timed(microseconds, quartiles or (microseconds, microseconds), 0.0)


def test_aims_are_told_in_brackets_where_they_are_missed():
    def told(case, ours, left_out=(), stream=False, **peers):
        engines = {"fusedlstm": figures(ours), **{name: figures(one) for name, one in peers.items()}}
        return model_tables.told_aim(runner.ModelRow(case, 1, stream, engines, dict(left_out)))

    assert told("silero_vad.onnx", 1.0, onnxruntime=5.5) == "5 × onnxruntime"
    assert told("silero_vad.onnx", 1.0, onnxruntime=4.5) == "(5 × onnxruntime)"
    assert told("dtln_1.onnx", 1.0, stream=True, onnxruntime=4.5) == told("mine.onnx", 1.0, tract=2.0) == ""
    assert told("engine_wear.keras", 1.0, keras=2.5) == "2"
    absent = {"litert": "not installed: pip install ai-edge-litert"}
    assert told("engine_wear.keras", 1.0, absent, keras=2.5) == "2 ?"
    assert told("engine_wear.keras", 1.0, absent, keras=1.5) == "(2)"
    row = runner.ModelRow("m", 1, False, {"fusedlstm": figures(1.0), "keras": figures(2.5, 1.0, 4.0)}, absent)
    text = model_tables.markdown({**report.about_models(0), "load": 3.0, "steal": None}, [row])
    assert "**Not installed**: litert" in text and "**The machine was busy**: a load of 3.0" in text
    assert row.level and "| 2.50 | ≈ |" in text


def test_one_file_on_the_command_line(made, tmp_path):
    pytest.importorskip("onnxruntime")
    told = bench(made[0], "--threads", "1", "--input", "x=[1,1,64]", "--json", tmp_path / "run.json")
    assert told.returncode == 0, told.stderr
    assert "a step of a stream" in told.stdout and "onnxruntime" in told.stdout
    kept = json.loads((tmp_path / "run.json").read_text())
    assert [row["stream"] for row in kept["models"]] == [False, True] and "onnxruntime" in kept["versions"]
    script("report.py", tmp_path / "run.json", tmp_path / "report")
    assert "| model.onnx, stream | 1 | **" in (tmp_path / "report" / "models.md").read_text()
    assert (tmp_path / "report" / "models.json").read_text() == (tmp_path / "run.json").read_text()
    if runner.installed(type("Plots", (), {"needs": ("matplotlib",)})):
        assert (tmp_path / "report" / "models.png").stat().st_size > 10_000
    assert bench(tmp_path / "none.onnx").stderr.startswith("Error: ")
    assert "expected one of x, h0" in bench(made[0], "--input", "z=1").stderr
    assert kept["inputs"][0] == {"name": "x", "dtype": "float32", "shape": [1, 1, 64], "made_up": "standard normal"}
    assert "states handed over: h0 from h0n" in told.stdout
    odd = bench(made[0], "--threads", "1", "--peers", "onnxruntime", "--states", "none")
    assert "a step of a stream" not in odd.stdout and "onnxruntime" in odd.stdout and "keras:" not in odd.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("a.onnx", "--cases", "tiny"), 2, "expected some of"),
        (("a.onnx", "--low-precision"), 1, "--cases, --low-precision: expected no FILE"),
        (("--peers", "torch", "a.onnx", "--low-precision"), 1, "--cases, --low-precision: expected no FILE"),
        (("a.onnx", "--peers", "nobody"), 2, "nobody: expected all, none or some of onnxruntime, openvino"),
        (("--peers", "nobody"), 2, "nobody: expected all, none or some of "),
        (("--input", "x=1"), 1, "--input, --states: expected a FILE with a whole model, found none"),
        (("--states", "none"), 1, "--input, --states: expected a FILE with a whole model, found none"),
    ],
)
def test_options_that_do_not_go_together(arguments, code, words):
    told = bench(*arguments)
    assert told.returncode == code and words in " ".join(told.stderr.replace("│", "").split())


def test_bench_of_what_is_piped_in(made):
    told = subprocess.run(
        [sys.executable, "-m", "fusedlstm", "bench", "-", "--seconds", "0", "--threads", "1", "--peers", "none"],
        input=made[0].read_bytes(), capture_output=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert b"fusedlstm" in told.stdout


@pytest.mark.slow
def test_made_models_on_the_command_line(tmp_path):
    pytest.importorskip("onnxruntime")
    script("models.py", "--json", tmp_path / "run.json", "--seconds", "0", "--threads", "1")
    script("report.py", tmp_path / "run.json", tmp_path)
    assert (tmp_path / "models.md").read_text().count("\n| ") >= 1 + len(cases.MADE)


@pytest.mark.slow
def test_keras_files_are_converted(tmp_path):
    keras, _ = pytest.importorskip("keras"), pytest.importorskip("tensorflow")
    model = keras.Sequential([keras.Input((7, 3), name="x"), keras.layers.LSTM(5), keras.layers.Dense(2)])
    model.save(tmp_path / "model.keras")
    feed = {"x": np.random.default_rng(0).standard_normal((1, 7, 3)).astype(f4)}
    found, failed = convert.forms(tmp_path / "model.keras", feed, tmp_path)
    assert "TFLiteConverter" in [one.how for one in found], failed
    (row,) = measured("model", tmp_path / "model.keras", feed, tmp_path)
    if runner.installed(engines.LiteRT):
        assert row.engines["litert"].how.startswith("TFLiteConverter")
        assert row.engines["litert"].difference < 1e-5
