"""Options of the benchmarks, the pinning of their process, and the machine's limits."""

import os
import subprocess

import limits as probe
import pytest
from suite.bound import Limits, float_isa

import fusedlstm
from fusedlstm.bench.session import prepare


def pytest_addoption(parser):
    parser.addoption(
        "--threads", type=int, default=1, help="Threads for every engine; the process is pinned to as many CPUs."
    )


@pytest.fixture(scope="session")
def threads(request):
    return request.config.getoption("--threads")


@pytest.fixture(scope="session", autouse=True)
def _prepared(threads):
    """Before any engine is imported: some fix their threads then. What is pinned is let go again for other tests."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    prepare(threads)
    yield
    if before is not None:
        os.sched_setaffinity(0, before)


@pytest.fixture(scope="session")
def limits():
    """What one core can do, measured now; None where that cannot be measured."""
    try:
        measured = probe.measure()
    except (OSError, subprocess.CalledProcessError):
        return None
    isa = float_isa(fusedlstm.cpu_info()["isa"])
    return Limits(measured["measured"], **measured["isas"][isa]) if isa in measured["isas"] else None
