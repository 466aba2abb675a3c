"""examples/server.py on loopback, and small models that give each frame of sound a probability."""

import asyncio
import importlib.util
from pathlib import Path

import numpy as np
from aiohttp import test_utils
from conftest import random_weights
from graphs import Builder, random

import fusedlstm as fl

FRAME = 512


def example():
    path = Path(__file__).parents[2] / "examples" / "server.py"
    spec = importlib.util.spec_from_file_location("server_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(app, main, seconds=20):
    """Run main(client) beside a server of an application, for so many seconds at most."""

    async def run():
        async with test_utils.TestClient(test_utils.TestServer(app)) as client:
            await main(client)

    asyncio.run(asyncio.wait_for(run(), seconds))


async def emptied(pool):
    for _ in range(500):
        if not len(pool):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{len(pool)} streams are left")


def detector():
    """As Silero's: a frame behind the end of the last one, and two states of the file."""
    build = Builder(x=(None, None), h=(1, None, 6), c=(1, None, 6))
    wave = build("Relu", build("Conv", build("Unsqueeze", "x", [1]), random(4, 1, 64), random(4), strides=(32,)))
    y, h, c = build(
        "LSTM", build("Transpose", build("ReduceMax", wave, [2], keepdims=1), perm=(2, 0, 1)),
        random(1, 24, 4), random(1, 24, 6), random(1, 48), "", "h", "c", hidden_size=6, outputs=3,
    )  # fmt: skip
    out = build("Sigmoid", build("MatMul", build("Squeeze", y, [0, 1]), random(6, 1)))
    return fl.Model(build.graph(out, h, c)), {"context": {"x": 64}, "states": {"h": h, "c": c}}


def along_time():
    """No states in the file: layers that keep theirs."""
    lstm = fl.LSTM(random_weights(np.random.default_rng(0), 4, 6))
    parts = [fl.Linear(random(4, FRAME, scale=0.2)), lstm, fl.Linear(random(1, 6)), "sigmoid"]
    return fl.Sequential(*parts, shape=(None, None, FRAME)), {}


def sound(*shape, seed=1):
    return (np.random.default_rng(seed).standard_normal((*shape, FRAME)) * 0.2).astype("<f4")


def alone(model, options, frames):
    """The bytes that a stream of the model gives, frame by frame."""
    stream = model.stream(**options)
    made = [stream.step(frame[None]) for frame in frames]
    return b"".join(b"" if one is None else one.astype("<f4").tobytes() for one in made)
