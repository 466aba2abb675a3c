"""fusedlstm.ray on a cluster of this machine: streams over actors that die, come and go; Serve, and a data set."""

import asyncio
import re
import runpy
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl

ray = pytest.importorskip("ray")
from live_server import alone, detector, sound  # noqa: E402
from ray_cluster import cluster  # noqa: E402, F401
from ray_soak import Soak, alive, end  # noqa: E402

from fusedlstm.ray import StreamService, Unfinished  # noqa: E402

INPUTS, HIDDEN, EVERY = 5, 12, 4
SMALL = {"actor_options": {"num_cpus": 0}}  # Ray needs CPUs for the data set beside them

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), INPUTS, HIDDEN, layers=2))


@pytest.fixture(scope="module")
def shared(cluster, lstm):  # noqa: F811
    """A service of two actors, for those who leave nothing behind."""
    with StreamService(lstm, 2, checkpoint_every=EVERY, spares=1, **SMALL) as service:
        yield service


@pytest.fixture
def service(shared):
    yield shared
    for id in [*shared._table.lives]:
        shared.close(id)
    for place in shared._table.places:  # one that a test killed, and nobody has missed yet
        if not alive(place.actor):
            shared._table.replace(place, place.actor)
    shared.scale(2)


def steps(count, streams=1, seed=1):
    return np.random.default_rng(seed).standard_normal((streams, count, INPUTS)).astype(np.float32)


def kill(service, id):
    """End the actor of a stream."""
    end(service._table.lives[id].place.actor)


def homes(service):
    return sorted(len(place.lives) for place in service._table.places)


def test_streams_have_the_bits_of_one_pool(service, lstm):
    x = steps(12, 6)
    wanted = lstm(x)[0]
    ids = [service.open() for _ in x]
    assert len(service) == 6 and homes(service) == [3, 3] and ids[0] in service
    for t in range(3):
        order = np.random.default_rng(t).permutation(6)
        y = service.step(np.array(ids)[order], x[order, t])
        assert y.tobytes() == wanted[order, t].tobytes() and y.flags.writeable
    made = service.process({ids[k]: x[k, 3 : 3 + k] for k in range(6)})
    for k in range(6):
        assert made[ids[k]].tobytes() == wanted[k, 3 : 3 + k].tobytes()
        assert service.count(ids[k]) == 3 + k
    child = service.fork(ids[5])
    assert service._table.lives[child].place is service._table.lives[ids[5]].place and service.count(child) == 8
    h, c = service.state(ids[5])
    assert [part.tobytes() for part in (h, c)] == [part[:, 0].tobytes() for part in lstm(x[5:, :8])[1]]
    other = service.open((h, c))
    rest = service.process(dict.fromkeys((ids[5], child, other), x[5, 8:]))
    assert all(y.tobytes() == wanted[5, 8:].tobytes() for y in rest.values())
    service.reset([child])
    assert service.step([child], x[5, :1]).tobytes() == wanted[5, :1].tobytes() and service.count(child) == 1


def test_a_step_that_comes_twice_runs_once(service, lstm):
    x = steps(9)
    wanted, id = lstm(x)[0][0], service.open()
    for t in range(4):
        for _ in range(3):
            assert service.step([id], x[:, t], at=[t])[0].tobytes() == wanted[t].tobytes()
    for _ in range(2):
        assert service.process({id: x[0, 4:7]}, at={id: 4})[id].tobytes() == wanted[4:7].tobytes()
    for at in (3, 5, 8):
        with pytest.raises(
            ValueError, match=rf"at: expected step 7 of stream {id}, or its last call again; found {at}"
        ):
            service.step([id], x[:, 7], at=[at])
    assert service.process({id: x[0, 7:]})[id].tobytes() == wanted[7:].tobytes()


