"""A server for live streams over WebSockets: every connection is a stream of its own, and all of them step together.

    pip install "fusedlstm[server,onnx]"
    python examples/server.py model.safetensors --port 8080
    python examples/server.py silero_vad.onnx --frame 512 --fixed sr=16000 --context input=64

The first serves an LSTM. With --frame a whole model is served that takes so many samples of sound a step, and GET / is
a page that draws what it makes of a microphone or a sound file, live.

At /stream a client sends binary messages of float32 in little-endian order: one or more time steps of `input_size`
numbers each; GET /status tells it. It gets one binary message back for each: what the LSTM's last layer or the model
gives. What is refused is answered by a text that says why, and the stream goes on. The text message "reset" starts
afresh. Steps that come from any clients within a millisecond run as one batch.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np

try:
    from aiohttp import WSCloseCode, WSMsgType, web
except ImportError:
    sys.exit('this needs aiohttp: pip install "fusedlstm[server]"')

import fusedlstm as fl

MOST_STEPS = 1000  # in one message
BATCHER = web.AppKey("batcher", fl.AsyncBatcher)
SIZES = web.AppKey("sizes", dict)
LOAD = web.AppKey("load", dict)


async def page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(Path(__file__).with_name("server.html"))


async def status(request: web.Request) -> web.Response:
    app = request.app
    return web.json_response({**app[SIZES], **app[LOAD], "streams": len(app[BATCHER].pool)})


async def stream(request: web.Request) -> web.WebSocketResponse:
    batcher, size = request.app[BATCHER], request.app[SIZES]["input_size"]
    socket = web.WebSocketResponse(max_msg_size=MOST_STEPS * size * 4 + 1, heartbeat=30)
    await socket.prepare(request)
    try:
        id = await batcher.open()
    except RuntimeError as error:  # the pool is full, or the server is going down
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=str(error).encode()[:120])
        return socket
    try:
        async for message in socket:  # the next one is read when this one is answered: who is too fast has to wait
            if message.type == WSMsgType.ERROR:  # too long, or no WebSocket's: the client has been told
                break
            if message.type == WSMsgType.TEXT and message.data == "reset":
                await asyncio.to_thread(batcher.pool.reset, [id])  # it waits for the batch that runs
            elif message.type == WSMsgType.BINARY and message.data and len(message.data) % (4 * size) == 0:
                await answer(socket, request.app, id, np.frombuffer(message.data, "<f4").reshape(-1, size))
            else:
                expected = f"expected steps of {size} float32 ({4 * size} bytes), or the text 'reset'"
                found = repr(message.data[:40]) if message.type == WSMsgType.TEXT else f"{len(message.data)} bytes"
                await socket.send_str(f"message: {expected}; found {found}")
    finally:
        await batcher.close(id)
    return socket


async def answer(socket: web.WebSocketResponse, app: web.Application, id: int, x: np.ndarray) -> None:
    """Send what the steps give; where a value makes no sense to the model, what those before it gave, and why."""
    made, refused = [], ""
    for t, x_t in enumerate(x):
        try:
            y_t = await app[BATCHER].step(id, x_t)
        except ValueError as error:
            refused = f"step {t}: {error}"
            break
        app[LOAD]["steps"] += 1
        made.append(b"" if y_t is None else y_t.astype("<f4").tobytes())  # no output yet: its window is not full
    if made:
        await socket.send_bytes(b"".join(made))
    if refused:
        await socket.send_str(refused)


async def measure(load: dict) -> None:
    """Steps a second, and how many cores this process keeps busy."""
    while True:
        steps, cpu, start = load["steps"], time.process_time(), time.perf_counter()
        await asyncio.sleep(1)
        seconds = time.perf_counter() - start
        load["steps_per_second"] = round((load["steps"] - steps) / seconds, 1)
        load["cpu"] = round((time.process_time() - cpu) / seconds, 3)


def application(
    model: fl.LSTM | fl.Model, max_streams: int = 10_000, *, frame: int = 0, rate: int = 16_000, **options
) -> web.Application:
    """Serve an LSTM; or a model with `frame` samples a step, at `rate` a second, and the options of its streams."""
    pool = fl.StreamPool(model, max_streams=max_streams, **options)
    app = web.Application()
    if isinstance(model, fl.LSTM):
        app[SIZES] = {"input_size": model.input_size, "output_size": model.output_size}
    else:
        if frame < 1:
            raise ValueError(f"frame: expected a whole number from 1, found {frame}")
        if rate < 1:
            raise ValueError(f"rate: expected samples a second, from 1, found {rate}")
        app[SIZES] = {"input_size": frame, "rate": rate}
        id = pool.open()  # rather an error now than one for each client; programs are planned as well
        if isinstance(pool.step([id], np.zeros((1, frame), np.float32)), tuple):
            raise ValueError(f"model: expected one output beside the states, found several: {', '.join(model.outputs)}")
        pool.close(id)

    async def running(app: web.Application):
        app[LOAD] = {"steps": 0, "steps_per_second": 0, "cpu": 0}
        async with fl.AsyncBatcher(pool) as app[BATCHER]:
            measuring = asyncio.create_task(measure(app[LOAD]))
            yield
            measuring.cancel()

    app.cleanup_ctx.append(running)
    root = status if isinstance(model, fl.LSTM) else page
    app.add_routes([web.get("/", root), web.get("/status", status), web.get("/stream", stream)])
    return app


def pair(text: str) -> tuple:
    name, value = text.split("=")
    return name, json.loads(value)


def port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, found {text!r}")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="whatever fusedlstm.LSTM.load reads; with --frame fusedlstm.Model.load")
    parser.add_argument("--prefix", help="which LSTM of the file")
    parser.add_argument("--frame", type=int, help="serve the whole model, with so many samples a step")
    parser.add_argument("--rate", type=int, default=16_000, help="samples a second")
    parser.add_argument("--fixed", nargs="+", type=pair, default=[], metavar="INPUT=NUMBER", help="what stays the same")
    parser.add_argument("--context", nargs="+", type=pair, default=[], metavar="INPUT=COUNT", help="what comes again")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port, default=8080)
    parser.add_argument("--max-streams", type=int, default=10_000)
    given = parser.parse_args()
    try:
        if given.frame is not None:
            options = {"frame": given.frame, "rate": given.rate}
            options.update(fixed=dict(given.fixed), context=dict(given.context))
            app = application(fl.Model.load(given.model), given.max_streams, **options)
        else:
            app = application(fl.LSTM.load(given.model, given.prefix), given.max_streams)
    except (OSError, TypeError, ValueError, ImportError) as error:  # a bidirectional one, say, has no streams
        sys.exit(f"server.py: {error}")
    try:
        web.run_app(app, host=given.host, port=given.port, shutdown_timeout=1)
    except (OSError, UnicodeError) as error:  # no such host, or a port that is in use
        sys.exit(f"server.py: {given.host}, port {given.port}: {error}")


if __name__ == "__main__":
    main()
