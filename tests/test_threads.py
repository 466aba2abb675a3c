"""The team of threads: settings, fork, sleep between calls; denormals; the memory of a call."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses Linux's own counters")


@pytest.fixture
def wide():
    """An LSTM and an x that two threads share."""
    rng = np.random.default_rng(0)
    return fl.LSTM(random_weights(rng, 64, 256)), rng.standard_normal((2, 50, 64)).astype(np.float32)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_a_team_of_its_own(wide, threads):
    threads(2)
    lstm, x = wide
    expected, _ = lstm(x)  # the parent's team exists
    for _ in range(3):
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a hang becomes a failure
            os._exit(0 if np.array_equal(lstm(x)[0], expected) else 1)
        assert os.waitpid(child, 0)[1] == 0
        np.testing.assert_array_equal(lstm(x)[0], expected)


@linux
def test_nobody_spins_between_calls(wide, threads):
    threads(2)
    lstm, x = wide
    lstm(x)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1


def run_python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **env}
    )


def test_settings_from_the_environment():
    ask = "import fusedlstm as fl; print(fl.get_num_threads(), fl.cpu_info()['isa'])"
    assert run_python(ask, FUSEDLSTM_NUM_THREADS="3", FUSEDLSTM_ISA="scalar").stdout.split() == ["3", "scalar"]
    for value in ("0", "-2", "many", "1e9"):
        failed = run_python(ask, FUSEDLSTM_NUM_THREADS=value)
        assert "FUSEDLSTM_NUM_THREADS: expected a whole number from 1 to 1024" in failed.stderr
    assert "FUSEDLSTM_ISA: expected one of" in run_python(ask, FUSEDLSTM_ISA="sse9").stderr


@linux
def test_the_default_respects_cpu_affinity():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nimport fusedlstm as fl; print(fl.get_num_threads())"
    assert run_python(code).stdout.strip() == "1"


def test_denormals_cost_nothing(isa):
    """A state that decays through the denormals, with weights that keep it there, beside ordinary numbers."""
    rng = np.random.default_rng(1)
    hidden = 64
    weights = random_weights(rng, 8, hidden)
    lstm = fl.LSTM(weights)
    ordinary = rng.standard_normal((4, 200, 8)).astype(np.float32)
    tiny = (ordinary * 1e-39).astype(np.float32)
    state = tuple(np.full((1, 4, hidden), 1e-40, np.float32) for _ in "hc")

    def seconds(x, state=None):
        start = time.perf_counter()
        lstm(x, state)
        return time.perf_counter() - start

    rounds = [(seconds(ordinary), seconds(tiny, state)) for _ in range(41)]
    ratios = sorted(slow / plain for plain, slow in rounds)
    assert ratios[len(ratios) // 4] < 1.5  # without flush-to-zero: 3 to 20
    # The caller's own floating-point mode is as before: a denormal stays one.
    assert np.float32(1e-39) * np.float32(0.5) != 0


@linux
def test_memory_does_not_grow_with_time():
    """A million steps: beside x and y, the peak is some megabytes."""
    code = """
import resource, numpy as np, fusedlstm as fl
from conftest import random_weights
fl.set_num_threads(1)
lstm = fl.LSTM(random_weights(np.random.default_rng(0), 3, 8, 2))
x = np.zeros((1, 1_000_000, 3), np.float32)
out = np.empty((1, 1_000_000, 8), np.float32)
out.fill(1)
lstm(x[:, :2000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
lstm(x, out=out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    found = run_python(code, PYTHONPATH=os.pathsep.join(sys.path))
    assert 0 <= int(found.stdout) < 16 << 10, found.stderr  # KiB


@pytest.mark.parametrize("batch", [1, 3, 4, 9])
@pytest.mark.parametrize("directions", [1, 2])
def test_single_steps_are_shared_out(threads, batch, directions):
    """Members take panels as they come, unless the input was projected ahead."""
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 300, 301, layers=2, directions=directions))
    x = rng.standard_normal((batch, 1, 300)).astype(np.float32)
    threads(1)
    expected = lstm(x)
    for count in (2, 3, 4):
        threads(count)
        for _ in range(20):
            found = lstm(x)
            assert found[0].tobytes() == expected[0].tobytes()
            assert (
                found[1][0].tobytes() == expected[1][0].tobytes() and found[1][1].tobytes() == expected[1][1].tobytes()
            )


@linux
@pytest.mark.skipif(CPUS < 2, reason="needs two CPUs")
def test_a_call_after_a_pause_is_no_slower_than_with_one_thread(threads, wide):
    """Linux wakes a sleeping worker on its caller's CPU, if it is not told otherwise: three times slower."""
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 1.25 * (os.cpu_count() or 1):
        pytest.skip("others are using the CPUs, and a team waits for its slowest member")
    lstm, x = wide

    def seconds(count):
        threads(count)
        lstm(x)
        times = []
        for _ in range(8):
            time.sleep(0.02)
            lstm(x)
            start = time.perf_counter()
            for _ in range(6):
                lstm(x)
            times.append(time.perf_counter() - start)
        return sorted(times)[2]

    assert min(seconds(2) / seconds(1) for _ in range(5)) < 1.3
