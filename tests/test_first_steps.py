"""What a newcomer tries first, and what is said when it is not what they meant."""

import ast
import ctypes
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import random_weights
from reference import lstm as oracle
from rich.console import Console

import fusedlstm as fl

ROOT = Path(__file__).parents[1]


@pytest.fixture
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 3, 4))


@pytest.mark.skipif(sys.platform == "win32", reason="the header of step.c is for Unix")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_step_c_does_what_its_header_says(lstm, tmp_path):
    """Its command and its lines of Python, word for word, in a folder of one's own."""
    text = (ROOT / "examples" / "step.c").read_text()
    command = re.search(r"^ \*     (cc .*)$", text, re.MULTILINE)[1]
    lines = re.findall(r"^ \*     (run.*|status.*)$", text, re.MULTILINE)
    (tmp_path / "step.c").write_text(text)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=os.environ | {"PATH": path})
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    names = {"ctypes": ctypes, "fusedlstm": fl, "lstm": lstm, "x": x, "y": np.empty((5, 4), np.float32)}
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        exec("\n".join(lines), names)
    finally:
        os.chdir(here)
    assert names["status"] == 0
    np.testing.assert_allclose(names["y"], oracle(lstm.weights, x[None])[0][0], rtol=0, atol=1e-6)


def test_include_dir_is_there():
    assert (Path(fl.include_dir()) / "capi.h").is_file()


def test_a_compiler_that_is_missing_is_named():
    tomllib = pytest.importorskip("tomllib")
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]["messages"]["after-failure"]
    assert "C++17 compiler" in told and "Python 3.10" in " ".join(told.split())


def test_token_ids_get_a_word_on_embeddings(lstm):
    with pytest.raises(TypeError, match=r"found dtype int64; .*astype.*token ids go through the model's embedding"):
        lstm(np.zeros((1, 2, 3), int))
    with pytest.raises(TypeError, match="found dtype bool") as error:
        lstm(np.zeros((1, 2, 3), bool))
    assert "token" not in str(error.value)


def test_weights_show_their_sizes(lstm):
    assert repr(lstm.weights) == "LSTMWeights(3, 4, num_layers=1, batch_first=True)"
    assert repr(lstm.weights.layers[0][0]) == "DirectionWeights(weight_ih=(16, 3), weight_hh=(16, 4), bias=(16,))"
    small = fl.LSTM(random_weights(np.random.default_rng(0), 300, 400, 2, 2)).astype("int8")
    assert "num_layers=2, bidirectional=True" in repr(small.weights) and "int8" in repr(small.weights)
    kernel = np.zeros((4, 3, 3, 1), np.float32)
    assert len(repr(fl.ConvLSTMWeights(kernel, kernel))) < 200


def test_output_size():
    for options in ({}, {"directions": 2}, {"proj": 2}):
        one = fl.LSTM(random_weights(np.random.default_rng(0), 3, 4, **options))
        assert one.output_size == one(np.zeros((1, 2, 3), np.float32))[0].shape[-1]


@pytest.mark.parametrize("dtype", [np.float16, np.dtype("float16"), np.int8, np.float32])
def test_dtypes_of_numpy(lstm, dtype, tmp_path):
    name = np.dtype(dtype).name
    assert lstm.astype(dtype).dtype == name
    lstm.save(tmp_path / "a.safetensors")
    assert fl.LSTM.load(tmp_path / "a.safetensors", dtype=dtype).dtype == name
    for other in (np.float64, object, 3):
        with pytest.raises(ValueError, match="dtype: expected one of float32, float16, bfloat16, int8, found"):
            lstm.astype(other)


def test_the_module_is_the_command():
    run = [sys.executable, "-m", "fusedlstm", "--version"]
    assert (
        subprocess.run(run, capture_output=True, text=True, check=True).stdout
        == f"fusedlstm, version {fl.__version__}\n"
    )


def test_layers_are_lists_of_directions(lstm):
    (one,) = lstm.weights.layers[0]
    for wrong in ([one], one):
        with pytest.raises(TypeError, match=r"found a DirectionWeights in the place of a layer: LSTMWeights\(\[\[dir"):
            fl.LSTMWeights(wrong)