@pytest.mark.parametrize("numbered", [False, True])
def test_streams_of_an_actor_that_dies_go_on_from_their_checkpoint(service, lstm, numbered):
    x = steps(16, 4)
    wanted, ids = lstm(x)[0], [service.open() for _ in x]
    for t in range(10):
        service.step(ids, x[:, t])
    kill(service, ids[0])
    dead = [id for id in ids if service._table.lives[id].place is service._table.lives[ids[0]].place]
    at = [10] * 4 if numbered else None
    with pytest.raises(Unfinished, match="its actor died, . steps are to be repeated") as found:
        service.step(ids, x[:, 10], at=at)
    assert set(found.value.repeat) == set(dead) and set(found.value.outputs) == set(ids) - set(dead)
    for k, id in enumerate(ids):
        if id in dead:
            first = service.count(id)
            assert 10 - EVERY < first <= 10 and found.value.repeat[id] == 11 - first
            again = service.process({id: x[k, first:11]})[id]
            assert again.tobytes() == wanted[k, first:11].tobytes()
        else:
            assert found.value.outputs[id].tobytes() == wanted[k, 10].tobytes() and service.count(id) == 11
    assert service.step(ids, x[:, 11]).tobytes() == wanted[:, 11].tobytes()


def test_who_did_not_step_when_the_actor_died_is_told_later(service, lstm):
    x = steps(12, 2)
    service.scale(1)
    one, other = service.open(), service.open()
    service.process({one: x[0, :3], other: x[1, :2]})
    while other % EVERY:  # one whose last checkpoint is the beginning, after two steps
        service.close(other)
        service.process({(other := service.open()): x[1, :2]})
    kill(service, one)
    with pytest.raises(Unfinished):
        service.step([one], x[:1, 3])
    assert service.count(other) == 0
    for call in (service.fork, service.state):
        with pytest.raises(Unfinished) as found:
            call(other)
        assert found.value.repeat == {other: 2}
        service._table.lives[other].lost = 2
    with pytest.raises(Unfinished) as found:
        service.step([other], x[1:, 2])
    assert found.value.repeat == {other: 3}
    wanted, first = lstm(x[1])[0], service.count(other)
    assert service.process({other: x[1, first:6]})[other].tobytes() == wanted[first:6].tobytes()
    assert service.step([other], x[1:, 6])[0].tobytes() == wanted[6].tobytes()
    # A caller that counts by itself is not told what it knows.
    kill(service, one)
    with pytest.raises(Unfinished):
        service.step([one], x[:1, 3], at=[service.count(one)])
    first = service.count(other)
    assert first == 6 and service.step([other], x[1:, first], at=[first])[0].tobytes() == wanted[first].tobytes()


def test_with_a_checkpoint_in_each_answer_nothing_answered_is_lost(lstm):
    x = steps(8)
    with StreamService(lstm, 1, checkpoint_every=1, spares=1, **SMALL) as service:
        id = service.open()
        for t in range(8):
            if t == 5:
                kill(service, id)
                with pytest.raises(Unfinished) as found:
                    service.step([id], x[:, t])
                assert found.value.repeat == {id: 1}
            assert service.step([id], x[:, t])[0].tobytes() == lstm(x)[0][0, t].tobytes()
        kill(service, id)
        assert service.count(service.fork(id)) == 8  # nothing to repeat: nobody is told


def test_streams_move_while_they_step(service, lstm):
    soak = Soak(service, EVERY, streams=9)
    numbers = iter([1, 3, 2, 1, 2] * 100)

    def scale(soak):
        service.scale(number := next(numbers))
        assert service.actors == number
        time.sleep(0.05)

    soak.run(3, scale)
    assert soak.steps > 50 and soak.repeated == soak.told == 0


def test_moved_streams_are_shared_out(service):
    ids = [service.open() for _ in range(10)]
    service.scale(1)
    assert homes(service) == [10]
    service.scale(3)
    assert homes(service) == [3, 3, 4]
    for id in ids[:9]:
        service.close(id)
    service.scale(3)
    assert homes(service) == [0, 0, 1]


def test_actors_are_killed_while_streams_step_and_move(service):
    soak = Soak(service, EVERY)

    def trouble(soak):
        time.sleep(0.3)
        soak.kill()
        if soak.kills % 3 == 0:
            service.scale(1 + soak.kills % 2)

    soak.run(4, trouble)
    assert soak.kills > 2 and soak.told and soak.steps > 20


