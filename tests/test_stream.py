"""Streams: the bits of the whole sequence, misuse that is found out, nothing allocated, the C API from C."""

import copy
import ctypes
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from c_programs import compile_c, run_counted
from conftest import random_weights

import fusedlstm as fl

ROOT = Path(__file__).parents[1]


def stacked(rng, input_size=7, hidden=19, layers=2, proj=0, **kwargs):
    return fl.LSTM(random_weights(rng, input_size, hidden, layers, proj=proj, **kwargs))


def random_lstm(rng):
    hidden = int(rng.integers(1, 70))
    proj = int(rng.integers(1, hidden)) if hidden > 1 and rng.random() < 0.3 else 0
    return stacked(rng, int(rng.integers(1, 40)), hidden, int(rng.integers(1, 4)), proj)


@pytest.mark.parametrize("seed", range(40))
def test_steps_and_chunks_have_the_bits_of_the_whole_sequence(isa, seed):
    rng = np.random.default_rng(seed)
    lstm = random_lstm(rng)
    batch, time = int(rng.integers(1, 14)), int(rng.integers(1, 60))
    x = rng.standard_normal((batch, time, lstm.input_size)).astype(np.float32)
    y, (h, c) = lstm(x)
    stream = lstm.stream(batch)
    pieces, t = [], 0
    while t < time:
        steps = int(rng.integers(0, 9))
        kind = rng.integers(4)
        if kind == 0:
            pieces.append(stream.process(x[:, t : t + steps]))
            t += pieces[-1].shape[1]
            continue
        if kind == 1:
            stream.input[...] = x[:, t]
            pieces.append(stream.step()[:, None].copy())
        elif kind == 2:
            pieces.append(stream.step(x[:, t])[:, None])
        else:
            stream = pickle.loads(pickle.dumps(stream)) if rng.random() < 0.5 else stream.copy()
            out = np.empty((batch, y.shape[2]), np.float32)
            assert stream.step(x[:, t], out=out) is out
            pieces.append(out[:, None])
        t += 1
    assert np.concatenate(pieces, axis=1).tobytes() == y.tobytes()
    assert stream.state[0].tobytes() == h.tobytes() and stream.state[1].tobytes() == c.tobytes()


@pytest.mark.parametrize("seed", range(10))
def test_rows_that_sit_out_keep_their_state(seed):
    rng = np.random.default_rng(seed)
    lstm = random_lstm(rng)
    batch, time = 5, 12
    x = rng.standard_normal((batch, time, lstm.input_size)).astype(np.float32)
    active = rng.random((batch, time)) < 0.6
    stream = lstm.stream(batch)
    y = np.stack(
        [stream.step(np.where(active[:, t, None], x[:, t], np.nan), active=active[:, t]) for t in range(time)], 1
    )
    for b in range(batch):
        assert not y[b, ~active[b]].any()
        if active[b].any():
            alone, (h, c) = lstm(x[b, active[b]])
            assert y[b, active[b]].tobytes() == alone.tobytes()
            assert stream.state[0][:, b].tobytes() == h.tobytes() and stream.state[1][:, b].tobytes() == c.tobytes()


def test_state_reset_and_copies():
    rng = np.random.default_rng(0)
    lstm = stacked(rng)
    x = rng.standard_normal((3, 10, 7)).astype(np.float32)
    first = lstm.stream(3)
    first.process(x[:, :4])
    second, third = first.copy(), copy.deepcopy(first)
    state = first.state
    expected = first.process(x[:, 4:])
    assert second.process(x[:, 4:]).tobytes() == third.process(x[:, 4:]).tobytes() == expected.tobytes()
    second.state = state
    assert second.process(x[:, 4:]).tobytes() == expected.tobytes()
    second.reset()
    assert not np.any(second.state[0]) and not np.any(second.state[1])
    second.state = state
    second.reset([True, False, True])
    assert not second.state[0][:, [0, 2]].any() and second.state[0][:, 1].tobytes() == state[0][:, 1].tobytes()
    y, _ = lstm(x[:, 4:], state=second.state)
    assert second.process(x[:, 4:]).tobytes() == y.tobytes()


