"""The commands as a user meets them: what they print, write and refuse, and their exit codes."""

import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from reference import lstm as oracle
from safetensors.numpy import save_file
from variants import leaves, random_weights

import fusedlstm as fl
from fusedlstm.cli import cli, runfile
from fusedlstm.demo import WEIGHTS  # an LSTM of 32 units, input 3, as torch.save wrote it, called "lstm"

STATE = {"weight_ih_l0": np.ones((12, 2), np.float32), "weight_hh_l0": np.ones((12, 3), np.float32)}


def invoke(*args, code=0):
    """stdout of a command that ends with `code`; an error must be one line on stderr, without a traceback."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    if code == 1:
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
        assert result.stdout == ""
        return result.stderr
    return result.stderr if code else result.stdout


@pytest.fixture
def two_lstms(tmp_path):
    """A file with two LSTMs and one that must be refused, under PyTorch's names."""
    rng = np.random.default_rng(0)

    def parameters(prefix, inputs, hidden, suffixes, bias=True):
        for suffix in suffixes:
            yield f"{prefix}.weight_ih{suffix}", rng.normal(size=(4 * hidden, inputs)).astype(np.float32)
            yield f"{prefix}.weight_hh{suffix}", rng.normal(size=(4 * hidden, hidden)).astype(np.float32)
            for name in ("bias_ih", "bias_hh") if bias else ():
                yield f"{prefix}.{name}{suffix}", rng.normal(size=4 * hidden).astype(np.float32)

    path = tmp_path / "two.safetensors"
    tensors = dict(parameters("encoder.rnn", 3, 5, ["_l0", "_l0_reverse"]))
    tensors |= dict(parameters("decoder", 4, 6, ["_l0"], bias=False))
    broken = dict(parameters("broken", 4, 6, ["_l0"]))
    broken["broken.bias_ih_l0"] = np.zeros(7, np.float32)
    save_file(tensors | broken, path)
    return path