def test_what_is_refused_changes_nothing(service, lstm):
    x, ids = steps(3, 2), [service.open(), service.open()]
    with pytest.raises(ValueError, match=r"x: expected shape \(1, 5\), a row for each id, found \(1, 4\)"):
        service.step(ids[:1], np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="x: expected 2 rows, one for each id; found shape"):
        service.step(ids, x[:1, 0])
    with pytest.raises(ValueError, match=r"expected shape \(2, 5\)|expected shape \(1, 5\)"):
        service.step(ids, np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="ids: expected streams that are open, found 12345"):
        service.step([ids[0], 12345], x[:, 0])
    with pytest.raises(ValueError, match="found some twice"):
        service.step([ids[0], ids[0]], x[:, 0])
    with pytest.raises(TypeError, match="floating-point"):
        service.step(ids, np.zeros((2, 5), np.int64))
    with pytest.raises(ValueError, match="at: expected 2 numbers"):
        service.step(ids, x[:, 0], at=[0])
    with pytest.raises((TypeError, ValueError), match="state"):
        service.open(state=(np.zeros(3),))
    with pytest.raises(TypeError, match="cannot be copied"):
        service.__reduce__()
    with pytest.raises(ValueError, match="actors: expected 1 or more, found 0"):
        service.scale(0)
    assert service.step(ids, x[:, 0]).tobytes() == lstm(x)[0][:, 0].tobytes()
    assert service.step([], np.zeros((0, 5), np.float32)).shape == (0, HIDDEN)


def test_what_a_service_is_not_made_of(cluster):  # noqa: F811
    both = fl.LSTM(random_weights(np.random.default_rng(0), 3, 4, directions=2))
    with pytest.raises(ValueError, match="end of"):
        StreamService(both, 1)
    one = fl.LSTM(random_weights(np.random.default_rng(0), 3, 4))
    with pytest.raises(RuntimeError, match="actors: expected 1 to start within 0.5 s.*the cluster has 2 CPUs"):
        StreamService(one, 1, actor_options={"num_cpus": 64}, start_within=0.5)
    with StreamService(one, 1, max_streams=1, **SMALL) as service:
        id = service.open()
        with pytest.raises(RuntimeError, match="service: full, 1 streams are open"):
            service.open()
    with pytest.raises(RuntimeError, match="shut down"):
        service.step([id], np.zeros((1, 3), np.float32))


def test_no_more_steps_wait_for_an_actor_than_may(lstm):
    x, seen = steps(1, 8)[:, 0], []
    with StreamService(lstm, 1, max_waiting=4, **SMALL) as service:
        ids = [service.open() for _ in x]
        (place,) = service._table.places

        def work(k):
            for _ in range(10):
                service.step(ids[2 * k : 2 * k + 2], x[2 * k : 2 * k + 2])

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            seen.append(place.waiting)
            time.sleep(0.001)
        assert max(seen) <= 4 and place.waiting == 0
        assert service.step(ids, x).shape == (8, HIDDEN)  # more than may wait go alone
        assert [service.count(id) for id in ids] == [11] * 8


def test_whole_models(cluster):  # noqa: F811
    model, options = detector()
    frames = sound(2, 6)
    with StreamService(model, 2, checkpoint_every=2, **options, **SMALL) as service:
        ids = [service.open(), service.open()]
        made = [service.step(ids, frames[:, t]) for t in range(4)]
        kill(service, ids[0])
        with pytest.raises(Unfinished) as found:
            service.step(ids, frames[:, 4])
        first = service.count(ids[0])
        assert found.value.repeat == {ids[0]: 5 - first}
        rest = service.process({ids[0]: frames[0, first:], ids[1]: frames[1, 5:]})
        for k, (id, x) in enumerate(zip(ids, frames)):
            steps = [y[k] for y in made[: first if k == 0 else 4]] + ([found.value.outputs[id]] if k else [])
            assert b"".join(y.tobytes() for y in [*steps, rest[id]]) == alone(model, options, x)


def test_a_batcher_over_a_service(service, lstm):
    x = steps(10, 6)
    wanted = lstm(x)[0]

    async def converse(batcher, k):
        id, t, told = await batcher.open(), 0, 0
        while t < 10:
            if k == 0 and t == 5 and not told:
                kill(service, id)
            try:
                y = await batcher.step(id, x[k, t])
            except Unfinished as error:
                told, t = told + 1, t + 1 - error.repeat[id]
                continue
            assert y.tobytes() == wanted[k, t].tobytes()
            t += 1
        await batcher.close(id)
        return told

    async def main():
        async with fl.AsyncBatcher(service) as batcher:
            return await asyncio.gather(*(converse(batcher, k) for k in range(6)))

    told = asyncio.run(asyncio.wait_for(main(), 60))
    assert told[0] == 1 and 1 <= sum(told) <= 3 and len(service) == 0