def test_time_first():
    rng = np.random.default_rng(0)
    lstm = stacked(rng, batch_first=False)
    x = rng.standard_normal((10, 3, 7)).astype(np.float32)
    stream = lstm.stream(3)
    assert np.concatenate([stream.process(x[:4]), stream.process(x[4:])]).tobytes() == lstm(x)[0].tobytes()


def test_input_that_overlaps_output():
    rng = np.random.default_rng(0)
    lstm = stacked(rng, 40, 40)
    x = rng.standard_normal((2, 40)).astype(np.float32)
    expected = lstm.stream(2).step(x)
    assert lstm.stream(2).step(x, out=x).tobytes() == expected.tobytes()


def test_one_row_may_come_without_its_axis():
    lstm = stacked(np.random.default_rng(0))
    x = np.ones(7, np.float32)
    assert lstm.stream().step(x).shape == (19,)
    assert lstm.stream().step(x[None]).shape == (1, 19)
    assert lstm.stream().process(np.ones((5, 7))).shape == (5, 19)
    assert lstm.stream().process(np.ones((0, 7))).shape == (0, 19)
    assert lstm.stream().step(list(map(float, x))).tobytes() == lstm.stream().step(x).tobytes()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda s: s.step(np.zeros(6, np.float32)), ValueError, r"x: expected shape \(3, 7\), found \(6,\)"),
        (lambda s: s.step(np.zeros((2, 7), np.float32)), ValueError, r"x: expected shape \(3, 7\), found \(2, 7\)"),
        (lambda s: s.step(np.zeros((3, 7), int)), TypeError, "x: expected a floating-point array, found dtype int"),
        (lambda s: s.step(np.zeros((3, 7)), out=np.zeros((3, 18), np.float32)), ValueError, r"out: .*\(3, 19\)"),
        (lambda s: s.step(np.zeros((3, 7)), out=np.zeros((3, 19))), TypeError, "out: .*float32, found dtype float64"),
        (
            lambda s: s.step(np.zeros((3, 7)), out=np.zeros((3, 38), np.float32)[:, ::2]),
            ValueError,
            "out: .*contiguous",
        ),
        (lambda s: s.step(np.zeros((3, 7)), out=[0.0]), TypeError, "out: expected a numpy array"),
        (lambda s: s.step(out=np.broadcast_to(np.float32(0), (3, 19))), ValueError, "out: "),
        (lambda s: s.step(active=[True] * 2), ValueError, r"active: expected shape \(3,\), found \(2,\)"),
        (lambda s: s.step(active=[1, 0, 1]), TypeError, "active: expected an array of bool"),
        (lambda s: s.process(np.zeros((4, 7))), ValueError, r"x: expected shape \(3, time, 7\), found \(4, 7\)"),
        (
            lambda s: s.process(np.zeros((3, 4, 7)), out=np.zeros((3, 5, 19), np.float32)),
            ValueError,
            "out: expected shape",
        ),
        (lambda s: s.reset([True]), ValueError, r"rows: expected shape \(3,\)"),
        (lambda s: setattr(s, "state", np.zeros(3)), TypeError, "state: expected a pair"),
        (lambda s: setattr(s, "state", (np.zeros((2, 3, 19)), np.zeros((2, 2, 19)))), ValueError, "state c: "),
        (lambda s: setattr(s, "state", (np.zeros((1, 3, 19)), np.zeros((2, 3, 19)))), ValueError, "state h: "),
        (
            lambda s: setattr(s, "state", (np.zeros((3, 3, 19)), np.zeros((2, 3, 19)))),
            ValueError,
            "state h: .*2 layers",
        ),
        (lambda s: s.__init__(s.lstm, 3), RuntimeError, "once"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(call, error, message):
    stream = stacked(np.random.default_rng(0)).stream(3)
    stream.process(np.ones((3, 4, 7), np.float32))
    before = stream.state
    with pytest.raises(error, match=message):
        call(stream)
    assert stream.state[0].tobytes() == before[0].tobytes() and stream.state[1].tobytes() == before[1].tobytes()


@pytest.mark.parametrize("batch", [0, -1, 1 << 40])
def test_batch_size_out_of_range(batch):
    with pytest.raises(ValueError, match="batch_size: expected 1 to"):
        stacked(np.random.default_rng(0)).stream(batch)


def test_bidirectional_is_refused():
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 3, 4, directions=2))
    with pytest.raises(ValueError, match=r"bidirectional.*overlapping windows"):
        lstm.stream()


