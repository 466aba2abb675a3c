"""Arguments and streams that change under a call: by other threads, by the Python that converts them, by a fork, at exit."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl

has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 3, 8, 2))


@pytest.fixture
def eager():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Converted:
    """Something that runs Python when it becomes an array."""

    def __init__(self, value, run):
        self.value, self.run = value, run

    def __array__(self, *args, **kwargs):
        self.run()
        return np.asarray(self.value)


def refusal(error, call):
    """What it says, or nothing where the call went well."""
    try:
        call()
    except error as told:
        return str(told)
    return ""


ZEROS = np.zeros((2, 1, 8), np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda s, odd: s.step(odd(np.zeros(3, np.float32))),
        lambda s, odd: s.step(np.zeros(3, np.float32), active=odd(np.ones(1, bool))),
        lambda s, odd: s.step(active=odd(np.ones(1, bool))),
        lambda s, odd: s.process(odd(np.zeros((4, 3), np.float32))),
        lambda s, odd: s.process(odd(np.zeros((0, 3), np.float32))),
        lambda s, odd: s.reset(odd(np.ones(1, bool))),
        lambda s, odd: setattr(s, "state", (ZEROS, [odd(ZEROS[0]), ZEROS[1]])),
    ],
)
def test_a_stream_closed_by_what_it_is_given(lstm, call):
    stream = lstm.stream()
    with pytest.raises(ValueError, match="closed"):
        call(stream, lambda value: Converted(value, stream.close))
    assert stream.closed
    stream = lstm.stream()
    call(stream, lambda value: Converted(value, stream.step))  # anything else may be done there


@pytest.mark.parametrize("hidden, x", [(8, [0.1, 0.2, 0.3]), (8, np.zeros(3)[::-1]), (400, np.zeros(3, np.float32))])
def test_a_stream_closed_by_another_thread(eager, hidden, x):
    """Short steps keep the GIL but for the conversion of x; long ones give it up."""
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 3, hidden))
    end, seen = time.monotonic() + 1.5, set()
    while time.monotonic() < end:
        stream, go = lstm.stream(), threading.Event()

        def close(stream=stream, go=go):
            go.wait()
            while not stream.closed:
                try:
                    stream.close()
                except RuntimeError as error:
                    seen.add(str(error)[:30])

        thread = threading.Thread(target=close)
        thread.start()
        go.set()
        with pytest.raises((ValueError, RuntimeError)) as told:
            while True:
                stream.step(x)
        thread.join()
        seen.add(str(told.value)[:30])
    assert "stream: expected an open strea" in seen


@pytest.mark.parametrize("values", [[0, 0], [-(2**62), 2**62], [2**31, 5]])
def test_lengths_that_change_while_a_call_runs(threads, values):
    """They are read once: as they were, or as they are."""
    threads(1)
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 8, 256))
    x, lengths = np.random.default_rng(1).standard_normal((2, 4000, 8)).astype(np.float32), np.array([4000, 3999])
    y = lstm(x, lengths=lengths.copy())[0]
    as_it_was, before = y.tobytes(), 0
    for delay in (0.002, 0.01, 0.02, 0.03, 0.04):
        timer = threading.Timer(delay, lambda: lengths.__setitem__(slice(None), values))
        timer.start()
        told = refusal(ValueError, lambda: lstm(x, lengths=lengths, out=y))
        timer.join()
        assert "lengths[" in told or y.tobytes() == as_it_was or not y.any()
        before += y.tobytes() == as_it_was and not told
        lengths[...] = [4000, 3999]
    assert before


def test_everything_changes_while_calls_run(threads, eager):
    """Other numbers, perhaps; no other memory. y and h stay where tanh and sigmoid leave them."""
    threads(2)
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 16, 64))
    x, state = rng.standard_normal((8, 60, 16)).astype(np.float32), [np.zeros((1, 8, 64), np.float32)] * 2
    lengths, mask = np.full(8, 60), np.ones((8, 60), bool)
    pool, stream = fl.StreamPool(lstm), lstm.stream(8)
    ids = np.array([pool.open() for _ in range(8)])
    active, y_of_pool, done = np.ones(8, bool), np.zeros((8, 64), np.float32), threading.Event()

    def spoil():
        mine = np.random.default_rng(1)
        while not done.is_set():
            lengths[:] = mine.integers(0, 61, 8)
            mask[...] = mine.random((8, 60)) < 0.5
            active[:] = mine.random(8) < 0.5
            ids[:] = mine.permutation(8)
            x[...] = mine.standard_normal(x.shape) * 10.0 ** mine.integers(-40, 38)
            state[0][...] = mine.standard_normal(state[0].shape)

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            for y in (
                lstm(x, state, lengths)[0],
                lstm(x, state, mask=mask)[0],
                stream.step(x[:, 0], active=active),
                stream.process(x),
            ):
                assert np.abs(y).max() <= 1
            told = refusal(ValueError, lambda: pool.step(ids, x[:, 0], y_of_pool))
            assert np.abs(y_of_pool).max() <= 1 and (not told or "once" in told)  # half changed: one of them twice
    finally:
        done.set()
        thread.join()


@has_fork
def test_a_pool_and_a_stream_in_which_other_threads_are_when_the_process_forks():
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 64, 512))
    x = rng.standard_normal((1000, 64)).astype(np.float32)
    expected = lstm(x[:4])[0]
    pool, stream, done = fl.StreamPool(lstm), lstm.stream(), threading.Event()
    stepping, idle = [pool.open() for _ in range(3)], pool.open()

    def step_pool():
        while not done.is_set():
            pool.process(dict.fromkeys(stepping, x))

    def step_stream():
        while not done.is_set():
            stream.process(x)

    def come_and_go():
        while not done.is_set():
            pool.close(pool.open())
            pool.state(idle)

    threads = [threading.Thread(target=run) for run in (step_pool, step_stream, come_and_go)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    torn = [0, 0]
    for _ in range(24):
        time.sleep(0.003)
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # a hang becomes a failure
            code = 64
            try:
                code = in_the_child(pool, stepping, idle, stream, x, expected)
            except BaseException as error:
                print(type(error).__name__, error, flush=True)
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert 0 <= code < 4
        torn[0] += code & 1
        torn[1] += code >> 1
    done.set()
    for thread in threads:
        thread.join()
    assert min(torn) > 0
    assert pool.process({idle: x[:4]})[idle].tobytes() == expected.tobytes()  # the parent goes on


def in_the_child(pool, stepping, idle, stream, x, expected):
    """Whatever was under way says so until it has a state again; all else works. Which were: 1 the pool, 2 the stream."""
    code, chunk = 0, x[:4]
    fresh = pool.open()
    for id in (idle, fresh):
        assert pool.process({id: chunk})[id].tobytes() == expected.tobytes()
    copies = [pool.open() for _ in range(100)]  # grows
    assert pool.process(dict.fromkeys(copies, chunk))[copies[99]].tobytes() == expected.tobytes()
    if told := refusal(RuntimeError, lambda: pool.state(stepping[0])):
        assert "forked" in told
        code |= 1
        for call in (pool.state, pool.fork, lambda id: pool.step([idle, id], x[:2])):
            with pytest.raises(RuntimeError, match="forked"):
                call(stepping[1])
        pool.reset(stepping[:1])
        pool.set_state(stepping[1], pool.state(stepping[0]))
        pool.close(stepping[2])
        for id in (*stepping[:2], pool.open()):
            pool.process({id: chunk})
    pool.reset([idle, *stepping[:2]])
    found = pool.process(dict.fromkeys((idle, *stepping[:2]), chunk))
    assert {y.tobytes() for y in found.values()} == {expected.tobytes()}
    if told := refusal(RuntimeError, lambda: stream.step(x[0])):
        assert "forked" in told
        code |= 2
        for call in (lambda: stream.state, stream.copy, lambda: stream.reset([True]), lambda: pickle.dumps(stream)):
            with pytest.raises(RuntimeError, match="forked"):
                call()
    stream.reset()
    assert stream.process(chunk).tobytes() == expected.tobytes()
    stream.close()
    return code


AT_EXIT = """
import sys, threading, time
import numpy as np, fusedlstm as fl
from conftest import random_weights
rng = np.random.default_rng(0)
lstm = fl.LSTM(random_weights(rng, 64, int(sys.argv[2])))
x = np.zeros((2, 200, 64), np.float32)
def call():
    while True: lstm(x)
