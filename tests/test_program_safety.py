"""Programs made by plain Python that means harm: an error each time, and memory that nobody can break."""

import contextlib
import math
import sys
import threading
import time

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl
from fusedlstm import _core
from fusedlstm._files import PREFIX, replacing

f4, i8 = np.float32, np.int64
ERRORS = (ValueError, TypeError)


def tensor(base, shape, element="f", offset=0):
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return (base, offset, element, shape, strides)


def program(inputs=(("f", (2, 3)),), outputs=(("f", (2, 3)),), constants=()):
    return _core.Program(64, list(inputs), list(outputs), list(constants))


def weights(outputs, inputs):
    return _core.PackedWeights(np.ones((outputs, inputs), f4), None, "float32", "float32")


def packed(inputs, hidden):
    return fl.LSTM(random_weights(np.random.default_rng(0), inputs, hidden))._core


X, Y = tensor(1, (2, 3)), tensor(2, (2, 3))


def copying():
    made = program()
    made.copy(X, Y)
    return made


def live(pairs=(), overlaps=(), given=(), made=()):
    return _core.Live(copying(), _core.States([("f", (2, 3))]), list(pairs), list(overlaps), list(given), list(made))


def batch():
    return _core.Batch(copying(), 2, [(0, 0, 1, 12, 0)], [(0, 1, 12, 1, 0, 0)], [(0, 1, 12)])


def batches(slots=(0, 1), first=0, count=2, width=16, x=(2, 3), y=(2, 3)):
    made = np.zeros(y, f4) if y else np.broadcast_to(f4(0), (2, 3))
    states = np.zeros((2, width), np.uint8)
    _core.step_batches([(batch(), first, count)], states, np.array(slots, np.int64), [np.zeros(x, f4)], [made])


def late(make_run):
    made = copying()
    make_run(made)
    made.product(weights(600, 3), X, (0, 0, "f", (2, 600), (0, 1)), None, None)


def windowed(shape, outputs, *axes, edge="zeros"):
    made = program([("f", shape)], [("f", outputs)])
    made.product(weights(3, 3), tensor(1, shape), tensor(2, outputs), (axes, edge), None)
    return made


def mapped(operation, source, target, more=()):
    program([(source, (5,))], [(target, (5,))]).map(
        operation, [tensor(1, (5,), source)], tensor(2, (5,), target), list(more)
    )


def recurrent(x="f", y="f", state="f"):
    made = program([(x, (4, 9, 3))], [(y, (4, 9, 8)), (state, (1, 4, 8)), (state, (1, 4, 8))])
    states = tensor(3, (1, 4, 8), state), tensor(4, (1, 4, 8), state)
    made.lstm(packed(3, 8), (tensor(1, (4, 9, 3), x), None, None, None), (tensor(2, (4, 9, 8), y), *states))


def pooled(shape, kernel):
    made = program([("f", shape)], [("f", shape)])
    count = len(shape) - 2
    how = ((kernel, 1, 1, kernel - 1, 1),) * count, ((0, 0),) * count, 2.0, 0.0
    made.pool("largest", tensor(1, shape), tensor(2, shape), how)
    return made


def depthwise(weights, kernel, shape=(1, 4, 1, 3), outputs=(1, 4, 3)):
    windows = ((kernel, 1, 1, 0, 1),) * (len(shape) - 3), "zeros"
    program([("f", shape)], [("f", outputs)]).channels(weights, (tensor(1, shape), tensor(2, outputs)), windows, None)


