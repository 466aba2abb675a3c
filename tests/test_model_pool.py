"""Pools of models: each stream has the bits that it would have alone, whoever steps with it; nothing is lost."""

import asyncio
import pickle

import numpy as np
import pytest
from conftest import random_weights
from graphs import Builder, random

import fusedlstm as fl

f4 = np.float32


def detector():
    """A frame and two states in, a number and the states out; the end of a frame comes again."""
    build = Builder(x=(None, None), h=(1, None, 6), c=(1, None, 6))
    wave = build("Conv", build("Unsqueeze", "x", [1]), random(4, 1, 3), random(4), strides=(2,))
    y, h, c = build(
        "LSTM", build("Transpose", build("ReduceMax", wave, [2], keepdims=1), perm=(2, 0, 1)),
        random(1, 24, 4), random(1, 24, 6), random(1, 48), "", "h", "c", hidden_size=6, outputs=3,
    )  # fmt: skip
    out = build("Sigmoid", build("MatMul", build("Squeeze", y, [0, 1]), random(6, 2)))
    return fl.Model(build.graph(out, h, c)), {"context": {"x": 3}, "states": {"h": h, "c": c}}, (8,)


def amplifier():
    """A valid convolution, an LSTM, a dense layer: one output for each step but the first two."""
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 4, 6))
    parts = [fl.Transpose(1, 2), fl.Conv1d(random(4, 3, 3)), fl.Transpose(1, 2), lstm, fl.Linear(random(2, 6))]
    return fl.Sequential(*parts, shape=(None, None, 3)), {}, (3,)


def strided():
    """An output for every second step."""
    lstm = fl.LSTM(random_weights(np.random.default_rng(1), 4, 5))
    parts = [fl.Conv1d(random(4, 3, 2), stride=2), fl.Transpose(1, 2), lstm]
    return fl.Sequential(*parts, shape=(None, 3, None)), {}, (3,)


def classifier():
    """The last step's output at every step."""
    lstm = fl.LSTM(random_weights(np.random.default_rng(2), 3, 5))
    return fl.Sequential(lstm, fl.Last(), fl.Linear(random(4, 5)), shape=(None, None, 3)), {"every_step": True}, (3,)


def pooling():
    """The mean and the largest of all steps so far."""
    build = Builder(x=(None, None, 3))
    y = build("Tanh", build("MatMul", "x", random(3, 5)))
    both = build("Concat", *(build(op, y, [1], keepdims=0) for op in ("ReduceMean", "ReduceMax")), axis=1)
    return fl.Model(build.graph(build("MatMul", both, random(10, 2)))), {"every_step": True}, (3,)


def single():
    """A model of one row, which no plan makes more."""
    build = Builder(x=(1, 3), state=(1, 2))
    after = build("Tanh", build("Add", "state", build("MatMul", "x", random(3, 2))))
    return fl.Model(build.graph(build("Neg", after), after)), {"states": {"state": after}}, (3,)


def mixing():
    """Rows that see each other: each steps alone."""
    build = Builder(x=(None, 3), state=(None, 3))
    after = build("Sub", build("Add", "state", "x"), build("ReduceMean", "x", [0], keepdims=1))
    return fl.Model(build.graph(build("Relu", after), after)), {"states": {"state": after}}, (3,)


KINDS = {make.__name__: make for make in (detector, amplifier, strided, classifier, pooling, single, mixing)}


def same(found, wanted):
    """Byte for byte, None where the other is None; an output of a stream has an axis of one row."""
    if wanted is None:
        return found is None
    return found is not None and found.tobytes() == wanted.tobytes()


class Schedule:
    """Streams that join, step, fork and leave at random, each beside one alone."""

    def __init__(self, kind, seed):
        self.rng = np.random.default_rng(seed)
        self.model, self.options, self.shape = KINDS[kind]()
        self.pool = fl.StreamPool(self.model, capacity=2, **self.options)
        self.alone = {}
        self.along = "states" not in self.options

    def run(self, turns):
        for _ in range(turns):
            kind = self.rng.integers(8)
            ids = list(self.alone)
            some = [ids[k] for k in self.rng.permutation(len(ids))[: self.rng.integers(len(ids) + 1)]]
            if kind == 0 or not ids:
                for _ in range(self.rng.integers(1, 40)):
                    self.alone[self.pool.open()] = self.model.stream(**self.options)
            elif kind == 1:
                for one in some[:5]:
                    self.pool.close(one)
                    del self.alone[one]
            elif kind == 2:
                self.alone[self.pool.fork(ids[0])] = self.alone[ids[0]].copy()
            elif kind == 3 and some:
                self.pool.reset(some[:3])
                for one in some[:3]:
                    self.alone[one].reset()
            elif kind == 4:
                state = self.pool.state(ids[-1])
                for name, value in self.alone[ids[-1]].state.items():
                    assert name == "steps" or value.tobytes() == state[name].tobytes()
                self.alone[self.pool.open(state)] = self.alone[ids[-1]].copy()
            elif kind == 5:
                self.process(some[:4])
            elif some:
                self.step(some)

    def step(self, ids):
        x = self.rng.standard_normal((len(ids), *self.shape)).astype(f4)
        made = self.pool.step(ids, x)
        for k, one in enumerate(ids):
            assert same(made[k], self.alone[one].step(x[k : k + 1]))

    def process(self, ids):
        steps = [int(self.rng.integers(0, 12)) for _ in ids]
        chunks = {one: self.rng.standard_normal((n, *self.shape)).astype(f4) for one, n in zip(ids, steps)}
        rows_last = self.model.inputs[next(iter(self.model.inputs))].shape[-1] is None and self.along
        made = self.pool.process({one: x.T if rows_last else x for one, x in chunks.items()})
        for one, x in chunks.items():
            wanted = [self.alone[one].step(x[k : k + 1]) for k in range(len(x))]
            wanted = [part for part in wanted if part is not None]
            if wanted:
                assert made[one].tobytes() == np.concatenate(wanted).tobytes()
            else:
                assert made[one].size == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_schedules(kind, seed):
    Schedule(kind, seed).run(25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 300))
@pytest.mark.parametrize("kind", list(KINDS)[:6])
def test_more_schedules(kind, seed):
    Schedule(kind, seed).run(40)


def test_nan_stays_with_its_stream():
    for kind in ("detector", "amplifier", "strided"):
        model, options, shape = KINDS[kind]()
        pool = fl.StreamPool(model, **options)
        ids, alone = [pool.open() for _ in range(9)], model.stream(**options)
        for turn in range(6):
            x = random(9, *shape, seed=turn)
            x[4] = np.nan
            made, wanted = pool.step(ids, x), alone.step(x[3:4])
            assert same(made[3], wanted)
            assert made[4] is None or np.isnan(made[4]).any() or kind == "detector"


def test_states_move_between_streams_and_pools():
    for kind in ("detector", "amplifier"):
        model, options, shape = KINDS[kind]()
        pool, stream = fl.StreamPool(model, **options), model.stream(**options)
        for turn in range(5):
            stream.step(random(1, *shape, seed=turn))
        one = pool.open(stream.state)
        other = fl.StreamPool(model, **options)
        two = other.open(pool.state(one))
        x = random(1, *shape)
        wanted = stream.step(x)
        assert same(pool.step([one], x)[0], wanted) and same(other.step([two], x)[0], wanted)
        stream.state = pool.state(one)
        assert same(pool.step([one], x)[0], stream.step(x))
        with pytest.raises(ValueError, match="state: expected"):
            pool.set_state(one, {})
        name = next(name for name in pool.state(one) if name != "steps")
        with pytest.raises(ValueError, match=f"state '{name}': expected shape"):
            pool.set_state(one, {**pool.state(one), name: np.zeros(3, f4)})
        with pytest.raises(TypeError, match="dict of arrays"):
            pool.open((1, 2))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_states_that_are_no_floats_where_they_are_said(dtype):
    kind = np.dtype(dtype)
    build = Builder(x=("rows", 4), n=(kind, ("rows", 4)))
    after = build("Not", "n") if kind.kind == "b" else build("Add", "n", build.const(np.ones(1), kind))
    model = fl.Model(build.graph(build("Mul", build("Cast", "n", to=np.dtype(f4)), "x"), after))
    stream, pool = model.stream(states={"n": after}), fl.StreamPool(model, states={"n": after})
    one = pool.open()
    for at in range(260):
        x = random(1, 4, seed=at)
        wanted = np.array(at % 2 if kind.kind == "b" else at).astype(dtype).astype(f4) * x
        assert same(stream.step(x), wanted) and same(pool.step([one], x), wanted)
    assert same(pool.state(one)["n"], stream.state["n"])


def test_numbers_of_steps_that_make_no_sense_are_refused():
    model, options, _ = amplifier()
    pool, stream, x = fl.StreamPool(model, **options), model.stream(), random(6, 1, 3)
    for row in x[:4]:
        stream.step(row)
    for steps in (-1, -(2**63)):
        with pytest.raises(ValueError, match="state 'steps': expected 0 or more"):
            pool.open({**stream.state, "steps": np.array(steps)})
    longest = pool.open({**stream.state, "steps": np.array(2**63 - 1)})
    assert same(pool.step([longest], x[4])[0], stream.step(x[4]))


@pytest.mark.parametrize("kind", KINDS)
def test_streams_can_be_pickled(kind):
    model, options, shape = KINDS[kind]()
    stream, x = model.stream(**options), random(12, 1, *shape)
    for at, row in enumerate(x[:8]):
        twin = pickle.loads(pickle.dumps(stream))
        if at > 2:
            assert same(stream.step(row), twin.step(row))
        else:
            stream.step(row)
            twin.step(row)
    assert twin.state.keys() == stream.state.keys()


def embedding():
    lstm = fl.LSTM(random_weights(np.random.default_rng(3), 4, 5))
    return fl.Sequential(fl.Embedding(random(7, 4)), lstm)


def test_a_value_that_makes_no_sense_changes_nothing():
    model = embedding()
    pool = fl.StreamPool(model)
    ids = [pool.open() for _ in range(70)]
    x = np.zeros(70, np.int64)
    pool.step(ids, x)
    before = [pool.state(one) for one in ids]
    x[69] = 99
    with pytest.raises(ValueError, match="Gather node"):
        pool.step(ids, x)
    with pytest.raises(ValueError, match="Gather node"):
        pool.process({ids[0]: np.array([1, 2, 3]), ids[1]: np.array([1, 99])})
    for one, state in zip(ids, before):
        assert all(np.array_equal(state[name], value) for name, value in pool.state(one).items())


def test_rows_that_fill_a_program_up_are_none_of_before():
    model = embedding()
    pool = fl.StreamPool(model)
    ids = [pool.open() for _ in range(64)]
    x = np.zeros(64, np.int64)
    x[62] = 99
    with pytest.raises(ValueError, match="Gather node"):
        pool.step(ids, x)
    assert pool.step(ids[:60], x[:60]).shape == (60, 5)


def test_what_does_not_fit_is_refused():
    model, options, _ = detector()
    pool = fl.StreamPool(model, **options)
    one = pool.open()
    with pytest.raises(TypeError, match="expected x; found 2 arrays"):
        pool.step([one], np.zeros((1, 8), f4), np.zeros((1, 8), f4))
    with pytest.raises(ValueError, match="expected 1 rows, one for each id"):
        pool.step([one], np.zeros((2, 8), f4))
    with pytest.raises(ValueError, match=r"input 'x': expected shape \(rows, \?\), found \(1, 8, 8\)"):
        pool.step([one], np.zeros((1, 8, 8), f4))
    with pytest.raises(TypeError, match="convert it with"):
        pool.step([one], np.zeros((1, 8), np.int64))
    with pytest.raises(TypeError, match="out: expected none"):
        pool.step([one], np.zeros((1, 8), f4), out=np.zeros((1, 2), f4))
    with pytest.raises(ValueError, match="at least one stream"):
        pool.step([], np.zeros((0, 8), f4))
    with pytest.raises(ValueError, match=f"chunk of {one}: input 'x'"):
        pool.process({one: np.zeros(8, f4)})
    with pytest.raises(AttributeError, match=r"see pool\.model"):
        pool.lstm  # noqa: B018
    with pytest.raises(TypeError, match="fixed"):
        fl.StreamPool(fl.LSTM(random_weights(np.random.default_rng(0), 3, 4)), fixed={})
    assert pool.process({one: np.zeros((3, 8), f4)})[one].shape == (3, 2)
    along = fl.StreamPool(amplifier()[0])
    with pytest.raises(ValueError, match=r"expected shape \(1, 3\) for each stream, found \(4,\)"):
        along.step([along.open()], np.zeros((1, 4), f4))


def test_sizes_of_frames_may_differ():
    model, options, _ = detector()
    pool, streams = fl.StreamPool(model, **options), [model.stream(**options) for _ in range(3)]
    ids = [pool.open() for _ in streams]
    for size in (8, 12, 8):
        x = random(3, size)
        for made, stream, row in zip(pool.step(ids, x), streams, x):
            assert same(made, stream.step(row[None]))
    chunks = {ids[0]: random(2, 8), ids[1]: random(3, 14)}
    made = pool.process(chunks)
    for one, stream in zip(ids, streams[:2]):
        assert made[one].tobytes() == np.concatenate([stream.step(row[None]) for row in chunks[one]]).tobytes()