def test_public_names_are_the_package_s_own():
    assert {name for name in dir(fl) if not name.startswith("_")} == set(fl.__all__)
    for name in fl.__all__:
        if name != "Stream":  # of Cython, whose type cannot be written to
            assert getattr(fl, name).__module__ == "fusedlstm", name


def test_editors_show_what_help_shows():
    """The stub of the compiled class has its docstrings, but for where lines are broken."""
    tree = ast.parse((ROOT / "src" / "fusedlstm" / "stream.pyi").read_text())
    (stub,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    words = [(stub, fl.Stream)]
    for node in stub.body:
        setter = any(isinstance(one, ast.Attribute) for one in getattr(node, "decorator_list", ()))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not setter:
            words.append((node, getattr(fl.Stream, node.name)))
    assert len(words) > 7
    for node, real in words:
        assert ast.get_docstring(node).split() == inspect.getdoc(real).split(), node.name


def test_a_tensor_that_needs_a_gradient(lstm):
    torch = pytest.importorskip("torch")
    x = torch.zeros(1, 2, 3, requires_grad=True)
    with pytest.raises(TypeError, match=r"x: expected an array, found Tensor .*x\.detach\(\)"):
        lstm(x)
    assert lstm(x.detach())[0].shape == (1, 2, 4)


@pytest.mark.parametrize("count", [-1, 0, 2**40])
def test_thread_counts(count):
    with pytest.raises(ValueError, match=f"count: expected 1 to [0-9]+, found {count}"):
        fl.set_num_threads(count)
    for other in (1.0, "2", None, True):
        with pytest.raises(TypeError, match="count: expected a whole number, found"):
            fl.set_num_threads(other)


def test_a_bytes_path(lstm, tmp_path):
    lstm.save(tmp_path / "a.safetensors")
    with pytest.raises(fl.FormatError, match="found the name of a file as bytes; give it as text: '.*a.safetensors'"):
        fl.LSTM.load(os.fsencode(tmp_path / "a.safetensors"))


def test_no_peer_says_how_to_get_them():
    from fusedlstm.bench import terminal

    assert 'pip install "fusedlstm[bench]"' in inspect.getsource(terminal)


def test_the_demo_at_40_columns():
    from fusedlstm import demo
    from fusedlstm.demo.terminal import show

    result = demo.run()
    for width in (40, 80):
        console = Console(width=width, record=True, file=io.StringIO())
        show(result, console)
        text = console.export_text()
        assert max(map(len, text.splitlines())) <= width
        assert re.search(rf"shown: the last [0-9]+ of {len(result.dates)}", " ".join(text.split()))
        assert f"{result.rmse('LSTM'):.3f}" in text and "…" not in text


SERVER = ROOT / "examples" / "server.py"


def test_the_server_says_in_one_line_what_is_wrong(tmp_path):
    pytest.importorskip("aiohttp")
    both = fl.LSTM(random_weights(np.random.default_rng(0), 3, 4, 1, 2))
    both.save(tmp_path / "both.safetensors")
    (tmp_path / "aiohttp.py").write_text("raise ImportError")
    for model, extra, told in (
        ("none.safetensors", {}, "No such file"),
        ("both.safetensors", {}, "bidirectional"),
        ("both.safetensors", {"PYTHONPATH": str(tmp_path)}, 'pip install "fusedlstm[server]"'),
    ):
        run = [sys.executable, str(SERVER), str(tmp_path / model)]
        done = subprocess.run(run, capture_output=True, text=True, env=os.environ | extra)
        assert done.returncode == 1 and told in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_readme_names_what_it_needs():
    text = (ROOT / "README.md").read_text()
    assert "C++17 compiler" in text and "Python ≥ 3.10" in text and "fusedlstm check FILE" in text


def test_one_version_everywhere():
    for file in ("pyproject.toml", "CITATION.cff"):
        assert re.search(r"^version[:=\s]+\"?([0-9.]+)", (ROOT / file).read_text(), re.MULTILINE)[1] == fl.__version__
    assert f"## {fl.__version__}" in (ROOT / "CHANGELOG.md").read_text()