WRONG = {
    "no channels": lambda: depthwise(None, 1),
    "channels without end": lambda: depthwise(
        _core.ChannelWeights(np.ones((0, 3), f4), None), 1 << 22, (1, 1, 1, 1, 1, 3), (1, 1, 1, 1, 3)
    ),
    "no weights": lambda: program().product(None, X, Y, None, None),
    "no LSTM": lambda: program().lstm(None, (X, None, None, None), (None, Y, Y)),
    "no GRU": lambda: program().gru(None, (X, None, None), (None, Y)),
    "no program": lambda: _core.Live(None, _core.States([("f", (2, 3))]), [], [], [], []),
    "no states": lambda: _core.Live(copying(), None, [], [], [], []),
    "no such state": lambda: live([(0, 0, 1)]),
    "state of half a pair": lambda: live([(0, 0)]),
    "state into no output": lambda: live([(0, 1, 0)]),
    "state that is given": lambda: live([(0, 0, 0)], (), [0]),
    "state that is made": lambda: live([(0, 0, 0)], (), (), [0]),
    "states of no kind": lambda: _core.States([("x", (1,))]),
    "another state": lambda: _core.States([("f", (1,))]).set(0, np.zeros(2, f4)),
    "a state too many": lambda: _core.States([]).get(0),
    "no such context": lambda: live((), [(1, 1)]),
    "no such input": lambda: live((), (), [3]),
    "no such output": lambda: live((), (), (), [1]),
    "batch of no program": lambda: _core.Batch(None, 1, [], [], []),
    "batch of no such input": lambda: _core.Batch(copying(), 1, [], [(1, 1, 24, 1, 0, 0)], []),
    "batch of no such output": lambda: _core.Batch(copying(), 1, [], [], [(1, 1, 24)]),
    "batch of parts": lambda: _core.Batch(copying(), 2, [], [(0, 1, 8, 1, 0, 0)], []),
    "batch of no rows": lambda: _core.Batch(copying(), 0, [], [(0, 1, 24, 1, 0, 0)], []),
    "batch of large parts": lambda: _core.Batch(copying(), 1 << 40, [], [], [(0, 1 << 40, 1 << 40)]),
    "batch of odd lines": lambda: _core.Batch(copying(), 1, [], [(0, 1, 24, 5, 0, 0)], []),
    "batch that keeps more": lambda: _core.Batch(copying(), 1, [], [(0, 1, 24, 1, 25, 0)], []),
    "batch far away": lambda: _core.Batch(copying(), 1, [(0, 0, 1, 24, 1 << 62)], [], []),
    "batch with another input": lambda: batch().set(0, np.zeros(5, f4)),
    "batch with no such input": lambda: batch().set(1, np.zeros((2, 3), f4)),
    "unborn batch": lambda: _core.Batch.__new__(_core.Batch).set(0, np.zeros(6, f4)),
    "rows that are not there": lambda: batches(slots=(0, 7)),
    "rows before the first": lambda: batches(slots=(0, -1)),
    "rows past the last": lambda: batches(first=1),
    "more rows than the batch has": lambda: batches(count=3),
    "rows that are short": lambda: batches(width=8),
    "given of other sizes": lambda: batches(x=(2, 2)),
    "made of other sizes": lambda: batches(y=(3, 3)),
    "made that is not written": lambda: batches(y=None),
    "nothing given": lambda: _core.step_batches(
        [(batch(), 0, 1)], np.zeros((1, 16), np.uint8), np.zeros(1, int), [], []
    ),
    "no batch": lambda: _core.step_batches([(None, 0, 0)], np.zeros((1, 16), np.uint8), np.zeros(0, int), [], []),
    "call of no program": lambda: _core.Call(None, ("x",), (0,)),
    "call without all inputs": lambda: _core.Call(copying(), ("x",), (np.zeros(3),)),
    "call of inputs that are not there": lambda: _core.Call(copying(), ("x",), (1,)),
    "call with more names": lambda: _core.Call(copying(), ("x", "y"), (0,)),
    "call with names of numbers": lambda: _core.Call(copying(), (7,), (0,)),
    "unborn call": lambda: _core.Call.__new__(_core.Call).in_order(()),
    "unborn states": lambda: _core.States.__new__(_core.States).mend(),
    "unborn program": lambda: _core.Program.__new__(_core.Program).run(),
    "unborn live": lambda: _core.Live.__new__(_core.Live).step_in_place(),
    "quick by nothing": lambda: _core.Stepping()._set_quick(7, None, True),
    "quick by an unborn live": lambda: _core.Stepping()._set_quick(_core.Live.__new__(_core.Live), None, True),
    "step after a run": lambda: late(lambda made: made.run(np.zeros((2, 3), f4))),
    "step after a live one": lambda: late(lambda made: _core.Live(made, _core.States([("f", (2, 3))]), [], [], [], [])),
    "no parameters": lambda: mapped("Narrow", "i", "i"),
    "no bits": lambda: mapped("Narrow", "i", "i", [math.nan, 0]),
    "no choice of IsInf": lambda: mapped("IsInf", "f", "b"),
    "truth for a number": lambda: mapped("ToWhole", "f", "b"),
    "whole for a float": lambda: mapped("Neg", "i", "f"),
    "float for a truth": lambda: mapped("IsNaN", "f", "f"),
    "odd axes": lambda: program([("f", (5,)), ("i", (0, 1))], [("f", (1,))]).take(
        tensor(1, (5,)), tensor(2, (0, 1), "i", 1 << 38), tensor(3, (1,)), ((-2, -2), (-1,))
    ),
    "too many axes": lambda: program().copy(tensor(1, (1,) * 65), tensor(0, (1,) * 65)),
    "windows of other batches": lambda: windowed((1, 4, 3), (9, 4, 3), (1, 1, 1, 0, 1)),
    "windows without end": lambda: windowed(
        (1, 4, 4, 4, 3), (1, 4, 4, 4, 3), *[(1 << 31, 1, 1, 0, 1)] * 2, (4, 1, 1, 0, 1)
    ),
    "unknown edge": lambda: windowed((1, 4, 3), (1, 4, 3), (1, 1, 1, 0, 1), edge="around"),
    "LSTM of truths": lambda: recurrent(x="b"),
    "LSTM to truths": lambda: recurrent(y="b"),
    "LSTM with states of truths": lambda: recurrent(state="b"),
    "unknown GRU": lambda: _core.Gru("LSTM", [()], False, 0.0, "float32", "float32"),
    "odd constants": lambda: program(constants=[np.zeros(25, np.uint8)[1:].view(f4)]),
    "other byte order": lambda: copying().run(np.ones((2, 3), ">f4")),
    "place in slots": lambda: _core.find_slots(np.zeros(9, i8), np.ones((1, 1), i8), 9, *[np.zeros(9, i8)] * 2),
    "state of another byte order": lambda: _core.States([("f", (2, 3))]).set(0, np.ones((2, 3), ">f4")),
}


