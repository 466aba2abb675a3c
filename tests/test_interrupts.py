"""Ctrl-C in the middle of a long call: it ends soon, and everything is as usable as before."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from conftest import random_weights
from graphs import Builder, random

import fusedlstm as fl
from fusedlstm.model_stream import ModelStream
from fusedlstm.time_stream import TimeStream

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="sends a signal to the main thread")

WITHIN = 0.2 if hasattr(os, "getloadavg") and os.getloadavg()[0] < (os.cpu_count() or 1) else 2.0
"""Seconds; on a machine where others want the CPUs, as long as they may keep us from one."""


class Told(Exception):
    """What a handler raises."""


def seconds_to_end(call, error=KeyboardInterrupt, number=signal.SIGINT):
    """How long a call goes on after a signal that comes when it has run for a while."""
    sent = []

    def send():
        sent.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident, number)

    timer = threading.Timer(0.15, send)
    try:
        with pytest.raises(error):
            timer.start()
            call()
            time.sleep(5)  # a call that was too short for this test
            raise AssertionError("the call was not interrupted")
        return time.monotonic() - sent[0]
    finally:
        timer.join()


@pytest.fixture(autouse=True)
def keyboard():
    """Python's own handler: who is started in the background of a shell has none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), 64, 256))


@pytest.fixture(scope="module")
def x():
    """Seconds of work, whatever the processor."""
    return np.random.default_rng(1).standard_normal((1, 200_000, 64)).astype(np.float32)


def wide(x, rows):
    return x[0, : x.shape[1] // rows * rows].reshape(rows, -1, x.shape[2])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", ["sequence", "both directions", "batch", "two layers", "any cell", "projected"])
def test_a_call_ends_soon(lstm, x, threads, kind, count):
    threads(count)
    rng = np.random.default_rng(2)
    options = {"both directions": {"directions": 2}, "two layers": {"layers": 2}, "projected": {"proj": 128}}
    weights = random_weights(rng, 64, 256, **options.get(kind, {}))
    if kind == "any cell":
        weights = fl.LSTMWeights(
            [
                [
                    fl.DirectionWeights(one.weight_ih, one.weight_hh, one.bias, cell=fl.Cell(cell_clip=3.0))
                    for one in layer
                ]
                for layer in weights.layers
            ],
            batch_first=True,
        )
    model, given = fl.LSTM(weights), wide(x, 64) if kind == "batch" else x
    expected = model(given[:, :20])[0].tobytes()
    assert seconds_to_end(lambda: model(given)) < WITHIN
    assert model(given[:, :20])[0].tobytes() == expected


@pytest.mark.parametrize("count", [1, 2])
def test_a_conv_lstm_ends_soon(threads, count):
    threads(count)
    rng = np.random.default_rng(0)
    lstm = fl.ConvLSTM(
        fl.ConvLSTMWeights(rng.standard_normal((64, 3, 3, 4)), rng.standard_normal((64, 3, 3, 16)) * 0.1)
    )
    frames = np.broadcast_to(rng.standard_normal((1, 1, 64, 64, 4)).astype(np.float32), (1, 3000, 64, 64, 4))
    assert seconds_to_end(lambda: lstm(frames, out=np.empty((1, 3000, 64, 64, 16), np.float32))) < WITHIN


def test_a_model_ends_soon_and_runs_again(lstm, x):
    model = fl.Sequential(lstm, "relu", threads=2)
    expected = model(x[:, :20]).tobytes()
    model(x[:, :8000])  # planned, so that the call takes the short way
    assert seconds_to_end(lambda: [model(x[:, :8000]) for _ in range(10_000)]) < WITHIN
    assert seconds_to_end(lambda: model(x)) < WITHIN
    assert model(x[:, :20]).tobytes() == expected


def test_a_stream_is_as_before(lstm, x):
    stream = lstm.stream()
    stream.process(x[0, :50])
    before = [part.tobytes() for part in stream.state]
    assert seconds_to_end(lambda: stream.process(x[0])) < WITHIN
    assert [part.tobytes() for part in stream.state] == before
    assert stream.process(x[0, 50:60]).tobytes() == lstm(x[:, :60])[0][0, 50:].tobytes()


@pytest.mark.parametrize("count", [1, 2])
def test_a_pool_is_as_before(lstm, x, threads, count):
    threads(count)
    pool = fl.StreamPool(lstm)
    ids = [pool.open() for _ in range(3)]
    pool.process(dict.fromkeys(ids, x[0, :50]))
    assert seconds_to_end(lambda: pool.process(dict.fromkeys(ids, x[0, :100_000]))) < WITHIN
    found = pool.process(dict.fromkeys(ids, x[0, 50:60]))
    expected = lstm(x[:, :60])[0][0, 50:].tobytes()
    assert all(y.tobytes() == expected for y in found.values())


def test_a_handler_that_goes_on_lets_the_call_go_on(lstm, x):
    """What it does is as if nothing else ran; the floating-point mode is the caller's."""
    found = []

    def handle(*_):
        found.append((lstm(x[:, :20])[0].tobytes(), np.float32(1e-39) * np.float32(0.5)))

    some = x[:, :30_000]
    expected, short = lstm(some)[0].tobytes(), lstm(x[:, :20])[0].tobytes()
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.08, 0.08)
    try:
        assert lstm(some)[0].tobytes() == expected
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert found and all(y == short and tiny != 0 for y, tiny in found)


