"""The team of threads: settings, fork, sleep between calls; denormals; the memory of a call."""

import asyncio
import copy
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
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


@pytest.mark.parametrize("directions", [1, 2])
def test_denormals_are_flushed_by_every_thread(threads, directions):
    """Cells that halve with each step, until all that is left is a denormal, whoever computes it."""
    hidden, steps = 512, 130
    bias = np.repeat(np.float32([-200, 0, 0, 5]), hidden)
    one = fl.DirectionWeights(np.zeros((4 * hidden, 64)), np.zeros((4 * hidden, hidden)), bias)
    lstm = fl.LSTM(fl.LSTMWeights([[one] * directions], batch_first=False))
    state = tuple(np.ones((directions, 1, hidden), np.float32) for _ in "hc")
    for count in (1, 2):
        threads(count)
        for _ in range(20):  # workers come when they can
            _, (_, c) = lstm(np.ones((steps, 1, 64), np.float32), state)
            assert not c.any()


@linux
def test_workers_that_were_never_woken_sleep():
    """The first call has too little to share to wake anybody for."""
    code = """
import time, numpy as np, fusedlstm as fl
from conftest import random_weights
fl.set_num_threads(2)
fl.LSTM(random_weights(np.random.default_rng(0), 64, 128))(np.ones((1, 20, 64), np.float32))
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before)
"""
    assert float(run_python(code, PYTHONPATH=os.pathsep.join(sys.path)).stdout) < 0.01


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


def settings_of(one):
    return one.threads, pickle.loads(pickle.dumps(one)).threads, copy.copy(one).threads, copy.deepcopy(one).threads


def test_a_number_of_threads_of_its_own(tmp_path, threads, wide):
    """Kept by whatever is made of a model; what is computed does not depend on it."""
    lstm, x = wide
    lstm.save(tmp_path / "lstm.safetensors")
    conv = fl.ConvLSTMWeights(np.ones((8, 3, 3, 1)), np.ones((8, 3, 3, 2)))
    fl.ConvLSTM(conv).save(tmp_path / "conv.safetensors")
    fl.Sequential(lstm, "relu").save(tmp_path / "model.safetensors")
    loaders = [
        lambda **own: fl.LSTM.load(tmp_path / "lstm.safetensors", **own),
        lambda **own: fl.LSTM.load(tmp_path / "lstm.safetensors", dtype="int8", **own),
        lambda **own: fl.LSTM.load_all(tmp_path / "lstm.safetensors", **own)[""],
        lambda **own: fl.ConvLSTM.load(tmp_path / "conv.safetensors", **own),
        lambda **own: fl.ConvLSTM.load_all(tmp_path / "conv.safetensors", **own)[""],
        lambda **own: fl.Model.load(tmp_path / "model.safetensors", **own),
        lambda **own: fl.Sequential(lstm, "relu", **own),
        lambda **own: fl.LSTM.from_torch(torch.nn.LSTM(3, 4), **own),
        lambda **own: fl.LSTM.from_state_dict(torch.nn.LSTM(3, 4).state_dict(), batch_first=True, **own),
    ]
    for load in loaders:
        assert settings_of(load()) == (None,) * 4 and "threads" not in repr(load())
        assert settings_of(load(threads=3)) == (3,) * 4 and "threads=3" in repr(load(threads=3))
        for wrong in (0, 1025, -1):
            with pytest.raises(ValueError, match=f"threads: expected 1 to 1024, found {wrong}"):
                load(threads=wrong)
        for wrong in (True, "2", 2.0):
            with pytest.raises(TypeError, match="threads: expected a whole number"):
                load(threads=wrong)
        with pytest.raises(AttributeError):
            load().threads = 2  # what is packed has its number
    own = loaders[0](threads=1)
    assert own.astype("int8").threads == 1 and own.stream().lstm.threads == 1
    assert loaders[5](threads=1).astype("int8").threads == 1
    expected = own(x)[0].tobytes()
    for count in (1, 2, 4):
        threads(count)
        assert own(x)[0].tobytes() == expected == loaders[0](threads=3)(x)[0].tobytes()


@linux
@pytest.mark.parametrize("kind", ["lstm", "model", "pool", "pool of a model"])
def test_one_thread_of_a_models_own_starts_no_other(kind):
    """Whatever the process has set; and with two of its own, the process's one does not matter."""
    code = f"""
import os, numpy as np, fusedlstm as fl
from conftest import random_weights
def run(own, whole):
    fl.set_num_threads(whole)
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 64, 256), threads=own)
    model = fl.Sequential(lstm, "relu", threads=own)
    x = np.zeros((4, 100, 64), np.float32)
    if {kind!r} == "lstm": lstm(x)
    elif {kind!r} == "model": model(x)
    else:
        pool = fl.StreamPool(lstm if {kind!r} == "pool" else model)
        pool.process({{pool.open(): row for row in x}})
    return len(os.listdir("/proc/self/task"))
before = len(os.listdir("/proc/self/task"))
print(run(1, 2) - before, run(2, 1) - before)
"""
    found = run_python(code, PYTHONPATH=os.pathsep.join(sys.path), OPENBLAS_NUM_THREADS="1")
    assert found.stdout.split() == ["0", "1"], found.stderr


def test_a_batcher_says_how_many_threads_it_uses(threads, wide):
    lstm, _ = wide
    threads(3)

    async def ask(model):
        batcher = fl.AsyncBatcher(fl.StreamPool(model))
        shown = repr(batcher)
        await batcher.aclose()
        return batcher.threads, shown

    for model, count in ((lstm, 3), (fl.LSTM(lstm.weights, threads=2), 2), (fl.Sequential(lstm, threads=1), 1)):
        found, shown = asyncio.run(ask(model))
        assert found == count and shown.startswith("AsyncBatcher(StreamPool(") and shown.endswith(f", threads={count})")


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
