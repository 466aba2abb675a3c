"""Streams of a service stepped from several threads while actors are killed and moved; every step is looked at."""

import threading
import time

import numpy as np
import ray

import fusedlstm as fl

LONGEST = 400


def end(actor):
    """Kill an actor, and wait until it is dead."""
    ray.kill(actor)
    while alive(actor):
        pass


def alive(actor):
    """Whether it answers."""
    try:
        ray.get(actor.ready.remote())
    except ray.exceptions.RayActorError:
        return False
    return True


class Soak:
    """What is run, and what was seen."""

    def __init__(self, service, every, streams=12, threads=3, seed=0):
        self.service, self.every = service, every
        self.x = np.random.default_rng(seed).standard_normal((streams, LONGEST, service.model.input_size), np.float32)
        self.y = service.model(self.x)[0]
        self.seed, self.threads, self.stop = seed, threads, threading.Event()
        self.steps = self.repeated = self.kills = self.told = 0
        self.failures, self.lock = [], threading.Lock()

    def kill(self):
        """An actor, wherever it is in its work."""
        actor = np.random.default_rng(self.kills).choice(np.array(self.service._table.places, object)).actor
        end(actor)
        self.kills += 1

    def run(self, seconds, between):
        """`between(soak)` is called again and again, in this thread."""
        threads = [threading.Thread(target=self._guarded, args=(k,), daemon=True) for k in range(self.threads)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end and not self.failures:
                between(self)
        finally:
            self.stop.set()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "a call does not come back"
        if self.failures:
            raise self.failures[0]

    def _guarded(self, k):
        try:
            self._work(k)
        except BaseException as error:
            self.failures.append(error)

    def _work(self, k):
        rng = np.random.default_rng((self.seed, k))
        mine = range(k, len(self.x), self.threads)
        at, ids = dict.fromkeys(mine, 0), {one: self.service.open() for one in mine}
        while not self.stop.is_set():
            some = rng.permutation([*mine])[: rng.integers(1, len(mine) + 1)].tolist()
            for one in some:
                if at[one] > LONGEST - 10:
                    at[one] = self._anew(ids, one, rng)
            counts = [1] * len(some) if rng.random() < 0.7 else rng.integers(0, 6, len(some)).tolist()
            self._step(some, counts, at, ids, rng)
        for one in mine:
            self.service.close(ids[one])

    def _anew(self, ids, one, rng):
        """From the start, in one of the ways there are."""
        if rng.random() < 0.5:
            self.service.reset([ids[one]])
        else:
            self.service.close(ids[one])
            ids[one] = self.service.open()
        return 0

    def _step(self, some, counts, at, ids, rng):
        numbered, single = rng.random() < 0.5, all(count == 1 for count in counts)
        chunks = {ids[one]: self.x[one, at[one] : at[one] + count] for one, count in zip(some, counts)}
        numbers = {ids[one]: at[one] for one in some} if numbered else None
        calls = 2 if numbered and rng.random() < 0.3 else 1  # the same steps again: nothing runs twice
        for _ in range(calls):
            repeat = {}
            try:
                if single:
                    x = np.concatenate([*chunks.values()])
                    made = self.service.step([*chunks], x, at=numbers and [*numbers.values()])
                    made = dict(zip(chunks, made[:, None]))
                else:
                    made = self.service.process(chunks, numbers)
            except fl.errors.Unfinished as error:
                made, repeat = error.outputs, error.repeat
                if single:
                    made = {id: y[None] for id, y in made.items()}
            assert made.keys() | repeat.keys() == set(chunks) and not made.keys() & repeat.keys()
            for one, count in zip(some, counts):
                if (id := ids[one]) in made:
                    assert made[id].tobytes() == self.y[one, at[one] : at[one] + count].tobytes()
            if repeat:
                break
        with self.lock:
            for one, count in zip(some, counts):
                if (id := ids[one]) in made:
                    at[one] += count
                    self.steps += count
                else:
                    lost = repeat[id] - count
                    assert 0 <= lost < self.every, (lost, self.every)
                    at[one] -= lost
                    assert self.service.count(id) == at[one]
                    self.repeated += lost
                    self.told += 1
