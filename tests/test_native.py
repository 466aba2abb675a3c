"""The engine without Python: threads that cannot be had, and the same bits on other processors."""

import shutil
import sys

import pytest
from native_programs import build, run

# A compiler of Debian's, the system's name for the processor, and what runs its programs here (nothing: this CPU can).
OTHERS = [
    ("aarch64-linux-gnu-g++", "aarch64", ["qemu-aarch64-static"]),
    ("arm-linux-gnueabihf-g++", "armv7l", ["qemu-arm-static"]),
    ("i686-linux-gnu-g++", "i686", []),
    ("riscv64-linux-gnu-g++", "riscv64", ["qemu-riscv64-static"]),
    ("s390x-linux-gnu-g++", "s390x", ["qemu-s390x-static"]),
]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="replaces pthread_create as Linux's linkers do")
def test_a_team_comes_back_after_a_thread_could_not_be_had(tmp_path):
    """Neither for want of threads nor of memory: each line is the team's size without, and with them again."""
    folder = build(tmp_path, "team", CMAKE_BUILD_TYPE="Debug", FUSEDLSTM_ISAS="avx2")  # what it computes is no matter
    assert run(folder / "team").split("\n") == ["1 2", "2 4", "4 6", ""]


def by_isa(text):
    """The lines of `bits` for each instruction set, without its name."""
    lines = [line.split(" ", 1) for line in text.splitlines()]
    return {isa: [rest for name, rest in lines if name == isa] for isa, _ in lines}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    found = by_isa(run(build(tmp_path_factory.mktemp("here"), "bits") / "bits"))
    fused = [lines for isa, lines in found.items() if isa != "scalar"]
    assert all(lines == fused[0] for lines in fused)
    hashes = [line.split()[-1] for line in found["scalar"]]
    assert len(hashes) > 900 and len(set(hashes)) > len(hashes) // 3  # float16 and bfloat16 have float32's bits
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "cpu", "runner"), OTHERS, ids=[cpu for _, cpu, _ in OTHERS])
def test_the_same_bits_on_another_processor(here, tmp_path, compiler, cpu, runner):
    """Scalar as scalar here, NEON as the other fused ones: LSTMs with every option, GRUs, ConvLSTMs, streams, programs' steps."""
    missing = [tool for tool in (compiler, *runner) if shutil.which(tool) is None]
    if missing or (not runner and "avx2" not in here):
        pytest.skip(f"cannot build or run {cpu} here: {missing}")
    folder = build(
        tmp_path,
        "bits",
        CMAKE_SYSTEM_NAME="Linux",
        CMAKE_SYSTEM_PROCESSOR=cpu,
        CMAKE_CXX_COMPILER=compiler,
        CMAKE_EXE_LINKER_FLAGS="-static",
        FUSEDLSTM_WERROR="ON",
    )
    found = by_isa(run(*runner, folder / "bits"))
    assert list(found) == (["neon", "scalar"] if cpu == "aarch64" else ["scalar"])
    assert found["scalar"] == here["scalar"]
    if "neon" in found:
        assert next(here[isa] for isa in here if isa != "scalar") == found["neon"]
