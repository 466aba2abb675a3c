"""What streams and data sets over Ray cost here: `python benchmarks/scale.py [step] [move] [kills] [offline]`.

Beside each figure stands its target, which is our own. Ray gives its workers the lowest priority: on a busy machine
actors wait for a CPU, unless RAY_worker_niceness says otherwise, as it does here.
"""

import os
import pickle
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np

os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")

import ray

import fusedlstm as fl
from fusedlstm.ray import StreamService, moves

ROOT = Path(__file__).parents[1]
INPUTS, HIDDEN = 64, 256


def lstm(inputs=INPUTS, hidden=HIDDEN):
    rng = np.random.default_rng(0)
    shapes = (4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,)
    direction = fl.DirectionWeights(*(rng.uniform(-0.1, 0.1, shape).astype(np.float32) for shape in shapes))
    return fl.LSTM(fl.LSTMWeights([[direction]]), threads=1)


def milliseconds(functions, rounds=400):
    """Of calls in turn: the quickest and the middle one."""
    found = [[] for _ in functions]
    for _ in range(rounds):
        for times, run in zip(found, functions):
            start = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - start))
    return [(min(times), float(np.median(times))) for times in found]


def step():
    model = lstm()
    print(f"a state: {len(pickle.dumps(model(np.zeros((1, 1, INPUTS), np.float32))[1])):,} bytes pickled, {model!r}")
    for batch in (1, 16, 256):
        x = np.random.default_rng(1).standard_normal((batch, INPUTS), np.float32)
        pool = fl.StreamPool(model)
        here = np.array([pool.open() for _ in range(batch)])
        with StreamService(model, 1) as service:
            there = [service.open() for _ in range(batch)]
            calls = [partial(pool.step, here, x), partial(service.step, there, x)]
            (least, alone), (most, through) = milliseconds(calls)
        print(
            f"a step of {batch:3} streams: pool {alone:.3f} ms, an actor {through:.3f}: {through - alone:.2f} ms above "
            f"(target 1.5); quickest {least:.3f}, {most:.3f}: {most - least:.2f}"
        )
    throughput(model)


def throughput(model, batch=256, seconds=3.0):
    """Steps a second of one actor, from one caller and from two."""
    x = np.random.default_rng(1).standard_normal((batch, INPUTS), np.float32)
    with StreamService(model, 1) as service:
        for callers in (1, 2):
            counts = [0] * callers

            def work(k, counts=counts):
                ids, end = [service.open() for _ in x], time.perf_counter() + seconds
                while time.perf_counter() < end:
                    service.step(ids, x)
                    counts[k] += batch

            threads = [threading.Thread(target=work, args=(k,)) for k in range(callers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(f"one actor, batches of {batch}, {callers} callers: {sum(counts) / seconds:,.0f} steps a second")


def move(count=10_000):
    model = lstm()
    with StreamService(model, 1, actor_options={"num_cpus": 0.5}) as service:
        start = time.perf_counter()
        ids = [service.open() for _ in range(count)]
        print(f"{count:,} streams opened in {time.perf_counter() - start:.2f} s")
        x = np.random.default_rng(1).standard_normal((count, INPUTS), np.float32)
        start = time.perf_counter()
        service.step(ids, x)
        print(f"one step of all: {time.perf_counter() - start:.2f} s")
        service.scale(2)
        start = time.perf_counter()
        service.scale(1)
        half = time.perf_counter() - start
        (one,) = service._table.places
        two = type(one)(service._table.hire())
        ray.get(two.actor.ready.remote())
        start, longest = time.perf_counter(), 0.0
        while lives := sorted(one.lives, key=lambda live: live.id)[: moves.TOGETHER]:
            begin = time.perf_counter()
            moves.move(service._table, lives, two)
            longest = max(longest, time.perf_counter() - begin)
        print(f"{count:,} streams moved in {time.perf_counter() - start:.2f} s  (target 5); none waited longer than")
        print(f"{1e3 * longest:.0f} ms; half of them from two actors to one, which ended: {half:.2f} s")


def kills(seconds=300, every=1.5):
    sys.path[:0] = [str(ROOT / "tests" / "helpers")]
    from ray_soak import Soak

    options = {"checkpoint_every": 8, "spares": 2, "actor_options": {"num_cpus": 0.5}}
    with StreamService(lstm(5, 12), 2, **options) as service:
        soak = Soak(service, 8)

        def trouble(soak):
            time.sleep(every)
            soak.kill()

        soak.run(seconds, trouble)
    print(
        f"{soak.kills} kills in {seconds} s  (target 200 in 300): {soak.steps:,} steps answered, each with the bits of "
        f"the whole sequence; {soak.repeated:,} were repeated, as {soak.told:,} answers said"
    )


def offline():
    subprocess.run([sys.executable, str(ROOT / "examples" / "offline.py")], check=True)
    print("(target 0.75)")


def main():
    chosen = sys.argv[1:] or ["step", "move", "kills", "offline"]
    if set(chosen) - {"offline"}:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    for name, run in (("step", step), ("move", move), ("kills", kills)):
        if name in chosen:
            run()
    ray.shutdown()
    if "offline" in chosen:
        offline()


if __name__ == "__main__":
    main()