@pytest.fixture
def x(tmp_path):
    def save(array, name="x.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return save


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_info_names_every_lstm_and_why_one_is_refused(two_lstms):
    text = invoke("info", two_lstms)
    assert "safetensors" in text
    assert any(line.split()[:2] == ["encoder.rnn", "3→5"] for line in text.splitlines())
    assert "refused broken: " in text and "bias_ih_l0" in text


def test_info_json(two_lstms):
    about = json.loads(invoke("info", two_lstms, "--json"))
    assert about["bytes"] == two_lstms.stat().st_size
    lstms = {one["prefix"]: one for one in about["lstms"]}
    assert lstms["encoder.rnn"] == {
        "prefix": "encoder.rnn", "input_size": 3, "hidden_size": 5, "num_layers": 1, "bidirectional": True,
        "proj_size": 0, "batch_first": True, "bias": True, "dtype": "float32", "products": "float32",
        "activations": "float32",
        "parameters": 2 * (20 * 3 + 20 * 5 + 20), "bytes": 4 * 2 * (20 * 3 + 20 * 5 + 20), "differences": [],
        "assumed": {"batch_first": "x of three axes is taken as (batch, time, input)"},
    }  # fmt: skip
    assert lstms["decoder"]["bias"] is False
    assert "bias_ih_l0" in lstms["broken"]["refused"]


def test_info_keeps_prefixes_in_one_piece(tmp_path):
    """In a pipe as at 40 columns: they are to be copied, and found by grep."""
    from fusedlstm.cli.info import _row, _table

    prefix = "model.encoder.context_network." * 2 + "rnn"
    tensors = {f"{prefix}.{name}": array for name, array in STATE.items()}
    np.savez(tmp_path / "a.npz", **tensors)
    rows = invoke("info", tmp_path / "a.npz").splitlines()
    assert len(rows) == 3 and f"{prefix} 2→3 " in rows[2]
    (one,) = json.loads(invoke("info", "--json", tmp_path / "a.npz"))["lstms"]
    for width in (40, 80, 120):
        lines = _table({prefix: _row(one)}, width)
        assert sum(prefix in line for line in lines) == 1
        assert all(len(line) <= width for line in lines if prefix not in line)


def test_info_shows_names_that_would_move_the_cursor(tmp_path):
    np.savez(tmp_path / "a.npz", **{f"a\x1b[2J\u4e2d.{name}": array for name, array in STATE.items()})
    assert "a\\x1b[2J\u4e2d 2→3 " in invoke("info", tmp_path / "a.npz")


def test_the_root_by_the_name_that_info_shows(tmp_path):
    np.savez(tmp_path / "a.npz", **STATE)
    assert "(root)" in invoke("info", tmp_path / "a.npz")
    assert fl.LSTM.load(tmp_path / "a.npz", "(root)").hidden_size == 3


def test_info_fits_80_columns(two_lstms):
    assert max(map(len, invoke("info", two_lstms).splitlines()[1:])) <= 80


@pytest.mark.parametrize("command", ["info", "run", "convert"])
def test_missing_file_folder_and_unknown_content(command, tmp_path, x):
    rest = {"info": [], "run": [x(normal(2, 3)), "-o", tmp_path / "y.npy"], "convert": [tmp_path / "out"]}[command]
    assert "No such file" in invoke(command, tmp_path / "none.pt", *rest, code=1)
    assert "Is a directory" in invoke(command, tmp_path, *rest, code=1)
    text = tmp_path / "text.pt"
    text.write_text("not weights")
    assert "text.pt" in invoke(command, text, *rest, code=1)


@pytest.mark.parametrize("shape", [(7, 3), (2, 7, 3), (0, 7, 3)])
def test_run_writes_what_the_oracle_computes(shape, tmp_path, x):
    array, out, state = normal(*shape), tmp_path / "y.npy", tmp_path / "state.npz"
    invoke("run", WEIGHTS, x(array), "-o", out, "--state-out", state)
    y, (h, c) = oracle(fl.LSTM.load(WEIGHTS).weights, array if array.ndim == 3 else array[None])
    if array.ndim == 2:
        y, h, c = y[0], h[:, 0], c[:, 0]
    written = np.load(out)
    assert written.dtype == np.float32
    np.testing.assert_allclose(written, y, atol=2e-6)
    with np.load(state) as final:
        np.testing.assert_allclose(final["h"], h, atol=2e-6)
        np.testing.assert_allclose(final["c"], c, atol=2e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.npz", "x.npy", "y.npy"]


@pytest.mark.parametrize("layout", ["--batch-first", "--time-first"])
def test_run_in_pieces_gives_the_same_bits(layout, monkeypatch, tmp_path, x):
    array, lengths = normal(6, 6, 3), [6, 0, 3, 5, 1, 2]
    lstm = fl.LSTM.load(WEIGHTS, batch_first=layout == "--batch-first")
    whole, (h, c) = lstm(array, lengths=lengths)
    monkeypatch.setattr(runfile, "CHUNK", 2 * 6 * lstm.weights.num_parameters)  # two steps at a time
    out, state = tmp_path / "y.npy", tmp_path / "state.npz"
    invoke("run", WEIGHTS, x(array), "-o", out, layout, "--lengths", "6,0,3,5,1,2", "--state-out", state)
    np.testing.assert_array_equal(np.load(out), whole)
    with np.load(state) as final:
        np.testing.assert_array_equal(final["h"], h)
        np.testing.assert_array_equal(final["c"], c)


def test_run_goes_on_from_a_state(tmp_path, x):
    array, state = normal(9, 3), tmp_path / "state.npz"
    whole, _ = fl.LSTM.load(WEIGHTS)(array)
    invoke("run", WEIGHTS, x(array[:4]), "-o", tmp_path / "a.npy", "--state-out", state)
    invoke("run", WEIGHTS, x(array[4:]), "-o", tmp_path / "b.npy", "--state-in", state)
    np.testing.assert_array_equal(np.concatenate([np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")]), whole)


def test_run_bidirectional_by_prefix(two_lstms, tmp_path, x):
    array, out = normal(2, 7, 3), tmp_path / "y.npy"
    invoke("run", two_lstms, x(array), "-o", out, "--prefix", "encoder.rnn")
    expected, _ = oracle(fl.LSTM.load(two_lstms, "encoder.rnn").weights, array)
    np.testing.assert_allclose(np.load(out), expected, atol=2e-6)


def test_outputs_go_to_files_only(tmp_path, x):
    array = x(normal(7, 3))
    for place, message in (("none/y.npy", "No such directory"), ("", "Not a regular file")):
        assert message in invoke("run", WEIGHTS, array, "-o", tmp_path / place, code=1)
        assert message in invoke("convert", WEIGHTS, tmp_path / place, "--force", code=1)
    link = tmp_path / "link.npy"
    link.symlink_to(tmp_path / "y.npy")
    invoke("run", WEIGHTS, array, "-o", link)
    assert link.is_symlink() and np.load(tmp_path / "y.npy").shape == (7, 32)
    if os.path.exists("/dev/null"):
        assert "Not a regular file" in invoke("run", WEIGHTS, array, "-o", "/dev/null", code=1)


def test_run_accepts_float64_and_fortran_order(tmp_path, x):
    array, out = np.asfortranarray(normal(2, 7, 3).astype(np.float64)), tmp_path / "y.npy"
    invoke("run", WEIGHTS, x(array), "-o", out)
    np.testing.assert_array_equal(np.load(out), fl.LSTM.load(WEIGHTS)(array)[0])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (normal(2, 7, 4), "3"),  # input size
        (normal(3), "(3,)"),  # rank
        (normal(2, 0, 3), "(2, 0, 3)"),  # no time
        (np.zeros((7, 3), np.int64), "int64"),
        (np.array([[None] * 3]), "x.npy"),  # objects: a pickle, which must not be loaded
    ],
)
def test_run_refuses_a_wrong_array(array, message, tmp_path, x):
    assert message in invoke("run", WEIGHTS, x(array), "-o", tmp_path / "y.npy", code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]  # nothing half-written stays


def test_run_refuses_a_damaged_array(tmp_path, x):
    path = x(normal(7, 3))
    content = path.read_bytes()
    for length in range(0, len(content), len(content) // 10):
        path.write_bytes(content[:length])
        assert "x.npy" in invoke("run", WEIGHTS, path, "-o", tmp_path / "y.npy", code=1)


def test_run_refuses_wrong_states_and_lengths(tmp_path, x):
    array, state, rest = x(normal(2, 7, 3)), tmp_path / "state.npz", ["-o", tmp_path / "y.npy"]
    assert "none.npz" in invoke("run", WEIGHTS, array, *rest, "--state-in", tmp_path / "none.npz", code=1)
    np.savez(state, h=normal(1, 2, 32))
    assert "state.npz" in invoke("run", WEIGHTS, array, *rest, "--state-in", state, code=1)
    state.write_bytes(state.read_bytes()[:100])
    assert "state.npz" in invoke("run", WEIGHTS, array, *rest, "--state-in", state, code=1)
    np.savez(state, h=normal(1, 2, 32), c=normal(1, 3, 32))
    assert "(1, 3, 32)" in invoke("run", WEIGHTS, array, *rest, "--state-in", state, code=1)
    assert "[7, 8]" in invoke("run", WEIGHTS, array, *rest, "--lengths", "7,8", code=1)
    assert "[7]" in invoke("run", WEIGHTS, array, *rest, "--lengths", "7", code=1)
    invoke("run", WEIGHTS, array, *rest, "--lengths", "7,a", code=2)


def test_run_refuses_arrays_that_lie(tmp_path, x):
    """An .npy and an .npz whose headers declare 40 GB."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (10**10, 1)})
    header = stream.getvalue()
    lie = tmp_path / "lie.npy"
    lie.write_bytes(header)
    assert "lie.npy" in invoke("run", WEIGHTS, lie, "-o", tmp_path / "y.npy", code=1)
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.writestr("h.npy", header)
        archive.writestr("c.npy", header)
    error = invoke(
        "run", WEIGHTS, x(normal(7, 3)), "-o", tmp_path / "y.npy", "--state-in", tmp_path / "lie.npz", code=1
    )
    assert "lie.npz" in error or "out of memory" in error


def test_run_without_a_prefix_lists_them(two_lstms, tmp_path, x):
    error = invoke("run", two_lstms, x(normal(7, 3)), "-o", tmp_path / "y.npy", code=1)
    assert "encoder.rnn" in error and "decoder" in error


def test_convert_writes_the_native_form(two_lstms, tmp_path):
    out = tmp_path / "out.safetensors"
    text = invoke("convert", two_lstms, out, "--prefix", "decoder", "--time-first")
    assert "out.safetensors" in text and "LSTM(4, 6" in text
    before, after = fl.LSTM.load(two_lstms, "decoder"), fl.LSTM.load(out)
    assert not after.batch_first
    for name, array in before.weights.layers[0][0].arrays.items():
        np.testing.assert_array_equal(after.weights.layers[0][0].arrays[name], array)


def test_convert_does_not_overwrite_unasked(tmp_path):
    out = tmp_path / "out.safetensors"
    out.write_text("precious")
    assert "--force" in invoke("convert", WEIGHTS, out, code=1)
    assert out.read_text() == "precious"
    invoke("convert", WEIGHTS, out, "--force")
    assert fl.LSTM.load(out).hidden_size == 32
    assert "another file" in invoke("convert", out, out, "--force", code=1)


@pytest.mark.parametrize(
    "args", [["bench", "--cases", "nonesuch"], ["bench", "--peers", "nonesuch"], ["run"], ["nonesuch"]]
)
def test_wrong_usage_is_exit_code_2(args):
    assert "Usage: " in invoke(*args, code=2)


def test_importing_the_package_stays_light():
    code = "import fusedlstm, sys; print([m for m in ('click', 'rich', 'matplotlib', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("seed", range(12))
def test_variants(seed, monkeypatch, tmp_path, x):
    """Any cell, any merge, layers of several sizes: the bits of a call, whole or in pieces, with the state carried."""
    rng = np.random.default_rng(seed)
    lstm = fl.LSTM(random_weights(rng, largest=9))
    lstm.save(tmp_path / "model")
    monkeypatch.setattr(runfile, "CHUNK", 2 * 3 * lstm.weights.num_parameters)  # two steps at a time
    array, y = rng.standard_normal((3, 7, lstm.input_size)).astype(np.float32), tmp_path / "y.npy"
    options = ["-o", y, "--lengths", "7,0,3", "--state-out", tmp_path / "state.npz"]
    if lstm.weights.merge == "none" and lstm.bidirectional:
        assert "merge='none'" in invoke("run", tmp_path / "model", x(array), *options, code=1)
        return
    state = None
    for given in ([], ["--state-in", tmp_path / "state.npz"]):
        expected, state = lstm(array, state, [7, 0, 3])
        invoke("run", tmp_path / "model", x(array), *options, *given)
        assert np.load(y).tobytes() == expected.tobytes()
        stored = runfile.read_state(tmp_path / "state.npz")
        assert [part.tobytes() for part in leaves(stored)] == [part.tobytes() for part in leaves(state)]


def test_info_says_what_differs(tmp_path):
    cell = fl.Cell(coupled="input", cell_clip=3.0)
    one = fl.DirectionWeights(np.zeros((8, 3)), np.zeros((8, 2)), peephole_o=np.ones(2), cell=cell)
    fl.LSTM(fl.LSTMWeights([[one]], reverse=True)).save(tmp_path / "model")
    text = " ".join(invoke("info", tmp_path / "model").split())
    assert "unlike torch.nn.LSTM: coupled=input, cell_clip=3.0, peephole_o, reverse" in text
    about = json.loads(invoke("info", tmp_path / "model", "--json"))["lstms"][0]
    assert about["differences"] == ["coupled=input", "cell_clip=3.0", "peephole_o", "reverse"]
