"""examples/server.py under load on loopback, and with clients that do not behave."""

import asyncio
import threading
import time
from pathlib import Path
from socket import create_server

import numpy as np
import pytest
from conftest import random_weights
from graphs import Builder, random

import fusedlstm as fl

aiohttp = pytest.importorskip("aiohttp")
from live_server import FRAME, alone, along_time, detector, emptied, example, serve, sound  # noqa: E402

CLIENTS, STEPS, INPUTS = 60, 40, 16
SILERO = Path("/work/shared/models/silero_vad.onnx")


def silero():
    if not SILERO.exists():
        pytest.skip("Silero's detector is not here")
    return fl.Model.load(SILERO), {"fixed": {"sr": 16000}, "context": {"input": 64}}


MODELS = {make.__name__: make for make in (detector, along_time, silero)}


@pytest.fixture(scope="module")
def server():
    return example()


@pytest.fixture(scope="module")
def lstm():
    return fl.LSTM(random_weights(np.random.default_rng(0), INPUTS, 32))


def inputs(*shape):
    return np.random.default_rng(1).standard_normal((*shape, INPUTS)).astype("<f4")


async def converse(client, x, parts):
    """Send steps, so many a message; what comes back for them."""
    found, t = [], 0
    async with client.ws_connect("/stream") as socket:
        for count in parts:
            await socket.send_bytes(x[t : t + count].tobytes())
            found.append(await socket.receive_bytes())
            t += count
    return b"".join(found)