@pytest.mark.parametrize("name", WRONG)
def test_nonsense_is_refused(name):
    with pytest.raises(ERRORS):
        WRONG[name]()


def test_windows_that_reach_everywhere():
    """As many taps as there are numbers of 64 bits, of which one meets something."""
    x = np.arange(16, dtype=f4).reshape(1, 1, 1, 1, 16)
    assert np.array_equal(pooled(x.shape, 1 << 22).run(x)[0], x)


def test_a_guard_lets_one_in():
    guard = _core.States([("f", (2, 3))])
    guard.__exit__(None, None, None)  # of nobody
    with guard:
        with pytest.raises(RuntimeError, match="another thread"), guard:
            pass
        guard.mend()  # nothing is torn
        with pytest.raises(RuntimeError, match="another thread"):
            guard.__enter__()
    with guard:
        pass


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("before", [3, 17, 1 << 30])
def test_reflection_at_any_distance(length, before):
    x = np.arange(1, 1 + 3 * length, dtype=f4).reshape(1, length, 3)
    made = windowed((1, length, 3), (1, 7, 3), (1, 1, 1, before, 1), edge="reflect")
    found = made.run(x)[0][0, :, 0]
    period = max(1, 2 * (length - 1))
    places = [min((o - before) % period, period - (o - before) % period) if length > 1 else 0 for o in range(7)]
    np.testing.assert_array_equal(found, x[0].sum(axis=1)[places])


def lengths_program(kind, batch, time, hidden):
    outputs = (batch, time, hidden) if kind == "lstm" else (time, 1, batch, hidden)
    states = [("f", (1, batch, hidden))] * (2 if kind == "lstm" else 1)
    x = (batch, time, 8) if kind == "lstm" else (time, batch, 8)
    made = program([("f", x), ("i", (batch,))], [("f", outputs), *states])
    ends = [tensor(4 + k, shape) for k, (_, shape) in enumerate(states)]
    if kind == "lstm":
        made.lstm(packed(8, hidden), (tensor(1, x), None, None, tensor(2, (batch,), "i")), (tensor(3, outputs), *ends))
    else:
        tanh = fl.Activation("tanh")
        matrices = np.zeros((hidden, 8), f4), np.zeros((hidden, hidden), f4)
        layer = _core.Gru("rnn", [(*matrices, None, None, tanh, tanh)], False, math.inf, "float32", "float32")
        made.gru(layer, (tensor(1, x), None, tensor(2, (batch,), "i")), (tensor(3, outputs), *ends))
    return made, np.zeros(x, f4)


@pytest.mark.parametrize("kind", ["lstm", "rnn"])
def test_lengths_that_another_thread_changes(kind):
    made, x = lengths_program(kind, 8, 100, 32)
    lengths, stop = np.full(8, 100), threading.Event()

    def spoil():
        while not stop.is_set():
            lengths[:] = 1 << 40
            lengths[:] = 100

    thread = threading.Thread(target=spoil)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            with contextlib.suppress(ValueError):
                made.run(x, lengths)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_a_name_that_somebody_else_removes_is_not_taken(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    real, held = fcntl.flock, []

    def flock(file, how):
        if not held:  # who looks for strays was faster
            held.append(file)
            (stray,) = tmp_path.glob(PREFIX + "*")
            stray.unlink()
            raise BlockingIOError
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with replacing(tmp_path / "m") as temporary:
        assert temporary.exists()
        temporary.write_bytes(b"whole")
    assert held and (tmp_path / "m").read_bytes() == b"whole"