def test_closed():
    with stacked(np.random.default_rng(0)).stream() as stream:
        assert not stream.closed
    assert stream.closed
    stream.close()
    for call in (stream.step, stream.reset, stream.copy, lambda: stream.state, lambda: stream.process(np.ones((1, 7)))):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_nan_stays_in_its_row():
    lstm = stacked(np.random.default_rng(0))
    stream, x = lstm.stream(3), np.ones((3, 7), np.float32)
    expected = stream.copy().step(x)
    x[1] = np.nan
    y = stream.step(x)
    assert np.isnan(y[1]).all() and y[[0, 2]].tobytes() == expected[[0, 2]].tobytes()


def test_two_threads_in_one_stream_are_found_out():
    rng = np.random.default_rng(0)
    lstm = stacked(rng, 256, 256, 1)  # large enough to give up the GIL
    x = rng.standard_normal((4000, 256)).astype(np.float32)
    stream, expected = lstm.stream(), lstm(x)[0]
    found, done = [], threading.Event()

    def disturb():
        while not done.is_set():
            try:
                stream.copy()
            except RuntimeError as error:
                found.append(str(error))

    thread = threading.Thread(target=disturb)
    thread.start()
    while True:  # this thread may be the one that is refused; then nothing was done
        try:
            y = stream.process(x)
            break
        except RuntimeError as error:
            found.append(str(error))
    done.set()
    thread.join()
    assert y.tobytes() == expected.tobytes()
    assert found and all("another thread" in text for text in found)


COUNTED = """
import ctypes, os, sys, numpy as np, fusedlstm as fl
counter = ctypes.PyDLL(os.environ["LD_PRELOAD"])
hidden, batch = map(int, sys.argv[1:3])
run = getattr(counter, sys.argv[3])
run.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_size_t] + [ctypes.c_void_p] * 2
w = lambda *shape: np.random.default_rng(0).standard_normal(shape).astype(np.float32)
lstm = fl.LSTM(fl.LSTMWeights([[fl.DirectionWeights(w(4 * hidden, 8), w(4 * hidden, hidden))]]))
x, y = w(batch, 8), w(batch, hidden)
sys.exit(run(fl.c_api(), lstm.handle, batch, x.ctypes.data, y.ctypes.data))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="preloading and seccomp are Linux's")
@pytest.mark.parametrize("hidden, batch", [(40, 1), (256, 4), (512, 30)])
@pytest.mark.parametrize("how", ["count_in_steps", "step_without_system_calls"])
def test_step_neither_allocates_nor_locks_nor_enters_the_kernel(tmp_path, hidden, batch, how):
    run_counted(tmp_path, COUNTED, str(hidden), str(batch), how)


def test_from_c(tmp_path):
    rng = np.random.default_rng(0)
    lstm = stacked(rng)
    x = rng.standard_normal((20, 7)).astype(np.float32)
    y = np.empty((20, 19), np.float32)
    run = ctypes.CDLL(compile_c(tmp_path, ROOT / "examples" / "step.c")).run
    run.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t]
    assert run(fl.c_api(), lstm.handle, x.ctypes.data, y.ctypes.data, len(x)) == 0
    assert y.tobytes() == lstm(x)[0].tobytes()
    both = fl.LSTM(random_weights(rng, 7, 19, directions=2))
    assert run(fl.c_api(), both.handle, x.ctypes.data, y.ctypes.data, len(x)) == 3  # FUSEDLSTM_UNSUPPORTED


@pytest.mark.slow
def test_a_hundred_million_steps():
    import resource

    rng = np.random.default_rng(0)
    lstm = stacked(rng, 1, 8, 1)
    x = rng.standard_normal((100_000, 1)).astype(np.float32)
    stream, out = lstm.stream(), np.empty((100_000, 8), np.float32)
    stream.process(x, out=out)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = stream.step
    for _ in range(30):
        for _ in range(1_000_000):
            step()
    for _ in range(700):
        stream.process(x, out=out)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024
    # The state forgets: after the same last 100 000 steps it is that of a stream that is fresh.
    assert np.abs(out[-1] - lstm(x)[0][-1]).max() < 1e-6
