"""fusedlstm.ray.StreamService where calls wait, are interrupted, make no sense, or come when the cluster is gone."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl

ray = pytest.importorskip("ray")
from ray_cluster import cluster  # noqa: E402, F401

from fusedlstm.ray import StreamService, Unfinished  # noqa: E402

INPUTS, HIDDEN = 5, 12
SMALL = {"actor_options": {"num_cpus": 0}}

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), INPUTS, HIDDEN, layers=2))


@pytest.fixture
def service(cluster, lstm):  # noqa: F811
    with StreamService(lstm, 1, checkpoint_every=2, **SMALL) as service:
        yield service


def steps(count, streams=1):
    return np.random.default_rng(1).standard_normal((streams, count, INPUTS)).astype(np.float32)


def process_of(service, id):
    """The process of a stream's actor."""
    return ray.get(service._table.lives[id].place.actor.__ray_call__.remote(lambda self: os.getpid()))


@contextmanager
def asleep(process):
    """One that does not answer meanwhile."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def beside(call):
    """Start a call in another thread; what waits for what it gives or raises."""
    found = []

    def run():
        try:
            found.append(call())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(0.3)  # it is on its way, or waits

    def result():
        thread.join(20)
        assert found, "the call does not come back"
        return found[0]

    return result


@contextmanager
def interrupted(after=0.3):
    """Ctrl-C comes while this runs."""
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    timer.join()


def test_who_waits_for_room_is_told_that_the_actor_died_meanwhile(cluster, lstm):  # noqa: F811
    x = steps(6, 2)
    with StreamService(lstm, 1, max_waiting=1, spares=1, **SMALL) as service:
        ids = [service.open(), service.open()]
        service.process({id: x[k, :5] for k, id in enumerate(ids)})
        process = process_of(service, ids[0])
        os.kill(process, signal.SIGSTOP)
        results = [beside(lambda k=k: service.step(ids[k : k + 1], x[k : k + 1, 5])) for k in range(2)]
        os.kill(process, signal.SIGKILL)
        for id, result in zip(ids, results):
            assert isinstance(result(), Unfinished) and result().repeat == {id: 6}
        again = service.process({id: x[k] for k, id in enumerate(ids)})
        assert all(again[id].tobytes() == y.tobytes() for id, y in zip(ids, lstm(x)[0]))


def test_calls_do_not_wait_for_each_other_s_room(cluster, lstm):  # noqa: F811
    x = steps(1, 2)[:, 0]
    with StreamService(lstm, 2, max_waiting=1, **SMALL) as service:
        ids = [service.open() for _ in range(4)]  # on one actor and the other, in turn

        def work(pair):
            for _ in range(30):
                service.step(pair, x)
            return service.count(pair[0])

        others = [beside(lambda: [service.step(ids[3:], x[1:]) for _ in range(30)])]
        results = [beside(lambda pair=pair: work(pair)) for pair in (ids[:2], ids[2:0:-1])]
        others[0]()
        assert results[0]() == results[1]() == 30


def test_ctrl_c_leaves_streams_that_go_on(service, lstm):
    x = steps(8, 3)
    wanted, ids = lstm(x)[0], [service.open() for _ in x]
    service.process({id: x[k, :4] for k, id in enumerate(ids)})
    with asleep(process_of(service, ids[0])):
        stepped = beside(lambda: service.step(ids[:1], x[:1, 4]))
        with interrupted():
            service.scale(2)  # which waits for the step
        with interrupted():
            service.step(ids[1:2], x[1:2, 4], at=[4])
        with interrupted():
            service.state(ids[2])
    assert stepped()[0].tobytes() == wanted[0, 4].tobytes()
    assert beside(lambda: service.step(ids[1:2], x[1:2, 4], at=[4]))()[0].tobytes() == wanted[1, 4].tobytes()
    assert beside(lambda: service.step(ids[2:], x[2:, 4]))()[0].tobytes() == wanted[2, 4].tobytes()
    assert beside(lambda: service.step(ids, x[:, 5]))().tobytes() == wanted[:, 5].tobytes()


def test_who_was_interrupted_is_told_by_the_next_call(cluster, lstm):  # noqa: F811
    x = steps(6, 2)
    with StreamService(lstm, 2, spares=1, **SMALL) as service:
        ids = [service.open(), service.open()]
        service.process({id: x[k, :5] for k, id in enumerate(ids)})
        service._table.replace(place := service._table.lives[ids[0]].place, place.actor)  # what a call of another does
        with asleep(process_of(service, ids[1])), interrupted():
            service.step(ids, x[:, 5])
        with pytest.raises(Unfinished) as found:
            service.step(ids[:1], x[:1, 5])
        assert found.value.repeat == {ids[0]: 6}
        for wrong in (6, 1000):
            service._table.lives[ids[0]].lost = 5
            with pytest.raises(ValueError, match=f"at: expected step 0 of stream {ids[0]}.*found {wrong}"):
                service.step(ids[:1], x[:1, 5], at=[wrong])


def test_what_is_kept_keeps_nothing_else(service, lstm):
    x, ids = steps(4, 3), [service.open() for _ in range(3)]
    for t in range(3):
        service.step(ids, x[:, t])
    service.process({id: x[k, 3:] for k, id in enumerate(ids)})
    for live in service._table.lives.values():
        arrays = [*live.state, *live.kept[3:]]
        assert all(array.base is None and array.flags.owndata for array in arrays)
    h, _ = service.state(ids[0])
    h[:] = 0  # the caller's own
    assert service.state(ids[0])[0].any()


def test_the_same_number_for_another_kind_of_call_is_refused(service):
    x, id = steps(2), service.open()
    service.step([id], x[:, 0])
    with pytest.raises(ValueError, match="at: expected step 1 of"):
        service.process({id: x[0, :1]}, at={id: 0})
    assert service.step([id], x[:, 0], at=[0]).shape == (1, HIDDEN)


def test_what_makes_no_sense_is_told_before_anything_is_sent(service, lstm):
    x, ids = steps(3, 2), [service.open() for _ in range(2)]
    first, other = ids

    def refused(kind, message, call, *args, **named):
        with pytest.raises(kind, match=message):
            call(*args, **named)

    refused(TypeError, "ids: expected whole numbers, found dtype bool", service.step, [True], x[:1, 0])
    refused(TypeError, "ids: expected whole numbers, found dtype float64", service.step, np.array([0.0]), x[:1, 0])
    refused(ValueError, r"ids: expected shape \(n,\), found \(\)", service.step, 0, x[:1, 0])
    for call in (service.close, service.state, service.fork, service.count):
        refused(TypeError, "ids: expected whole numbers, found dtype", call, float(first))
    refused(ValueError, r"at: expected 1 numbers.*found shape \(\)", service.step, ids[:1], x[:1, 0], at=0)
    refused(TypeError, "at: expected whole numbers, found dtype bool", service.step, ids[:1], x[:1, 0], at=[False])
    refused(TypeError, "at: expected a mapping of id to number, found list", service.process, {first: x[0]}, at=[0])
    refused(ValueError, f"at: expected a number for each id, .* {first}", service.process, {first: x[0]}, at={other: 0})
    refused(TypeError, "x: expected an array without a mask", service.step, ids[:1], np.ma.masked_array(x[:1, 0]))
    for wrong in (1.0, threading.Lock(), "word", x[0, 0], x[0, :, :4]):
        refused((TypeError, ValueError), f"chunk of {other}: expected", service.process, {first: x[0], other: wrong})
    assert [service.count(id) for id in ids] == [0, 0]
    given = {np.int64(first): x[0].astype(np.float64), other: np.asfortranarray(x[1])}
    made = service.process(given, at=dict.fromkeys(given, np.int64(0)))
    assert all(y.tobytes() == one.tobytes() for y, one in zip(made.values(), lstm(x)[0]))
    service.reset(id for id in ids)
    assert service.step({*ids}, x[:, 0].astype(np.float64).tolist()).tobytes() == lstm(x)[0][:, 0].tobytes()


def test_a_service_that_was_shut_down_starts_nothing(cluster, lstm):  # noqa: F811
    with StreamService(lstm, 1, **SMALL) as service:
        id = service.open()
        service.shutdown()
    for call in (lambda: service.scale(2), lambda: service.count(id), lambda: service.reset([id]), service.open):
        with pytest.raises(RuntimeError, match="found one that was shut down"):
            call()
    assert service.actors == 1


def test_a_cluster_that_was_shut_down_is_told(cluster, lstm):  # noqa: F811
    """The last one of this file."""
    with StreamService(lstm, 1, **SMALL) as service:
        id = service.open()
        service.step([id], steps(1)[:, 0])
        ray.shutdown()
        for call in (
            lambda: service.step([id], steps(1)[:, 0]),
            lambda: service.state(id),
            lambda: service.scale(2),
            lambda: service.close(id),
            service.open,
        ):
            error = beside(call)()
            assert isinstance(error, RuntimeError) and "ray.shutdown() has ended its actors" in str(error)
        assert not ray.is_initialized()