def test_many_at_once_and_on_all_threads(threads):
    model, options, shape = amplifier()
    x = random(1000, *shape)
    made = {}
    for count in (1, 2):
        threads(count)
        pool = fl.StreamPool(model, capacity=1000, **options)
        ids = np.array([pool.open() for _ in range(1000)])
        for _ in range(3):
            made[count] = pool.step(ids, x)
    assert made[1].tobytes() == made[2].tobytes()
    alone = model.stream()
    for _ in range(3):
        wanted = alone.step(x[777:778])
    assert wanted.tobytes() == made[1][777].tobytes()


@pytest.mark.parametrize("kind", ["detector", "strided"])
def test_tasks(kind):
    model, options, shape = KINDS[kind]()
    x = random(20, 12, *shape)

    async def client(batcher, rows):
        one = await batcher.open()
        made = [await batcher.step(one, row) for row in rows]
        queued = await asyncio.gather(*(batcher.step(one, row) for row in rows))
        await batcher.close(one)
        return made + list(queued)

    async def run():
        async with fl.AsyncBatcher(fl.StreamPool(model, **options)) as batcher:
            with pytest.raises(ValueError, match="input"):
                await batcher.step(await batcher.open(), random(2, *shape))
            return await asyncio.gather(*(client(batcher, rows) for rows in x))

    for rows, made in zip(x, asyncio.run(run())):
        stream = model.stream(**options)
        for row, found in zip([*rows, *rows], made):
            assert same(found, stream.step(row[None]))


def test_rows_of_several_sizes_in_one_batch():
    """As many numbers as three rows of the first one's size."""
    build = Builder(x=("rows", "features"), h=("rows", 1))
    out = build("Add", "h", build("ReduceSum", "x", np.array([1]), keepdims=1))
    pool = fl.StreamPool(fl.Model(build.graph(out)), states={"h": out})
    rows = [random(size) for size in (3, 2, 4)]

    async def run():
        async with fl.AsyncBatcher(pool, window=0.05) as batcher:
            ids = [await batcher.open() for _ in rows]
            await asyncio.gather(*map(batcher.step, ids, rows))
            return [pool.state(one)["h"] for one in ids]

    for row, found in zip(rows, asyncio.run(run())):
        np.testing.assert_allclose(found.ravel(), row.sum(), rtol=1e-6)


def test_a_task_s_mistake_is_its_own():
    async def run():
        async with fl.AsyncBatcher(fl.StreamPool(embedding()), window=0.05) as batcher:
            ids = [await batcher.open() for _ in range(5)]
            calls = [batcher.step(one, np.int64(99 if k == 2 else k)) for k, one in enumerate(ids)]
            return await asyncio.gather(*calls, return_exceptions=True)

    made = asyncio.run(run())
    assert isinstance(made[2], ValueError)
    alone = embedding().stream()
    assert same(made[4], alone.step(np.array([4])))
    assert all(isinstance(one, np.ndarray) for k, one in enumerate(made) if k != 2)


@pytest.mark.parametrize("mistake", [False, True], ids=["two steps each", "a mistake of another"])
def test_a_stream_that_is_closed_between_steps_of_a_batch_costs_the_others_nothing(mistake):
    model = embedding()
    pool = fl.StreamPool(model)

    async def run():
        async with fl.AsyncBatcher(pool, window=0.05) as batcher:
            good, gone, other = [await batcher.open() for _ in range(3)]
            calls = [batcher.step(one, np.int64(k)) for k in range(2) for one in (good, gone)]
            calls += [batcher.step(other, np.int64(99))] if mistake else []
            step, done = pool.step, []

            def slow(ids, *x):
                made = step(ids, *x)
                done.append(ids)
                if len(done) == 1:
                    pool.close(gone)  # by somebody else, while the batch runs
                return made

            pool.step = slow
            made = await asyncio.gather(*calls, return_exceptions=True)
            pool.step = step
            return good, made

    good, made = asyncio.run(run())
    alone = model.stream()
    assert same(made[0], alone.step(np.array([0]))) and same(made[2], alone.step(np.array([1])))
    assert isinstance(made[3], ValueError)
    assert same(pool.step([good], np.array([2]))[0], alone.step(np.array([2])))


@pytest.mark.parametrize(
    "kind, together",
    [
        ("detector", True),
        ("amplifier", True),
        ("strided", True),
        ("classifier", True),
        ("single", False),
        ("mixing", False),
    ],
)
def test_rows_step_together_where_none_sees_another(kind, together):
    model, options, shape = KINDS[kind]()
    pool = fl.StreamPool(model, **options)
    pool.step([pool.open() for _ in range(5)], random(5, *shape))
    assert (len(pool._rows.sizes((random(5, *shape),))) > 1) == together