def stream():
    one = lstm.stream(2)
    while True: one.process(x)
def pool():
    one = fl.StreamPool(lstm)
    ids = [one.open() for _ in range(2)]
    while True: one.step(ids, x[:, 0])
def conv():
    one = fl.ConvLSTM(fl.ConvLSTMWeights(np.zeros((64, 3, 3, 4)), np.zeros((64, 3, 3, 16))))
    frames = np.zeros((1, 2, 20, 20, 4), np.float32)
    while True: one(frames)
for _ in range(3): threading.Thread(target=globals()[sys.argv[1]], daemon=True).start()
time.sleep(0.1)
"""


@pytest.mark.parametrize("what", ["call", "stream", "pool", "conv"])
@pytest.mark.parametrize("hidden", [4, 256])
def test_daemon_threads_in_a_call_when_the_interpreter_ends(what, hidden):
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    for _ in range(3):
        run = subprocess.run(
            [sys.executable, "-c", AT_EXIT, what, str(hidden)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert run.returncode == 0 and "terminate" not in run.stderr, run.stderr


def test_an_id_that_comes_twice_among_many_is_found_at_once(lstm):
    pool = fl.StreamPool(lstm, 30_000)
    ids = [pool.open() for _ in range(30_000)]
    x = np.zeros((30_001, 3), np.float32)
    start = time.process_time()
    with pytest.raises(ValueError, match=f"found {ids[-1]} twice"):
        pool.step([*ids, ids[-1]], x)
    with pytest.raises(ValueError, match="never gave"):
        pool.step([*ids, 77_777], x)
    assert time.process_time() - start < 1  # compared one with another, they took 5 seconds


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere growing copies")
def test_a_pool_grows_without_copying():
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 4, 2048))
    pool = fl.StreamPool(lstm, capacity=16_384)  # 256 MiB of states
    first, last = pool.open(), [pool.open() for _ in range(16_383)][-1]
    x = np.ones((1, 4), np.float32)
    for id in (first, last):
        pool.step([id], x)
    before = [pool.state(id) for id in (first, last)]
    start = time.process_time()
    other = pool.open()
    assert time.process_time() - start < 0.05  # copying them takes 10 times as long
    assert pool.capacity == 32_768
    after = [pool.state(id) for id in (first, last)]
    assert np.array_equal(before, after)
    assert not np.any(pool.state(other))


def test_growing_where_the_system_cannot_move_pages(lstm, monkeypatch):
    from fusedlstm import _growing

    class Fixed(_growing.mmap.mmap):
        def resize(self, size):
            raise SystemError("mmap: resizing not available--no mremap()")

    monkeypatch.setattr(_growing.mmap, "mmap", Fixed)
    pool = fl.StreamPool(lstm, capacity=1)
    x = np.ones((1, 3), np.float32)
    ids = []
    for _ in range(70):
        ids.append(pool.open())
        pool.step(ids, np.repeat(x, len(ids), 0))
    for k, id in enumerate(ids):
        for found, expected in zip(pool.state(id), lstm(np.repeat(x, 70 - k, 0))[1]):
            assert found.tobytes() == expected.tobytes()


def test_no_memory_is_told(lstm):
    with pytest.raises(MemoryError):
        fl.StreamPool(fl.LSTM(random_weights(np.random.default_rng(0), 1, 3000)), 1 << 24).open()
