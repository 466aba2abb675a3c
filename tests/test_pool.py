"""StreamPool: the bits of the whole sequence under any schedule, misuse that is found out, threads beside each other."""

import copy
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import variants
from conftest import random_weights

import fusedlstm as fl
from fusedlstm.weights import PRODUCTS


def small(rng=None, **kwargs):
    return fl.LSTM(random_weights(rng or np.random.default_rng(0), 7, 19, 2, **kwargs))


def random_lstm(rng):
    """Plain ones, and every variant of the cell."""
    if rng.random() < 0.5:
        return fl.LSTM(variants.random_weights(rng, directions=1, reverse=False))
    hidden = int(rng.integers(1, 50))
    proj = int(rng.integers(1, hidden)) if hidden > 1 and rng.random() < 0.3 else 0
    weights = random_weights(rng, int(rng.integers(1, 20)), hidden, int(rng.integers(1, 4)), proj=proj)
    if rng.random() < 0.3:
        learned = [
            [rng.uniform(-1, 1, (1, getattr(layer[0], size))).astype(np.float32) for layer in weights.layers]
            for size in ("output_size", "hidden_size")
        ]
        weights = fl.LSTMWeights(weights.layers, initial_state=learned)
    return fl.LSTM(weights)


def layers(state):
    """The bytes of h and c, layer by layer, whether layers are alike or not."""
    return [one.tobytes() for part in state for one in part]


