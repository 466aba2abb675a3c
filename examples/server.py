"""A WebSocket server for live streams: every connection is a stream of its own, and all of them step together.

    pip install "fusedlstm[server]"
    python examples/server.py model.safetensors --port 8080

A client sends binary messages of float32 in little-endian order: one or more time steps of `input_size` numbers each.
It gets one binary message back for each: the hidden states of the last layer. The text message "reset" starts afresh.
GET / tells the sizes. Steps that come from any clients within a millisecond run as one batch.
"""

import argparse
import asyncio
import sys

import numpy as np

try:
    from aiohttp import WSCloseCode, WSMsgType, web
except ImportError:
    sys.exit('this needs aiohttp: pip install "fusedlstm[server]"')

import fusedlstm as fl

BATCHER = web.AppKey("batcher", fl.AsyncBatcher)
MOST_STEPS = 1000  # in one message


async def sizes(request: web.Request) -> web.Response:
    pool = request.app[BATCHER].pool
    lstm = pool.lstm
    sizes = {"input_size": lstm.input_size, "output_size": lstm.output_size, "streams": len(pool)}
    return web.json_response(sizes)


async def stream(request: web.Request) -> web.WebSocketResponse:
    batcher = request.app[BATCHER]
    input_size = batcher.pool.lstm.input_size
    socket = web.WebSocketResponse(max_msg_size=MOST_STEPS * input_size * 4 + 1, heartbeat=30)
    await socket.prepare(request)
    try:
        id = await batcher.open()
    except RuntimeError as error:  # the pool is full, or the server is going down
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=str(error).encode()[:120])
        return socket
    try:
        async for message in socket:
            if message.type == WSMsgType.BINARY and len(message.data) % (4 * input_size) == 0 and message.data:
                x = np.frombuffer(message.data, "<f4").reshape(-1, input_size)
                await socket.send_bytes(b"".join([(await batcher.step(id, x_t)).astype("<f4").tobytes() for x_t in x]))
            elif message.type == WSMsgType.TEXT and message.data == "reset":
                await asyncio.to_thread(batcher.pool.reset, [id])  # it waits for the batch that runs
            else:
                expected = f"expected float32 in steps of {input_size}, or the text reset"
                await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=expected.encode())
    finally:
        await batcher.close(id)
    return socket


def application(lstm: fl.LSTM, max_streams: int = 10_000) -> web.Application:
    async def batcher(app: web.Application):
        async with fl.AsyncBatcher(fl.StreamPool(lstm, max_streams=max_streams)) as app[BATCHER]:
            yield

    app = web.Application()
    app.cleanup_ctx.append(batcher)
    app.add_routes([web.get("/", sizes), web.get("/stream", stream)])
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="whatever fusedlstm.LSTM.load reads")
    parser.add_argument("--prefix", help="which LSTM of the file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--max-streams", type=int, default=10_000)
    arguments = parser.parse_args()
    try:
        lstm = fl.LSTM.load(arguments.model, arguments.prefix)
        lstm.stream().close()  # a bidirectional one has none
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"server.py: {error}")
    web.run_app(application(lstm, arguments.max_streams), host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
