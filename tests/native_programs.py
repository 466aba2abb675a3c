"""What tests/native and csrc build to, without Python: for this machine, or for another one."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build(folder, *targets, **options):
    """Build with CMake in a folder; `options` are CMake's."""
    if shutil.which("cmake") is None or not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no CMake, or no C++ compiler")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run("cmake", "-S", ROOT / "tests" / "native", "-B", folder, *generator, *(f"-D{k}={v}" for k, v in options.items()))
    run("cmake", "--build", folder, "--config", "Release", "--target", *targets)
    return folder


def run(*command):
    """The output of a program that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout
