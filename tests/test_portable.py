"""The tests themselves can be collected where there is no POSIX: what only some systems have is looked for inside tests."""

import subprocess
import sys
from pathlib import Path

# Names that macOS or Windows lack, taken away from what the tests see; libraries keep theirs, which they import first.
CODE = """
import importlib, os, pathlib, signal, sys, time
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/helpers"]
files = sorted(pathlib.Path(sys.argv[1]).glob("*.py"))
for library in ("torch", "keras", "jax", "flax", "onnx", "onnxruntime", "asyncio", "multiprocessing", "fusedlstm"):
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
for path in files:
    try:
        importlib.import_module(path.stem)
    except BaseException as error:
        if type(error).__name__ != "Skipped":
            print(f"FAILED {path.name}: {type(error).__name__}: {error}")
print("DONE", len(files))
"""


def test_every_file_imports_without_posix():
    """What a test needs beside that is a skipif with hasattr, or imported inside it."""
    command = [sys.executable, "-c", CODE, Path(__file__).parent]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "DONE"))]
    assert len(lines) == 1 and lines[0].startswith("DONE"), done.stdout + done.stderr[-2000:]
