"""examples/server.py under load on loopback, and with clients that do not behave."""

import asyncio
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from conftest import random_weights

import fusedlstm as fl

aiohttp = pytest.importorskip("aiohttp")
from aiohttp import test_utils  # noqa: E402

CLIENTS, STEPS, INPUTS = 60, 40, 16


@pytest.fixture(scope="module")
def server():
    path = Path(__file__).parents[1] / "examples" / "server.py"
    spec = importlib.util.spec_from_file_location("server_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(server, main, **kwargs):
    """Run main(client, pool, lstm) beside a server on loopback, for 20 seconds at most."""
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), INPUTS, 32))

    async def run():
        app = server.application(lstm, **kwargs)
        async with test_utils.TestClient(test_utils.TestServer(app)) as client:
            await main(client, app[server.BATCHER].pool, lstm)

    asyncio.run(asyncio.wait_for(run(), 20))


async def emptied(pool):
    for _ in range(200):
        if not len(pool):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{len(pool)} streams are left")


def inputs(*shape):
    return np.random.default_rng(1).standard_normal((*shape, INPUTS)).astype("<f4")


def test_many_clients(server):
    x = inputs(CLIENTS, STEPS)

    async def main(client, pool, lstm):
        y = lstm(x)[0]

        async def one(b):
            found = []
            async with client.ws_connect("/stream") as socket:
                for t in range(0, STEPS, 1 + b % 3):
                    await socket.send_bytes(x[b, t : t + 1 + b % 3].tobytes())
                    found.append(await socket.receive_bytes())
                    if b % 10 == 9 and t > STEPS // 2:
                        return  # leaves in the middle
            assert b"".join(found) == y[b].astype("<f4").tobytes()

        await asyncio.gather(*(one(b) for b in range(CLIENTS)))
        await emptied(pool)

    serve(server, main)


def test_reset_sizes_and_a_full_server(server):
    x = inputs(3)

    async def main(client, pool, lstm):
        y = lstm(x)[0].astype("<f4")
        async with client.ws_connect("/stream") as socket:
            for _ in range(2):
                await socket.send_bytes(x.tobytes())
                assert await socket.receive_bytes() == y.tobytes()
                await socket.send_str("reset")
            async with client.get("/") as response:
                assert await response.json() == {"input_size": 16, "output_size": 32, "streams": 1}
            async with client.ws_connect("/stream") as second:
                assert (await second.receive()).type == aiohttp.WSMsgType.CLOSE and second.close_code == 1013
        await emptied(pool)

    serve(server, main, max_streams=1)


@pytest.mark.parametrize("message", [b"", b"abc", b"\0" * 60, "hello"])
def test_messages_that_are_no_steps(server, message):
    async def main(client, pool, lstm):
        async with client.ws_connect("/stream") as socket:
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
            assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE and socket.close_code == 1003
        await emptied(pool)

    serve(server, main)


def test_a_message_that_is_too_long(server):
    async def main(client, pool, lstm):
        async with client.ws_connect("/stream") as socket:
            await socket.send_bytes(bytes(4 * INPUTS * (server.MOST_STEPS + 1)))
            assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE and socket.close_code == 1009
        await emptied(pool)

    serve(server, main)