class Schedule:
    """Streams that join, leave, reset, fork and move between two pools, with what each was fed and gave back."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.lstm = random_lstm(rng)
        self.pools = [fl.StreamPool(self.lstm, capacity=int(rng.integers(1, 5))) for _ in range(2)]
        self.streams = []  # of the open ones: pool, id, inputs, outputs
        self.checked = 0

    def some(self, pool):
        mine = [stream for stream in self.streams if stream[0] is pool]
        return [mine[k] for k in self.rng.permutation(len(mine))[: self.rng.integers(0, len(mine) + 1)]]

    def inputs(self, *shape):
        return self.rng.standard_normal((*shape, self.lstm.input_size)).astype(np.float32)

    def one_event(self):
        rng = self.rng
        pool = self.pools[rng.integers(2)]
        event = rng.choice(
            ["open", "step", "process", "close", "reset", "fork", "move"], p=[0.2, 0.4, 0.2, 0.05, 0.05, 0.05, 0.05]
        )
        if event == "open" and len(self.streams) < 20:
            self.streams.append([pool, pool.open(), [], []])
        elif event == "step":
            chosen = self.some(pool)
            x = self.inputs(len(chosen))
            y = pool.step([stream[1] for stream in chosen], x)
            for stream, x_t, y_t in zip(chosen, x, y):
                stream[2].append(x_t[None])
                stream[3].append(y_t[None])
        elif event == "process":
            chunks = [(stream, self.inputs(int(rng.integers(0, 6)))) for stream in self.some(pool)]
            ys = pool.process({stream[1]: chunk for stream, chunk in chunks})
            for stream, chunk in chunks:
                stream[2].append(chunk)
                stream[3].append(ys[stream[1]])
        elif event == "fork" and (chosen := self.some(pool)):
            _, id, inputs, outputs = chosen[0]
            self.streams.append([pool, pool.fork(id), inputs.copy(), outputs.copy()])
        elif event == "move" and (chosen := self.some(pool)):
            state = pickle.loads(pickle.dumps(pool.state(chosen[0][1])))
            pool.close(chosen[0][1])
            other = chosen[0][0] = self.pools[pool is self.pools[0]]
            if rng.random() < 0.5:
                chosen[0][1] = other.open(state)
            else:
                chosen[0][1] = other.open()
                other.set_state(chosen[0][1], state)
        elif event == "reset":
            chosen = self.some(pool)
            for stream in chosen:
                self.check(stream)
                stream[2], stream[3] = [], []
            pool.reset([stream[1] for stream in chosen])
        elif event == "close" and (chosen := self.some(pool)):
            self.check(chosen[0])
            pool.close(chosen[0][1])
            self.streams.remove(chosen[0])

    def check(self, stream):
        pool, id, inputs, outputs = stream
        if sum(map(len, inputs)):
            y, final = self.lstm(np.concatenate(inputs))
            assert np.concatenate(outputs).tobytes() == y.tobytes()
            assert layers(pool.state(id)) == layers(final)
            self.checked += len(y)


def run_schedules(seeds, events=60):
    checked = 0
    for seed in seeds:
        schedule = Schedule(seed)
        for _ in range(events):
            schedule.one_event()
        for stream in schedule.streams:
            schedule.check(stream)
        for pool in schedule.pools:
            assert len(pool) == sum(stream[0] is pool for stream in schedule.streams)
        checked += schedule.checked
    return checked


def test_200_schedules_have_the_bits_of_whole_sequences():
    assert run_schedules(range(200)) > 15_000


@pytest.mark.slow
def test_10_000_schedules_have_the_bits_of_whole_sequences():
    assert run_schedules(range(200, 10_200)) > 750_000


@pytest.mark.parametrize("count", [1, 3, 40, 300])
def test_many_streams_on_every_isa_and_number_of_threads(isa, threads, count):
    rng = np.random.default_rng(count)
    lstm = fl.LSTM(random_weights(rng, 24, 40))
    x = rng.standard_normal((count, 9, 24)).astype(np.float32)
    expected = lstm(x)[0]
    for number in (1, 2):
        threads(number)
        pool = fl.StreamPool(lstm)
        ids = np.array([pool.open() for _ in range(count)])
        order = rng.permutation(count)
        y = np.empty((count, 4, 40), np.float32)
        for t in range(4):
            y[order, t] = pool.step(ids[order], x[order, t])
        assert y.tobytes() == expected[:, :4].tobytes()
        lengths = rng.integers(0, 6, count)
        ys = pool.process({ids[b]: x[b, 4 : 4 + lengths[b]] for b in order})
        for b in range(count):
            assert ys[ids[b]].tobytes() == expected[b, 4 : 4 + lengths[b]].tobytes()


def test_a_layer_of_each_size():
    rng = np.random.default_rng(0)
    first, second = random_weights(rng, 3, 20), random_weights(rng, 20, 8)
    lstm = fl.LSTM(fl.LSTMWeights([*first.layers, *second.layers]))
    x = rng.standard_normal((5, 3)).astype(np.float32)
    y, final = lstm(x[None])
    pool = fl.StreamPool(lstm)
    id = pool.open()
    assert np.concatenate([pool.step([id], x[t : t + 1]) for t in range(5)]).tobytes() == y.tobytes()
    state = pool.state(id)
    for part, expected in zip(state, final):
        assert [one.tobytes() for one in part] == [one.tobytes() for one in expected]
    assert pool.step([id], x[:1]).tobytes() == pool.step([pool.open(state)], x[:1]).tobytes()


@pytest.mark.parametrize("dtype, products", [(d, a) for d, all_of in PRODUCTS.items() for a in all_of])
def test_low_precision_has_the_bits_of_whole_sequences(dtype, products):
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 24, 40, 2)).astype(dtype, products)
    x = rng.standard_normal((30, 6, 24)).astype(np.float32)
    y, _ = lstm(x)
    pool = fl.StreamPool(lstm)
    ids = np.array([pool.open() for _ in x])
    found = [pool.step(ids, x[:, t]) for t in range(3)]
    ys = pool.process({id: one[3:] for id, one in zip(ids, x)})
    assert np.stack(found, 1).tobytes() == y[:, :3].tobytes()
    assert np.stack([ys[id] for id in ids]).tobytes() == y[:, 3:].tobytes()


def test_out_and_what_x_may_be():
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 40, 40))
    x = np.random.default_rng(1).standard_normal((2, 40)).astype(np.float32)
    pool = fl.StreamPool(lstm)
    first, second, third = ([pool.open(), pool.open()] for _ in range(3))
    expected = lstm(x[:, None])[0][:, 0]
    out = np.empty((2, 40), np.float32)
    assert pool.step(first, x.astype(np.float64), out=out) is out and out.tobytes() == expected.tobytes()
    assert pool.step(second, np.asfortranarray(x)).tobytes() == expected.tobytes()
    pool.reset(second)
    unaligned = np.frombuffer(b"." + x.tobytes(), np.float32, offset=1).reshape(2, 40)
    assert pool.step(second, unaligned).tobytes() == expected.tobytes()
    assert pool.step(np.array(third, np.uint16), x, out=x) is x and x.tobytes() == expected.tobytes()
    assert pool.step([], np.empty((0, 40))).shape == (0, 40)
    assert pool.process({}) == {}
    assert pool.process({first[0]: np.empty((0, 40))})[first[0]].shape == (0, 40)


def test_growth_limit_and_ids_that_never_come_twice():
    pool = fl.StreamPool(small(), capacity=3, max_streams=10)
    assert pool.capacity == 3
    given = [pool.open() for _ in range(10)]
    assert pool.capacity == 10 and len(pool) == 10 and all(id in pool for id in given)
    with pytest.raises(RuntimeError, match="full, 10 streams are open"):
        pool.open()
    with pytest.raises(RuntimeError, match="full, 10 streams are open"):
        pool.fork(given[0])
    for _ in range(50):
        pool.close(given[-1])
        assert given[-1] not in pool and len(pool) == 9
        given.append(pool.open())
    assert len(set(given)) == 60 and pool.capacity == 10
    assert "nonsense" not in pool and -1 not in pool and 1 << 80 not in pool and np.int64(given[-1]) in pool


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_pool_is_not_copied(duplicate):
    with pytest.raises(TypeError, match="move its streams"):
        duplicate(fl.StreamPool(small()))


def test_a_stream_starts_afresh_where_another_has_been():
    pool = fl.StreamPool(small(), capacity=1)
    x = np.ones((1, 7), np.float32)
    first = pool.open()
    expected = pool.step([first], x)
    pool.close(first)
    assert pool.step([pool.open()], x).tobytes() == expected.tobytes() and pool.capacity == 1


def test_nan_stays_in_its_stream():
    lstm = small()
    x = np.random.default_rng(0).standard_normal((9, 5, 7)).astype(np.float32)
    expected = lstm(x)[0]
    pool = fl.StreamPool(lstm)
    ids = np.array([pool.open() for _ in range(9)])
    bad, good = [2, 7], [0, 1, 3, 4, 5, 6, 8]
    x[2, 1], x[7, 1] = np.nan, np.inf
    for t in range(4):
        y = pool.step(ids, x[:, t])
        assert y[good].tobytes() == expected[good, t].tobytes()
        assert t == 0 or np.isnan(y[2]).all()
    ys = pool.process({id: one[4:] for id, one in zip(ids, x)})
    assert all(ys[ids[b]].tobytes() == expected[b, 4:].tobytes() for b in good)
    pool.reset(ids[bad])
    assert pool.step(ids[bad], x[:2, 0]).tobytes() == lstm(x[:2, :1])[0].tobytes()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda p, i: p.step([i, 999], np.zeros((2, 7))), ValueError, "stream 999: .* never gave"),
        (lambda p, i: p.step([i, -1], np.zeros((2, 7))), ValueError, "stream -1: .* never gave"),
        (lambda p, i: p.step([i, p.closed], np.zeros((2, 7))), ValueError, "stream 1: .* was closed"),
        (lambda p, i: p.step([i, 2, i], np.zeros((3, 7))), ValueError, "each stream once, found 0 twice"),
        (lambda p, i: p.step([0.0], np.zeros((1, 7))), TypeError, "ids: expected whole numbers, found dtype float64"),
        (lambda p, i: p.step([True], np.zeros((1, 7))), TypeError, "ids: expected whole numbers, found dtype bool"),
        (lambda p, i: p.step(i, np.zeros((1, 7))), ValueError, r"ids: expected shape \(n,\), found \(\)"),
        (lambda p, i: p.step([i], np.zeros((2, 7))), ValueError, r"x: expected shape \(1, 7\).*found \(2, 7\)"),
        (lambda p, i: p.step([i], np.zeros(7)), ValueError, r"x: expected shape \(1, 7\).*found \(7,\)"),
        (lambda p, i: p.step([i], np.zeros((1, 7), int)), TypeError, "x: expected a floating-point array"),
        (lambda p, i: p.step([i], np.zeros((1, 7)), out=np.zeros((1, 19))), TypeError, "out: .*float64"),
        (
            lambda p, i: p.step([i], np.zeros((1, 7)), out=np.zeros((2, 19), np.float32)),
            ValueError,
            r"out: .*\(1, 19\)",
        ),
        (
            lambda p, i: p.step([i, 2], np.zeros((2, 7)), out=np.zeros((2, 30), np.float32)[:, :19]),
            ValueError,
            "out: expected a C-contiguous array",
        ),
        (lambda p, i: p.process({i: np.zeros((3, 7)), 999: np.zeros((1, 7))}), ValueError, "stream 999"),
        (lambda p, i: p.process({i: np.zeros((3, 6))}), ValueError, r"chunk of 0: .*\(time, 7\), found \(3, 6\)"),
        (lambda p, i: p.process({i: np.zeros(7)}), ValueError, "chunk of 0: expected shape"),
        (lambda p, i: p.process({"a": np.zeros((1, 7))}), TypeError, "ids: expected whole numbers"),
        (lambda p, i: p.close(p.closed), ValueError, "was closed"),
        (lambda p, i: p.state(p.closed), ValueError, "was closed"),
        (lambda p, i: p.fork(p.closed), ValueError, "was closed"),
        (lambda p, i: p.reset([i, i]), ValueError, "each stream once"),
        (lambda p, i: p.reset([i, p.closed]), ValueError, "was closed"),
        (lambda p, i: p.set_state(i, np.zeros(3)), TypeError, "state: expected a pair"),
        (lambda p, i: p.set_state(i, (np.zeros((2, 1, 19)), np.zeros((2, 1, 18)))), ValueError, "state c: "),
        (lambda p, i: p.open((np.zeros((1, 1, 19)), np.zeros((2, 1, 19)))), ValueError, "state h: "),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(call, error, message):
    pool = fl.StreamPool(small())
    id, pool.closed, _ = pool.open(), pool.open(), pool.open()
    pool.close(pool.closed)
    pool.step([id], np.ones((1, 7), np.float32))
    before = pool.state(id)
    with pytest.raises(error, match=message):
        call(pool, id)
    assert [part.tobytes() for part in pool.state(id)] == [part.tobytes() for part in before] and len(pool) == 2


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: fl.StreamPool(small(directions=2)), ValueError, "bidirectional.*overlapping windows"),
        (lambda: fl.StreamPool(small(reverse=True)), ValueError, "reversed.*overlapping windows"),
        (lambda: fl.StreamPool("lstm"), TypeError, "model: expected fusedlstm.LSTM or Model"),
        (lambda: fl.StreamPool(small(), capacity=0), ValueError, "capacity: expected 1 to"),
        (lambda: fl.StreamPool(small(), capacity=1.5), TypeError, "capacity: expected a whole number"),
        (lambda: fl.StreamPool(small(), max_streams=(1 << 24) + 1), ValueError, "max_streams: expected 1 to"),
    ],
)
def test_pools_that_cannot_be(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_threads_open_and_close_beside_steps():
    """While one thread steps streams that stay, others join, step, check themselves and leave; the pool grows meanwhile."""
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 16, 64))
    x = rng.standard_normal((60, 300, 16)).astype(np.float32)
    expected = lstm(x)[0]
    pool = fl.StreamPool(lstm, capacity=1)
    staying = np.array([pool.open() for _ in range(50)])
    wrong, done = [], threading.Event()

    def come_and_go(b):
        try:
            while not done.is_set():
                ids = [pool.open() for _ in range(int(rng.integers(1, 4)))]
                for t in range(3):
                    y = pool.step(ids, x[[b] * len(ids), t])
                    assert y.tobytes() == expected[[b] * len(ids), t].tobytes()
                twin = pool.fork(ids[0])
                assert pool.step([twin], x[b, 3:4]).tobytes() == expected[b, 3:4].tobytes()
                for id in (*ids, twin):
                    pool.close(id)
        except BaseException as error:
            wrong.append(error)

    others = [threading.Thread(target=come_and_go, args=(b,)) for b in range(50, 54)]
    for thread in others:
        thread.start()
    for t in range(300):
        assert pool.step(staying, x[:50, t]).tobytes() == expected[:50, t].tobytes()
    done.set()
    for thread in others:
        thread.join()
    assert not wrong
    assert len(pool) == 50 and pool.capacity <= 128


def test_a_stream_closed_while_it_steps():
    """Its place is given to nobody before the step is over."""
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 64, 256))
    x = rng.standard_normal((5000, 64)).astype(np.float32)
    expected = lstm(x)[0]
    pool, ended = fl.StreamPool(lstm, capacity=3), 0
    for _ in range(5):
        leaving, results = pool.open(), []

        def run(id, results):
            try:
                results.append(pool.process({id: x})[id])
            except ValueError as error:  # closed before it began
                results.append(error)

        thread = threading.Thread(target=run, args=(leaving, results))
        thread.start()
        time.sleep(0.003)
        pool.close(leaving)
        ids = [pool.open(), pool.open()]
        assert not results, "the step should take longer than that"
        y = pool.step(ids, x[[0, 0]])
        thread.join()
        if not isinstance(results[0], ValueError):
            assert results[0].tobytes() == expected.tobytes()
            ended += 1
        assert y.tobytes() == expected[[0, 0]].tobytes()
        for id in ids:
            pool.close(id)
    assert ended  # some were in time to be closed in their step


def test_the_benchmark_runs(tmp_path):
    """It compares everybody's outputs before it times them."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("matplotlib")
    script = Path(__file__).parents[1] / "benchmarks" / "streams.py"
    arguments = ["--streams", "1,3", "--seconds", "0.05", "--steps", "500", "--report", str(tmp_path)]
    run = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "ort batch" in run.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"streams.json", "streams.png", "step_latency.png"}


@pytest.mark.slow
def test_a_million_steps_with_random_joins():
    import resource

    rng = np.random.default_rng(0)
    lstm = fl.LSTM(random_weights(rng, 4, 16))
    pool = fl.StreamPool(lstm, capacity=64)
    x = rng.standard_normal((64, 4)).astype(np.float32)
    followed = pool.open()  # stays throughout
    ids = [followed, *(pool.open() for _ in range(30))]
    before = None
    for t in range(1_000_000):
        if rng.random() < 0.2:
            if len(ids) < 64 and (len(ids) < 2 or rng.random() < 0.5):
                ids.append(pool.open() if rng.random() < 0.5 else pool.fork(ids[-1]))
            else:
                pool.close(ids.pop(int(rng.integers(1, len(ids)))))
        y = pool.step(ids, x[: len(ids)])
        if t == 100_000:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert pool.capacity == 64 and len(pool) == len(ids)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024  # KiB
    # The state forgets: after a long time with the same input it is where a fresh stream of 10 000 steps is.
    assert np.abs(y[0] - lstm(np.repeat(x[:1], 10_000, axis=0))[0][-1]).max() < 1e-6
