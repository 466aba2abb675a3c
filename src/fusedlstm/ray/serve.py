"""A Ray Serve deployment: each WebSocket at /stream is a stream of its own, over the actors of a StreamService.

    serve run fusedlstm.ray.serve:build path=/models/model.safetensors actors=4
    serve run fusedlstm.ray.serve:build path=/models/silero_vad.onnx frame=512 'fixed={"sr": 16000}'

A client sends binary messages of float32 in little-endian order, one or more steps of `input_size` numbers each (GET
/status tells it), and gets one binary message back for each: what the LSTM's last layer or the model gives. What is
refused is answered by a text that says why, and the stream goes on; the text "reset" starts afresh. Of an actor that
dies a client notices a pause: the steps since the last checkpoint are kept here, and repeated.
"""

import asyncio
import json
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI, WebSocket
from ray import serve
from starlette.websockets import WebSocketDisconnect

from ..batcher import AsyncBatcher
from ..errors import Unfinished
from ..lstm import LSTM
from ..model import Model
from .service import StreamService
from .sources import Source

__all__ = ["Server", "application", "build"]

MOST_STEPS = 1000
"""In one message."""
TOO_BIG, TRY_AGAIN_LATER = 1009, 1013
"""Codes of WebSockets."""

# Annotations are read by FastAPI, which is why they are not put off here.
_app: Any = FastAPI()


class Connection:
    """A stream, and its steps since the last checkpoint, which comes after `every` steps at most."""

    def __init__(self, batcher: AsyncBatcher, id: int, every: int) -> None:
        self.id, self._batcher = id, batcher
        self.past: deque[npt.NDArray[np.float32]] = deque(maxlen=every)

    async def run(self, x: npt.NDArray[np.float32]) -> tuple[list[bytes], str]:
        """Outputs of the steps; where one makes no sense to the model, of those before it, and why."""
        made: list[bytes] = []
        for t, x_t in enumerate(x):
            try:
                y_t = await self._step(x_t)
            except (TypeError, ValueError) as error:
                return made, f"step {t}: {error}"
            made.append(b"" if y_t is None else y_t.astype("<f4").tobytes())
        return made, ""

    async def _step(self, x_t: npt.NDArray[np.float32]) -> Any:
        """One step, after those that were lost with an actor."""
        coming = deque([x_t])
        while True:
            try:
                y_t = await self._batcher.step(self.id, coming[0])
            except Unfinished as error:
                for _ in range(error.repeat[self.id] - 1):
                    coming.appendleft(self.past.pop())
                continue
            self.past.append(coming.popleft())
            if not coming:
                return y_t


@serve.ingress(_app)
class Server:
    """What a replica of the deployment does: it has a service, with actors of its own.

    Parameters
    ----------
    path : str, path, bytes, LSTM or Model
        What `StreamService` takes; with `frame` also what `Model.load` reads.
    actors : int, optional
        Of each replica, which has a CPU of its own as well. Default: the CPUs that are free.
    frame : int
        Of a model: numbers that it takes in a step.
    **options
        Of the service.
    """

    def __init__(
        self, path: Source, actors: int | None = None, *, frame: int = 0, checkpoint_every: int = 20, **options: Any
    ) -> None:
        if frame and not isinstance(path, Model):
            path = Model.load(path)  # type: ignore[arg-type]
        self._service = StreamService(path, actors, checkpoint_every=checkpoint_every, **options)
        self._batcher, self._every = AsyncBatcher(self._service), checkpoint_every
        model = self._service.model
        if not frame and not isinstance(model, LSTM):
            raise ValueError(f"frame: expected a whole number from 1 beside a model, found {frame}")
        self._size = model.input_size if isinstance(model, LSTM) else frame
        id = self._service.open()  # rather an error now than one for each client
        if isinstance(self._service.step([id], np.zeros((1, self._size), np.float32)), tuple):
            raise ValueError("path: expected a model of one output beside its states, found several")
        self._service.close(id)

    @_app.get("/status")  # type: ignore[untyped-decorator]
    def status(self) -> dict[str, int]:
        """What a client has to know."""
        return {"input_size": self._size, "streams": len(self._service), "actors": self._service.actors}

    @_app.websocket("/stream")  # type: ignore[untyped-decorator]
    async def stream(self, socket: WebSocket) -> None:
        """One client."""
        await socket.accept()
        try:
            id = await self._batcher.open()
        except RuntimeError as error:  # the service is full
            await socket.close(TRY_AGAIN_LATER, str(error)[:120])
            return
        connection = Connection(self._batcher, id, self._every)
        try:
            while True:  # the next message is read when this one is answered: who is too fast has to wait
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._answer(socket, connection, message)
        except WebSocketDisconnect:
            pass
        finally:
            await self._batcher.close(id)

    async def _answer(self, socket: WebSocket, connection: Connection, message: Any) -> None:
        text, data = message.get("text"), message.get("bytes")
        if text == "reset":
            await asyncio.to_thread(self._service.reset, [connection.id])
            connection.past.clear()
        elif data and len(data) > 4 * self._size * MOST_STEPS:
            await socket.close(TOO_BIG, f"message: expected {MOST_STEPS} steps at most")
        elif data and len(data) % (4 * self._size) == 0:
            made, refused = await connection.run(np.frombuffer(data, "<f4").reshape(-1, self._size))
            if made or not refused:
                await socket.send_bytes(b"".join(made))
            if refused:
                await socket.send_text(refused)
        else:
            found = repr(text[:40]) if text is not None else f"{len(data or b'')} bytes"
            expected = f"expected steps of {self._size} float32 ({4 * self._size} bytes), or the text 'reset'"
            await socket.send_text(f"message: {expected}; found {found}")

    def __del__(self) -> None:
        if hasattr(self, "_service"):
            self._service.shutdown()


def application(path: Source, actors: int | None = None, *, replicas: int = 1, **options: Any) -> serve.Application:
    """What ``ray.serve.run`` takes.

    Parameters
    ----------
    path, actors, **options
        As for `Server`; a path has to be readable where replicas run.
    replicas : int
        Front processes; each has actors and streams of its own.
    """
    deployment = serve.deployment(Server, name="fusedlstm", num_replicas=replicas, max_ongoing_requests=100_000)
    return deployment.bind(path, actors, **options)


def build(args: dict[str, str]) -> serve.Application:
    """What ``serve run fusedlstm.ray.serve:build path=... name=value ...`` calls; values are JSON, words are words."""
    words = ("path", "prefix", "dtype")
    given: dict[str, Any] = {name: value if name in words else json.loads(value) for name, value in args.items()}
    return application(**given)
