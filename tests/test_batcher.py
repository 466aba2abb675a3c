"""AsyncBatcher: many tasks, run together; order, cancellation, errors, back-pressure, the window, shutdown; the server."""

import asyncio
import threading
import time

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl

LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS)
def run(request):
    """asyncio.run on each kind of event loop; nothing may take longer than 30 seconds."""
    factory = None if request.param == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    def run_one(main):
        loop = factory() if factory else asyncio.new_event_loop()
        try:
            return loop.run_until_complete(asyncio.wait_for(main, 30))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return run_one


def make(seed=0, streams=8, time=20, hidden=32):
    """An LSTM, inputs (streams, time, 7) and its outputs on them."""
    rng = np.random.default_rng(seed)
    lstm = fl.LSTM(random_weights(rng, 7, hidden))
    x = rng.standard_normal((streams, time, 7)).astype(np.float32)
    return lstm, x, lstm(x)[0]


class SlowPool(fl.StreamPool):
    """A pool that counts its batches and, while `held`, starts none."""

    def __init__(self, lstm, **kwargs):
        super().__init__(lstm, **kwargs)
        self.batches, self.go, self.entered = [], threading.Event(), threading.Event()
        self.go.set()

    def hold(self):
        self.go.clear()
        self.entered.clear()

    def step(self, ids, x, out=None):
        self.batches.append(len(ids))
        self.entered.set()
        assert self.go.wait(20)
        return super().step(ids, x, out)

    def process(self, chunks):
        self.batches.append(sum(map(len, chunks.values())))
        self.entered.set()
        assert self.go.wait(20)
        return super().process(chunks)

    async def until_entered(self):
        assert await asyncio.to_thread(self.entered.wait, 20)


def test_every_stream_gets_its_own_bits(run):
    lstm, x, y = make(streams=40)
    pool = SlowPool(lstm, capacity=4)

    async def one(batcher, b, delays):
        id = await batcher.open()
        for t in range(x.shape[1]):
            await asyncio.sleep(delays[t])
            assert (await batcher.step(id, x[b, t])).tobytes() == y[b, t].tobytes()
        await batcher.close(id)

    async def main():
        delays = np.random.default_rng(0).uniform(0, 0.002, x.shape[:2])
        async with fl.AsyncBatcher(pool) as batcher:
            await asyncio.gather(*(one(batcher, b, delays[b]) for b in range(len(x))))

    run(main())
    assert len(pool) == 0
    assert sum(pool.batches) == x.shape[0] * x.shape[1] and np.mean(pool.batches) > 2


def test_steps_of_one_stream_in_one_window_run_in_order(run):
    lstm, x, y = make()

    async def main():
        pool = SlowPool(lstm)
        async with fl.AsyncBatcher(pool, window=0.02) as batcher:
            ids = [await batcher.open() for _ in range(30)]
            found = await asyncio.gather(
                *(batcher.step(ids[b], x[b, t]) for t in range(7) for b in range(3)), batcher.step(ids[9], x[3, 0])
            )
        assert len(pool.batches) == 1
        for k, y_t in enumerate(found[:-1]):
            assert y_t.tobytes() == y[k % 3, k // 3].tobytes()
        assert found[-1].tobytes() == y[3, 0].tobytes()

    run(main())


def test_nobody_waits_longer_than_the_window(run):
    """Two streams are open and one steps: the other is waited for, but no longer."""
    lstm, x, y = make()

    async def main():
        waits = []
        async with fl.AsyncBatcher(fl.StreamPool(lstm), window=0.01) as batcher:
            id, _ = await batcher.open(), await batcher.open()
            for t in range(x.shape[1]):
                start = time.perf_counter()
                assert (await batcher.step(id, x[0, t])).tobytes() == y[0, t].tobytes()
                waits.append(time.perf_counter() - start)
        assert 0.008 < np.median(waits) < 0.02, waits

    run(main())


def test_nobody_waits_for_a_window_when_all_are_there(run):
    lstm, x, _ = make()

    async def main():
        async with fl.AsyncBatcher(fl.StreamPool(lstm), window=10) as batcher:
            ids = [await batcher.open() for _ in range(4)]
            for t in range(5):
                await asyncio.gather(*(batcher.step(id, x[b, t]) for b, id in enumerate(ids)))

    run(main())


def test_steps_that_come_while_one_runs_are_the_next_batch(run):
    lstm, x, _ = make()

    async def main():
        pool = SlowPool(lstm)
        async with fl.AsyncBatcher(pool, window=0, max_batch=5) as batcher:
            ids = [await batcher.open() for _ in range(8)]
            pool.hold()
            first = asyncio.ensure_future(batcher.step(ids[0], x[0, 0]))
            await pool.until_entered()
            others = [asyncio.ensure_future(batcher.step(id, x[0, 0])) for id in ids[1:]]
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in others)
            pool.go.set()
            await asyncio.gather(first, *others)
        assert pool.batches == [1, 5, 2]

    run(main())


