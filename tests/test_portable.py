"""The tests themselves can be collected where there is no POSIX: what only some systems have is looked for inside tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Names that macOS or Windows lack, taken away from what the tests see; libraries, which they import first, keep theirs.
CODE = """
import importlib, os, signal, sys, time
import pytest
for library in ("torch", "keras", "jax", "flax", "onnx", "onnxruntime", "ray", "platformdirs",
                "asyncio", "multiprocessing", "fusedlstm"):
    try:
        importlib.import_module(library)
    except ImportError:
        pass
for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "uvloop"):
    sys.modules[name] = None
missing = {
    os: "fork forkpty sched_getaffinity sched_setaffinity getuid geteuid getgid mkfifo mknod chown setsid killpg nice"
        " statvfs getloadavg wait wait4 WEXITSTATUS WIFSIGNALED pread",
    signal: "SIGALRM SIGKILL SIGHUP SIGUSR1 alarm setitimer pthread_kill",
    time: "clock_gettime tzset",
    sys: "abiflags",
}
for module, names in missing.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "tests"]))
"""


def test_every_file_is_collected_without_posix():
    """What a test needs beside that is a skipif with hasattr, or imported inside it."""
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "tests/test_threads.py::" in done.stdout