def test_serve(cluster, lstm):  # noqa: F811
    aiohttp = pytest.importorskip("aiohttp")
    from ray import serve

    from fusedlstm.ray.serve import build

    x, path = steps(30, 3), None

    async def converse(session, k, url):
        async with session.ws_connect(url + "/stream") as client:
            found = []
            for part in np.split(x[k], [1, 5, 20]):
                await client.send_bytes(part.astype("<f4").tobytes())
                found.append(await client.receive_bytes())
            await client.send_bytes(b"abc")
            assert (
                "expected steps of 5 float32 (20 bytes), or the text 'reset'; found 3 bytes"
                in await client.receive_str()
            )
            await client.send_str("reset")
            await client.send_bytes(x[k, :1].tobytes())
            found.append(await client.receive_bytes())
            await client.send_bytes(bytes(20 * 1001))
            assert (await client.receive()).data == 1009
        return b"".join(found)

    async def main(url):
        async with aiohttp.ClientSession() as client:
            async with client.get(url + "/status") as answer:
                assert await answer.json() == {"input_size": INPUTS, "streams": 0, "actors": 1}
            return await asyncio.gather(*(converse(client, k, url) for k in range(3)))

    with tempfile.TemporaryDirectory() as folder:
        lstm.save(path := f"{folder}/model.safetensors")
        port = free_port()
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        options = {"path": path, "actors": "1", "actor_options": '{"num_cpus": 0.25}'}
        serve.run(build(options), name="live", route_prefix="/live")
        found = asyncio.run(asyncio.wait_for(main(f"http://127.0.0.1:{port}/live"), 60))
        serve.shutdown()
    wanted = lstm(x)[0]
    for k in range(3):
        assert found[k] == wanted[k].tobytes() + wanted[k, :1].tobytes()


def test_a_client_of_serve_hears_nothing_of_an_actor_that_dies(service, lstm):
    from fusedlstm.ray.serve import Connection

    x = steps(30, 2)

    async def converse(batcher, k):
        connection, made = Connection(batcher, await batcher.open(), EVERY), []
        for t in range(30):
            if t in (3, 11, 12) and k == 0:
                kill(service, connection.id)
            made += (await connection.run(x[k, t : t + 1]))[0]
        await batcher.close(connection.id)
        return b"".join(made)

    async def main():
        async with fl.AsyncBatcher(service) as batcher:
            return await asyncio.gather(*(converse(batcher, k) for k in range(2)))

    found = asyncio.run(asyncio.wait_for(main(), 60))
    assert found == [y.tobytes() for y in lstm(x)[0]]


def test_sequences_from_parquet_to_parquet(monkeypatch, tmp_path, capsys):
    pq = pytest.importorskip("pyarrow.parquet")
    script = Path(__file__).parents[2] / "examples" / "offline.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--sequences", "300", "--folder", str(tmp_path)])
    runpy.run_path(str(script), run_name="__main__")
    assert re.search(
        r"300 sequences, [\d,]+ steps in .* steps a second\none process alone: .* of 2 times", capsys.readouterr().out
    )
    lstm = fl.LSTM.load(tmp_path / "model.safetensors", batch_first=True)
    x = {row["id"]: row["x"] for row in pq.read_table(tmp_path / "sequences").to_pylist()}
    found = {row["id"]: row["y"] for row in pq.read_table(tmp_path / "outputs").to_pylist()}
    assert x.keys() == found.keys() == {*range(300)}
    for id, y in found.items():
        wanted = lstm(np.array(x[id], np.float32).reshape(-1, 16))[0][-1]
        assert np.array(y, np.float32).tobytes() == wanted.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("seconds, kills", [(30, 15), (300, 200)])
def test_many_kills(cluster, lstm, seconds, kills):  # noqa: F811
    with StreamService(lstm, 2, checkpoint_every=8, spares=2, **SMALL) as service:
        soak = Soak(service, 8)

        def trouble(soak):
            time.sleep(seconds / kills * 0.9)
            soak.kill()

        soak.run(seconds, trouble)
    assert soak.kills >= kills and soak.told and soak.steps > 10 * kills


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