def test_a_step_cancelled_before_its_batch_does_not_run(run):
    lstm, x, y = make()

    async def main():
        async with fl.AsyncBatcher(fl.StreamPool(lstm), window=0.005) as batcher:
            first, second, _ = [await batcher.open() for _ in range(3)]
            for t in range(10):
                wrong = asyncio.ensure_future(batcher.step(first, x[5, t]))
                other = asyncio.ensure_future(batcher.step(second, x[1, t]))
                await asyncio.sleep(0)
                wrong.cancel()
                right = await batcher.step(first, x[0, t])
                assert right.tobytes() == y[0, t].tobytes() and (await other).tobytes() == y[1, t].tobytes()
                assert wrong.cancelled()

    run(main())


def test_a_step_cancelled_in_its_batch_runs_as_a_whole(run):
    lstm, x, y = make()

    async def main():
        pool = SlowPool(lstm)
        async with fl.AsyncBatcher(pool, window=0) as batcher:
            first, second = await batcher.open(), await batcher.open()
            pool.hold()
            tasks = [asyncio.ensure_future(batcher.step(id, x[b, 0])) for b, id in enumerate((first, second))]
            await pool.until_entered()
            tasks[0].cancel()
            pool.go.set()
            assert (await tasks[1]).tobytes() == y[1, 0].tobytes()
            assert (await batcher.step(first, x[0, 1])).tobytes() == y[0, 1].tobytes()  # its first step has run

    run(main())


def test_a_full_queue_makes_callers_wait(run):
    lstm, x, y = make(streams=50)

    async def main():
        pool = SlowPool(lstm)
        async with fl.AsyncBatcher(pool, window=0, max_batch=4, max_waiting=6) as batcher:
            ids = [await batcher.open() for _ in range(50)]
            pool.hold()
            tasks = [asyncio.ensure_future(batcher.step(id, x[b, 0])) for b, id in enumerate(ids)]
            await pool.until_entered()
            await asyncio.sleep(0.01)
            assert len(batcher._waiting) == 6
            for task in tasks[20:25]:  # these wait for a place
                task.cancel()
            pool.go.set()
            for b, found in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                assert (
                    isinstance(found, asyncio.CancelledError) if 20 <= b < 25 else found.tobytes() == y[b, 0].tobytes()
                )
            assert max(pool.batches) <= 4 and sum(pool.batches) == 45
            await asyncio.gather(*(batcher.step(id, x[0, 0]) for id in ids))  # no place was lost

    run(main())


def test_an_error_reaches_its_caller_alone(run):
    lstm, x, y = make()

    async def main():
        pool = fl.StreamPool(lstm)
        async with fl.AsyncBatcher(pool, window=0.01) as batcher:
            good, bad, _ = [await batcher.open() for _ in range(3)]
            tasks = [
                batcher.step(good, x[0, 0]),
                batcher.step(good, np.zeros(6)),
                batcher.step(good, np.zeros(7, int)),
                batcher.step(999, x[0, 0]),
                batcher.step(bad, x[0, 0]),
            ]
            tasks = [asyncio.ensure_future(task) for task in tasks]
            await asyncio.sleep(0)
            pool.close(bad)  # by somebody else, after its step was taken
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert found[0].tobytes() == y[0, 0].tobytes()
            for error, kind, text in zip(
                found[1:],
                (ValueError, TypeError, ValueError, ValueError),
                ("x: expected shape (7,), found (6,)", "x: expected a floating-point", "stream 999", f"stream {bad}"),
            ):
                assert type(error) is kind and text in str(error)
            assert (await batcher.step(good, x[0, 1])).tobytes() == y[0, 1].tobytes()

    run(main())


def test_when_the_engine_fails_everybody_hears_and_it_goes_on(run):
    lstm, x, y = make()

    async def main():
        pool = SlowPool(lstm)
        async with fl.AsyncBatcher(pool) as batcher:
            ids = [await batcher.open() for _ in range(3)]
            whole, pool.step = pool.step, lambda *_: (_ for _ in ()).throw(MemoryError("none left"))
            found = await asyncio.gather(*(batcher.step(id, x[0, 0]) for id in ids), return_exceptions=True)
            assert [type(error) for error in found] == [MemoryError] * 3
            pool.step = whole
            assert (await batcher.step(ids[0], x[0, 0])).tobytes() == y[0, 0].tobytes()

    run(main())


def test_close_waits_for_the_steps_before_it(run):
    lstm, x, y = make()

    async def main():
        pool = fl.StreamPool(lstm)
        async with fl.AsyncBatcher(pool, window=0.01) as batcher:
            id, _ = await batcher.open(), await batcher.open()
            steps = [asyncio.ensure_future(batcher.step(id, x[0, t])) for t in range(1)]
            await asyncio.sleep(0)
            closing = asyncio.ensure_future(batcher.close(id))
            await asyncio.sleep(0)
            with pytest.raises(ValueError, match="closed or closing"):
                await batcher.step(id, x[0, 1])
            with pytest.raises(ValueError, match="closed or closing"):
                await batcher.close(id)
            assert id in pool
            await closing
            assert id not in pool and (await steps[0]).tobytes() == y[0, 0].tobytes()

    run(main())


def test_an_open_that_is_cancelled_leaves_no_stream(run):
    lstm, x, _ = make()

    async def main():
        pool = SlowPool(lstm)
        async with fl.AsyncBatcher(pool) as batcher:
            id = await batcher.open()
            pool.hold()
            step = asyncio.ensure_future(batcher.step(id, x[0, 0]))
            await pool.until_entered()
            opening = asyncio.ensure_future(batcher.open())
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.sleep(0)
            pool.go.set()
            await step
            await batcher.close(await batcher.open())  # after the other one, on the same thread
            assert opening.cancelled() and len(pool) == 1

    run(main())


def test_shutdown_runs_what_waits_and_refuses_the_rest(run):
    lstm, x, y = make()

    async def main():
        pool = fl.StreamPool(lstm, max_streams=2)
        async with fl.AsyncBatcher(pool, window=10, max_waiting=1) as batcher:
            id, other = await batcher.open(), await batcher.open()
            with pytest.raises(RuntimeError, match="full"):
                await batcher.open()
            waits = asyncio.ensure_future(batcher.step(id, x[0, 0]))
            late = asyncio.ensure_future(batcher.step(other, x[0, 0]))
            await asyncio.sleep(0)
        assert (await waits).tobytes() == y[0, 0].tobytes()
        for call in (late, batcher.step(id, x[0, 1]), batcher.open()):
            with pytest.raises(RuntimeError, match="closed"):
                await call
        await batcher.aclose()
        await batcher.close(id)  # a server's tasks may still tidy up
        assert len(pool) == 1
        await asyncio.sleep(0.01)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("fusedlstm-batcher")]

    run(main())


def test_one_event_loop():
    lstm, _, _ = make()
    batcher = fl.AsyncBatcher(fl.StreamPool(lstm))
    asyncio.run(batcher.open())
    with pytest.raises(RuntimeError, match="one event loop"):
        asyncio.run(batcher.open())
    asyncio.run(batcher.aclose())


@pytest.mark.parametrize(
    "kwargs, error",
    [
        ({"window": -1}, "window: expected 0 to 60"),
        ({"window": float("nan")}, "window: expected 0 to 60"),
        ({"max_batch": 0}, "max_batch: expected a whole number from 1"),
        ({"max_waiting": 1.5}, "max_waiting: expected a whole number from 1"),
    ],
)
def test_bad_settings(kwargs, error):
    lstm, _, _ = make()
    with pytest.raises(ValueError, match=error):
        fl.AsyncBatcher(fl.StreamPool(lstm), **kwargs)
    with pytest.raises(TypeError, match="pool: expected fusedlstm.StreamPool"):
        fl.AsyncBatcher(lstm)


def test_idle_means_idle(run):
    """No polling: with a step under way in the worker, and with nothing to do, this thread takes no time."""
    lstm, x, _ = make()

    async def main():
        pool = SlowPool(lstm)
        async with fl.AsyncBatcher(pool) as batcher:
            id = await batcher.open()
            pool.hold()
            step = asyncio.ensure_future(batcher.step(id, x[0, 0]))
            await pool.until_entered()
            start = time.process_time()
            await asyncio.sleep(0.3)
            pool.go.set()
            await step
            await asyncio.sleep(0.3)
            assert time.process_time() - start < 0.1

    run(main())


def ran_on(monkeypatch, seconds=0.0):
    """The threads that batches run on, by name."""
    import fusedlstm.batcher

    names, real = [], fusedlstm.batcher.run

    def recorded(pool, batch):
        results, took = real(pool, batch)
        names.append(threading.current_thread().name)
        return results, max(took * 1e-3, seconds)

    monkeypatch.setattr(fusedlstm.batcher, "run", recorded)
    return names


def test_brief_batches_run_on_the_loop(run, monkeypatch):
    """Once they are known to be: each number of steps for itself, and not where another thread is in the pool."""
    lstm, x, y = make(time=6)
    names = ran_on(monkeypatch)

    async def main():
        pool = fl.StreamPool(lstm)
        async with fl.AsyncBatcher(pool) as batcher:
            ids = [await batcher.open() for _ in range(8)]
            for t in range(3):
                made = await asyncio.gather(*[batcher.step(id, x[b, t]) for b, id in enumerate(ids)])
                assert np.array_equal(made, y[:, t])
            await batcher.step(ids[0], x[0, 3])
            with pool._running:
                waits = [asyncio.ensure_future(batcher.step(id, x[b, 3])) for b, id in enumerate(ids[1:], 1)]
                await asyncio.sleep(0.05)
                assert not any(one.done() for one in waits)
            assert np.array_equal(await asyncio.gather(*waits), y[1:, 3])

    run(main())
    here, there = threading.current_thread().name, "fusedlstm-batcher_0"
    assert names == [there, here, here, there, there]


@pytest.mark.parametrize("kind", ["long", "failing", "other class"])
def test_others_run_on_the_worker(run, monkeypatch, kind):
    lstm, x, _ = make()
    names = ran_on(monkeypatch, 0.002 if kind == "long" else 0)

    async def main():
        pool = (SlowPool if kind == "other class" else fl.StreamPool)(lstm)
        if kind == "failing":
            monkeypatch.setattr(pool, "step", lambda *_: 1 / 0)
        async with fl.AsyncBatcher(pool) as batcher:
            id = await batcher.open()
            for t in range(4):
                await asyncio.gather(batcher.step(id, x[0, t]), return_exceptions=True)

    run(main())
    assert names == ["fusedlstm-batcher_0"] * 4


def test_a_task_that_steps_on_and_on_lets_others_run(run):
    lstm, x, _ = make()

    async def forever(batcher, id):
        while True:
            await batcher.step(id, x[0, 0])

    async def main():
        async with fl.AsyncBatcher(fl.StreamPool(lstm), window=0) as batcher:
            task = asyncio.ensure_future(forever(batcher, await batcher.open()))
            for _ in range(100):
                await asyncio.sleep(0.001)
            task.cancel()

    run(main())


def chaos(run, seed, tasks, rounds):
    """Tasks that step, are cancelled at random moments, close and open again; whoever was not cancelled has the bits."""
    lstm, x, y = make(seed, streams=10, time=rounds)
    rng = np.random.default_rng(seed)
    complete = []

    async def one(batcher, b):
        id = await batcher.open()
        try:
            for t in range(rounds):
                if rng.random() < 0.3:
                    await asyncio.sleep(rng.uniform(0, 0.002))
                assert (await batcher.step(id, x[b, t])).tobytes() == y[b, t].tobytes()
            complete.append(b)
        finally:
            await batcher.close(id)

    async def main():
        pool = fl.StreamPool(lstm, capacity=2)
        async with fl.AsyncBatcher(pool, max_batch=16, max_waiting=8) as batcher:
            running = [asyncio.ensure_future(one(batcher, int(rng.integers(10)))) for _ in range(tasks)]
            for task in running[::2]:
                await asyncio.sleep(rng.uniform(0, 0.003))
                task.cancel()
            results = await asyncio.gather(*running, return_exceptions=True)
            assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results), results
            for _ in range(100):  # an open that was cancelled is undone a moment later
                if not len(pool):
                    break
                await asyncio.sleep(0.01)
            assert len(pool) == 0 and batcher._places._value == 8 and not batcher._waiting
        assert len(complete) >= tasks // 2

    run(main())


@pytest.mark.parametrize("seed", range(5))
def test_tasks_cancelled_at_random(run, seed):
    chaos(run, seed, tasks=40, rounds=15)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5, 105))
def test_many_tasks_cancelled_at_random(run, seed):
    chaos(run, seed, tasks=200, rounds=100)