def test_what_a_handler_raises_comes_out(lstm, x):
    def handle(*_):
        raise Told("enough")

    before = signal.signal(signal.SIGTERM, handle)
    try:
        assert seconds_to_end(lambda: lstm(x), Told, signal.SIGTERM) < WITHIN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_are_not_interrupted(lstm, x):
    """Handlers run on the main thread, as ever; it was waiting for another one."""
    some, done, ended = x[:, :40_000], [], threading.Event()

    def run():
        done.append(lstm(some)[0].tobytes())
        ended.set()

    def wait():
        threading.Thread(target=run).start()
        ended.wait()

    assert seconds_to_end(wait) < WITHIN
    ended.wait(60)
    assert done == [lstm(some)[0].tobytes()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_of_another_thread_is_interrupted(lstm, x):
    """Its main thread is the one that forked."""
    codes = []

    def fork():
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            code = 1
            try:
                timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
                timer.start()
                lstm(x)
            except KeyboardInterrupt:
                code = 0
            finally:
                os._exit(code)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    assert codes == [0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("directions", [1, 2])
def test_a_handler_that_forks(x, threads, directions):
    """The call goes on in the parent; the child has none of the threads that share it, and is told."""
    threads(2)
    model = fl.LSTM(random_weights(np.random.default_rng(0), 64, 256, directions=directions))
    some = x[:, :40_000]
    expected, children = model(some)[0].tobytes(), []
    before = signal.signal(signal.SIGALRM, lambda *_: children.append(os.fork()))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        found = model(some)[0].tobytes()
    except RuntimeError as error:
        os._exit(0 if children == [0] and "forked" in str(error) else 1)
    finally:
        signal.signal(signal.SIGALRM, before)
        if children == [0]:
            os._exit(2)
    assert found == expected
    assert len(children) == 1 and os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


def stepping():
    build = Builder(x=(1, 3), state=(1, 3))
    after = build("Tanh", build("Add", "state", build("MatMul", "x", random(3, 3))))
    model = fl.Model(build.graph(build("Neg", after), after))
    return model.stream(states={"state": after}), (ModelStream, "_stepped"), (5, 1, 3)


def last_of_each():
    model = fl.Sequential(fl.LSTM(random_weights(np.random.default_rng(2), 3, 5)), fl.Last(), shape=(None, None, 3))
    return model.stream(every_step=True), (TimeStream, "_stepped"), (1, 5, 3)


@pytest.mark.parametrize("make", [stepping, last_of_each])
def test_steps_before_ctrl_c_are_taken_back(monkeypatch, make):
    """Where a model's stream goes through the steps of a block one by one."""
    stream, (kind, name), shape = make()
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    expected, run, left = stream.copy().process(x), getattr(kind, name), [3]

    def interrupted(self, *given):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return run(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(kind, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            stream.process(x)
    assert stream.process(x).tobytes() == expected.tobytes()
