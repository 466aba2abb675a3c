"""What is written: only over regular files, with their mode and owner, whole or not at all; what killed processes leave."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import random_weights

import fusedlstm as fl
from fusedlstm import _files
from fusedlstm.cli import cli
from fusedlstm.demo import WEIGHTS

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX's files")


@pytest.fixture
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 3, 4))


def convert(target):
    result = CliRunner().invoke(cli, ["convert", str(WEIGHTS), str(target), "--force"])
    if result.exit_code:
        raise OSError(result.stderr)


def run(target):
    with tempfile.TemporaryDirectory() as other:
        x = os.path.join(other, "x.npy")
        np.save(x, np.zeros((2, 3), np.float32))
        result = CliRunner().invoke(cli, ["run", str(WEIGHTS), x, "-o", str(target)])
    if result.exit_code:
        raise OSError(result.stderr)


def save(target):
    fl.LSTM(random_weights(np.random.default_rng(0), 3, 4)).save(target)


def save_conv(target):
    fl.ConvLSTM(fl.ConvLSTMWeights(np.zeros((8, 3, 4), np.float32), np.zeros((8, 3, 2)))).save(target)


WRITERS = [save, save_conv, convert, run]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@posix
@pytest.mark.parametrize("write", WRITERS)
def test_only_regular_files_are_replaced(write, folder):
    os.mkfifo(folder / "fifo")
    (folder / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as one:
        before = os.getcwd()
        os.chdir(folder)  # names of sockets are short
        one.bind("socket")
        os.chdir(before)
        (folder / "device").symlink_to("/dev/null")
        for name in ("fifo", "directory", "socket", "device"):
            kind = os.stat(folder / name).st_mode
            with pytest.raises(OSError, match="Not a regular file"):
                write(folder / name)
            assert os.stat(folder / name).st_mode == kind
    (folder / "loop").symlink_to(folder / "pool")
    (folder / "pool").symlink_to(folder / "loop")
    (folder / "nowhere").symlink_to(folder / "none" / "file")
    for name in ("loop", "nowhere", "none/file"):
        with pytest.raises(OSError):
            write(folder / name)
    assert sorted(os.listdir(folder)) == ["device", "directory", "fifo", "loop", "nowhere", "pool", "socket"]


@posix
@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o400])
def test_mode_and_owner_stay(write, mode, folder):
    target = folder / "file"
    target.write_text("before")
    target.chmod(mode)
    if os.geteuid() == 0:
        os.chown(target, 1234, 5678)
    before = os.stat(target)
    (folder / "link").symlink_to("file")
    write(folder / "link")
    after = os.stat(target)
    assert (folder / "link").is_symlink() and after.st_size != before.st_size
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    umask = os.umask(0o027)
    try:
        write(folder / "new")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(folder / "new").st_mode) == 0o640
    assert sorted(os.listdir(folder)) == ["file", "link", "new"]


@pytest.mark.parametrize("write", WRITERS)
def test_names_as_long_as_the_file_system_takes(write, folder):
    longest = "n" * (os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else 200)
    write(folder / longest)
    with pytest.raises(OSError):
        write(folder / (longest + "n" * 200))
    write(folder / "é")
    assert sorted(os.listdir(folder)) == [longest, "é"]


def test_any_kind_of_path(lstm, folder):
    for path in (folder / "a", str(folder / "b"), os.fsencode(folder / "c")):
        lstm.save(path)
    assert sorted(os.listdir(folder)) == ["a", "b", "c"]


def test_a_failure_leaves_what_was_there(lstm, folder, monkeypatch):
    lstm.save(folder / "file")
    before = (folder / "file").read_bytes()
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):

            def fail(*args):
                raise OSError("full")

            patch.setattr(os, name, fail)
            fl.LSTM(random_weights(np.random.default_rng(1), 30, 40)).save(folder / "file")
        assert os.listdir(folder) == ["file"] and (folder / "file").read_bytes() == before


HOLD = """
import sys, time
from pathlib import Path
from fusedlstm._files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(60)
"""


@posix
@pytest.mark.parametrize("write", WRITERS)
def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_is_not(write, folder):
    def start(name):
        arguments = [sys.executable, "-c", HOLD, str(folder / name)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if _files.PREFIX in line:
                return process, Path(line.strip())
        raise AssertionError("it did not begin")

    (dead, left), (live, kept) = start("same"), start("other")
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    assert left.exists() and kept.exists()
    (folder / ".fusedlstm-notes.txt").write_text("the user's own")
    write(folder / "same")
    assert sorted(os.listdir(folder)) == sorted([".fusedlstm-notes.txt", kept.name, "same"])
    live.kill()
    live.wait()
    live.stdout.close()
    dead.stdout.close()
    write(folder / "third")
    assert sorted(os.listdir(folder)) == [".fusedlstm-notes.txt", "same", "third"]


@posix
def test_many_processes_save_at_once(folder):
    """Nobody takes a live file for a stray, and the winner's is whole."""
    code = """
import sys, numpy as np, fusedlstm as fl
from conftest import random_weights
lstm = fl.LSTM(random_weights(np.random.default_rng(int(sys.argv[2])), 3, 40))
for _ in range(60): lstm.save(sys.argv[1])
"""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    arguments = [sys.executable, "-c", code, str(folder / "file")]
    processes = [subprocess.Popen([*arguments, str(seed)], env=environment) for seed in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert os.listdir(folder) == ["file"] and fl.LSTM.load(folder / "file").hidden_size == 40


@posix
def test_only_regular_files_are_read(folder):
    os.mkfifo(folder / "fifo")
    (folder / "file").write_text("x")
    assert _files.regular_file(str(folder / "file")) == folder / "file"
    start = time.monotonic()
    for path, message in (
        (folder / "fifo", "Not a regular file"),
        ("/dev/zero", "Not a regular file"),
        (folder, "Is a directory"),
        (folder / "none", "No such file"),
    ):
        with pytest.raises(OSError, match=message):
            _files.regular_file(path)
    for options in (["run", str(WEIGHTS), str(folder / "fifo"), "-o", str(folder / "y")],):
        assert "Not a regular file" in CliRunner().invoke(cli, options).stderr
    np.save(folder / "x.npy", np.zeros((2, 3), np.float32))
    options = ["run", str(WEIGHTS), str(folder / "x.npy"), "-o", str(folder / "y"), "--state-in", str(folder / "fifo")]
    assert "Not a regular file" in CliRunner().invoke(cli, options).stderr
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "name", ["x.onnx", "x.H5", "x.weights.h5", "x.keras", "x.pt", "x.pth", "x.tflite", "x.npz", "x.nam"]
)
def test_saving_does_not_lie_about_the_format(name, lstm, folder):
    with pytest.raises(ValueError, match=r"expected a name such as x.*\.safetensors"):
        lstm.save(folder / name)
    with pytest.raises(OSError, match=r"expected a name such as x.*\.safetensors"):
        convert(folder / name)
    assert not os.listdir(folder)
    for name in ("x", "x.safetensors", "x.v2"):
        convert(folder / name)