def test_many_clients_of_an_lstm(server, lstm):
    x = inputs(CLIENTS, STEPS)
    app = server.application(lstm)

    async def main(client):
        y = lstm(x)[0].astype("<f4")

        async def one(b):
            count = 1 + b % 3
            parts = [count] * (STEPS // count // (2 if b % 10 == 9 else 1))  # some leave in the middle
            assert await converse(client, x[b], parts) == y[b, : sum(parts)].tobytes()

        await asyncio.gather(*(one(b) for b in range(CLIENTS)))
        await emptied(app[server.BATCHER].pool)

    serve(app, main)


@pytest.mark.parametrize("make", MODELS)
def test_many_clients_of_a_model(server, make):
    """Their frames arrive in any order and number: each gets what a stream of its own would give."""
    model, options = MODELS[make]()
    x = sound(20, 12)
    app = server.application(model, frame=FRAME, **options)

    async def main(client):
        async def one(b):
            parts = [(1,) * 12, (2,) * 6, (3, 1, 4), (12,)][b % 4]
            found = await converse(client, x[b], parts)
            assert len(found) == 4 * sum(parts)
            assert found == alone(model, options, x[b, : sum(parts)])

        await asyncio.gather(*(one(b) for b in range(len(x))))
        await emptied(app[server.BATCHER].pool)

    serve(app, main, 60)


def test_two_hundred_clients(server):
    """A second of sound each, frame by frame, each frame sent when the last one is answered."""
    model, options = detector()
    x = sound(200, 31)
    app = server.application(model, frame=FRAME, **options)
    wanted = [alone(model, options, frames) for frames in x]

    async def main(client):
        start = time.perf_counter()
        found = await asyncio.gather(*(converse(client, frames, [1] * 31) for frames in x))
        assert time.perf_counter() - start < 20
        assert found == wanted
        await emptied(app[server.BATCHER].pool)
        async with client.get("/status") as response:
            assert (await response.json())["steps"] == 200 * 31

    serve(app, main, 30)


def test_reset_status_and_a_full_server(server, lstm):
    x = inputs(3)
    app = server.application(lstm, max_streams=1)

    async def main(client):
        y = lstm(x)[0].astype("<f4")
        async with client.ws_connect("/stream") as socket:
            for _ in range(2):
                await socket.send_bytes(x.tobytes())
                assert await socket.receive_bytes() == y.tobytes()
                await socket.send_str("reset")
            async with client.get("/") as response:
                found = await response.json()
            assert found.items() >= {"input_size": 16, "output_size": 32, "streams": 1, "steps": 6}.items()
            async with client.ws_connect("/stream") as second:
                assert (await second.receive()).type == aiohttp.WSMsgType.CLOSE and second.close_code == 1013
        await emptied(app[server.BATCHER].pool)

    serve(app, main)


@pytest.mark.parametrize("make", [None, "detector"])
@pytest.mark.parametrize("message", [b"", b"abc", b"\0" * 60, "hello", "x" * 500])
def test_messages_that_are_no_steps(server, lstm, make, message):
    """They are refused with the reason, and the stream goes on as if they had never come."""
    if make:
        model, options = MODELS[make]()
        x, app = sound(2), server.application(model, frame=FRAME, **options)
        wanted = alone(model, options, x)
    else:
        x, app = inputs(2), server.application(lstm)
        wanted = lstm(x)[0].astype("<f4").tobytes()

    async def main(client):
        async with client.ws_connect("/stream") as socket:
            await socket.send_bytes(x[0].tobytes())
            first = await socket.receive_bytes()
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
            told = await socket.receive_str()
            assert f"expected steps of {x.shape[1]} float32" in told and len(told) < 200
            assert f"found {len(message)} bytes" in told or f"found {message[:40]!r}" in told
            await socket.send_bytes(x[1].tobytes())
            assert first + await socket.receive_bytes() == wanted
        await emptied(app[server.BATCHER].pool)

    serve(app, main)


def test_a_message_that_is_too_long(server, lstm, caplog):
    app = server.application(lstm)

    async def main(client):
        async with client.ws_connect("/stream") as socket:
            await socket.send_bytes(bytes(4 * INPUTS * (server.MOST_STEPS + 1)))
            assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE and socket.close_code == 1009
        await emptied(app[server.BATCHER].pool)

    serve(app, main)
    assert not caplog.records, caplog.text


def test_values_that_make_no_sense(server):
    """An index out of range: the steps before it are answered, then it is refused; none of them is run twice."""
    build = Builder(x=(None, 1), state=(None, 1))
    row = build("Cast", build("Squeeze", "x", [1]), to=np.dtype(np.int64))
    after = build("Add", "state", build("Gather", np.arange(5, dtype=np.float32)[:, None], row, axis=0))
    model = fl.Model(build.graph(build("Neg", after), after))
    app = server.application(model, frame=1, states={"state": after})

    async def main(client):
        async with client.ws_connect("/stream") as socket:
            await socket.send_bytes(np.array([1, 2, 70, 3], "<f4").tobytes())
            assert np.frombuffer(await socket.receive_bytes(), "<f4").tolist() == [-1, -3]
            assert (await socket.receive_str()).startswith("step 2: ")
            await socket.send_bytes(np.array([-70], "<f4").tobytes())
            assert (await socket.receive_str()).startswith("step 0: ")
            await socket.send_bytes(np.array([4], "<f4").tobytes())
            assert np.frombuffer(await socket.receive_bytes(), "<f4").tolist() == [-7]

    serve(app, main)


def test_frames_without_an_output(server):
    """A window that is not full gives an empty answer: one comes for each message all the same."""
    parts = [fl.Conv1d(random(2, FRAME, 3), stride=2), fl.Transpose(1, 2), fl.Linear(random(1, 2))]
    model, x = fl.Sequential(*parts, shape=(None, FRAME, None)), sound(6)
    wanted = model(np.ascontiguousarray(x.T[None]))
    app = server.application(model, frame=FRAME)

    async def main(client):
        async with client.ws_connect("/stream") as socket:
            found = []
            for frame in x:
                await socket.send_bytes(frame.tobytes())
                found.append(await socket.receive_bytes())
            assert [len(one) for one in found] == [0, 0, 4, 0, 4, 0]
            assert b"".join(found) == wanted.astype("<f4").tobytes()

    serve(app, main)


def test_a_client_that_is_too_fast_waits(server):
    """While the model does not get on, no more is read from a client; it loses nothing, and others can join."""
    model, options = detector()
    frame, go = sound(1)[0], threading.Event()
    app = server.application(model, frame=FRAME, **options)

    async def main(client):
        pool = app[server.BATCHER].pool
        step, pool.step = pool.step, lambda *args: go.wait(15) and step(*args)
        sent = 0
        async with client.ws_connect("/stream") as socket:
            with pytest.raises(asyncio.TimeoutError):
                while sent < 100_000:
                    await asyncio.wait_for(socket.send_bytes(frame.tobytes()), 0.5)
                    sent += 1
            sent += 1  # the last one is on its way: only its waiting was cancelled
            async with client.get("/status") as response:
                assert (await response.json())["streams"] == 1
            go.set()
            found = [await socket.receive_bytes() for _ in range(200)]
            assert b"".join(found) == alone(model, options, [frame] * 200)
        await emptied(pool)
        assert 200 < sent < 20_000  # buffers of sockets: some megabytes

    serve(app, main, 60)


def test_clients_that_vanish_free_their_streams(server):
    """Without a word of farewell, with frames on their way."""
    model, options = along_time()
    app = server.application(model, frame=FRAME, **options)

    async def main(client):
        sockets = [await client.ws_connect("/stream") for _ in range(20)]
        for socket in sockets:
            await socket.send_bytes(sound(10).tobytes())
        for socket in sockets:
            socket._response.connection.transport.abort()
        await emptied(app[server.BATCHER].pool)
        assert await converse(client, sound(2), [2]) == alone(model, options, sound(2))

    serve(app, main)


def test_the_page(server):
    model, options = along_time()
    app = server.application(model, frame=FRAME, rate=8000, **options)

    async def main(client):
        async with client.get("/") as response:
            assert response.status == 200 and response.content_type == "text/html"
            text = await response.text()
        assert "<canvas" in text and "//" not in text.replace("// ", "")  # nothing comes from anywhere else
        async with client.get("/status") as response:
            found = await response.json()
        assert found.items() >= {"input_size": FRAME, "rate": 8000, "streams": 0, "steps": 0}.items()

    serve(app, main)


def test_models_that_cannot_be_served(server):
    model, options = along_time()
    with pytest.raises(ValueError, match="frame: expected a whole number from 1"):
        server.application(model, **options)
    for rate in (0, -1):
        with pytest.raises(ValueError, match=f"rate: expected samples a second, from 1, found {rate}"):
            server.application(model, frame=FRAME, rate=rate, **options)
    with pytest.raises(ValueError, match=r"expected shape .*512.* found"):
        server.application(model, frame=FRAME - 1, **options)
    build = Builder(x=(None, FRAME), state=(None, FRAME))
    after = build("Add", "state", "x")
    two = fl.Model(build.graph(build("Neg", after), build("Abs", after), after))
    with pytest.raises(ValueError, match="expected one output"):
        server.application(two, frame=FRAME, states={"state": after})


def test_the_command_line(server, tmp_path, monkeypatch):
    def run(*arguments):
        served = []
        monkeypatch.setattr("sys.argv", ["server.py", *map(str, arguments)])
        monkeypatch.setattr(server.web, "run_app", lambda app, **_: served.append(app))
        server.main()
        return dict(served[0][server.SIZES])

    along_time()[0].save(tmp_path / "model.safetensors")
    fl.LSTM(random_weights(np.random.default_rng(0), 3, 4)).save(tmp_path / "lstm.safetensors")
    fl.LSTM(random_weights(np.random.default_rng(0), 3, 4, directions=2)).save(tmp_path / "both.safetensors")
    assert run(tmp_path / "model.safetensors", "--frame", 512, "--rate", 8000) == {"input_size": 512, "rate": 8000}
    assert run(tmp_path / "lstm.safetensors") == {"input_size": 3, "output_size": 4}
    if SILERO.exists():
        more = ["--fixed", "sr=16000", "--context", "input=64"]
        assert run(SILERO, "--frame", 512, *more) == {"input_size": 512, "rate": 16000}
    for arguments in (["both.safetensors"], ["none.onnx"], ["model.safetensors", "--frame", 100]):
        with pytest.raises(SystemExit, match=r"server\.py: "):
            run(tmp_path / arguments[0], *arguments[1:])


def test_where_it_cannot_listen(server, tmp_path, monkeypatch, capsys):
    fl.LSTM(random_weights(np.random.default_rng(0), 3, 4)).save(tmp_path / "lstm.safetensors")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["server.py", str(tmp_path / "lstm.safetensors"), *map(str, arguments)])
        server.main()

    with create_server(("127.0.0.1", 0)) as busy:
        taken = busy.getsockname()[1]
        with pytest.raises(SystemExit, match=rf"^server\.py: 127\.0\.0\.1, port {taken}: .*in use"):
            run("--port", taken)
    for host in ("no-such-host.invalid", "a" * 70 + ".invalid"):
        with pytest.raises(SystemExit, match=rf"^server\.py: {host}, port 0: "):
            run("--host", host, "--port", 0)
    for port in (99999, -1, "http"):
        with pytest.raises(SystemExit) as raised:
            run(f"--port={port}")
        assert raised.value.code == 2
        assert f"--port: expected a number from 0 to 65535, found '{port}'" in capsys.readouterr().err
